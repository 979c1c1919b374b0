"""What the tests of mixtures of Gaussians share: the textbook, by loops, in NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy

from tests.testing.helpers import host

TYPES = ("full", "tied", "diag", "spherical")


def matrices(covariances: Any, covariance_type: str, C: int, D: int) -> Any:
    """The covariances of any type as matrices (C, D, D)."""
    covariances = host(covariances)
    return {
        "full": lambda: covariances,
        "tied": lambda: numpy.stack([covariances] * C),
        "diag": lambda: numpy.stack([numpy.diag(variances) for variances in covariances]),
        "spherical": lambda: numpy.stack([variance * numpy.eye(D) for variance in covariances]),
    }[covariance_type]()


def matrices_of(model: Any) -> Any:
    """The same, of a model."""
    return matrices(model.covariances, model.covariance_type, *model.means.shape)


def of_type(scatters: Any, covariance_type: str) -> Any:
    """Second moments (C, D, D) summed as a type sums them."""
    return {
        "full": lambda: scatters,
        "tied": lambda: scatters.sum(axis=0),
        "diag": lambda: numpy.diagonal(scatters, axis1=1, axis2=2),
        "spherical": lambda: numpy.trace(scatters, axis1=1, axis2=2),
    }[covariance_type]()


def scatters(x: Any, responsibilities: Any, centres: Any) -> Any:
    """Σ_n γ_nc (x_n − centre_c)(x_n − centre_c)ᵀ, of shape (C, D, D)."""
    deviations = x[:, None, :] - centres
    return numpy.einsum("nc,nci,ncj->cij", responsibilities, deviations, deviations)
