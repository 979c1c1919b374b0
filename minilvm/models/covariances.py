"""Four shapes of covariance for the components of a mixture: what is free, what is shared, what is zero.

| type      | Σ_c        | parameters | second moment of deviations d_c | averaged over |
|-----------|------------|------------|---------------------------------|---------------|
| full      | any        | (C, D, D)  | d_c d_cᵀ                        | N_c           |
| tied      | the same Σ | (D, D)     | Σ_c d_c d_cᵀ                    | N             |
| diag      | diag(σ²_c) | (C, D)     | d²_c                            | N_c           |
| spherical | σ²_c I     | (C,)       | ‖d_c‖²                          | D N_c         |

(Celeux and Govaert, "Gaussian parsimonious clustering models", *Pattern Recognition* 28 (1995).)
"""

from __future__ import annotations

import abc
from typing import Final

import numpy

import minilvm.numpy as np
from minilvm.backend import Array, namespace
from minilvm.distributions import Distribution, Independent, MultivariateNormal, Normal


class CovarianceType(abc.ABC):
    """What is asked of a type, and answered for variances. Means and deviations are (C, D), counts N_c (C,)."""

    @abc.abstractmethod
    def pair(self, a: Array, b: Array) -> Array:
        """Return the second moment of one point in each component: of d with itself, or of a with b."""

    @abc.abstractmethod
    def moment(self, a: Array, b: Array) -> Array:
        """Return the same, summed over points: of a and b (C, D, N)."""

    @abc.abstractmethod
    def mass(self, counts: Array, D: int) -> Array:
        """Return how many squared deviations each parameter averages."""

    @abc.abstractmethod
    def law(self, means: Array, covariances: Array) -> Distribution:
        """Return N(μ_c, Σ_c), a batch of C."""

    @abc.abstractmethod
    def from_full(self, covariance: Array) -> Array:
        """Return the parameters of one component of covariance (D, D), as far as the type can say it."""

    def repeated(self, covariance: Array, C: int) -> Array:
        """Return the parameters of C such components."""
        return np.stack([covariance] * C)

    def of(self, covariances: Array, z: Array) -> Array:
        """Return the parameters of the components z."""
        return covariances[z]

    def factor(self, covariances: Array) -> Array:
        """Return L with L Lᵀ = Σ, lower triangular; of variances, their roots."""
        return np.sqrt(covariances)

    def variances(self, covariances: Array) -> Array:
        """Return the diagonal of Σ."""
        return covariances

    def add_to_diagonal(self, covariances: Array, amount: float) -> Array:
        """Return Σ + amount · I."""
        return covariances + amount

    def half_log_det(self, factors: Array, D: int) -> Array:
        """Return ½ log |Σ_c|, which broadcasts to (C,)."""
        del D
        return np.log(self.variances(factors)).sum(axis=-1)

    def log_determinants(self, covariances: Array) -> Array:
        """Return the logarithm of each determinant; of each variance."""
        return np.log(covariances)

    def inner(self, covariances: Array, second: Array) -> Array:
        """Return Σ_c tr(Σ_c⁻¹ S_c) for a second moment S."""
        return (second / covariances).sum()

    def pivots(self, covariances: Array, factors: Array | None = None) -> Array:
        """Return, of each variance, what the features before it leave unexplained; 0 if a matrix is not definite.

        Their `factors` need not be found again where they are known.
        """
        del factors
        return covariances

    def are_sound(self, covariances: Array, rounding: Array, factors: Array | None = None) -> Array:
        """Return whether the variances are above `rounding` and, of matrices, no feature a combination of others."""
        del factors
        sound = covariances > rounding
        return sound.all(axis=1) if sound.ndim == 2 else sound


class _Matrices(CovarianceType):
    """What full and tied share: a matrix in the last two axes."""

    def law(self, means: Array, covariances: Array) -> Distribution:
        return MultivariateNormal(means, covariance_matrix=covariances)

    def from_full(self, covariance: Array) -> Array:
        return covariance

    def factor(self, covariances: Array) -> Array:
        return np.linalg.cholesky(covariances)

    def variances(self, covariances: Array) -> Array:
        return covariances.diagonal(0, -2, -1)

    def add_to_diagonal(self, covariances: Array, amount: float) -> Array:
        return covariances + amount * namespace(covariances).eye(covariances.shape[-1], dtype=covariances.dtype)

    def log_determinants(self, covariances: Array) -> Array:
        return np.linalg.slogdet(covariances).logabsdet

    def inner(self, covariances: Array, second: Array) -> Array:
        return np.trace(np.linalg.solve(covariances, second), axis1=-2, axis2=-1).sum()

    def pivots(self, covariances: Array, factors: Array | None = None) -> Array:
        try:
            return numpy.square(self.variances(self.factor(covariances) if factors is None else factors))
        except numpy.linalg.LinAlgError:  # of one; which is it?
            if covariances.ndim == 2:
                return 0.0 * self.variances(covariances)
            return numpy.stack([self.pivots(each) for each in covariances])

    def are_sound(self, covariances: Array, rounding: Array, factors: Array | None = None) -> Array:
        variances = self.variances(covariances)
        definite = self.pivots(covariances, factors) > 16.0 * numpy.finfo(variances.dtype).eps * variances
        return ((variances > rounding) & definite).all(axis=-1)


class _Full(_Matrices):
    """A matrix for each component."""

    def pair(self, a: Array, b: Array) -> Array:
        return a[:, :, None] * b[:, None, :]

    def moment(self, a: Array, b: Array) -> Array:
        return a @ np.swapaxes(b, 1, 2)

    def mass(self, counts: Array, D: int) -> Array:
        del D
        return counts[:, None, None]


class _Tied(_Matrices):
    """One matrix for all components."""

    def pair(self, a: Array, b: Array) -> Array:
        return a.T @ b

    def moment(self, a: Array, b: Array) -> Array:
        return (a @ np.swapaxes(b, 1, 2)).sum(axis=0)

    def mass(self, counts: Array, D: int) -> Array:
        del D
        return counts.sum()

    def repeated(self, covariance: Array, C: int) -> Array:
        del C
        return covariance

    def of(self, covariances: Array, z: Array) -> Array:
        del z
        return covariances


class _Diagonal(CovarianceType):
    """A variance for each feature of each component."""

    def pair(self, a: Array, b: Array) -> Array:
        return a * b

    def moment(self, a: Array, b: Array) -> Array:
        return (a * b).sum(axis=2)

    def mass(self, counts: Array, D: int) -> Array:
        del D
        return counts[:, None]

    def law(self, means: Array, covariances: Array) -> Distribution:
        return Independent(Normal(means, np.sqrt(covariances)), 1)

    def from_full(self, covariance: Array) -> Array:
        return np.diagonal(covariance)


class _Spherical(CovarianceType):
    """One variance for each component."""

    def pair(self, a: Array, b: Array) -> Array:
        return (a * b).sum(axis=1)

    def moment(self, a: Array, b: Array) -> Array:
        return (a * b).sum(axis=(1, 2))

    def mass(self, counts: Array, D: int) -> Array:
        return D * counts

    def law(self, means: Array, covariances: Array) -> Distribution:
        return Independent(Normal(means, np.sqrt(covariances)[..., None]), 1)

    def from_full(self, covariance: Array) -> Array:
        return np.diagonal(covariance).mean()

    def half_log_det(self, factors: Array, D: int) -> Array:
        return D * np.log(factors)


COVARIANCE_TYPES: Final[dict[str, CovarianceType]] = {
    "full": _Full(), "tied": _Tied(), "diag": _Diagonal(), "spherical": _Spherical(),
}  # fmt: skip


def covariance_type_of(name: str) -> CovarianceType:
    """Return the type of this name.

    Raises
    ------
    ValueError
        There is none.
    """
    if name not in COVARIANCE_TYPES:
        raise ValueError(f"covariance_type is {name!r}; expected one of {', '.join(map(repr, COVARIANCE_TYPES))}")
    return COVARIANCE_TYPES[name]
