"""Convolutions and pooling: values as loops over the definition give them, derivatives as difference quotients say."""

from __future__ import annotations

import itertools

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, vjp

FEW = st.integers(1, 2)


def normals(seed, *shapes):
    rng = numpy.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def seen(x, kernel, stride, dilation, p, q):
    """The part of the images under the kernel at its position (p, q)."""
    rows, columns = (
        [s * at + d * i for i in range(k)] for s, at, d, k in zip(stride, (p, q), dilation, kernel, strict=True)
    )
    return x[:, :, rows][:, :, :, columns]


def positions(size, kernel, stride, dilation):
    return [(m - d * (k - 1) - 1) // s + 1 for m, k, s, d in zip(size, kernel, stride, dilation, strict=True)]


def naive_conv2d(x, w, stride, padding, dilation):
    """One position of the kernel after another, by the definition."""
    x = numpy.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    h, v = positions(x.shape[2:], w.shape[2:], stride, dilation)
    y = numpy.zeros((x.shape[0], w.shape[0], h, v))
    for n, o, p, q in itertools.product(*map(range, y.shape)):
        y[n, o, p, q] = (w[o] * seen(x, w.shape[2:], stride, dilation, p, q)[n]).sum()
    return y


def naive_conv_transpose2d(x, w, stride, padding, output_padding, dilation):
    """Every element of `x` stamps the kernel, and what reaches into the padding is cut off."""
    size = [
        (m - 1) * s + d * (k - 1) + 1 + e
        for m, s, d, k, e in zip(x.shape[2:], stride, dilation, w.shape[2:], output_padding, strict=True)
    ]
    y = numpy.zeros((x.shape[0], w.shape[1], *size))
    for n, c, p, q, i, j in itertools.product(*map(range, x.shape), *map(range, w.shape[2:])):
        y[n, :, stride[0] * p + dilation[0] * i, stride[1] * q + dilation[1] * j] += x[n, c, p, q] * w[c, :, i, j]
    (top, left), (h, v) = padding, size
    return y[:, :, top : h - top, left : v - left]


def naive_pool(reduce, x, kernel, stride, padding, fill):
    x = numpy.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=fill)
    h, v = positions(x.shape[2:], kernel, stride, (1, 1))
    parts = [[reduce(seen(x, kernel, stride, (1, 1), p, q), axis=(2, 3)) for q in range(v)] for p in range(h)]
    return numpy.moveaxis(numpy.array(parts), (0, 1), (2, 3))


@st.composite
def convolutions(draw):
    """Sizes (N, C_in, C_out), and the kernel, image, stride, padding and dilation; shrinks towards ones."""
    kernel, stride, dilation = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    padding, size = draw(pairs(0, 2)), draw(pairs(1, 6))
    for m, k, d, p in zip(size, kernel, dilation, padding, strict=True):
        assume(m + 2 * p > d * (k - 1))
    return (draw(FEW), draw(FEW), draw(FEW)), kernel, size, stride, padding, dilation


@given(convolutions(), st.integers(0, 1000))
def test_conv2d_is_its_definition(convolution, seed):
    (n, c_in, c_out), kernel, size, stride, padding, dilation = convolution
    x, w = normals(seed, (n, c_in, *size), (c_out, c_in, *kernel))
    expected = naive_conv2d(x, w, stride, padding, dilation)
    assert_allclose(np.conv2d(x, w, stride, padding, dilation), expected, atol=1e-12)
    check_grads(lambda x, w: np.conv2d(x, w, stride, padding, dilation), [x, w])


@given(convolutions(), pairs(0, 1), st.integers(0, 1000))
def test_conv_transpose2d_is_its_definition(convolution, output_padding, seed):
    (n, c_in, c_out), kernel, size, stride, padding, dilation = convolution
    options = {"output_padding": output_padding, "dilation": dilation}
    x, w = normals(seed, (n, c_in, *size), (c_in, c_out, *kernel))
    expected = naive_conv_transpose2d(x, w, stride, padding, **options)
    assume(expected.size)
    assert_allclose(np.conv_transpose2d(x, w, stride, padding, **options), expected, atol=1e-12)
    check_grads(lambda x, w: np.conv_transpose2d(x, w, stride, padding, **options), [x, w])


@given(convolutions(), st.integers(0, 1000))
def test_conv_transpose2d_is_the_transpose_of_conv2d(convolution, seed):
    (n, c_in, c_out), kernel, size, stride, padding, dilation = convolution
    x, w = normals(seed, (n, c_in, *size), (c_out, c_in, *kernel))
    y, pullback = vjp(lambda x: np.conv2d(x, w, stride, padding, dilation), x)
    (u,) = normals(seed + 1, y.shape)
    missing = tuple(  # rows at the end that no position of the kernel reaches
        (m + 2 * p - d * (k - 1) - 1) % s for m, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)
    )
    transposed = np.conv_transpose2d(u, w, stride, padding, output_padding=missing, dilation=dilation)
    assert_allclose(pullback(u)[0], transposed, atol=1e-12)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2)])
def test_same_padding_keeps_the_size_and_puts_the_odd_zero_last(kernel):
    x, w = normals(0, (2, 1, 4, 5), (1, 1, *kernel))
    total = [k - 1 for k in kernel]
    padded = numpy.pad(x, ((0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)))
    y = np.conv2d(x, w, padding="same", dilation=1)
    assert y.shape == x.shape
    assert_allclose(y, np.conv2d(padded, w, padding="valid"))
    assert np.conv2d(x, w, padding="same", dilation=3).shape == x.shape


@st.composite
def poolings(draw):
    kernel, stride, padding, size = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(0, 1)), draw(pairs(1, 6))
    for m, k, p in zip(size, kernel, padding, strict=True):
        assume(m + 2 * p >= k > p)
    return (draw(FEW), draw(FEW), *size), kernel, draw(st.sampled_from([None, stride])), padding


@given(poolings(), st.integers(0, 1000))
def test_pooling_is_its_definition(pooling, seed):
    shape, kernel, stride, padding = pooling
    (x,) = normals(seed, shape)
    for pool, reduce, fill in ((np.avg_pool2d, numpy.mean, 0.0), (np.max_pool2d, numpy.max, -numpy.inf)):
        expected = naive_pool(reduce, x, kernel, stride or kernel, padding, fill)
        assert_allclose(pool(x, kernel, stride, padding), expected, atol=1e-12)
        check_grads(lambda x, pool=pool: pool(x, kernel, stride, padding), [x], step=1e-6, atol=1e-5)


def test_of_equal_maxima_the_first_gets_the_gradient():
    x = numpy.zeros((1, 1, 3, 4))
    x[0, 0, 1, 1:] = 1.0
    y, pullback = vjp(lambda x: np.max_pool2d(x, 2, 1), x)
    assert_array_equal(y[0, 0], [[1, 1, 1], [1, 1, 1]])
    # From the upper left on, the windows' maxima are first met at (1, 1), (1, 1), (1, 2), (1, 1), (1, 1), (1, 2).
    assert_array_equal(pullback(numpy.ones_like(y))[0][0, 0], [[0, 0, 0, 0], [0, 4, 2, 0], [0, 0, 0, 0]])


FUNCTIONS = {
    "conv2d": lambda x, w: np.conv2d(x, w, 2, 1),
    "conv_transpose2d": lambda x, w: np.conv_transpose2d(x, w, 2, 1, output_padding=1),
    "avg_pool2d": lambda x, w: np.avg_pool2d(x, 2, padding=1),
    "max_pool2d": lambda x, w: np.max_pool2d(x, 2, padding=1),
}
every_function = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())


@every_function
def test_float32_stays_float32(f):
    x, w = (a.astype(numpy.float32) for a in normals(0, (2, 3, 4, 4), (3, 3, 3, 3)))
    y, pullback = vjp(f, x, w)
    assert y.dtype == numpy.float32
    assert all(g.dtype == numpy.float32 for g in pullback(y))


@every_function
def test_every_library_agrees(f, xp):
    x, w = normals(0, (2, 3, 4, 4), (3, 3, 3, 3))
    y, pullback = vjp(f, x, w)
    y_of_theirs, pullback_of_theirs = vjp(f, xp.asarray(x), xp.asarray(w))
    assert_allclose(backend.to_numpy(y_of_theirs), y)
    for theirs, ours in zip(pullback_of_theirs(y_of_theirs), pullback(y), strict=True):
        assert isinstance(theirs, xp.ndarray)
        assert_allclose(backend.to_numpy(theirs), ours, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4)], ids=["no images", "no channels"])
def test_empty_batches(shape):
    x, w = normals(0, shape, (3, shape[1], 2, 2))
    assert_array_equal(np.conv2d(x, w), numpy.zeros((shape[0], 3, 3, 3)))
    assert np.avg_pool2d(x, 2).shape == np.max_pool2d(x, 2).shape == (*shape[:2], 2, 2)
    assert vjp(np.conv2d, x, w)[1](numpy.zeros((shape[0], 3, 3, 3)))[1].shape == w.shape


@pytest.mark.parametrize(
    ("f", "shapes", "options", "message"),
    [
        (np.conv2d, [(3, 4, 4), (1, 3, 2, 2)], {}, r"x has shape \(3, 4, 4\); expected \(N, C, H, W\)"),
        (np.conv2d, [(1, 3, 4, 4), (1, 2, 2, 2)], {}, r"w has shape \(1, 2, 2, 2\); expected \(C_out, 3, kH, kW\)"),
        (np.conv2d, [(1, 3, 4, 4), (1, 3, 5, 2)], {}, r"\(4, 4\) large; expected \(5, 2\)"),
        (np.conv2d, [(1, 3, 4, 4), (1, 3, 2, 2)], {"padding": "same", "stride": 2}, "has stride"),
        (np.conv2d, [(1, 3, 4, 4), (1, 3, 2, 2)], {"padding": "full"}, "padding is 'full'"),
        (np.conv_transpose2d, [(1, 3, 4, 4), (2, 3, 2, 2)], {}, r"expected \(3, C_out, kH, kW\)"),
        (np.conv_transpose2d, [(3, 4, 4), (3, 3, 2, 2)], {}, r"x has shape"),
        (np.max_pool2d, [(4, 4)], {"kernel_size": 2}, r"x has shape \(4, 4\)"),
        (np.avg_pool2d, [(1, 1, 4, 4)], {"kernel_size": 5}, r"\(4, 4\) large; expected \(5, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused(f, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        f(*normals(0, *shapes), **options)
