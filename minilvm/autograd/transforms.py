"""Functions of functions: from `f` to its derivatives. Each reads like the symbol it stands for.

`grad(f)(x)` is ∇f at x; `vjp` is one row vector times the Jacobian, `jvp` the Jacobian times one column; the rest are
made of these. Arguments may be any trees of arrays (dicts, lists, tuples, dataclasses), and a gradient comes back in
the shape of its argument. The names and conventions are JAX's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from minilvm import tree
from minilvm.backend import Array, is_scalar, namespace
from minilvm.tape import Edge, Tape, Tensor, backward, stop_gradient

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """Return the function `x ↦ (f(x), ∇f(x))`, at the cost of one evaluation of `f` and about two more.

    Parameters
    ----------
    f
        A function whose value is one real number, of shape ().
    argnums
        Which positional argument, or arguments, to differentiate with respect to. A tuple gives a tuple of gradients.
    has_aux
        Whether `f` returns `(value, aux)`; then the result is `((value, aux), gradient)`.

    Raises
    ------
    TypeError
        `f` returns anything but a scalar, or an argument has leaves that are not floating-point numbers.

    Examples
    --------
    >>> value_and_grad(lambda x: x**2)(3.0)
    (np.float64(9.0), np.float64(6.0))
    """

    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        trace = _Trace(f, args, positions, kwargs)
        y, aux = _pair(trace.result) if has_aux else (trace.result, None)
        value = _lowered(y, trace.tape)
        _check_scalar(value)
        gradients = trace.pull([(y, numpy.ones_like(value))], release=True)
        gradient = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        return ((value, tree.map(lambda leaf: _lowered(leaf, trace.tape), aux)) if has_aux else value), gradient

    return value_and_gradient


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """Return the function `x ↦ ∇f(x)`; with `has_aux`, `x ↦ (∇f(x), aux)`. See `value_and_grad`.

    >>> grad(grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    both = value_and_grad(f, argnums, has_aux=has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, slope = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return gradient


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return `f(*primals)` and the pullback `v ↦ vᵀ ∂f`, one cotangent per primal, to be called as often as one likes.

    >>> y, pullback = vjp(lambda x: x * numpy.array([1.0, 2.0]), numpy.array([3.0, 4.0]))
    >>> pullback(numpy.array([1.0, 1.0]))
    (array([1., 2.]),)
    """
    trace = _Trace(f, primals, tuple(range(len(primals))), {})

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        seeds: list[tuple[Any, Array]] = []
        tree.map(lambda y, v: seeds.append((y, v)), trace.result, cotangent)
        for y, v in seeds:
            if numpy.shape(stop_gradient(y)) != numpy.shape(stop_gradient(v)):
                raise ValueError(
                    f"the cotangent has shape {numpy.shape(stop_gradient(v))}; "
                    f"expected {numpy.shape(stop_gradient(y))}, the shape of the function's value"
                )
        return tuple(trace.pull([(y, _cotangent(v, y)) for y, v in seeds], release=False))

    return tree.map(lambda leaf: _lowered(leaf, trace.tape), trace.result), pullback


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Return `f(*primals)` and its derivative along `tangents`, ∂f · t.

    The pullback u ↦ uᵀ ∂f is linear in u, so its own pullback is t ↦ ∂f · t: forward mode is reverse mode twice.

    >>> jvp(lambda x: x**2, (3.0,), (1.0,))
    (np.float64(9.0), np.float64(6.0))
    """
    if len(primals) != len(tangents):
        raise ValueError(f"{len(primals)} primals and {len(tangents)} tangents; expected one tangent a primal")
    y, pullback = vjp(f, *primals)
    zero = tree.map(lambda leaf: numpy.zeros_like(stop_gradient(leaf)), y)
    _, pushforward = vjp(pullback, zero)
    return y, pushforward(tuple(tangents))[0]


def jacobian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """Return the function `x ↦ ∂f(x)`, of shape f(x).shape + x.shape, by one pullback per element of f(x).

    Of trees it is a tree of trees: at each leaf of f(x), the Jacobian of that leaf in the shape of `x`.

    >>> jacobian(lambda x: x**2)(numpy.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    def jacobian_of_f(*args: Any, **kwargs: Any) -> Any:
        x = args[argnums]
        place = argnums % len(args)

        def of_argument(x: Any) -> Any:
            return f(*args[:place], x, *args[place + 1 :], **kwargs)

        y, pullback = vjp(of_argument, x)
        values = [stop_gradient(leaf) for leaf in tree.leaves(y)]
        zeros = [numpy.zeros_like(value) for value in values]

        def of_leaf(i: int) -> Any:
            shape, xp = numpy.shape(values[i]), namespace(values[i])
            basis = xp.eye(zeros[i].size, dtype=zeros[i].dtype).reshape(zeros[i].size, *shape)
            rows = [pullback(tree.unflatten(y, [*zeros[:i], e, *zeros[i + 1 :]]))[0] for e in basis]
            return tree.map(lambda leaf, *row: _stacked(row, shape + numpy.shape(stop_gradient(leaf)), leaf), x, *rows)

        return tree.unflatten(y, [of_leaf(i) for i in range(len(values))])

    return jacobian_of_f


def _stacked(rows: Sequence[Array], shape: tuple[int, ...], like: Array) -> Array:
    return numpy.stack(rows).reshape(shape) if rows else numpy.zeros_like(stop_gradient(like), shape=shape)


def hessian(f: Callable[..., Array], argnums: int = 0) -> Callable[..., Any]:
    """Return the function `x ↦ ∂²f(x)`, the Jacobian of the gradient, of shape x.shape + x.shape (of trees: see there).

    >>> hessian(lambda x: x[0] * x[1])(numpy.array([1.0, 2.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Array], x: Any, v: Any) -> Any:
    """Return the Hessian of `f` at `x` times `v`, without forming it: ∇_x ⟨∇f(x), v⟩.

    >>> hvp(lambda x: x[0] * x[1], numpy.array([1.0, 2.0]), numpy.array([1.0, 0.0]))
    array([0., 1.])
    """
    _, pullback = vjp(grad(f), x)
    return pullback(v)[0]


class _Trace:
    """One run of `f` with some arguments traced: its result, and the way back from it."""

    def __init__(
        self, f: Callable[..., Any], args: Sequence[Any], argnums: tuple[int, ...], kwargs: dict[str, Any]
    ) -> None:
        for i in argnums:
            if not -len(args) <= i < len(args):
                raise ValueError(f"argnums names argument {i}, but {len(args)} positional arguments were given")
        argnums = tuple(i % len(args) for i in argnums)
        if len(set(argnums)) < len(argnums):
            raise ValueError(f"argnums names an argument twice: {argnums}")
        self.tape = Tape()
        self.inputs: list[Array] = []
        self.primals = [args[i] for i in argnums]
        traced = list(args)
        for i in argnums:
            traced[i] = self._traced(args[i], i)
        try:
            self.result = f(*traced, **kwargs)
        finally:
            self.entries = self.tape.close()

    def _traced(self, primal: Any, argnum: int) -> Any:
        """An argument with its leaves, which must be floating-point arrays or numbers, on the tape."""
        tape, inputs, first = self.tape, self.inputs, len(self.inputs)

        def traced(leaf: Any) -> Tensor:
            if type(leaf) is float:
                leaf = numpy.float64(leaf)
            dtype = getattr(leaf, "dtype", None)
            if dtype is None or dtype.kind != "f":
                raise TypeError(
                    f"argument {argnum}{tree.paths(primal)[len(inputs) - first]} is {dtype or type(leaf).__name__}; "
                    "derivatives are with respect to floating-point numbers: convert it, or declare the dataclass "
                    "field tree.static() if it is no parameter"
                )
            inputs.append(leaf)
            return Tensor(leaf, tape, ())

        return tree.map(traced, primal)

    def pull(self, seeds: list[tuple[Any, Array]], *, release: bool) -> list[Any]:
        """Carry cotangents from results back to the primals; zeros where the results do not depend on them."""
        entries: list[tuple[Edge, ...]] = self.entries if release else list(self.entries)
        mine = [(y.index, v) for y, v in seeds if type(y) is Tensor and y.tape is self.tape]
        cotangents = backward(entries, mine, len(self.inputs))
        taken = {id(v) for _, v in seeds}
        leaves = iter([_finished(cotangent, x, taken) for cotangent, x in zip(cotangents, self.inputs, strict=True)])
        return [tree.map(lambda _: next(leaves), primal) for primal in self.primals]


def _check_scalar(value: Any) -> None:
    shape = getattr(value, "shape", None)
    if isinstance(value, float):
        return
    if shape != ():
        what = f"shape {shape}" if shape is not None else type(value).__name__
        raise TypeError(
            f"grad is of functions whose value has shape (), and this one returned {what}: "
            "sum or average it, or use jacobian or vjp"
        )
    if value.dtype.kind != "f":
        raise TypeError(f"grad is of functions with real values, and this one returned {value.dtype}")


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"has_aux=True is for functions that return (value, aux); this one returned {result!r}")
    return result


def _cotangent(v: Any, y: Any) -> Array:
    """A cotangent given by the caller, as an array like the value it is for."""
    if type(y) is not Tensor:
        return v
    v = v if hasattr(v, "dtype") else namespace(y).asarray(v)
    return v if v.dtype == y.dtype else v.astype(y.dtype)


def _lowered(y: Any, tape: Tape) -> Any:
    """The value of `y` outside this trace."""
    return y.value if type(y) is Tensor and y.tape is tape else y


def _finished(cotangent: Array | None, x: Array, taken: set[int]) -> Array:
    """A cotangent as the caller keeps it: in the precision of `x`, and in memory that is nobody else's.

    `taken` holds the identities of the arrays that were given out or belong to the caller.
    """
    if cotangent is None:
        cotangent = numpy.zeros_like(stop_gradient(x))
    if type(cotangent) is Tensor:
        return cotangent if cotangent.dtype == x.dtype else cotangent.astype(x.dtype)
    shared = not cotangent.flags.owndata or id(cotangent) in taken
    taken.add(id(cotangent))
    gradient = cotangent.astype(x.dtype, copy=shared)
    return gradient[()] if is_scalar(x) else gradient
