"""Looking inside: the graph that a function leaves on the tape, and the place where a NaN or an infinity came from.

Both watch the list that a tape's entries are appended to. Nothing on the way of an ordinary trace knows of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy

import minilvm.tape
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.tape import Edge, Tensor, stop_gradient, watching

__all__ = ["Graph", "Node", "detect_anomaly", "trace"]

_HERE = str(Path(minilvm.tape.__file__).parent)


@dataclass(frozen=True)
class Node:
    """One entry of a tape: what was done, to which entries, and what came of it."""

    operation: str
    operands: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        arguments = ", ".join(f"%{i}" for i in self.operands)
        return f"{self.operation}({arguments})" if self.operands else self.operation


@dataclass(frozen=True)
class Graph:
    """The entries that a function left on the tape, in order; `str()` of it is the graph as text."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        lines = [f"%{i}: {node.dtype}{list(node.shape)} = {node}" for i, node in enumerate(self.nodes)]
        return "\n".join([*lines, "return " + ", ".join(f"%{i}" for i in self.outputs)])

    def to_dot(self) -> str:
        """Return the graph in Graphviz's DOT language: `dot -Tsvg` draws it."""
        lines = ["digraph tape {", "  rankdir=TB;", '  node [shape=box, fontname="monospace"];']
        for i, node in enumerate(self.nodes):
            style = ", style=filled, fillcolor=lightblue" if not node.operands else ""
            style += ", peripheries=2" if i in self.outputs else ""
            lines.append(f'  n{i} [label="%{i} {node.operation}\\n{node.dtype}{list(node.shape)}"{style}];')
            lines += [f"  n{operand} -> n{i};" for operand in node.operands]
        return "\n".join([*lines, "}"])


def trace(f: Callable[..., Any]) -> Callable[..., Graph]:
    """Return a function that runs `f` on its arguments and returns the graph it leaves on the tape.

    >>> import numpy, minilvm.numpy as np
    >>> print(trace(lambda x: np.sum(np.sin(x) * x))(numpy.ones(3)))
    %0: float64[3] = input
    %1: float64[3] = sin(%0)
    %2: float64[3] = multiply(%1, %0)
    %3: float64[] = sum(%2)
    return %3
    """

    def traced(*args: Any, **kwargs: Any) -> Graph:
        nodes: list[Node] = []

        def note(edges: tuple[Edge, ...], value: Array, _: FrameType) -> tuple[Edge, ...]:
            plain = stop_gradient(value)
            nodes.append(Node(_operation(edges), _operands(edges), numpy.shape(plain), str(plain.dtype)))
            return edges

        with watching(lambda: note):
            tape = minilvm.tape.Tape()
        outputs = f(*tree.map(lambda leaf: Tensor(_inexact(leaf), tape, ()), args), **kwargs)
        tape.close()
        return Graph(tuple(nodes), tuple(y.index for y in tree.leaves(outputs) if type(y) is Tensor))

    return traced


def _inexact(leaf: Any) -> Array:
    return numpy.float64(leaf) if isinstance(leaf, float) else leaf


@contextlib.contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise where a traced operation, or its derivative, first gives a NaN or an infinity, inside a `with` block.

    Slower, by a pass over every result: a tool to find a fault with, not to train with. An infinity among the inputs
    may be passed on; one that comes with a constant, such as a mask of −inf, counts as made by the operation it meets.

    Raises
    ------
    FloatingPointError
        Names the operation, whether it was the value or the derivative, and the line of the user's code.

    Examples
    --------
    >>> import numpy, minilvm.numpy as np
    >>> from minilvm.autograd import grad
    >>> with detect_anomaly():
    ...     grad(lambda x: np.sqrt(x - 1.0))(0.5)
    Traceback (most recent call last):
    FloatingPointError: sqrt gave nan at ...
    """
    with watching(_Inspector), numpy.errstate(all="ignore"):  # our error says more than NumPy's warnings
        yield


class _Inspector:
    """Keeps, for each entry of a tape, how bad its value is, and refuses one that is worse than its operands."""

    def __init__(self) -> None:
        self.badness: list[str] = []

    def __call__(self, edges: tuple[Edge, ...], value: Array, frame: FrameType) -> tuple[Edge, ...]:
        operation, place = _operation(edges), _place(frame)
        self.badness.append(_badness(value))
        if edges:
            _refuse_worse(self.badness[-1], [self.badness[i] for i in _operands(edges)], operation, place)
        return tuple((_checked(pull, operation, place), index, saved) for pull, index, saved in edges)


def _checked(pull: Callable[..., Array], operation: str, place: str) -> Callable[..., Array]:
    def checked(g: Array, *saved: Any) -> Array:
        cotangent = pull(g, *saved)
        _refuse_worse(_badness(cotangent), [_badness(g)], f"the derivative of {operation}", place)
        return cotangent

    return checked


def _badness(value: Array) -> str:
    """How bad a value is, from best to worst in the order of strings: nothing, "inf" or "nan"."""
    plain = backend.to_numpy(stop_gradient(value))
    return "" if numpy.isfinite(plain).all() else "nan" if numpy.isnan(plain).any() else "inf"


def _refuse_worse(found: str, before: list[str], what: str, place: str) -> None:
    if found > max(before):
        raise FloatingPointError(f"{what} gave {found} at {place}")


def _operation(edges: tuple[Edge, ...]) -> str:
    return edges[0][0].__name__ if edges else "input"


def _operands(edges: tuple[Edge, ...]) -> tuple[int, ...]:
    return tuple(index if index >= 0 else ~index for _, index, _ in edges)


def _place(frame: FrameType | None) -> str:
    """The innermost line outside this package that led here, with what it says."""
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    import linecache

    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" + (f": {line}" if line else "")
