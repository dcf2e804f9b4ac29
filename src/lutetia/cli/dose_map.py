"""`lutetia dose-map`: activity map in, dose map out, as NIfTI."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lutetia.cli.output import print_json, progress_line
from lutetia.core.numbers import six_digits
from lutetia.errors import ImageError, InputError, OutputError, UnitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lutetia.core.volume import RegionMask, Volume
    from lutetia.dose.dvh import DoseVolumeHistogram
    from lutetia.dose.voxel_dose import VoxelDose

DVH_KEYS = ("mean", "D98", "D50", "D2")
Kind = Literal["activity", "time-integrated-activity"]
# No tissue holds more (assumption): a map above this is in another unit, such as Bq/mL.
LARGEST: dict[str, float] = {"activity": 1e4, "time-integrated-activity": 1e6}
UNITS: dict[str, Literal["MBq_per_mL", "MBq_h_per_mL"]] = {
    "activity": "MBq_per_mL",
    "time-integrated-activity": "MBq_h_per_mL",
}
SHOWN = {"MBq_per_mL": "MBq/mL", "MBq_h_per_mL": "MBq·h/mL", "Gy": "Gy", "Gy_per_h": "Gy/h"}


def dose_map(
    activity: Annotated[Path, typer.Argument(help="NIfTI map of MBq/mL, or of MBq·h/mL.")],
    nuclide: Annotated[str, typer.Option(help="Nuclide, such as Lu-177 or Y-90.")],
    input: Annotated[
        str, typer.Option(help="What the map holds: activity (→ Gy/h) or time-integrated-activity (→ Gy).")
    ],
    out: Annotated[Path, typer.Option(help="NIfTI file for the dose map, on the same grid.")],
    density: Annotated[
        Path | None, typer.Option(help="NIfTI map of g/mL on the same grid; without it, soft tissue everywhere.")
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="kernel, 'local electrons', 'local deposition', 'monte carlo', or 'monte carlo and local electrons'."
        ),
    ] = "kernel",
    photons: Annotated[int, typer.Option(min=1000, max=10**10, help="Photons of the Monte Carlo.")] = 5_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the Monte Carlo.")] = 1,
    uncertainty: Annotated[
        Path | None, typer.Option(help="NIfTI file for the statistical standard deviation (Monte Carlo).")
    ] = None,
    resolution_mm: Annotated[
        float | None, typer.Option(help="FWHM of the scanner, if the map comes from an image.", show_default=False)
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(help="Regions on the same grid (NIfTI label map, SEG or RTSTRUCT): their dose-volume figures."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label of the regions file and its region, such as '1=left kidney'; once for each."),
    ] = None,
    dvh: Annotated[Path | None, typer.Option(help="CSV file for the dose-volume histograms of the regions.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable summary.")] = False,
) -> None:
    """Dose map (Gy) from time-integrated activity, or dose-rate map (Gy/h) from activity.

    Example: lutetia dose-map tia_y90.nii.gz --nuclide Y-90 --input time-integrated-activity --density density.nii.gz
    --out dose_y90.nii.gz
    """
    from lutetia.dose.dvh import dose_volume_csv, dose_volume_histogram
    from lutetia.dose.voxel_dose import METHODS, voxel_dose

    plain = method.strip().lower().replace("-", " ")
    if uncertainty is not None and plain in METHODS and METHODS[plain].photons != "monte carlo":
        raise InputError("dose-map: found --uncertainty with a method without noise; expected it with 'monte carlo'")
    if dvh is not None and regions is None:
        raise InputError("dose-map: found --dvh without --regions; name the regions whose histograms you want")
    given = [p for p in (activity, density, regions) if p is not None]
    _check_outputs([p for p in (out, uncertainty) if p is not None], given, table=dvh)
    with progress_line() as progress:
        progress("reading the maps")
        source = read_map(activity, UNITS[_kind(input)], where="activity map")
        _check_size(source, _kind(input))
        mass = None if density is None else read_map(density, "g_per_mL", where="density map")
        masks = [] if regions is None else read_regions(regions, label or [], source)
        progress("computing the dose")
        result = voxel_dose(
            source, nuclide, density=mass, method=plain, photons=photons, seed=seed, resolution_mm=resolution_mm
        )
        histograms = [dose_volume_histogram(result.dose, mask, resolution_mm=resolution_mm) for mask in masks]
        progress("writing")
        pairs = [(result.dose, out)]
        if uncertainty is not None and result.sd is not None:
            pairs.append((result.sd, uncertainty))
        write_together(pairs, text=None if dvh is None else (dose_volume_csv({result.nuclide: histograms}), dvh))
    record = summary(result, source, seed, histograms)
    if json:
        print_json(record)
    else:
        _print(record, out)


def read_map(path: Path, unit: Any, *, where: str) -> Volume:
    """A NIfTI map in a stated unit.

    Raises
    ------
    InputError, ImageError
        If the file is not NIfTI or cannot be read.
    """
    import numpy as np

    from lutetia.core.volume import Volume
    from lutetia.imaging.nifti import is_nifti, read_nifti

    if not is_nifti(path):
        raise ImageError(f"{where}: found {path.name!r}; expected a NIfTI file (.nii or .nii.gz)")
    values, grid = read_nifti(path, where=where)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > 3e38:
        raise InputError(f"{where}: found a value of {largest:.3g}; expected values that a 32-bit number can hold")
    return Volume(values.astype(np.float32), grid, unit)


def read_regions(path: Path, labels: Sequence[str], source: Volume) -> list[RegionMask]:
    """Regions on the grid of the map; `labels` such as ``1=left kidney`` are needed for NIfTI.

    Raises
    ------
    InputError, ImageError
        If a label has no region, or the regions lie on another grid.
    """
    from lutetia.imaging.segmentation import read_segmentation

    names = dict(_label(text) for text in labels) or None
    masks = read_segmentation(path, names, grid=source.grid, where="regions")
    for mask in masks:
        if not mask.grid.same_as(source.grid):
            raise ImageError(f"regions, {mask.region}: found another grid than that of the map; resample it first")
    return masks


def _label(text: str) -> tuple[str, str]:
    number, sign, region = text.partition("=")
    if not (sign and number.strip() and region.strip()):
        raise InputError(f"dose-map: found --label {text!r}; expected such as '1=left kidney'")
    return number.strip(), region.strip()


def write_together(maps: list[tuple[Volume, Path]], *, text: tuple[str, Path] | None = None) -> None:
    """Write maps beside their place first, then rename: either all of them appear, or none is half-written.

    Raises
    ------
    OutputError
        If a folder does not exist or a file cannot be written.
    """
    from lutetia.imaging.writing.nifti import write_nifti

    folder = maps[0][1].resolve().parent
    try:
        with TemporaryDirectory(prefix=".dose-map-", dir=folder) as beside:
            ready = []
            for number, (volume, path) in enumerate(maps):
                end = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
                ready.append((write_nifti(volume, Path(beside) / f"{number}{end}"), path))
            if text is not None:
                table = Path(beside) / "table.csv"
                table.write_text(text[0], encoding="utf-8")
                ready.append((table, text[1]))
            for written, path in ready:
                os.replace(written, path)
    except OSError as error:
        raise OutputError(f"{maps[0][1].name}: cannot be written; check the folder and free space") from error


def summary(
    result: VoxelDose, source: Volume, seed: int, histograms: Sequence[DoseVolumeHistogram] = ()
) -> dict[str, Any]:
    """What was computed, as `--json` prints it."""
    import numpy as np

    from lutetia.core.provenance import software

    dose = result.dose.values
    record: dict[str, Any] = {
        "software": software(),
        "nuclide": result.nuclide,
        "input": SHOWN[source.unit],
        "unit": SHOWN[result.dose.unit],
        "method": result.method,
        "blur": result.blur,
        "maximum": six_digits(float(dose.max())),
        "mean_of_filled_voxels": six_digits(float(dose[dose > 0].mean(dtype=np.float64)) if (dose > 0).any() else 0.0),
        "escaped_energy_share": six_digits(result.escaped_share),
        "warnings": [d.message for d in (*result.doubts, *(d for one in histograms for d in one.doubts))],
    }
    if histograms:
        record["regions"] = [
            {
                "region": one.region,
                "volume_mL": six_digits(one.volume_mL),
                **{
                    key: six_digits(value)
                    for key, value in zip(DVH_KEYS, (one.mean_Gy, one.D98_Gy, one.D50_Gy, one.D2_Gy), strict=True)
                },
            }
            for one in histograms
        ]
    if result.sd is not None:
        hot = dose >= 0.5 * float(dose.max())
        relative = float((result.sd.values[hot] / np.maximum(dose[hot], 1e-30)).mean(dtype=np.float64))
        record |= {"seed": seed, "relative_sd_above_half_maximum": six_digits(relative)}
    return record


def _kind(name: str) -> Kind:
    plain = name.strip().lower().replace("_", "-")
    if plain == "activity":
        return "activity"
    if plain == "time-integrated-activity":
        return "time-integrated-activity"
    raise InputError(f"dose-map: found --input {name!r}; expected activity or time-integrated-activity")


def _check_size(source: Volume, kind: Kind) -> None:
    largest, unit = float(source.values.max()), SHOWN[source.unit]
    if largest > LARGEST[kind]:
        raise UnitError(
            f"activity map: found values up to {largest:.3g}; expected {unit}, at most {LARGEST[kind]:.0e}; "
            "divide Bq/mL by 1e6 first"
        )


def _check_outputs(outputs: list[Path], inputs: list[Path], *, table: Path | None = None) -> None:
    """Refuse before the work: wrong endings, missing folders, an output that would overwrite an input."""
    taken = {p.resolve() for p in inputs}
    for path in [*outputs, *([] if table is None else [table])]:
        if path is table and path.suffix.lower() != ".csv":
            raise InputError(f"dose-map: found --dvh {path.name!r}; expected a name ending in .csv")
        if path is not table and not path.name.lower().endswith((".nii", ".nii.gz")):
            raise InputError(f"dose-map: found {path.name!r} for a result; expected a name ending in .nii or .nii.gz")
        if not path.resolve().parent.is_dir():
            raise OutputError(f"{path.name}: found no folder {path.parent.name!r}; make it first")
        if path.resolve() in taken:
            raise InputError(f"dose-map: found {path.name!r} twice; a result would overwrite a map it needs")
        taken.add(path.resolve())


def _print(record: dict[str, Any], out: Path) -> None:
    print(f"{record['nuclide']} {record['unit']}: {record['method']}")
    print(f"  maximum {record['maximum']:.4g}, mean of voxels with dose {record['mean_of_filled_voxels']:.4g}")
    print(f"  {record['blur']}")
    if "relative_sd_above_half_maximum" in record:
        print(f"  statistical sd above half of the maximum: {100 * record['relative_sd_above_half_maximum']:.2g} %")
    for region in record.get("regions", ()):
        figures = ", ".join(f"{key} {region[key]:.4g}" for key in DVH_KEYS)
        print(f"  {region['region']} ({region['volume_mL']:.4g} mL): {figures} {record['unit']}")
    for warning in record["warnings"]:
        print(f"  warning: {warning}")
    print(f"  {out}")
