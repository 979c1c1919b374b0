"""The tape: what a traced computation leaves behind, and the walk back over it.

Reverse-mode differentiation in three sentences. While `f(x)` runs, every operation on a traced `Tensor` appends one
entry to a `Tape`: for each operand, a vector-Jacobian product, the operand's position, and the arrays the product will
need. An entry can only refer to earlier ones, so the order of creation is a topological order and no graph search is
needed. `backward` visits the entries once, last to first, turning the cotangent of each result into cotangents of its
operands by the chain rule ∂L/∂x = (∂L/∂y) (∂y/∂x).

Tapes nest: a `Tensor`'s value may itself be a `Tensor` of an older tape, and a vector-Jacobian product is written in
functions that work on both. Differentiating twice is therefore tracing twice, with no further code.

(Griewank and Walther, *Evaluating Derivatives*, 2nd ed., ch. 3.)
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from minilvm.backend import Array

__all__ = ["Edge", "Pull", "Tape", "Tensor", "backward", "is_watched", "stop_gradient", "watching"]

Pull = Callable[..., Array]
Edge = tuple[Pull, int, Any]  # how to send a cotangent on, to which entry, from which saved values

Watcher = Callable[[tuple[Edge, ...], Array, FrameType], tuple[Edge, ...]]
_ages = itertools.count()
_watch: contextvars.ContextVar[Callable[[], Watcher] | None] = contextvars.ContextVar("minilvm_watch", default=None)


class Tape:
    """The entries of one trace, in order of creation. Of two open tapes the younger is the inner one."""

    __slots__ = ("age", "entries")

    def __init__(self) -> None:
        watch = _watch.get()
        self.age = next(_ages)
        self.entries: list[tuple[Edge, ...]] = [] if watch is None else _Watched(watch())

    def close(self) -> list[tuple[Edge, ...]]:
        """End the trace: hand the entries over, and refuse any more."""
        entries, self.entries = self.entries, _Closed()
        return entries


class _Closed(list[Any]):
    def append(self, _: object) -> NoReturn:
        raise RuntimeError(
            "a traced Tensor was used after the function that was being differentiated had returned; "
            "return the value from the function (has_aux=True), or keep stop_gradient(x) of it"
        )


class _Watched(list[Any]):
    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def append(self, edges: tuple[Edge, ...]) -> None:
        making = sys._getframe(1)  # noqa: SLF001 (Tensor.__init__: looking up from here costs nothing when nobody looks)
        super().append(self.watcher(edges, making.f_locals["value"], making))


def is_watched() -> bool:
    """Whether a tape made now would be watched."""
    return _watch.get() is not None


@contextlib.contextmanager
def watching(make_watcher: Callable[[], Watcher]) -> Iterator[None]:
    """Let a watcher of its own see, and change, every entry of each tape made inside a `with` block."""
    token = _watch.set(make_watcher)
    try:
        yield
    finally:
        _watch.reset(token)


class Tensor:
    """A value on a tape: it behaves as an array of NumPy, and every operation on it is recorded.

    Made by the transforms (`grad`, `vjp`, …), never by hand. It lives while the function being differentiated runs.
    Arithmetic and methods are attached where their rules stand, in `minilvm.numpy`.
    """

    __slots__ = ("index", "tape", "value")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, value: Array, tape: Tape, edges: tuple[Edge, ...]) -> None:
        entries = tape.entries
        self.value = value
        self.tape = tape
        self.index = len(entries)
        entries.append(edges)


def stop_gradient(x: Array) -> Array:
    """Return the value of `x` as a constant: ∂ stop_gradient(x) / ∂x = 0, at every order.

    >>> import numpy
    >>> stop_gradient(numpy.array([1.0]))
    array([1.])
    """
    while type(x) is Tensor:
        x = x.value
    return x


def backward(entries: list[tuple[Edge, ...]], seeds: Iterable[tuple[int, Array]], n_inputs: int) -> list[Array | None]:
    """Carry cotangents back from the seeded entries to the first `n_inputs`; None where nothing arrives.

    Entries are dropped as they are left, and with them the arrays they saved. An edge to ~index adds to the sum so far
    by itself: it is handed that sum, and told whether it may write into it.
    """
    cotangents: list[Array | None] = [None] * len(entries)
    for index, seed in seeds:
        cotangents[index] = seed if cotangents[index] is None else cotangents[index] + seed
    own: set[int] = set()
    leave, arrive = entries.pop, cotangents.pop
    for _ in range(len(entries) - n_inputs):
        edges = leave()
        g = arrive()
        if g is not None:
            for pull, index, saved in edges:
                if index >= 0:
                    contribution = pull(g, saved)
                    sum_so_far = cotangents[index]
                    cotangents[index] = contribution if sum_so_far is None else sum_so_far + contribution
                else:
                    cotangents[~index] = pull(g, saved, cotangents[~index], ~index in own)
                    own.add(~index)
    return cotangents
