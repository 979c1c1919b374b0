"""Which arithmetic a Gaussian E-step is done in: the fast one where it keeps its digits, else the careful one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy

from minilvm.backend import Array, namespace
from minilvm.models import feature_kernels, whitened_kernels
from minilvm.models.kernels import MOST_AMPLIFICATION, GaussianKernel, Regulariser
from minilvm.models.screened_kernel import ScreenedFull

MANY_FEATURES: Final = (
    24  # D: φ(x) grows as D² / 2, and what whitening makes as C D; for matrices it is slower from here
)

_FEATURES: Final[dict[str, Callable[..., feature_kernels.Features]]] = {
    "full": feature_kernels.FullFeatures,
    "tied": feature_kernels.TiedFeatures,
    "diag": feature_kernels.DiagonalFeatures,
    "spherical": feature_kernels.SphericalFeatures,
}
_WHITENED: Final[dict[str, Callable[..., GaussianKernel]]] = {
    "full": whitened_kernels.WhitenedFull,
    "tied": whitened_kernels.WhitenedTied,
    "diag": whitened_kernels.WhitenedDiagonal,
    "spherical": whitened_kernels.WhitenedSpherical,
}


def gaussian_kernel(
    log_constants: Array,
    means: Array,
    factors: Array,
    covariance_type: str,
    *,
    weights: Array,
    regulariser: Regulariser,
) -> GaussianKernel:
    """Return the kernel of log_constants_c − ½ ‖L_c⁻¹ (x_n − μ_c)‖².

    Parameters
    ----------
    log_constants
        (C,): log π_c − ½ log |2πΣ_c|, or what stands in its place.
    means
        (C, D).
    factors
        L: (C, D, D) for full covariances, (D, D) for tied; standard deviations (C, D) for diag, (C,) for spherical.
    covariance_type
        Which.
    weights
        (C,), summing to 1: how much of the data each component has, about. It says where the middle of them is.
    regulariser
        What the M-step adds to the scatter.
    """
    kernel = _suited(log_constants, means, factors, covariance_type, weights)
    kernel.regulariser = regulariser
    return kernel


def _suited(log_constants: Array, means: Array, factors: Array, covariance_type: str, weights: Array) -> GaussianKernel:
    log_constants, means, factors, weights = (
        a.astype(float, copy=False) for a in (log_constants, means, factors, weights)
    )
    if means.shape[1] < MANY_FEATURES or covariance_type != "full":
        kernel = _FEATURES[covariance_type](log_constants, means, factors, weights @ means)
        if kernel.amplification < MOST_AMPLIFICATION:
            return kernel
    if means.shape[1] >= MANY_FEATURES and covariance_type == "full" and namespace(means) is numpy:
        return ScreenedFull(log_constants, means, factors)
    return _WHITENED[covariance_type](log_constants, means, factors)
