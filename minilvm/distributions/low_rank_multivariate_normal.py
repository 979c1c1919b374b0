"""The low-rank multivariate normal law: a long vector that a few common factors move together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.multivariate_normal import squared_length
from minilvm.distributions.normal import HALF_LOG_TWO_PI
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    positive,
)


@dataclass(frozen=True, init=False, eq=False)
class LowRankMultivariateNormal(Distribution):
    """The normal law N(μ, W Wᵀ + diag δ) of D numbers: R factors f that they share, and noise that they do not.

        x = μ + W f + √δ ε,     f ~ N(0, I_R),   ε ~ N(0, I_D)
        log p(x) = log p(x, f) − log p(f | x)   at any f;   at its posterior mean m
                 = −½ ‖u − A m‖² − ½ ‖m‖² − ½ Σ_d log δ_d − ½ log |C| − ½ D log 2π

    where u = (x − μ)/√δ and A = W/√δ, the posterior of f is N(m, C⁻¹) with the capacitance matrix C = I + Aᵀ A, (R, R),
    and m = C⁻¹ Aᵀ u. That costs D R for each point instead of D². Both squares are positive: nothing cancels, and an
    error in m, where the first line is stationary, comes in squared only. (Woodbury's identity makes of them ‖u‖² less
    a number that may be almost as large.) Reparameterised (N13): x is a function of f and ε. Mean and mode μ, variance
    Σ_r W_dr² + δ_d, entropy ½ D log 2πe + ½ Σ_d log δ_d + ½ log |C|. It is the marginal law of factor analysis, and
    with one δ for all that of probabilistic principal components.

    Parameters
    ----------
    loc
        Mean μ, of shape (…, D).
    cov_factor
        Loadings W, of shape (…, D, R).
    cov_diag
        Variances δ > 0 of the noise, of shape (…, D).
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        Shapes do not fit, a number is NaN or infinite, or `cov_diag` is not positive.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §12.2.4 and eq. C.7.

    Examples
    --------
    >>> import numpy
    >>> law = LowRankMultivariateNormal(numpy.zeros(3), numpy.ones((3, 1)), numpy.array([1.0, 1.0, 2.0]))
    >>> law.log_prob(numpy.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).round(4)
    array([-3.7298, -4.0869])
    """

    loc: Array
    cov_factor: Array
    cov_diag: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, loc: Any, cov_factor: Any, cov_diag: Any, *, validate_args: bool = True) -> None:
        loc, factor, diagonal = as_parameters(loc, cov_factor, cov_diag)
        D = loc.shape[-1:]
        if not D or factor.shape[-2:-1] != D or diagonal.shape[-1:] != D:
            raise ValueError(
                f"LowRankMultivariateNormal: loc has shape {loc.shape}, cov_factor {factor.shape} and cov_diag "
                f"{diagonal.shape}; expected (…, D), (…, D, R) and (…, D)"
            )
        shapes = {"loc[..., 0]": loc.shape[:-1], "cov_factor[..., 0, 0]": factor.shape[:-2]}
        broadcast_parameters("LowRankMultivariateNormal", **shapes, **{"cov_diag[..., 0]": diagonal.shape[:-1]})
        self._set(loc=loc, cov_factor=factor, cov_diag=diagonal, validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("cov_factor", factor, finite)
        self._require("cov_diag", diagonal, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ, W and δ broadcast to, less the event's axes."""
        return broadcast(self.loc.shape[:-1], self.cov_factor.shape[:-2], self.cov_diag.shape[:-1])

    @property
    def event_shape(self) -> Shape:
        """(D,)."""
        shape: Shape = self.loc.shape[-1:]
        return shape

    @property
    def support(self) -> Constraint:
        """Every vector of finite numbers."""
        return finite

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`; W and δ are not repeated."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape + self.event_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −½ ‖u − A m‖² − ½ ‖m‖² − ½ Σ_d log δ_d − ½ log |C| − ½ D log 2π."""
        x = self._value(value)
        return -0.5 * self.squared_distance(x - self.loc) - self.half_log_det - x.shape[-1] * HALF_LOG_TWO_PI

    def squared_distance(self, deviation: Array) -> Array:
        """Return dᵀ Σ⁻¹ d = min_m ‖u − A m‖² + ‖m‖², with u = d/√δ; for d = x − μ, Mahalanobis' distance squared."""
        A, L = self._standard
        u = deviation / np.sqrt(self.cov_diag)
        K = np.linalg.solve_triangular(L, np.linalg.solve_triangular(L, _t(A), lower=True), trans=1, lower=True)
        m = _product(u, _t(K))
        return squared_length(u - _product(m, _t(A))) + squared_length(m)

    @property
    def half_log_det(self) -> Array:
        """½ log |Σ| = ½ Σ_d log δ_d + ½ log |C|."""
        _, L = self._standard
        half_log_det_C = np.sum(np.log(np.diagonal(L, axis1=-2, axis2=-1)), axis=-1)
        return 0.5 * np.sum(np.log(self.cov_diag), axis=-1) + half_log_det_C

    @property
    def inverse_diagonal(self) -> Array:
        """The diagonal of Σ⁻¹, (1 − ‖L_C⁻¹ A_d‖²) / δ_d, of shape (…, D)."""
        A, L = self._standard
        return (1.0 - np.sum(np.square(np.linalg.solve_triangular(L, _t(A), lower=True)), axis=-2)) / self.cov_diag

    @property
    def _standard(self) -> tuple[Array, Array]:
        """A = W/√δ, and the Cholesky factor L_C of the capacitance matrix C = I + Aᵀ A."""
        A = self.cov_factor / np.expand_dims(np.sqrt(self.cov_diag), -1)
        identity = namespace(A).eye(A.shape[-1], dtype=A.dtype)
        return A, np.linalg.cholesky(identity + np.matmul(_t(A), A))

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ + W f + √δ ε, with f and ε standard normal (N13)."""
        rng, shape = default_rng(rng, like=self.loc), self._shape(sample_shape)
        f = rng.standard_normal((*shape[:-1], self.cov_factor.shape[-1]), dtype=self.dtype)
        epsilon = rng.standard_normal(shape, dtype=self.dtype)
        return self.loc + _product(f, _t(self.cov_factor)) + np.sqrt(self.cov_diag) * epsilon

    @property
    def covariance_matrix(self) -> Array:
        """Σ = W Wᵀ + diag δ, of shape `batch_shape + (D, D)`."""
        identity = namespace(self.loc).eye(self.loc.shape[-1], dtype=self.dtype)
        sigma = np.matmul(self.cov_factor, _t(self.cov_factor)) + np.expand_dims(self.cov_diag, -1) * identity
        return np.broadcast_to(sigma, self.batch_shape + 2 * self.event_shape)

    @property
    def precision_matrix(self) -> Array:
        """Σ⁻¹, of shape `batch_shape + (D, D)`."""
        return np.linalg.inv(self.covariance_matrix)

    @property
    def scale_tril(self) -> Array:
        """The Cholesky factor of Σ, of shape `batch_shape + (D, D)`."""
        return np.linalg.cholesky(self.covariance_matrix)

    @property
    def mean(self) -> Array:
        """μ, of shape `batch_shape + (D,)`."""
        return np.broadcast_to(self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Array:
        """Σ_r W_dr² + δ_d."""
        variance = np.sum(np.square(self.cov_factor), axis=-1) + self.cov_diag
        return np.broadcast_to(variance, self.batch_shape + self.event_shape)

    @property
    def mode(self) -> Array:
        """μ."""
        return self.mean

    def entropy(self) -> Array:
        """Return ½ D log 2πe + ½ Σ_d log δ_d + ½ log |C|."""
        D = self.loc.shape[-1]
        return np.broadcast_to(self.half_log_det + D * (0.5 + HALF_LOG_TWO_PI), self.batch_shape)


def _t(a: Array) -> Array:
    return np.swapaxes(a, -1, -2)


def _product(rows: Array, a: Array) -> Array:
    """Multiply vectors (…, n) by the matrices (…, n, k) that they meet."""
    if a.ndim == 2:
        return np.matmul(rows, a)
    return np.squeeze(np.matmul(np.expand_dims(rows, -2), a), -2)
