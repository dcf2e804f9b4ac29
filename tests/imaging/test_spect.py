"""SPECT in: geometry, units, times, decay correction and identity, each against values known from construction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.sequence import Sequence
from tests.imaging.small_dicom import (
    HFS,
    LU_HALF_LIFE_S,
    SECRET_ID,
    base,
    item,
    nm_object,
    pixels,
    pt_series,
    radiopharmaceutical,
    ramp,
    write,
)

from lutetia.errors import ImageError, InputError, LutetiaError, UnitError
from lutetia.imaging.dicom_files import MAX_FILES
from lutetia.imaging.spect import read_spect

WARSAW = ZoneInfo("Europe/Warsaw")
START = datetime(2026, 1, 13, 8, 30, tzinfo=UTC)  # 09:30 in Warsaw
ORIENTATIONS = {
    "head first supine": ([1, 0, 0], [0, 1, 0]),
    "head first prone": ([-1, 0, 0], [0, -1, 0]),
    "feet first supine": ([-1, 0, 0], [0, 1, 0]),
    "feet first prone": ([1, 0, 0], [0, -1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "oblique": ([np.cos(0.3), np.sin(0.3), 0], [-np.sin(0.3) * np.cos(0.2), np.cos(0.3) * np.cos(0.2), np.sin(0.2)]),
}


def fail(path, match, kind=LutetiaError, **facts):
    with pytest.raises(kind, match=match) as caught:
        read_spect(path, zone=WARSAW, where="cycle 1, scan 2", **facts)
    assert str(caught.value).startswith("cycle 1, scan 2")
    assert SECRET_ID not in str(caught.value)
    assert "isniewska" not in str(caught.value)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_voxel_of_a_shuffled_pt_series_is_where_its_header_says(tmp_path, name):
    row, column = (np.array(v, dtype=float) for v in ORIENTATIONS[name])
    values = ramp() * 50
    scan = read_spect(write(tmp_path, pt_series(values, orientation=np.concatenate([row, column]))), zone=WARSAW)
    k, j, i = 2, 4, 1
    expected = np.array([-10, -20, 30]) + 4 * k * np.cross(row, column) + 3 * j * column + 2 * i * row
    np.testing.assert_allclose(scan.volume.grid.position_mm((k, j, i)), expected, atol=1e-6)
    np.testing.assert_allclose(scan.volume.values, values * 1e-6, rtol=0.03)
    assert scan.volume.grid.voxel_mL == pytest.approx(0.024)


def test_rescale_slope_of_each_slice_is_used(tmp_path):
    values = np.full((3, 4, 4), 12000.0)
    scan = read_spect(write(tmp_path, pt_series(values, slopes=[1.0, 2.0, 5.0])), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, 0.012, rtol=1e-6)


@pytest.mark.parametrize("gap", [4.0, -4.0])
def test_sign_of_spacing_between_slices_gives_the_stacking_direction_of_nm(tmp_path, gap):
    stored = ramp()
    scan = read_spect(write(tmp_path, [nm_object(stored, gap_mm=gap)]), zone=WARSAW)
    index = np.rint(scan.volume.grid.index_of(np.array([-10.0 + 2, -20.0 + 6, 30.0 + 3 * gap]))).astype(int)
    assert scan.volume.values[tuple(index)] == pytest.approx(stored[3, 2, 1] * 2.5e-6, rel=1e-5)


def test_slice_vector_orders_nm_frames(tmp_path):
    stored = ramp()
    order = [3, 1, 4, 2]
    data = nm_object(stored[np.array(order) - 1], SliceVector=order)
    scan = read_spect(write(tmp_path, [data]), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, stored * 2.5e-6, rtol=1e-5)


def test_nm_without_mapping_is_counts_with_the_duration_of_the_rotation(tmp_path):
    scan = read_spect(write(tmp_path, [nm_object(ramp(), mapping=None)]), zone=WARSAW)
    assert scan.volume.unit == "counts"
    assert scan.duration_s == 1200.0
    assert scan.mid_acquisition == START + timedelta(minutes=10)
    assert scan.volume.values.sum() == pytest.approx(ramp().sum())


@pytest.mark.parametrize(("unit", "scale"), [("kBq/ml", 1e-3), ("MBq/mL", 1.0), ("Bq/mL", 1e-6)])
def test_mapped_units_become_MBq_per_mL(tmp_path, unit, scale):
    scan = read_spect(write(tmp_path, [nm_object(ramp(), mapping=(unit, 2.0))]), zone=WARSAW)
    assert scan.volume.values.max() == pytest.approx(2.0 * scale * ramp().max())


def test_enhanced_pt_with_functional_groups_is_read_frame_by_frame(tmp_path):
    values = ramp()
    data = base("1.2.840.10008.5.1.4.1.1.130", "PT", Units="BQML", DecayCorrection="NONE", AcquisitionDate="20260113",
                AcquisitionTime="093000", ActualFrameDuration=600000)  # fmt: skip
    data.RadiopharmaceuticalInformationSequence = radiopharmaceutical()
    shared = item(PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=list(HFS))]))
    shared.PixelMeasuresSequence = Sequence([item(PixelSpacing=[3, 2], SliceThickness=4)])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    order = [2, 0, 3, 1]
    data.PerFrameFunctionalGroupsSequence = Sequence(
        item(
            PlanePositionSequence=Sequence([item(ImagePositionPatient=[0, 0, 4 * k])]),
            PixelValueTransformationSequence=Sequence([item(RescaleSlope=k + 1, RescaleIntercept=0)]),
        )
        for k in order
    )
    pixels(data, values[order].astype(np.uint16))
    scan = read_spect(write(tmp_path, [data]), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, values * np.arange(1, 5)[:, None, None] * 1e-6, rtol=1e-6)


def test_time_is_the_middle_of_the_acquisition_in_the_zone_of_the_case(tmp_path):
    scan = read_spect(write(tmp_path, pt_series(ramp() * 100)), zone=WARSAW)
    assert scan.mid_acquisition == START + timedelta(minutes=15)
    assert scan.nuclide == "Lu-177"
    assert scan.frame_of_reference.endswith(".498.1")


def test_offset_in_the_file_wins_over_the_zone_of_the_case(tmp_path):
    scan = read_spect(write(tmp_path, pt_series(ramp() * 100, TimezoneOffsetFromUTC="+0500")), zone=WARSAW)
    assert scan.mid_acquisition == START - timedelta(hours=4) + timedelta(minutes=15)


def test_bed_positions_are_brought_to_the_common_middle(tmp_path):
    objects = pt_series(np.full((4, 3, 3), 30000.0), slopes=[1, 1, 1, 1])
    for data in objects[2:]:
        data.AcquisitionTime = "113000"
    scan = read_spect(write(tmp_path, objects), zone=WARSAW)
    assert scan.mid_acquisition == START + timedelta(hours=1.25)
    factor = 2 ** (1 / 159.528)
    np.testing.assert_allclose(scan.volume.values[0], 0.03 / factor, rtol=1e-6)
    np.testing.assert_allclose(scan.volume.values[3], 0.03 * factor, rtol=1e-6)


def decayed(
    state, *, factor=None, admin="20260110093000", series="093000", listed=True, half_life_s=LU_HALF_LIFE_S, **more
):
    info = radiopharmaceutical(half_life_s=half_life_s)
    if admin:
        info[0].RadiopharmaceuticalStartDateTime = admin
    facts = {"DecayCorrection": state, "SeriesTime": series, "RadiopharmaceuticalInformationSequence": info}
    facts["CorrectedImage"] = ["ATTN", "DECY"] if listed else ["ATTN"]
    if factor is not None:
        facts["DecayFactor"] = factor
    return pt_series(np.full((3, 4, 4), 20000.0), **{**facts, **more})


ADMIN_H = 72.25  # 10 January 09:30 to the middle of the scan


@pytest.mark.parametrize("half_life_s", [LU_HALF_LIFE_S, 6.71 * 86400, None])
@pytest.mark.parametrize("with_factor", [True, False])
def test_correction_to_administration_is_undone_with_the_half_life_of_the_header(tmp_path, half_life_s, with_factor):
    half_life_h = (half_life_s or LU_HALF_LIFE_S) / 3600
    factor = 2 ** (ADMIN_H / half_life_h)
    objects = decayed("ADMIN", half_life_s=half_life_s, factor=round(factor, 5) if with_factor else None)
    scan = read_spect(write(tmp_path, objects), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, 0.02 / factor, rtol=1e-4)
    assert scan.decay_corrected_to == "admin"
    assert scan.corrected_reference == datetime(2026, 1, 10, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(("series", "hours"), [("093000", 0.25), ("080000", 0.25), ("235900", 0.25)])
def test_correction_to_the_start_is_undone_from_the_acquisition_when_both_references_agree(tmp_path, series, hours):
    scan = read_spect(write(tmp_path, decayed("START", series=series)), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, 0.02 * 2 ** (-hours / 159.528), rtol=1e-4)


def test_decay_factor_tells_the_series_time_from_the_acquisition_time(tmp_path):
    factor = 2 ** (9.75 / 159.528)
    scan = read_spect(write(tmp_path, decayed("START", series="000000", factor=round(factor, 5))), zone=WARSAW)
    np.testing.assert_allclose(scan.volume.values, 0.02 / factor, rtol=1e-4)
    fail(write(tmp_path / "b", decayed("START", series="000000")), "9.5 h before AcquisitionTime and no DecayFactor")


def test_time_of_day_of_the_administration_needs_the_decay_factor_to_find_its_date(tmp_path):
    factor = round(2 ** (ADMIN_H / 159.528), 5)
    objects = decayed("ADMIN", admin="", factor=factor)
    for data in objects:
        data.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "093000"
    scan = read_spect(write(tmp_path, objects), zone=WARSAW)
    assert scan.corrected_reference == datetime(2026, 1, 10, 8, 30, tzinfo=UTC)
    for data in objects:
        del data.DecayFactor
    fail(write(tmp_path / "b", objects), "no RadiopharmaceuticalStartDateTime")


def test_contradictions_of_the_decay_correction_are_errors(tmp_path):
    fail(write(tmp_path / "a", decayed("NONE")), "DecayCorrection NONE but CorrectedImage .* contradicts itself")
    fail(write(tmp_path / "b", decayed("ADMIN", listed=False)), "without decay correction; the header contradicts")
    fail(write(tmp_path / "c", decayed("ADMIN", factor=1.1)), r"DecayFactor 1.1, but .* give 1.369")
    fail(write(tmp_path / "d", decayed("NONE", listed=False, factor=1.4)), "DecayFactor 1.4 in an image without")
    fail(write(tmp_path / "e", decayed("SOMETIMES")), "expected NONE, START or ADMIN")
    fail(write(tmp_path / "f", decayed("", listed=False, CorrectedImage=None)), "no statement whether the image is")
    fail(write(tmp_path / "g", decayed("ADMIN")), "remove the entry", decay_corrected_to="none")
    fail(write(tmp_path / "h", decayed("ADMIN", admin="20260120093000")), "before the administration")
    fail(write(tmp_path / "i", decayed("")), "no statement whether")
    fail(write(tmp_path / "j", decayed("")), "decay_corrected_to = 'none' in the case", decay_corrected_to="none")


def test_a_silent_header_takes_the_state_from_the_case(tmp_path):
    scan = read_spect(write(tmp_path, decayed("")), zone=WARSAW, decay_corrected_to="admin")
    np.testing.assert_allclose(scan.volume.values, 0.02 * 2 ** (-ADMIN_H / 159.528), rtol=1e-4)
    data = nm_object(ramp())
    del data.CorrectedImage
    fail(write(tmp_path / "n", [data]), "no statement whether")
    assert read_spect(write(tmp_path / "m", [data]), zone=WARSAW, decay_corrected_to="none").undone_factor == 1.0


def test_nuclide_of_header_and_case_must_agree(tmp_path):
    other = {"RadiopharmaceuticalInformationSequence": radiopharmaceutical("^90^Yttrium", 64.1 * 3600)}
    fail(write(tmp_path / "a", pt_series(ramp(), **other)), "expected Lu-177, the measured nuclide", nuclide="Lu-177")
    wrong = {"RadiopharmaceuticalInformationSequence": radiopharmaceutical(half_life_s=6586.2)}
    fail(write(tmp_path / "b", pt_series(ramp(), **wrong)), "half-life of 1.829 h in the header of a Lu-177 scan")
    unknown = {"RadiopharmaceuticalInformationSequence": radiopharmaceutical("^299^Unobtainium", None)}
    fail(write(tmp_path / "c", pt_series(ramp(), **unknown)), "unknown nuclide")
    silent = {"RadiopharmaceuticalInformationSequence": Sequence([item()])}
    fail(write(tmp_path / "d", pt_series(ramp(), **silent)), "no radionuclide in the header")
    scan = read_spect(tmp_path / "d", zone=WARSAW, nuclide="177Lu")
    assert (scan.nuclide, scan.doubts[0].code) == ("Lu-177", "nuclide-from-case")


def test_units_other_than_activity_are_refused(tmp_path):
    fail(write(tmp_path / "a", pt_series(ramp(), Units="GML")), "Units GML; expected BQML or CNTS", UnitError)
    fail(write(tmp_path / "b", pt_series(ramp(), Units="PROPCPS")), "Units PROPCPS", UnitError)
    fail(write(tmp_path / "c", [nm_object(ramp(), mapping=("g/ml{SUVbw}", 1.0))]), "expected Bq/ml", UnitError)
    fail(write(tmp_path / "d", pt_series(ramp() * 0 + 1, slopes=[0.5, -1, 1, 1])), "expected a positive", UnitError)
    no_slope = pt_series(ramp())
    del no_slope[1].RescaleSlope
    fail(write(tmp_path / "e", no_slope), "without RescaleSlope", UnitError)
    mixed = pt_series(ramp())
    mixed[0].Units = "CNTS"
    fail(write(tmp_path / "f", mixed), "different Units in one series", UnitError)


def test_stacks_that_are_no_volume_are_refused(tmp_path):
    objects = pt_series(ramp())
    fail(write(tmp_path / "a", [*objects[:1], *objects[2:]]), "a slice is missing")
    fail(write(tmp_path / "b", [*objects, pt_series(ramp())[1]]), "two slices at the same place")
    tilted = pt_series(ramp())
    for k, data in enumerate(tilted):
        data.ImagePositionPatient = [-10, -20 + 1.5 * k, 30 + 4 * k]
    fail(write(tmp_path / "c", tilted), "tilted gantry")
    turned = pt_series(ramp())
    turned[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    fail(write(tmp_path / "d", turned), "slices of different orientation")
    lost = pt_series(ramp())
    del lost[2].ImagePositionPatient
    fail(write(tmp_path / "e", lost), "without a usable ImagePositionPatient")
    fail(write(tmp_path / "f", [nm_object(ramp(), gap_mm=None)]), "without SpacingBetweenSlices")
    data = nm_object(ramp())
    del data.DetectorInformationSequence
    fail(write(tmp_path / "g", [data]), "without a usable ImageOrientationPatient")
    data = nm_object(ramp(), ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"])
    fail(write(tmp_path / "h", [data]), "type TOMO, not a reconstruction")
    data = nm_object(ramp(), EnergyWindowVector=[1, 1, 2, 2])
    fail(write(tmp_path / "i", [data]), "several volumes in one NM object")


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
def test_missing_or_contradictory_times_are_errors(tmp_path):
    none = pt_series(ramp(), AcquisitionTime="")
    fail(write(tmp_path / "a", none), "no AcquisitionDate and AcquisitionTime")
    middle = START + timedelta(minutes=3)
    assert read_spect(tmp_path / "a", zone=WARSAW, mid_acquisition=middle).mid_acquisition == middle
    fail(write(tmp_path / "b", pt_series(ramp(), ActualFrameDuration=None)), "no usable acquisition duration")
    fail(
        write(tmp_path / "c", pt_series(ramp(), AcquisitionDateTime="20260114093000")), "contradict AcquisitionDateTime"
    )
    fail(
        write(tmp_path / "d", pt_series(ramp())), "2.75 h after the middle", mid_acquisition=START + timedelta(hours=3)
    )
    fail(write(tmp_path / "e", pt_series(ramp(), AcquisitionDate="20261313")), "cannot be read; expected YYYYMMDD")
    with pytest.raises(InputError, match="give the case's `timezone`"):
        read_spect(write(tmp_path / "f", pt_series(ramp())))


def test_broken_and_wrong_folders_have_their_own_messages(tmp_path, monkeypatch):
    fail(tmp_path / "absent", "found nothing at 'absent'")
    (tmp_path / "empty").mkdir()
    fail(tmp_path / "empty", "an empty folder")
    mixed = write(tmp_path / "mixed", pt_series(ramp()))
    (mixed / "Wisniewska_notes.txt").write_text("no image")
    fail(mixed, r"not DICOM \(….*notes.txt\)")
    cut = write(tmp_path / "cut", pt_series(ramp()))
    file = cut / "0002.dcm"
    file.write_bytes(file.read_bytes()[:-30])
    fail(cut, "truncated")
    short = write(tmp_path / "short", pt_series(ramp()))
    (short / "0001.dcm").write_bytes((short / "0001.dcm").read_bytes()[:200])
    fail(short, "truncated or damaged")
    other = pt_series(ramp())
    other[0].SeriesInstanceUID = "1.2.3"
    fail(write(tmp_path / "two", other), "found 2 series")
    fail(write(tmp_path / "mr", pt_series(ramp(), Modality="MR")), "modality 'MR'; expected PT or NM")
    monkeypatch.setattr("lutetia.imaging.dicom_files.MAX_FILES", 3)
    fail(tmp_path / "mr", "more than 3 files")
    assert MAX_FILES == 20_000


def test_two_patients_in_one_series_are_refused(tmp_path):
    objects = pt_series(ramp())
    objects[1].PatientID = "SOMEBODY-ELSE"
    fail(write(tmp_path, objects), "different patient identities")


def test_an_image_without_activity_is_refused(tmp_path):
    fail(write(tmp_path, pt_series(np.zeros((3, 4, 4)))), "without any positive value", ImageError)


def test_nifti_takes_its_facts_from_the_case_and_turns_RAS_into_LPS(tmp_path):
    image = sitk.GetImageFromArray(ramp())
    image.SetSpacing((2.0, 3.0, 4.0))
    image.SetOrigin((-10.0, -20.0, 30.0))
    path = tmp_path / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    fail(path, "holds no nuclide, mid_acquisition, decay_corrected_to, unit")
    facts = {"nuclide": "Lu-177", "mid_acquisition": START, "decay_corrected_to": "admin", "unit": "MBq_per_mL"}
    fail(path, "without the time it is corrected to", **facts)
    scan = read_spect(path, corrected_reference=START - timedelta(hours=159.528), **facts)
    np.testing.assert_allclose(scan.volume.values, ramp() / 2, rtol=1e-6)
    np.testing.assert_allclose(scan.volume.grid.position_mm((1, 2, 3)), [-4, -14, 34], atol=1e-4)
    (tmp_path / "bad.nii").write_bytes(b"not an image")
    fail(tmp_path / "bad.nii", "NIfTI file that cannot be read", corrected_reference=START, **facts)
