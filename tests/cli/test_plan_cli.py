"""`lutetia plan` as a command: exit codes, nothing half-written, no identity in any output, same bytes for a seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.plan.case_files import (
    DRAWS,
    case_data,
    command,
    image_case,
    planned,
    refused,
    snapshot,
    table_cycle,
    write_case,
)
from tests.plan.test_bad_input_images import SECRETS, alter, identify

from lutetia.plan import run as run_module
from lutetia.plan import write as write_module

LUTETIA = (sys.executable, "-c", "from lutetia.cli import main; main()")
NAMES = ("report.html", "report.pdf", "result.json")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_case(tmp_path / "case", case_data(table_cycle()))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log" / "lutetia.log"
    monkeypatch.setenv("LUTETIA_LOG", str(path))
    return path


def test_the_command_in_its_own_process_writes_three_files_and_a_summary(case: Path) -> None:
    done = subprocess.run([*LUTETIA, "plan", str(case), *DRAWS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(p.name for p in (case / "out").iterdir()) == list(NAMES)
    assert "Cycle 2: OK" in done.stdout
    assert "not a medical device" in done.stdout
    assert (case / "out" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert not [p for p in case.iterdir() if p.name.startswith(".lutetia")]


def test_the_command_in_its_own_process_refuses_bad_input_with_exit_code_2(tmp_path: Path) -> None:
    done = subprocess.run([*LUTETIA, "plan", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no case.toml" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_prints_exactly_the_result_file(case: Path) -> None:
    run = command("plan", case, "--json", *DRAWS)
    assert run.out.encode() == (case / "out" / "result.json").read_bytes()
    assert run.err == ""


def test_same_seed_gives_the_same_bytes_and_another_seed_nearby_numbers(case: Path, tmp_path: Path) -> None:
    def outputs(name: str, seed: int) -> dict[str, bytes]:
        assert command("plan", case, "--out", tmp_path / name, "--seed", str(seed), "--draws", "1000").code == 0
        return {p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())}

    first, again, other = outputs("a", 1), outputs("b", 1), outputs("c", 2)
    assert first == again
    assert tuple(first) == NAMES
    one, two = (json.loads(files["result.json"]) for files in (first, other))
    assert one["inputs_sha256"] == two["inputs_sha256"]
    assert (one["seed"], two["seed"]) == (1, 2)
    for a, b in zip(one["cumulative"], two["cumulative"], strict=True):
        # Doses are those of the nominal inputs; only the marrow takes a median over draws of its model.
        assert a["absorbed_dose_Gy"] == pytest.approx(b["absorbed_dose_Gy"], rel=0.02)
        assert a["absorbed_dose_sd_Gy"] == pytest.approx(b["absorbed_dose_sd_Gy"], rel=0.25)
    assert [a["absorbed_dose_sd_Gy"] for a in one["cumulative"]] != [
        b["absorbed_dose_sd_Gy"] for b in two["cumulative"]
    ]


def test_a_case_gives_the_same_bytes_wherever_it_lies(case: Path, tmp_path: Path) -> None:
    other = write_case(tmp_path / "moved" / "elsewhere", case_data(table_cycle()))
    assert planned(case) == planned(other)
    assert snapshot(case / "out").keys() != {}
    for name in NAMES:
        assert (case / "out" / name).read_bytes() == (other / "out" / name).read_bytes()


@pytest.mark.parametrize("arguments", [("--draws", "5"), ("--seed", "-1"), ("--colour", "red")])
def test_impossible_options_are_refused(arguments: tuple[str, ...], case: Path) -> None:
    run = command("plan", case, *arguments)
    assert run.code == 2
    assert not (case / "out").exists()


def test_bad_input_leaves_an_older_result_untouched(case: Path) -> None:
    planned(case)
    before = snapshot(case / "out")
    (case / "case.toml").write_text('schema = "other"\n', encoding="utf-8")
    refused(case, "schema")
    assert snapshot(case / "out") == before


def test_a_file_in_place_of_the_output_folder_is_refused(case: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    refused(case, "taken", "found a file", "--out", out=tmp_path / "taken")
    refused(case, "cannot be written", "--out", out=tmp_path / "taken" / "below")


def test_a_folder_in_place_of_a_result_is_refused(case: Path) -> None:
    (case / "out" / "report.html").mkdir(parents=True)
    refused(case, "report.html", "found a folder", "remove it")


@pytest.mark.skipif(os.name != "posix", reason="/proc is a folder that nobody can write to")
def test_a_disk_that_cannot_be_written_is_refused(case: Path) -> None:
    refused(case, "cannot be written", "choose another folder with --out", out=Path("/proc/lutetia-out"))


def fail_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills when this file is moved into its place."""
    move = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(source).name == name:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr(write_module.os, "replace", full)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_no_new_folder(name: str, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_on(name, monkeypatch)
    refused(case, "No space left", "free space")


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_the_older_results(name: str, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(case)
    (case / "case.toml").write_text((case / "case.toml").read_text(encoding="utf-8").replace("T-1", "T-2"))
    fail_on(name, monkeypatch)
    refused(case, "No space left", "free space")


def test_a_fault_of_ours_ends_with_exit_code_1_and_a_log_without_values(
    case: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **named: Any) -> Any:
        raise ZeroDivisionError(" ".join((*SECRETS, str(7.0 + 0.12345))))

    monkeypatch.setattr(run_module, "propose", broken)
    run = command("plan", case, *DRAWS)
    assert run.code == 1
    assert not (case / "out").exists()
    text = log.read_text(encoding="utf-8")
    reference = text.split()[1]
    assert f"reference {reference} in {log}" in run.err
    assert "ZeroDivisionError" in run.err
    assert "ZeroDivisionError" in text
    for secret in (*SECRETS, "7.12345"):
        assert secret not in run.err + run.out + text


def test_a_log_that_cannot_be_written_still_gives_a_reference(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    monkeypatch.setenv("LUTETIA_LOG", str(tmp_path / "taken" / "log"))
    monkeypatch.setattr(run_module, "propose", lambda *a, **k: 1 / 0)
    run = command("plan", case, *DRAWS)
    assert run.code == 1
    assert "could not be written" in run.err


def test_being_stopped_writes_nothing(case: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "propose", stopped)
    run = command("plan", case, *DRAWS)
    assert run.code != 0
    assert "Traceback" not in run.err
    assert not (case / "out").exists()
    assert not log.exists()


@pytest.mark.parametrize("image", ["NM", "PT"])
def test_no_name_or_identifier_of_an_image_reaches_any_output(image: str, tmp_path: Path, log: Path) -> None:
    case = image_case(tmp_path / "case", image=image, segmentation="SEG", times_h=(24.0, 96.0))

    def planted(data: Any) -> None:
        identify(data)
        data.OtherPatientIDs = "PESEL58031201234"
        data.ReferringPhysicianName = data.OperatorsName = "Wisniewska^Zofia"
        data.SeriesDescription = data.StudyDescription = data.PatientComments = "Zofia Wisniewska PESEL58031201234"
        data.InstitutionName = "Zofia Hospital"
        data.PatientBirthDate = "19580312"

    alter(case / "cycle1", planted)
    run = command("plan", case, "--json", *DRAWS)
    assert run.code == 0, run.err
    words = [w for secret in (*SECRETS, "19580312") for w in (secret, secret.upper(), secret.lower())]
    written = {p.name: p.read_bytes() for p in (case / "out").iterdir()}
    assert tuple(sorted(written)) == NAMES
    texts = {
        "stdout": run.out.encode(),
        "stderr": run.err.encode(),
        "pdf text": pdf_text(written["report.pdf"]),
    } | written
    for where, text in texts.items():
        for word in words:
            assert word.encode() not in text, f"{word} in {where}"
    assert not log.exists()


def pdf_text(content: bytes) -> bytes:
    """Text of a PDF, for searching."""
    import zlib

    parts, rest = [], content
    while b"stream\n" in rest:
        rest = rest.split(b"stream\n", 1)[1]
        body = rest.split(b"endstream", 1)[0]
        try:
            parts.append(zlib.decompressobj().decompress(body))
        except zlib.error:
            continue
    return b"\n".join(parts)
