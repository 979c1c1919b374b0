"""Who sums the shards: this thread, threads, processes, or the machines of a cluster.

Sums are added from the first shard to the last, whoever made them: the answer has the same bits on one core and on a
hundred.
"""

from __future__ import annotations

import contextlib
import functools
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy

from minilvm import backend
from minilvm.backend import Array
from minilvm.inference.shards import Data, Shard, shards, slices, stream
from minilvm.threads import in_order, n_cores, one_blas_thread

Sum = TypeVar("Sum")


class WorkerLostError(RuntimeError):
    """A worker died, and what it was to sum is missing. The model that `fit_em` was given is as it was.

    Attributes
    ----------
    result
        What `fit_em` had found before, to go on from: an `EMResult`.
    """

    result: Any = None


@contextlib.contextmanager
def spread(
    x: Data, weight: Array | None, executor: Executor | None, *, least: int, check: Callable[[Array], None]
) -> Iterator[Callable[[Callable[[Shard], Sum]], Iterable[Sum]]]:
    """Give a function that calls another on every shard, and yields the results in order, as often as need be.

    Parameters
    ----------
    x, weight
        The data.
    executor
        Who works; None for threads, one on each core, where there is enough to do. What can be held where the work is
        done is sent once: to processes of this machine as a file that they map, to a cluster by Dask.
    least
        How many points a shard should have.
    check
        Called on each chunk of data that come in chunks.
    """
    with contextlib.ExitStack() as stack:
        if not hasattr(x, "shape"):
            stack.enter_context(one_blas_thread())
            executor = executor or stack.enter_context(ThreadPoolExecutor(n_cores()))
            yield functools.partial(_flow, executor, x, check)
            return
        if isinstance(executor, ProcessPoolExecutor):
            x, weight = (stack.enter_context(_mapped(array)) for array in (x, weight))
        found = shards(x, weight, least)
        if backend.namespace(x) is numpy:
            stack.enter_context(one_blas_thread())
            if executor is None and len(found) > 1 and n_cores() > 1:
                executor = stack.enter_context(ThreadPoolExecutor(n_cores()))
        if executor is None:
            yield lambda f: map(f, found)
            return
        cluster = getattr(executor, "_client", None)  # of Dask: an Executor cannot hold data, the Client behind it can
        groups = _grouped(found, n_cores() if cluster is None else sum(cluster.nthreads().values()))
        if cluster is None:
            yield functools.partial(_gather, executor.submit, groups)
        else:
            yield functools.partial(_gather, functools.partial(cluster.submit, pure=False), cluster.scatter(groups))


def _grouped(found: list[Shard], n_workers: int) -> list[list[Shard]]:
    size = math.ceil(len(found) / n_workers)
    return [found[rows] for rows in slices(len(found), size)]


def _gather(submit: Callable[..., Any], groups: Sequence[Any], f: Callable[[Shard], Sum]) -> Iterator[Sum]:
    futures: list[Any] = []
    try:
        futures += [submit(_each, f, group) for group in groups]
        for future in futures:
            yield from future.result()
    except Exception as error:
        _blame(error)
        raise
    finally:
        for future in futures:
            future.cancel()


def _flow(
    executor: Executor, x: Iterable[Any], check: Callable[[Array], None], f: Callable[[Shard], Sum]
) -> Iterator[Sum]:
    """The same over chunks as they come."""
    try:
        for sums in in_order(executor, n_cores(), functools.partial(_each, f), ([shard] for shard in stream(x, check))):
            yield from sums
    except Exception as error:
        _blame(error)
        raise


def _blame(error: Exception) -> None:
    """Say so if it was not the work that failed, but who did it."""
    if isinstance(error, BrokenExecutor | CancelledError) or type(error).__module__.startswith("distributed."):
        raise WorkerLostError(
            f"a worker was lost ({type(error).__name__}: {error}). The model you passed is as it was; what had been "
            "found is the `result` of this error, and fit_em(error.result.model, x, executor=...) goes on from there"
        ) from error


def _each(f: Callable[[Shard], Sum], group: list[Shard]) -> list[Sum]:
    with one_blas_thread():
        return [f(shard) for shard in group]


@contextlib.contextmanager
def _mapped(x: Array | None) -> Iterator[Array | None]:
    """The array as a map of a temporary file: a process that is sent it is sent its address."""
    if x is None or type(x) is numpy.memmap:
        yield x
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "shards"
        x.tofile(file)
        yield numpy.memmap(file, x.dtype, "r", shape=x.shape)
