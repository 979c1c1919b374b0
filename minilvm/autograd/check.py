"""Is a derivative right? Compare it with the function itself, a little to the left and a little to the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from minilvm import backend, tree
from minilvm.autograd.transforms import vjp

__all__ = ["check_grads"]


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    step: float = 1e-4,
    rng: Any = 0,
) -> None:
    """Assert that the derivatives of `f` at `args`, up to `order`, are those of `f`.

    For a random cotangent u, and a random direction v in each leaf of the arguments, ⟨uᵀ∂f, v⟩ is compared with the
    five-point central difference of ⟨u, f⟩ along v, whose error is of order `step`⁴. The next order checks the pullback
    in the same way, as a function of the arguments and of u. Everything is computed in float64.

    Parameters
    ----------
    f
        A function of trees of arrays, whose value is a tree of arrays.
    args
        Where to check it: a point at which `f` is smooth, with room of 2 `step` around it.
    order
        1 for the gradient, 2 for its derivative as well, and so on.
    rtol, atol
        The error allowed: `atol + rtol × |difference quotient|`.
    step
        The spacing of the difference quotient.
    rng
        Seed or generator (of NumPy) of the random directions.

    Raises
    ------
    AssertionError
        A derivative is wrong; the message names its order and the argument, and gives both numbers.

    Examples
    --------
    >>> import minilvm.numpy as np
    >>> check_grads(np.tanh, [numpy.array([0.5, -1.0])])
    """
    generator = numpy.random.default_rng(rng)
    args = tuple(tree.map(_as_float64, arg) for arg in args)
    for current in range(1, order + 1):
        f, args = _checked(f, args, current, (rtol, atol, step), generator)


def _checked(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    current: int,
    settings: tuple[float, float, float],
    generator: numpy.random.Generator,
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Check the derivative of `f`; return the pullback and its arguments, the last of them u, to be checked in turn."""
    rtol, atol, step = settings
    y, pullback = vjp(f, *args)
    u = tree.map(lambda leaf: _direction(leaf, generator), y)
    cotangents = pullback(u)
    n_primals = len(tree.leaves(args[: len(args) - current + 1]))
    for i, (spelling, leaf, cotangent) in enumerate(
        zip(tree.paths(args), tree.leaves(args), tree.leaves(cotangents), strict=True)
    ):
        which = f"argument {spelling}" if i < n_primals else "the cotangent"
        if numpy.shape(cotangent) != numpy.shape(leaf):
            raise AssertionError(
                f"derivative of order {current} with respect to {which}: the rule gives shape "
                f"{numpy.shape(cotangent)}, for an argument of shape {numpy.shape(leaf)}"
            )
        v = _direction(leaf, generator)

        def along(t: float, i: int = i, v: Any = v) -> float:
            moved = [x + t * v if j == i else x for j, x in enumerate(tree.leaves(args))]
            return _inner(u, f(*tree.unflatten(args, moved)))

        quotient = (8.0 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12.0 * step)
        derivative = _inner(cotangent, v)
        if not abs(derivative - quotient) <= atol + rtol * abs(quotient):
            raise AssertionError(
                f"derivative of order {current} with respect to {which}: "
                f"the rule gives {derivative!r}, the difference quotient {quotient!r}"
            )
    return lambda *xs: vjp(f, *xs[:-1])[1](xs[-1]), (*args, u)


def _as_float64(x: Any) -> Any:
    return numpy.float64(x) if isinstance(x, int | float) else x.astype("float64")


def _direction(like: Any, generator: numpy.random.Generator) -> Any:
    direction = numpy.asarray(generator.standard_normal(numpy.shape(like)))
    return backend.namespace(like).asarray(direction)


def _inner(u: Any, v: Any) -> float:
    """⟨u, v⟩ over all leaves, as a Python number."""
    return sum(float((a * b).sum()) for a, b in zip(tree.leaves(u), tree.leaves(v), strict=True))
