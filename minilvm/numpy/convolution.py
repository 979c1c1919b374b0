"""Convolutions and pooling of images (N, C, H, W), by PyTorch's names and conventions.

Everything is made of two linear maps, each the transpose of the other: `_windows` reads the patch of the image that is
under the kernel at each of its positions, and `_overlap_add` adds patches up where they came from. A convolution is a
matrix times the windows; its gradient, and the transposed convolution, overlap-add the transposed matrix times pixels.

(Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy

from minilvm.backend import Array, namespace
from minilvm.numpy.products import matmul
from minilvm.numpy.shaping import pad
from minilvm.rules import primitive

__all__ = ["avg_pool2d", "conv2d", "conv_transpose2d", "max_pool2d"]

Pair = tuple[int, int]
Size = int | Pair


def conv2d(
    x: Array, w: Array, stride: Size = 1, padding: Size | Literal["same", "valid"] = 0, dilation: Size = 1
) -> Array:
    """Return the cross-correlation y[n, o, p, q] = Σ_cij w[o, c, i, j] x[n, c, s p + d i − P, s q + d j − P].

    Parameters
    ----------
    x
        Images, (N, C_in, H, W); 0 outside, where the padding P reaches.
    w
        Kernels, (C_out, C_in, kH, kW).
    stride
        The step s between neighbouring positions of the kernel: one number, or one for each of the two axes.
    padding
        How many zeros P to put around the image; "valid" for none, "same" for as many as keep its size (stride 1 only).
    dilation
        The step d between neighbouring elements of the kernel.

    Returns
    -------
    (N, C_out, H_out, W_out), where H_out = ⌊(H + 2 P − d (kH − 1) − 1) / s⌋ + 1.

    Raises
    ------
    ValueError
        Shapes do not fit each other, or the kernel not the image, or "same" has a stride.

    Examples
    --------
    >>> conv2d(numpy.ones((1, 1, 4, 4)), numpy.ones((1, 1, 3, 3)), padding=1)[0, 0]
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    _check_images(x)
    if w.ndim != 4 or w.shape[1] != x.shape[1]:
        raise ValueError(f"w has shape {w.shape}; expected (C_out, {x.shape[1]}, kH, kW) to match x, {x.shape}")
    kernel, strides, dilations = w.shape[2:], _pair(stride), _pair(dilation)
    x = _surround(x, _widths(padding, kernel, strides, dilations), 0.0)
    windows = _windows(x, kernel, strides, dilations)
    c, kh, kw, *positions = windows.shape
    columns = windows.reshape(c * kh * kw, math.prod(positions))
    return matmul(w.reshape(len(w), c * kh * kw), columns).reshape(len(w), *positions).transpose(1, 0, 2, 3)


def conv_transpose2d(
    x: Array, w: Array, stride: Size = 1, padding: Size = 0, *, output_padding: Size = 0, dilation: Size = 1
) -> Array:
    """Return the transpose of `conv2d`, as a linear map of images, applied to `x`: each element stamps the kernel.

    Parameters
    ----------
    x
        Images, (N, C_in, H, W).
    w
        Kernels, (C_in, C_out, kH, kW): as they stand in the `conv2d` that this one transposes.
    stride, padding, dilation
        Those of that `conv2d`: the padding is cut off.
    output_padding
        Rows and columns to add at the end, where several sizes of image would have led to that of `x`.

    Returns
    -------
    (N, C_out, H_out, W_out), where H_out = (H − 1) s − 2 P + d (kH − 1) + output_padding + 1.

    Raises
    ------
    ValueError
        Shapes do not fit each other.

    Examples
    --------
    >>> conv_transpose2d(numpy.ones((1, 1, 2, 2)), numpy.ones((1, 1, 2, 2)), stride=2)[0, 0].shape
    (4, 4)
    """
    _check_images(x)
    if w.ndim != 4 or w.shape[0] != x.shape[1]:
        raise ValueError(f"w has shape {w.shape}; expected ({x.shape[1]}, C_out, kH, kW) to match x, {x.shape}")
    n, c_in, *size = x.shape
    _, c_out, *kernel = w.shape
    strides, paddings, extras, dilations = map(_pair, (stride, padding, output_padding, dilation))
    canvas = tuple(
        (m - 1) * s + d * (k - 1) + 1 + e
        for m, s, d, k, e in zip(size, strides, dilations, kernel, extras, strict=True)
    )
    pixels = x.transpose(1, 0, 2, 3).reshape(c_in, n * size[0] * size[1])
    columns = matmul(w.reshape(c_in, c_out * kernel[0] * kernel[1]).T, pixels)
    y = _overlap_add(columns.reshape(c_out, *kernel, n, *size), canvas, strides, dilations)
    (top, left), (h, w_) = paddings, canvas
    return y[:, :, top : h - top, left : w_ - left] if any(paddings) else y


def avg_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Array:
    """Return the average of `x`, (N, C, H, W), over each window; windows are `stride` apart, their own size if None.

    Zeros that padding puts around the image are averaged too.

    >>> avg_pool2d(numpy.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return _pooling_windows(x, kernel_size, stride, padding, 0.0).mean(axis=1).transpose(1, 0, 2, 3)


def max_pool2d(x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> Array:
    """Return the maximum of `x`, (N, C, H, W), over each window; windows are `stride` apart, their own size if None.

    Of several equal ones the first, row by row, gets the whole gradient. The padding counts as −∞.

    >>> max_pool2d(numpy.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return _max(_pooling_windows(x, kernel_size, stride, padding, -numpy.inf)).transpose(1, 0, 2, 3)


def _max_rule(g: Array, y: Array, windows: Array) -> Array:
    first = numpy.equal(windows, y[:, None])
    seen = first[:, 0]
    for k in range(1, first.shape[1]):
        first[:, k] &= ~seen
        seen = seen | first[:, k]
    return numpy.where(first, g[:, None], 0.0)


@primitive(windows=_max_rule)
def _max(windows: Array) -> Array:
    return numpy.max(windows, axis=1)


def _windows_rule(g: Array, x_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    return _overlap_add(g, (x_shape[2], x_shape[3]), stride, dilation)


@primitive(x=_windows_rule)
def _windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair) -> Array:
    """Return what each element of the kernel sees of images (N, C, H, W): (C, kH, kW, N, H_out, W_out).

    The kernel's axes come first, so that the matrix product and the poolings run over long rows.
    """
    n, c, *size = x.shape
    extent = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if extent[0] > size[0] or extent[1] > size[1]:
        raise ValueError(f"images and padding are {tuple(size)} large; expected {tuple(extent)} or more, as the kernel")
    positions = [(m - e) // s + 1 for m, e, s in zip(size, extent, stride, strict=True)]
    windows = namespace(x).empty((c, *kernel, n, *positions), dtype=x.dtype)
    for i, j, seen in _elements(windows.shape, stride, dilation):
        windows[:, i, j] = x[seen].transpose(1, 0, 2, 3)
    return windows


def _overlap_add_rule(g: Array, windows_shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Array:
    _, kh, kw, _, h, w = windows_shape
    return _windows(g, (kh, kw), stride, dilation)[..., :h, :w]


@primitive(windows=_overlap_add_rule)
def _overlap_add(windows: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """Add windows (C, kH, kW, N, H_out, W_out) into images of `size`, (N, C, H, W), where `_windows` has them from."""
    x = namespace(windows).zeros((windows.shape[3], windows.shape[0], *size), dtype=windows.dtype)
    for i, j, seen in _elements(windows.shape, stride, dilation):
        x[seen] += windows[:, i, j].transpose(1, 0, 2, 3)
    return x


def _elements(shape: tuple[int, ...], stride: Pair, dilation: Pair) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Each element (i, j) of the kernel, with the part of the images that it passes over."""
    (_, kh, kw, _, h, w), (sh, sw), (dh, dw) = shape, stride, dilation
    for i in range(kh):
        for j in range(kw):
            rows, columns = slice(dh * i, dh * i + sh * h, sh), slice(dw * j, dw * j + sw * w, sw)
            yield i, j, (slice(None), slice(None), rows, columns)


def _pooling_windows(x: Array, kernel_size: Size, stride: Size | None, padding: Size, fill: float) -> Array:
    _check_images(x)
    kernel = _pair(kernel_size)
    strides = kernel if stride is None else _pair(stride)
    windows = _windows(_surround(x, _widths(padding, kernel, strides, (1, 1)), fill), kernel, strides, (1, 1))
    c, kh, kw, *positions = windows.shape
    return windows.reshape(c, kh * kw, *positions)


def _widths(padding: Size | str, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding='same' has stride {stride}; expected 1, or the padding in numbers")
        (top, height), (left, width) = ((d * (k - 1) // 2, d * (k - 1)) for d, k in zip(dilation, kernel, strict=True))
        return (top, height - top), (left, width - left)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f"padding is {padding!r}; expected a number, two of them, 'same' or 'valid'")
    h, w = (0, 0) if isinstance(padding, str) else _pair(padding)
    return (h, h), (w, w)


def _surround(x: Array, widths: tuple[Pair, Pair], fill: float) -> Array:
    return pad(x, ((0, 0), (0, 0), *widths), constant_values=fill) if any(map(any, widths)) else x


def _pair(size: Size) -> Pair:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _check_images(x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f"x has shape {x.shape}; expected (N, C, H, W): a batch of images")
