"""`lutetia kernel`: voxel S-values of a nuclide, with the energy accounted for per decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lutetia.cli.output import print_json
from lutetia.core.numbers import six_digits
from lutetia.errors import InputError

if TYPE_CHECKING:
    from lutetia.dose.kernels import VoxelKernel


def kernel(
    nuclide: Annotated[str, typer.Option(help="Nuclide, such as Lu-177 or Y-90.")],
    voxel_mm: Annotated[
        tuple[float, float, float], typer.Option(help="Voxel size along slices, rows and columns, mm.")
    ],
    size: Annotated[int, typer.Option(help="Print offsets 0 to this number of voxels along each axis.")] = 5,
    extent_mm: Annotated[
        float | None, typer.Option(help="Half size of the kernel, mm; default 200.", show_default=False)
    ] = None,
    density: Annotated[float, typer.Option(help="Density of the tissue, g/mL.")] = 1.04,
    json: Annotated[bool, typer.Option("--json", help="Print the machine-readable answer.")] = False,
) -> None:
    """Voxel S-values around a source voxel, Gy per MBq·h, and where the energy of a decay goes.

    Example: lutetia kernel --nuclide Lu-177 --voxel-mm 4.8 4.8 4.8 --json
    """
    from lutetia.dose.kernels import voxel_kernel

    if not 0 <= size <= 100:
        raise InputError(f"kernel: found --size {size}; expected 0 to 100")
    result = voxel_kernel(nuclide, voxel_mm, extent_mm=extent_mm, density_g_per_mL=density)
    record = kernel_record(result, size)
    if json:
        print_json(record)
    else:
        _print(record)


def kernel_record(result: VoxelKernel, size: int) -> dict[str, Any]:
    """The answer of `lutetia kernel --json`: one octant of the kernel (it is symmetric) and the energy account."""
    middle = [n // 2 for n in result.values.shape]
    octant = result.values[middle[0] :, middle[1] :, middle[2] :][: size + 1, : size + 1, : size + 1]
    energy = {
        "emitted": result.emitted_MeV,
        "electrons_in_kernel": result.electron_MeV,
        "bremsstrahlung_in_kernel": result.bremsstrahlung_MeV,
        "photons_in_kernel": result.photon_MeV,
        "beyond_kernel": result.beyond_MeV,
    }
    return {
        "nuclide": result.nuclide,
        "voxel_mm": list(result.spacing_mm),
        "density_g_per_mL": result.density_g_per_mL,
        "extent_mm": [six_digits(x) for x in result.extent_mm],
        "energy_MeV_per_decay": {name: six_digits(value) for name, value in energy.items()},
        "unit": "Gy/(MBq h)",
        "columns": ["k", "j", "i", "Gy_per_MBq_h"],
        "values": [[int(k), int(j), int(i), six_digits(octant[k, j, i])] for k, j, i in _offsets(octant.shape)],
    }


def _offsets(shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    return [(k, j, i) for k in range(shape[0]) for j in range(shape[1]) for i in range(shape[2])]


def _print(record: dict[str, Any]) -> None:
    size = " × ".join(f"{s:g}" for s in record["voxel_mm"])
    print(f"{record['nuclide']}, voxels of {size} mm, {record['density_g_per_mL']} g/mL; Gy per MBq·h")
    for name, value in record["energy_MeV_per_decay"].items():
        print(f"  {name.replace('_', ' '):26s} {value:.6g} MeV per decay")
    for k, j, i, value in record["values"]:
        if k <= j <= i:
            print(f"  {k:3d} {j:3d} {i:3d}  {value:.4e}")
