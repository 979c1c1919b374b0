"""Functions that gather many elements into one: sums, extremes, and the log-space sums that probabilities need.

Every rule spreads `g` back over the axes that were reduced; `_spread` does that for all of them.
"""

from __future__ import annotations

import math

import numpy

from minilvm.backend import Array, namespace
from minilvm.rules import constant, primitive
from minilvm.tape import stop_gradient

Axis = int | tuple[int, ...] | None


def _spread(g: Array, shape: tuple[int, ...], axis: Axis, keepdims: bool) -> Array:
    """Broadcast the cotangent of a reduction of an array of `shape` back over the reduced axes."""
    y = g if keepdims or axis is None else _restore(g, axis, len(shape))
    return y if y.shape == shape else numpy.broadcast_to(y, shape)


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names, counted from the first."""
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple([i % ndim for i in axes])


def _restore(y: Array, axis: Axis, ndim: int) -> Array:
    """Put the reduced axes back, with length 1, as keepdims=True would have left them."""
    lengths = list(y.shape)
    for i in sorted(_axes(axis, ndim)):
        lengths.insert(i, 1)
    return y.reshape(tuple(lengths))


def _total(x: Array, axis: Axis, keepdims: bool) -> Array:
    """Σ x, by the array's own method where there is one: `numpy.sum` takes twice as long to begin."""
    return (x if hasattr(x, "sum") else numpy.asarray(x)).sum(axis=axis, keepdims=keepdims)


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements of an array of `shape` are reduced into one."""
    return math.prod([shape[i] for i in _axes(axis, len(shape))])


@primitive(x=lambda g, x_shape, axis, keepdims: _spread(g, x_shape, axis, keepdims))
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return Σ x over `axis`."""
    return _total(x, axis, keepdims)


@primitive(x=lambda g, x_shape, axis, keepdims: _spread(g / _count(x_shape, axis), x_shape, axis, keepdims))
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the average of `x` over `axis`."""
    return _total(x, axis, keepdims) / _count(numpy.shape(x), axis)


def var(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """Return the mean squared deviation, over n − `ddof`. Deviations are formed first: E[x²] − μ² loses its digits."""
    deviation = x - mean(x, axis=axis, keepdims=True)
    return sum(numpy.square(deviation), axis=axis, keepdims=keepdims) / (_count(numpy.shape(x), axis) - ddof)


def std(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """Return the standard deviation, the square root of `var`."""
    return numpy.sqrt(var(x, axis=axis, ddof=ddof, keepdims=keepdims))


def _extreme_rule(g: Array, y: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """Give `g` to the elements that attain the extreme, in equal shares where several do."""
    attained = numpy.equal(x, y if keepdims else _restore(y, axis, x.ndim)).astype(x.dtype)
    return _spread(g, x.shape, axis, keepdims) * (attained / attained.sum(axis=axis, keepdims=True))


@primitive(x=_extreme_rule)
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the largest element of `x` over `axis`."""
    return numpy.max(x, axis=axis, keepdims=keepdims)


@primitive(x=_extreme_rule)
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the smallest element of `x` over `axis`."""
    return numpy.min(x, axis=axis, keepdims=keepdims)


def _prod_rule(g: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """∂ Π_j x_j / ∂x_i = Π_{j ≠ i} x_j, formed without dividing by x_i, so that it holds at zeros."""
    axes = _axes(axis, x.ndim)
    last = tuple(range(-len(axes), 0))
    rows = numpy.moveaxis(x, axes, last)
    n = _count(x.shape, axis)
    flat = rows.reshape((*rows.shape[: x.ndim - len(axes)], n))
    others = numpy.prod(numpy.where(namespace(x).eye(n, dtype=bool), 1.0, flat[..., None, :]), axis=-1)
    return _spread(g, x.shape, axis, keepdims) * numpy.moveaxis(others.reshape(rows.shape), last, axes)


@primitive(x=_prod_rule)
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return Π x over `axis`."""
    return numpy.prod(x, axis=axis, keepdims=keepdims)


def _cumsum_rule(g: Array, x_shape: tuple[int, ...], axis: int | None) -> Array:
    """x_i is in every partial sum from the i-th on: sum those cotangents, from the far end."""
    along = -1 if axis is None else axis
    return numpy.flip(numpy.cumsum(numpy.flip(g, along), axis=along), along).reshape(x_shape)


@primitive(x=_cumsum_rule)
def cumsum(x: Array, axis: int | None = None) -> Array:
    """Return the running sums of `x` along `axis` (of all elements in order, if None)."""
    return numpy.cumsum(x, axis=axis)


@primitive(x=lambda g: g)
def _laid_out(x: Array, axis: Axis) -> Array:
    """The same array, in memory with a short last `axis` first: NumPy then reduces whole rows, 20 times as fast."""
    if type(x) is numpy.ndarray and axis in (-1, x.ndim - 1) and x.ndim > 1 and x.shape[-1] < 128:
        return numpy.moveaxis(numpy.ascontiguousarray(numpy.moveaxis(x, -1, 0)), 0, -1)
    return x


def _logsumexp_rule(g: Array, y: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """g · softmax(x), and 0 where every x is −inf: there exp(x) stays 0 whatever x does."""
    x = _laid_out(x, axis)
    g, y = (g, y) if keepdims else (_restore(g, axis, x.ndim), _restore(y, axis, x.ndim))
    nothing = numpy.equal(y, -numpy.inf)
    p = numpy.exp(x - numpy.where(nothing, 0.0, y))
    total = p.sum(axis=axis, keepdims=True)  # 1 up to the rounding of y, which may be large
    return p * (g / numpy.where(nothing, 1.0, total))


@primitive(x=_logsumexp_rule)
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return log Σ exp(x) over `axis`, without overflow; −inf where every x is −inf."""
    x = _laid_out(x, axis)
    top = numpy.max(x, axis=axis, keepdims=True)
    top = numpy.where(numpy.isfinite(top), top, 0.0)
    with numpy.errstate(divide="ignore"):
        y = numpy.log(numpy.sum(numpy.exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else numpy.squeeze(y, axis=axis)


def log_softmax(x: Array, axis: Axis = -1) -> Array:
    """Return x − logsumexp(x): the logarithms of `softmax`, without forming it."""
    return x - logsumexp(x, axis=axis, keepdims=True)


def softmax(x: Array, axis: Axis = -1) -> Array:
    """Return exp(x) / Σ exp(x) over `axis`; it sums to 1 however large `x` is."""
    x = _laid_out(x, axis)
    p = numpy.exp(x - numpy.max(stop_gradient(x), axis=axis, keepdims=True))
    return p / p.sum(axis=axis, keepdims=True)


argmax = constant(numpy.argmax)
argmin = constant(numpy.argmin)
all = constant(numpy.all)
any = constant(numpy.any)
count_nonzero = constant(numpy.count_nonzero)
