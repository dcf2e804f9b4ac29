"""One function over many chunks: in this process, over processes, or over machines with Dask distributed.

Results do not depend on which of them is used: every chunk draws from its own named random streams.
"""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lutetia.errors import InputError, OutputError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
RETRIES = 3
CONNECT_TIMEOUT_S = 10.0


def map_chunks(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], *, workers: int = 1, scheduler: str | None = None
) -> Iterator[tuple[int, Result]]:
    """Index and result of every chunk, in the order in which they end.

    Parameters
    ----------
    function
        Of one chunk; importable by name, so that other processes find it.
    chunks
        Arguments; each should take half a second or more.
    workers
        Processes on this machine; 1 uses this process.
    scheduler
        Address of a Dask scheduler (``tcp://host:8786``) or a connected `distributed.Client`-like object; then
        `workers` is not used. A chunk whose worker dies is computed again elsewhere.

    Raises
    ------
    InputError
        For fewer than one worker, or a scheduler that cannot be reached, or if Dask is not installed.
    OutputError
        If a worker process was killed.
    """
    if workers < 1:
        raise InputError(f"workers: found {workers}; expected 1 or more")
    if scheduler is not None:
        yield from _over_machines(function, chunks, scheduler)
    elif workers == 1 or len(chunks) < 2:
        yield from ((i, function(chunk)) for i, chunk in enumerate(chunks))
    else:
        yield from _over_processes(function, chunks, workers)


def _over_processes(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], workers: int
) -> Iterator[tuple[int, Result]]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context) as pool:
        futures = {pool.submit(function, chunk): i for i, chunk in enumerate(chunks)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise OutputError(
                "a worker process was ended from outside (out of memory?); run the same command again: finished parts "
                "are kept"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _over_machines(
    function: Callable[[Chunk], Result], chunks: Sequence[Chunk], scheduler: str
) -> Iterator[tuple[int, Result]]:
    distributed = _distributed()
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"scheduler {scheduler}: cannot be reached ({error}); start one with `dask scheduler` or leave it out"
        ) from error
    with client:
        futures = [client.submit(function, chunk, pure=False, retries=RETRIES) for chunk in chunks]
        index = {future.key: i for i, future in enumerate(futures)}
        for future, result in distributed.as_completed(futures, with_results=True):
            yield index[future.key], result


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise InputError(
            "--scheduler needs Dask distributed, which is not installed; install lutetia with the extra `dask`"
        ) from error
