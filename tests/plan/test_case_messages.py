"""What a case file that cannot be used is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.plan.case_files import case_data, table_cycle, write_case

from lutetia.errors import CaseError
from lutetia.plan.case import read_case


def test_a_problem_of_the_whole_case_file_names_no_key(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", case_data(table_cycle(1), table_cycle(1)))
    with pytest.raises(CaseError, match=r"^case\.toml: cycles are numbered \[1, 1\]; expected 1, 2, 3"):
        read_case(case)
