"""The prior that is data nobody has seen: it keeps a mixture of Gaussians from collapsing, and EM monotone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.models.base import check_data
from minilvm.models.covariances import COVARIANCE_TYPES, covariance_type_of
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.numpy.special import xlogy

CHUNK = 8192  # points whose deviations from the mean are held at a time


@dataclass(frozen=True, eq=False)
class ConjugatePrior:
    """π ~ Dirichlet(α, …, α), μ_c | Σ_c ~ N(m, Σ_c / κ), Σ_c ~ inverse Wishart(ν, Λ).

    For variances (diag, spherical): σ² ~ inverse gamma(ν/2, Λ/2). EM then climbs log p(x | θ) + log p(θ): the M-step
    counts κ points at m with scatter Λ to the data's, and divides by what the exponents say. (A multiple of I added to
    each covariance *after* the M-step, as `reg_covar` is, lets the objective fall.)

    Parameters
    ----------
    mean
        m, of shape (D,).
    mean_precision
        κ ≥ 0: how many points' worth of belief in m; with 0 nothing is said of the means.
    degrees_of_freedom
        ν ≥ 0.
    scale
        Λ: (D, D) for full and tied covariances, (D,) for diag, () for spherical.
    concentration
        α ≥ 1; with 1 nothing is said of the weights.

    Raises
    ------
    ValueError
        A number is below its least value, m is not finite, or Λ is no scatter: neither variances nor a symmetric matrix
        without a negative eigenvalue. Or, where the prior is used, m or Λ has the wrong shape for it.

    References
    ----------
    Fraley and Raftery, "Bayesian regularization for normal mixture estimation and model-based clustering", *Journal of
    Classification* 24 (2007), section 3.
    """

    mean: Array
    mean_precision: float
    degrees_of_freedom: float
    scale: Array
    concentration: float = 1.0

    def __post_init__(self) -> None:
        for name, least in {"mean_precision": 0.0, "degrees_of_freedom": 0.0, "concentration": 1.0}.items():
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number of at least {least:g}")
        mean, scale = (backend.to_numpy(numpy.asarray(a) if numpy.isscalar(a) else a) for a in (self.mean, self.scale))
        if not numpy.isfinite(mean).all():
            raise ValueError(f"mean is {mean}; expected finite numbers")
        if not _is_scatter(scale):
            raise ValueError(
                f"scale is {scale}; expected variances, or a symmetric matrix, none of them or its eigenvalues negative"
            )

    @classmethod
    def fraley_raftery(
        cls, x: Array, n_components: int, covariance_type: str = "full", *, sample_weight: Array | None = None
    ) -> ConjugatePrior:
        """Return their default: κ = 0.01, ν = D + 2, m the data's mean, Λ its covariance divided by C^(2/D).

        Of a diagonal Λ each feature's own variance, where theirs is the mean of them: so units have no say.
        """
        check_data(x)
        D = x.shape[1]
        total, mean, scatter = moments(x, sample_weight)
        covariance = scatter / (total * n_components ** (2.0 / D))
        return cls(mean, 0.01, D + 2.0, covariance_type_of(covariance_type).from_full(covariance))

    def add_to(self, statistics: GaussianStatistics) -> GaussianStatistics:
        """Return the statistics of the data and of the κ points, in each component, that the prior stands for."""
        self._check_shapes(statistics)
        d = self.mean - statistics.centres
        pseudo = GaussianStatistics(
            np.full_like(statistics.counts, self.mean_precision),
            self.mean_precision * d,
            self.mean_precision * COVARIANCE_TYPES[statistics.covariance_type].pair(d, d) + self.scale,
            statistics.centres,
            statistics.covariance_type,
        )
        return statistics + pseudo

    def _check_shapes(self, statistics: GaussianStatistics) -> None:
        type_ = statistics.covariance_type
        scale = statistics.second.shape if type_ == "tied" else statistics.second.shape[1:]
        for name, expected in {"mean": statistics.centres.shape[1:], "scale": scale}.items():
            if np.shape(getattr(self, name)) != expected:
                raise ValueError(
                    f"the prior's {name} has shape {np.shape(getattr(self, name))}; expected {expected} for {type_!r} "
                    f"covariances of {statistics.centres.shape[1]} features"
                )

    def mass(self, type_: str, C: int, D: int) -> float:
        """Return what the prior adds to the M-step's denominator: −2 times the exponent of |Σ|, or of σ², in p(θ)."""
        inverse_wishart, normal = {"full": (D + 1, 1), "tied": (D + 1, C), "diag": (2, 1), "spherical": (2, D)}[type_]
        return self.degrees_of_freedom + inverse_wishart + (normal if self.mean_precision > 0.0 else 0)

    def log_density(self, weights: Array, means: Array, covariances: Array, type_: str) -> Array:
        """Return log p(θ), up to a constant."""
        kind = COVARIANCE_TYPES[type_]
        C, D = means.shape
        d = self.mean - means
        scatter = self.mean_precision * kind.pair(d, d) + self.scale
        log_det = kind.log_determinants(covariances).sum()
        of_gaussians = -0.5 * (self.mass(type_, C, D) * log_det + kind.inner(covariances, scatter))
        return of_gaussians + xlogy(self.concentration - 1.0, weights / weights.sum()).sum()


def moments(x: Array, sample_weight: Array | None = None) -> tuple[float, Array, Array]:
    """Return N, the mean (D,) and the scatter (D, D) of points that count so many times each; never a copy of them."""
    weights = np.ones_like(x, shape=(len(x),), dtype=float) if sample_weight is None else sample_weight
    chunks = [slice(start, start + CHUNK) for start in range(0, len(x), CHUNK)]
    total = float(weights.sum())
    mean = sum(weights[rows] @ x[rows] for rows in chunks) / total
    scatter = sum((weights[rows] * (x[rows] - mean).T) @ (x[rows] - mean) for rows in chunks)
    return total, mean, scatter


def _is_scatter(scale: Any) -> bool:
    """Whether it could be the squared deviations of some data, to rounding."""
    if not numpy.isfinite(scale).all():
        return False
    if scale.ndim < 2:
        return bool((scale >= 0.0).all())
    rounding = 1e-8 * numpy.abs(scale).max()
    return bool((numpy.abs(scale - scale.T) <= rounding).all() and numpy.linalg.eigvalsh(scale)[0] >= -rounding)
