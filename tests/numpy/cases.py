"""Every differentiable function of `minilvm.numpy`, once: how it is called, and on what.

A case is written for any namespace: given NumPy it is the oracle, given `minilvm.numpy` it is the subject. Among its
arguments, arrays of floating-point numbers are differentiated; integers, masks and options are passed along.

Values are odd multiples of 1/32 and bounds even ones, so that no draw falls on a kink, and no two are equal where they
must not be.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Strategy = st.SearchStrategy[tuple[Any, ...]]


@dataclass(frozen=True)
class Case:
    """A call: `f(np, *arguments)`. `name` is the function's, and what is special about this call after a space."""

    name: str
    f: Callable[..., Any]
    arguments: Strategy
    of_numpy: bool = True  # whether NumPy's own function, given a Tensor, should arrive at ours
    keeps_dtype: bool = True

    @property
    def function(self) -> str:
        return self.name.partition(" ")[0]


def _scatter_add(g: Any, index: Any, shape: tuple[int, ...]) -> Any:
    x = numpy.zeros(shape, g.dtype)
    numpy.add.at(x, index, g)
    return x


def _logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return numpy.log(numpy.sum(numpy.exp(x), axis=axis, keepdims=keepdims))


def _softmax(x: Any, axis: Any = -1) -> Any:
    return numpy.exp(x) / numpy.sum(numpy.exp(x), axis=axis, keepdims=True)


ORACLE = SimpleNamespace(
    **vars(numpy)
    | {
        "getitem": operator.getitem,
        "log_softmax": lambda x, axis: numpy.log(_softmax(x, axis)),
        "logsumexp": _logsumexp,
        "scatter_add": _scatter_add,
        "softmax": _softmax,
        "astype": lambda x, dtype: x.astype(dtype),
    }
)

# What to draw ---------------------------------------------------------------------------------------------------------


def shapes(min_dims: int = 0, max_dims: int = 3, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=3)


def arrays(
    shape: Any = None, low: float = -3.0, high: float = 3.0, *, even: bool = False, unique: bool = False
) -> st.SearchStrategy[numpy.ndarray]:
    """Arrays of odd (or even) multiples of 1/32 between two bounds."""
    elements = st.integers(round(low * 16), round(high * 16) - 1).map(lambda n: (2 * n + (not even)) / 32)
    return hnp.arrays(numpy.float64, shapes() if shape is None else shape, elements=elements, unique=unique)


def broadcastable(n: int) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    shapes_of_all = hnp.mutually_broadcastable_shapes(num_shapes=n, min_side=0, max_side=3, max_dims=3)
    return shapes_of_all.map(lambda found: found.input_shapes)


def one(*args: Any, **options: Any) -> Strategy:
    return st.tuples(arrays(*args, **options))


@st.composite
def two(draw: Any, low: float = -3.0, high: float = 3.0) -> Any:
    """Two operands that broadcast and have no element in common; now and then one of them is a Python number."""
    shape_a, shape_b = draw(broadcastable(2))
    a, b = draw(arrays(shape_a, low, high)), draw(arrays(shape_b, low, high, even=True).filter(numpy.all))
    number = 1.5
    return draw(st.sampled_from([(a, b), (b, a), (a, number), (number, a)]))


@st.composite
def three(draw: Any) -> Any:
    """A mask and two operands that broadcast together."""
    shape, shape_a, shape_b = draw(broadcastable(3))
    return draw(hnp.arrays(bool, shape)), draw(arrays(shape_a)), draw(arrays(shape_b))


@st.composite
def bounded(draw: Any) -> Any:
    """An array, and lower bounds for it below upper ones."""
    x = draw(arrays())
    return x, draw(arrays(x.shape, -3, 0, even=True)), draw(arrays(x.shape[-1:], 0.25, 3, even=True))


@st.composite
def reduced(
    draw: Any, *, min_side: int = 0, min_dims: int = 0, unique: bool = False, keepdims: bool = True, tuples: bool = True
) -> Any:
    """An array, the axes to reduce, and whether to keep them."""
    x = draw(arrays(shapes(min_side=min_side, min_dims=min_dims), unique=unique))
    some = st.none() | (st.integers(-x.ndim, x.ndim - 1) if x.ndim else st.nothing())
    if tuples and x.ndim:
        some |= hnp.valid_tuple_axes(x.ndim, min_size=1)
    return (x, draw(some), draw(st.booleans())) if keepdims else (x, draw(some))


@st.composite
def along(draw: Any, *, min_dims: int = 1, min_side: int = 0, unique: bool = False) -> Any:
    """An array and one of its axes."""
    x = draw(arrays(shapes(min_dims=min_dims, min_side=min_side), unique=unique))
    return x, draw(st.integers(-x.ndim, x.ndim - 1))


@st.composite
def reshaped(draw: Any) -> Any:
    x = draw(arrays())
    shape = list(draw(st.permutations(x.shape)))
    if x.size and shape and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return x, tuple(shape)


@st.composite
def squeezed(draw: Any) -> Any:
    x = draw(arrays(shapes().map(lambda shape: tuple(min(n, 2) for n in shape))))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    return x, draw(st.none() | st.lists(st.sampled_from(ones), unique=True).map(tuple) if ones else st.none())


@st.composite
def expanded(draw: Any) -> Any:
    x = draw(arrays(shapes(max_dims=2)))
    return x, draw(st.integers(-x.ndim - 1, x.ndim) | hnp.valid_tuple_axes(x.ndim + 2, min_size=2, max_size=2))


@st.composite
def permuted(draw: Any) -> Any:
    x = draw(arrays())
    return x, draw(st.none() | st.permutations(range(x.ndim)).map(tuple))


@st.composite
def moved(draw: Any) -> Any:
    x = draw(arrays(shapes(min_dims=1)))
    axes = st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)
    source = draw(axes)
    return x, tuple(source), tuple(draw(axes.filter(lambda found: len(found) == len(source))))


@st.composite
def stretched(draw: Any) -> Any:
    x = draw(arrays(shapes(max_dims=2)))
    return x, (draw(st.integers(0, 3)), *(draw(st.integers(0, 3)) if n == 1 else n for n in x.shape))


@st.composite
def rolled(draw: Any) -> Any:
    x = draw(arrays(shapes(min_dims=1)))
    axes = draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | hnp.valid_tuple_axes(x.ndim, min_size=1))
    shift = st.integers(-4, 4)
    return x, draw(st.tuples(*[shift] * len(axes)) if isinstance(axes, tuple) else shift), axes


@st.composite
def joined(draw: Any) -> Any:
    """Arrays that differ along one axis alone, and that axis (or None)."""
    x, axis = draw(along())
    parts = [x]
    for _ in range(draw(st.integers(0, 2))):
        shape = list(x.shape)
        shape[axis] = draw(st.integers(0, 3))
        parts.append(draw(arrays(tuple(shape))))
    return parts, draw(st.sampled_from([axis, None]))


@st.composite
def stacked(draw: Any) -> Any:
    shape = draw(shapes(max_dims=2))
    parts = draw(st.lists(arrays(shape), min_size=1, max_size=3))
    return parts, draw(st.integers(-len(shape) - 1, len(shape)))


@st.composite
def cut(draw: Any) -> Any:
    x, axis = draw(along())
    n = x.shape[axis]
    sections = st.sampled_from([k for k in range(1, n + 1) if n % k == 0] or [1])
    return x, draw(sections | st.lists(st.integers(0, n), max_size=2).map(sorted)), axis


@st.composite
def indexed(draw: Any) -> Any:
    """An array and an index of any kind that NumPy has; places are often named twice."""
    x = draw(arrays(shapes(min_dims=1, min_side=1)))
    kinds = ["basic", "integers", "mask", "leading mask", "mixed", "list"]
    kind = draw(st.sampled_from(kinds))
    if kind == "basic":
        return x, draw(hnp.basic_indices(x.shape, allow_ellipsis=True, allow_newaxis=True))
    if kind == "integers":
        return x, draw(hnp.integer_array_indices(x.shape, result_shape=shapes(max_dims=2)))
    if kind == "mask":
        return x, draw(hnp.arrays(bool, x.shape))
    if kind == "leading mask":
        return x, (draw(hnp.arrays(bool, x.shape[:1])), ...)
    n = draw(st.integers(0, 3))
    if kind == "list":
        return x, draw(st.lists(st.integers(-x.shape[0], x.shape[0] - 1), min_size=1, max_size=4))
    parts: list[Any] = []
    for side in x.shape:
        place = st.integers(-side, side - 1)
        parts.append(draw(place | st.slices(side) | hnp.arrays(numpy.int64, n, elements=place)))
    parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from([None, Ellipsis])))
    return x, tuple(parts)


@st.composite
def scattered(draw: Any) -> Any:
    x, index = draw(indexed())
    return draw(arrays(numpy.shape(x[index]))), index, x.shape


@st.composite
def taken(draw: Any) -> Any:
    x, axis = draw(along(min_side=1))
    axis = draw(st.sampled_from([axis, None]))
    n = x.size if axis is None else x.shape[axis]
    place = st.integers(-n, n - 1)
    return x, draw(hnp.arrays(numpy.int64, shapes(max_dims=2), elements=place) | place | st.tuples(place, place)), axis


@st.composite
def taken_along(draw: Any) -> Any:
    x, axis = draw(along(min_side=1))
    shape = [draw(st.sampled_from([1, n])) for n in x.shape]
    shape[axis] = draw(st.integers(0, 3))
    indices = hnp.arrays(numpy.int64, tuple(shape), elements=st.integers(-x.shape[axis], x.shape[axis] - 1))
    return x, draw(indices), axis


@st.composite
def tiled(draw: Any) -> Any:
    times = st.integers(0, 2)
    return draw(arrays(shapes(max_dims=2))), draw(times | st.lists(times, max_size=3).map(tuple))


@st.composite
def repeated(draw: Any) -> Any:
    x, axis = draw(along())
    axis = draw(st.sampled_from([axis, None]))
    n = x.size if axis is None else x.shape[axis]
    return x, draw(st.integers(0, 2) | st.lists(st.integers(0, 2), min_size=n, max_size=n)), axis


@st.composite
def padded(draw: Any) -> Any:
    x = draw(arrays(shapes(min_dims=1, max_dims=2)))
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return x, draw(st.integers(0, 2) | pair | st.lists(pair, min_size=x.ndim, max_size=x.ndim).map(tuple))


@st.composite
def diagonals(draw: Any) -> Any:
    x = draw(arrays(shapes(min_dims=2)))
    axes = draw(st.permutations(range(-x.ndim, 0)))[:2]
    return x, draw(st.integers(-4, 4)), *axes


matrices = shapes(min_dims=2)
offsets = st.integers(-3, 3)

# The cases, in the order of the modules -------------------------------------------------------------------------------

UNARY: dict[str, tuple[float, float]] = {  # and where it is smooth
    "negative": (-3, 3),
    "positive": (-3, 3),
    "reciprocal": (0.25, 3),
    "square": (-3, 3),
    "sqrt": (0.25, 3),
    "absolute": (-3, 3),
    "abs": (-3, 3),
    "exp": (-3, 3),
    "expm1": (-3, 3),
    "log": (0.25, 3),
    "log1p": (-0.75, 3),
    "sin": (-3, 3),
    "cos": (-3, 3),
    "tan": (-1.25, 1.25),
    "arctan": (-3, 3),
    "sinh": (-3, 3),
    "cosh": (-3, 3),
    "tanh": (-3, 3),
    "arctanh": (-0.75, 0.75),
}

ELEMENTWISE = [
    *(Case(name, lambda np, x, name=name: getattr(np, name)(x), one(None, *at)) for name, at in UNARY.items()),
    Case("add", lambda np, a, b: np.add(a, b), two()),
    Case("subtract", lambda np, a, b: np.subtract(a, b), two()),
    Case("multiply", lambda np, a, b: np.multiply(a, b), two()),
    Case("divide", lambda np, a, b: np.divide(a, b), two(0.25, 3.0)),
    Case("true_divide", lambda np, a, b: np.true_divide(a, b), two(0.25, 3.0)),
    Case("maximum", lambda np, a, b: np.maximum(a, b), two()),
    Case("minimum", lambda np, a, b: np.minimum(a, b), two()),
    Case("power", lambda np, a, b: np.power(a, b), two(0.25, 2.0)),
    Case("where", lambda np, c, a, b: np.where(c, a, b), three()),
    Case("where of a number", lambda np, c, a, b: np.where(c, a, 2.0), three()),
    Case("clip", lambda np, x: np.clip(x, -1.0, 1.5), one()),
    Case("clip above", lambda np, x: np.clip(x, None, 1.0), one()),
    Case("clip between arrays", lambda np, x, low, high: np.clip(x, low, high), bounded()),
    Case("astype", lambda np, x: np.astype(x, "float64"), one(), of_numpy=False, keeps_dtype=False),
]

REDUCTIONS = [
    Case("sum", lambda np, x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims), reduced()),
    Case("mean", lambda np, x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims), reduced(min_side=1)),
    Case("var", lambda np, x, axis, keepdims: np.var(x, axis=axis, keepdims=keepdims), reduced(min_side=1)),
    Case("var unbiased", lambda np, x, axis, _: np.var(x, axis=axis, ddof=1), reduced(min_side=2, min_dims=1)),
    Case(
        "std",
        lambda np, x, axis, keepdims: np.std(x, axis=axis, keepdims=keepdims),
        reduced(min_side=2, min_dims=1, unique=True),
    ),
    Case("max", lambda np, x, axis, k: np.max(x, axis=axis, keepdims=k), reduced(min_side=1, unique=True)),
    Case("min", lambda np, x, axis, k: np.min(x, axis=axis, keepdims=k), reduced(min_side=1, unique=True)),
    Case("prod", lambda np, x, axis, keepdims: np.prod(x, axis=axis, keepdims=keepdims), reduced()),
    Case("cumsum", lambda np, x, axis: np.cumsum(x, axis=axis), reduced(keepdims=False, tuples=False)),
    Case(
        "logsumexp",
        lambda np, x, axis, keepdims: np.logsumexp(x, axis=axis, keepdims=keepdims),
        reduced(min_side=1),
        of_numpy=False,
    ),
    Case("softmax", lambda np, x, axis: np.softmax(x, axis=axis), reduced(min_side=1, keepdims=False), of_numpy=False),
    Case(
        "log_softmax",
        lambda np, x, axis: np.log_softmax(x, axis=axis),
        reduced(min_side=1, keepdims=False),
        of_numpy=False,
    ),
]

SHAPING = [
    Case("reshape", lambda np, x, shape: np.reshape(x, shape), reshaped()),
    Case("ravel", lambda np, x: np.ravel(x), one()),
    Case("squeeze", lambda np, x, axis: np.squeeze(x, axis=axis), squeezed()),
    Case("expand_dims", lambda np, x, axis: np.expand_dims(x, axis), expanded()),
    Case("transpose", lambda np, x, axes: np.transpose(x, axes), permuted()),
    Case("swapaxes", lambda np, x, axis: np.swapaxes(x, axis, 0), along()),
    Case("moveaxis", lambda np, x, source, destination: np.moveaxis(x, source, destination), moved()),
    Case("broadcast_to", lambda np, x, shape: np.broadcast_to(x, shape), stretched()),
    Case("flip", lambda np, x, axis: np.flip(x, axis), reduced(keepdims=False)),
    Case("roll", lambda np, x, shift, axis: np.roll(x, shift, axis), rolled()),
    Case("concatenate", lambda np, parts, axis: np.concatenate(parts, axis=axis), joined()),
    Case("stack", lambda np, parts, axis: np.stack(parts, axis=axis), stacked()),
    Case("split", lambda np, x, at, axis: np.split(x, at, axis=axis), cut()),
    Case("getitem", lambda np, x, index: np.getitem(x, index), indexed(), of_numpy=False),
    Case("scatter_add", lambda np, g, index, shape: np.scatter_add(g, index, shape), scattered(), of_numpy=False),
    Case("take", lambda np, x, indices, axis: np.take(x, indices, axis=axis), taken()),
    Case("take_along_axis", lambda np, x, indices, axis: np.take_along_axis(x, indices, axis), taken_along()),
    Case("sort", lambda np, x, axis: np.sort(x, axis=axis), along(unique=True)),
    Case("sort of all", lambda np, x: np.sort(x, axis=None), one(unique=True)),
    Case("tile", lambda np, x, reps: np.tile(x, reps), tiled()),
    Case("repeat", lambda np, x, repeats, axis: np.repeat(x, repeats, axis=axis), repeated()),
    Case("pad", lambda np, x, width: np.pad(x, width), padded()),
    Case("pad with a number", lambda np, x, width: np.pad(x, width, constant_values=2.0), padded()),
    Case("tril", lambda np, x, k: np.tril(x, k), st.tuples(arrays(shapes(min_dims=1)), offsets)),
    Case("triu", lambda np, x, k: np.triu(x, k), st.tuples(arrays(shapes(min_dims=1)), offsets)),
    Case("diagonal", lambda np, x, k, i, j: np.diagonal(x, k, i, j), diagonals()),
    Case("trace", lambda np, x, k, i, j: np.trace(x, k, i, j), diagonals()),
    Case("diag", lambda np, x, k: np.diag(x, k), st.tuples(arrays(shapes(min_dims=1, max_dims=2)), offsets)),
]

CREATION = [
    Case("array", lambda np, parts, _: np.array([parts, parts[::-1]]), stacked(), of_numpy=False),
    Case("asarray", lambda np, parts, _: np.asarray(parts), stacked(), of_numpy=False),
]

OPERATORS = [
    Case("add by +", lambda np, a, b: a + b, two()),
    Case("subtract by -", lambda np, a, b: a - b, two()),
    Case("multiply by *", lambda np, a, b: a * b, two()),
    Case("divide by /", lambda np, a, b: a / b, two(0.25, 3.0)),
    Case("power by **", lambda np, a, b: a**b, two(0.25, 2.0)),
    *(Case(f"power by ** {n}", lambda np, x, n=n: x**n, one(None, 0.25, 2.0)) for n in (-1, 0, 1, 2, 3, 4, 0.5)),
    Case("negative by -", lambda np, x: -x, one()),
    Case("positive by +", lambda np, x: +x, one()),
    Case("absolute by abs", lambda np, x: abs(x), one()),
    Case("getitem by []", lambda np, x, index: x[index], indexed()),
    Case("getitem by iteration", lambda np, x: sum(row * row for row in x), one(shapes(min_dims=1, min_side=1))),
    Case("matmul by @", lambda np, a, b: a @ b, st.tuples(arrays((2, 3)), arrays((3, 2)))),
    Case("transpose by .T", lambda np, x: x.T, one(shapes(min_dims=2))),
    Case("swapaxes by .mT", lambda np, x: x.mT, one(matrices)),
    Case("astype by method", lambda np, x: x.astype("float64"), one(), keeps_dtype=False),
    Case("clip by method", lambda np, x: x.clip(-1.0, 1.0), one()),
    Case("sum by method", lambda np, x, axis, keepdims: x.sum(axis=axis, keepdims=keepdims), reduced()),
    Case("mean by method", lambda np, x, axis, _: x.mean(axis), reduced(min_side=1)),
    Case("var by method", lambda np, x, axis, _: x.var(axis=axis), reduced(min_side=1)),
    Case("std by method", lambda np, x, axis, _: x.std(axis=axis), reduced(min_side=2, min_dims=1, unique=True)),
    Case("max by method", lambda np, x, axis, _: x.max(axis=axis), reduced(min_side=1, unique=True)),
    Case("min by method", lambda np, x, axis, _: x.min(axis=axis), reduced(min_side=1, unique=True)),
    Case("prod by method", lambda np, x, axis, _: x.prod(axis=axis), reduced()),
    Case("cumsum by method", lambda np, x, axis: x.cumsum(axis=axis), reduced(keepdims=False, tuples=False)),
    Case("reshape by method", lambda np, x, shape: x.reshape(shape), reshaped()),
    Case("reshape by method with integers", lambda np, x, shape: x.reshape(*shape or [()]), reshaped()),
    Case("transpose by method", lambda np, x, axes: x.transpose(axes), permuted()),
    Case("transpose by method with integers", lambda np, x, axes: x.transpose(*axes or ()), permuted()),
    Case("ravel by method", lambda np, x: x.ravel(), one()),
    Case("ravel by flatten", lambda np, x: x.flatten(), one()),
    Case("squeeze by method", lambda np, x, axis: x.squeeze(axis), squeezed()),
    Case("swapaxes by method", lambda np, x, axis: x.swapaxes(axis, 0), along()),
    Case("take by method", lambda np, x, indices, axis: x.take(indices, axis=axis), taken()),
    Case("repeat by method", lambda np, x, repeats, axis: x.repeat(repeats, axis=axis), repeated()),
    Case("diagonal by method", lambda np, x, k, i, j: x.diagonal(k, i, j), diagonals()),
    Case("trace by method", lambda np, x, k, i, j: x.trace(k, i, j), diagonals()),
    Case("dot by method", lambda np, a, b: a.dot(b), st.tuples(arrays((2, 3)), arrays((3, 2)))),
]

CASES = [*ELEMENTWISE, *REDUCTIONS, *SHAPING, *CREATION, *OPERATORS]

# Functions whose derivative is 0 wherever there is one: given a Tensor they return a plain array.
CONSTANT: dict[str, tuple[Callable[..., Any], Strategy]] = {
    **{
        name: (lambda np, x, name=name: getattr(np, name)(x), one())
        for name in ("sign", "floor", "ceil", "rint", "isfinite", "isnan", "isinf", "signbit")
    },
    **{
        name: (lambda np, a, b, name=name: getattr(np, name)(a, b), two())
        for name in ("floor_divide", "greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
    },
    "logical_and": (lambda np, a, b: np.logical_and(a, b), two()),
    "logical_or": (lambda np, a, b: np.logical_or(a, b), two()),
    "logical_not": (lambda np, x: np.logical_not(x), one()),
    "argmax": (lambda np, x, axis: np.argmax(x, axis=axis), along(min_side=1)),
    "argmin": (lambda np, x, axis: np.argmin(x, axis=axis), along(min_side=1)),
    "argsort": (lambda np, x, axis: np.argsort(x, axis=axis), along(unique=True)),
    "all": (lambda np, x, axis: np.all(x, axis=axis), reduced(keepdims=False)),
    "any": (lambda np, x, axis: np.any(x, axis=axis), reduced(keepdims=False)),
    "count_nonzero": (lambda np, x, axis: np.count_nonzero(x, axis=axis), reduced(keepdims=False)),
    "zeros_like": (lambda np, x: np.zeros_like(x), one()),
    "ones_like": (lambda np, x: np.ones_like(x), one()),
    "full_like": (lambda np, x: np.full_like(x, 2.5), one()),
    "shape": (lambda np, x: np.shape(x), one()),
    "ndim": (lambda np, x: np.ndim(x), one()),
    "size": (lambda np, x: np.size(x), one()),
}

FROM_NOTHING = {"arange", "eye", "full", "linspace", "ones", "zeros"}  # tested in test_creation.py
