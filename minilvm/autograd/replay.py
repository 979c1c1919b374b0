"""Trace once, replay: what a function did, written down as a Python function, and run instead of it.

One line is one step. The gradient of x ↦ Σ sin(x), at three numbers, becomes

    def program(a0):
        v0 = sin_5(a0)                            forward
        v1 = sum_4(v0)
        v2 = ones_like_3(v1)                      backward: ∂y/∂y = 1, the rule of sum, the rule of sin
        v3 = sum_2(v2, ((3, ), None, False, ))
        v4 = sin_1(v3, a0)
        v5 = v4.astype(c_0, copy=False)
        return (v5, )

No tape, no laws, no networks are left, and no step that no result depends on. `jax.jit` does this before it compiles.
(Frostig, Johnson and Leary, *Compiling machine learning programs via high-level tracing*, SysML 2018.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

import numpy

from minilvm import backend, tree
from minilvm.autograd.recording import Recorded, RecordedGenerator, Recording, alike, is_array, method, parts, snapshot
from minilvm.tape import Tensor, is_watched

__all__ = ["jit"]

_TRACED: Final = {Tensor, Recorded, RecordedGenerator}
_FIXED: Final = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    numpy.dtype,
    numpy.ufunc,
    FunctionType,
    BuiltinFunctionType,
)


def jit(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return `f`, recorded on its first call and replayed on later ones: the same bits, with little Python in between.

    To be fast, differentiate inside: `jit(value_and_grad(loss))`. The gain is the time that small operations spend in
    Python; where products of large matrices take the time, there is none.

    Parameters
    ----------
    f
        A function of trees of arrays, generators, and constants (numbers, strings, functions), with a tree of arrays
        for a value. A new shape, dtype, structure or constant is recorded anew, and runs `f` twice; otherwise `f` is
        not run, and what it does besides (printing, counting) is not done. An array that it takes from the scope around
        it is a constant, as it was when recorded. Draws are made on every call, from a generator that is an argument.

    Returns
    -------
    Callable
        A function whose results share memory with nothing, and which threads may call at once. Given something traced,
        inside another `jit`, and where `trace` or `detect_anomaly` looks on, it is `f` itself.

    Raises
    ------
    TypeError
        What `f` does depends on the numbers in an array (`if`, `float(x)`, `x[mask]`), or it writes into one, or draws
        from a generator that is no argument; the message names the alternative.
    RuntimeError
        `f` did not do the same a second time: it reads something that changes, and that is no argument.

    Examples
    --------
    >>> import minilvm.numpy as np
    >>> from minilvm.autograd import grad
    >>> slope = jit(grad(lambda w, x: np.sum(np.tanh(x @ w))))
    >>> slope(numpy.zeros(2), numpy.ones((3, 2)))
    array([3., 3.])
    >>> jit(lambda x: x if x > 0 else -x)(numpy.float64(1.0))
    Traceback (most recent call last):
    TypeError: a recorded array is not yet a number, and a branch would be fixed: use np.where. ...
    """
    programs: dict[Any, _Program] = {}

    @functools.wraps(f)
    def apply(*args: Any, **kwargs: Any) -> Any:
        leaves, outline = tree.outline((args, kwargs))
        if is_watched() or not _TRACED.isdisjoint(map(type, leaves)):
            return f(*args, **kwargs)
        key = (*map(_kind, leaves), *outline)
        program = programs.get(key)
        if program is None:
            program, again = (_Program(Recording(f, (args, kwargs)), len(leaves)) for _ in range(2))
            program.check_same(again)
            programs[key] = program
        return program(leaves)

    return apply


def _kind(leaf: Any) -> Any:
    """What a recording depends on: of an array all but its numbers, of a constant all."""
    if type(leaf) is numpy.ndarray:
        return leaf.shape, leaf.dtype
    if is_array(leaf):
        return type(leaf), leaf.shape, leaf.dtype, str(getattr(leaf, "device", ""))
    if backend.random_module(leaf.__class__) is not None:
        return type(leaf)
    if isinstance(leaf, _FIXED):
        return type(leaf), repr(leaf) if isinstance(leaf, float | complex) else leaf  # 0.0 == -0.0
    raise TypeError(
        f"an argument of a jitted function has a leaf of type {type(leaf).__name__}; expected arrays, generators of "
        "backend.default_rng, and numbers, strings or functions, which are constants"
    )


class _Program:
    """A recording as a Python function of the leaves of the arguments."""

    def __init__(self, recording: Recording, n_inputs: int) -> None:
        outputs = [leaf.recorded if type(leaf) is RecordedGenerator else leaf for leaf in tree.leaves(recording.result)]
        for leaf in outputs:
            if type(leaf) is Tensor or (type(leaf) is Recorded and leaf.tape is not recording):
                raise TypeError("a jitted function returns a traced value that is not of its arguments: pass it as one")
        self.structure = tree.map(lambda _: 0, recording.result)
        self.constants: dict[str, Any] = {}
        lines = [f"return {self._spelled(tuple(map(snapshot, outputs)))}"]
        self.fixed = {*map(id, self.constants.values())}
        wanted = {leaf.name for leaf in outputs if type(leaf) is Recorded}
        for name, f, args, options, effect in reversed(recording.steps):
            if effect or name in wanted:
                used = {part.name for part in parts((args, options)) if type(part) is Recorded}
                last = sorted(x for x in used - wanted if x[0] == "v")
                lines += [f"del {', '.join(last)}"] if last else []  # as the tape does, when it has been used last
                lines.append(f"{name} = {self._call(f, args, options)}")
                wanted |= used
        inputs = ", ".join(f"a{i}" for i in range(n_inputs))
        self.source = "\n    ".join([f"def program({inputs}):", *reversed(lines)])
        scope = dict(self.constants)
        exec(compile(self.source, "<jit>", "exec"), scope)  # noqa: S102  (our own text: names, calls and small numbers)
        self.run: Callable[..., Any] = scope["program"]

    def __call__(self, leaves: list[Any]) -> Any:
        taken = {*map(id, leaves), *self.fixed}
        results = iter([_own(y, taken) for y in self.run(*leaves)])
        return tree.map(lambda _: next(results), self.structure)

    def check_same(self, other: _Program) -> None:
        """Raise if another recording of the same function, with the same arguments, is another program."""
        both = zip(self.constants.values(), other.constants.values(), strict=False)
        if self.source != other.source or not all(alike(a, b) for a, b in both):
            raise RuntimeError(
                "a jitted function did not do the same a second time: it draws from a generator that is not among its "
                "arguments, or reads something else that changes between calls. Pass that as an argument"
            )

    def _call(self, f: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> str:
        if f is method:
            called, args = f"{args[0].name}.{args[1]}", args[2:]
        else:
            called = self._constant(f, getattr(f, "__name__", ""))
        spelled = [*map(self._spelled, args), *(f"{key}={self._spelled(option)}" for key, option in options.items())]
        return f"{called}({', '.join(spelled)})"

    def _spelled(self, x: Any) -> str:
        """An argument in Python: recorded arrays and constants by their names, what is small as it is."""
        if type(x) is Recorded:
            return x.name
        if type(x) is tuple or type(x) is list:
            inner = "".join(f"{self._spelled(part)}, " for part in x)
            return f"({inner})" if type(x) is tuple else f"[{inner}]"
        if type(x) is dict:
            return f"{{{', '.join(f'{self._spelled(key)}: {self._spelled(part)}' for key, part in x.items())}}}"
        return repr(x) if x is None or type(x) in {bool, int, str} else self._constant(x, "c")

    def _constant(self, x: Any, name: str) -> str:
        name = f"{name if name.isidentifier() else 'f'}_{len(self.constants)}"
        self.constants[name] = x
        return name


def _own(y: Any, taken: set[int]) -> Any:
    """An array as the caller keeps it: in memory that is neither a view of another's nor given out twice."""
    owned = getattr(getattr(y, "flags", None), "owndata", None)
    if owned is None:  # no array
        return y
    if not owned or id(y) in taken:
        y = y.copy()
    taken.add(id(y))
    return y
