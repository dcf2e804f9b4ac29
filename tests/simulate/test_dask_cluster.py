"""Chunks over Dask distributed; skipped, loudly, where the extra `dask` is not installed."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lutetia.errors import InputError
from lutetia.protocol.profile import read_protocol
from lutetia.simulate import chunks, study
from lutetia.simulate.chunks import map_chunks
from lutetia.simulate.study import run_study, study_spec

INSTALLED = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not INSTALLED, reason="Dask distributed is not installed (extra `dask`)")


@pytest.mark.skipif(INSTALLED, reason="Dask distributed is installed")
def test_without_dask_a_scheduler_is_refused_with_what_to_install() -> None:
    with pytest.raises(InputError, match="install lutetia with the extra `dask`"):
        list(map_chunks(abs, [1], scheduler="tcp://127.0.0.1:1"))


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_an_unreachable_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises(InputError, match=r"scheduler tcp://127\.0\.0\.1:1: cannot be reached"):
        list(map_chunks(abs, [1], scheduler="tcp://127.0.0.1:1"))


@needs_dask
@pytest.mark.filterwarnings("ignore")
def test_a_study_over_two_workers_of_which_one_is_killed_gives_the_numbers_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import LocalCluster

    monkeypatch.setitem(study.BLOCKS_PER_CHUNK, "analytic", 1)
    spec = replace(study_spec(read_protocol("duonen"), subjects=28, trials=280, seed=5), calibrated_blocks=0)
    killed: list[int] = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:

        def kill_one(done: int, total: int) -> None:
            if 0 < done < total and not killed:
                killed.append(cluster.workers[0].pid)
                os.kill(killed[0], signal.SIGKILL)

        found = run_study(spec, scheduler=cluster.scheduler_address, progress=kill_one)
    assert killed
    for name, values in run_study(spec).items():
        np.testing.assert_array_equal(values, found[name])
