"""Pictures: the two that users of the models keep needing. Both draw on axes of matplotlib, an optional extra.

Install it with ``python -m pip install "minilvm[examples]"``. This module only ever touches the axes that it is given,
so importing it needs no matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minilvm import backend
from minilvm.backend import Array

__all__ = ["ellipse", "image_grid"]

Axes = Any  # matplotlib.axes.Axes


def ellipse(ax: Axes, mean: Array, covariance: Array, n_std: Sequence[float] = (1.0, 2.0), **style: Any) -> list[Any]:
    """Draw where N(x; mean, covariance) lies: its contours at `n_std` standard deviations.

    A contour is a circle put through a square root of the covariance: x = μ + s R u with |u| = 1 and R Rᵀ = Σ, which
    are the points with (x − μ)ᵀ Σ⁻¹ (x − μ) = s². That of s holds a share 1 − exp(−s²/2) of the mass: 39% for s = 1,
    86% for s = 2.

    Parameters
    ----------
    ax
        Axes of matplotlib.
    mean, covariance
        Shapes (2,) and (2, 2).
    n_std
        s, for each contour.
    **style
        Passed on to `ax.plot`.

    Returns
    -------
    The lines drawn.

    Raises
    ------
    ValueError
        The shapes are not those of two dimensions.
    numpy.linalg.LinAlgError
        `covariance` is not positive definite.
    """
    mean, covariance = backend.to_numpy(mean), backend.to_numpy(covariance)
    if mean.shape != (2,) or covariance.shape != (2, 2):
        raise ValueError(f"mean has shape {mean.shape}, covariance {covariance.shape}; expected (2,) and (2, 2)")
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    contour = np.linalg.cholesky(covariance) @ circle
    return [line for s in n_std for line in ax.plot(*(mean[:, None] + s * contour), **style)]


def image_grid(ax: Axes, images: Array, n_columns: int | None = None, *, gap: int = 1, **style: Any) -> Any:
    """Draw grey images side by side, row after row, and hide the axes.

    Parameters
    ----------
    ax
        Axes of matplotlib.
    images
        Shape (N, height, width); larger is darker.
    n_columns
        How many to a row; by default about as many as there are rows.
    gap
        Pixels left blank between images.
    **style
        Passed on to `ax.imshow`; `vmin` and `vmax` fix what is white and what is black.

    Returns
    -------
    What `ax.imshow` returns.

    Raises
    ------
    ValueError
        `images` is not a stack of grey images, or `n_columns` is no number of columns.
    """
    images = backend.to_numpy(images)
    if images.ndim != 3 or images.size == 0:
        raise ValueError(f"images has shape {images.shape}; expected (N, height, width), at least one image")
    n, height, width = images.shape
    columns = math.ceil(math.sqrt(n)) if n_columns is None else n_columns
    if columns < 1:
        raise ValueError(f"n_columns is {n_columns}; expected at least 1")
    rows = math.ceil(n / columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image
    ax.set_axis_off()
    return ax.imshow(canvas, **{"cmap": "gray_r", "interpolation": "nearest", **style})
