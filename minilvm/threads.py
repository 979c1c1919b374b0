"""Threads, for what they can do in Python: long calls on large arrays, which NumPy makes without the global lock."""

from __future__ import annotations

import collections
import contextvars
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

import threadpoolctl

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> Any:
    """Keep the library of linear algebra to one thread, inside `with`: the workers are as many as the cores already."""
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> Any:
    return threadpoolctl.ThreadpoolController()  # looks for them: a millisecond


def on_all_cores(f: Callable[[Argument], Result], arguments: Iterable[Argument], *, at_most: int) -> Iterator[Result]:
    """Yield f(a) for each a, in order, from as many threads as there are cores, or `at_most`; in this context."""

    def call(given: tuple[contextvars.Context, Argument]) -> Result:
        context, argument = given
        return context.run(f, argument)

    n_workers = min(n_cores(), at_most)
    given = ((contextvars.copy_context(), argument) for argument in arguments)
    with one_blas_thread(), ThreadPoolExecutor(n_workers) as executor:
        yield from in_order(executor, n_workers, call, given)


def in_order(
    executor: Executor, n_workers: int, f: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Iterator[Result]:
    """Yield f(a) for each a, in order, with never more of them begun or done than keep the workers busy."""
    waiting: collections.deque[Any] = collections.deque()
    try:
        for argument in arguments:
            waiting.append(executor.submit(f, argument))
            if len(waiting) > 2 * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
