"""The multivariate normal law: a vector whose elements vary together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.normal import HALF_LOG_TWO_PI
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    exactly_one,
    finite,
    positive,
)
from minilvm.tape import stop_gradient

lower_triangular = Constraint("lower triangular", lambda a: np.triu(a, 1) == 0)
symmetric = Constraint(
    "symmetric",
    lambda a: (
        np.abs(a - np.swapaxes(a, -1, -2))
        <= numpy.finfo(a.dtype).eps ** 0.5 * np.max(np.abs(a), axis=(-2, -1), keepdims=True)
    ),
)


@dataclass(frozen=True, init=False, eq=False)
class MultivariateNormal(Distribution):
    """The normal law N(μ, Σ) of a vector of D numbers, by the Cholesky factor L of its covariance, Σ = L Lᵀ.

        log p(x) = −½ ‖L⁻¹ (x − μ)‖² − Σ_d log L_dd − ½ D log 2π

    One triangular solve serves all the points that meet one L; batches of (μ_c, L_c), of shapes (C, D) and (C, D, D),
    are the components of N3 and meet points of shape (N, 1, D). Reparameterised (N13): x = μ + L ε with ε ~ N(0, I).
    Mean and mode μ, covariance Σ, entropy ½ D log 2πe + Σ_d log L_dd.

    Parameters
    ----------
    loc
        Mean μ, of shape (…, D).
    scale_tril
        L, lower triangular with a positive diagonal, of shape (…, D, D). This is what is stored; give it, or one of:
    covariance_matrix
        Σ, symmetric and positive definite, (…, D, D).
    precision_matrix
        Σ⁻¹, symmetric and positive definite, (…, D, D).
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        Not exactly one matrix is given; it is no matrix of its kind; shapes do not fit; a number is NaN or infinite.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.43.

    Examples
    --------
    >>> law = MultivariateNormal(numpy.zeros(2), covariance_matrix=numpy.array([[4.0, 2.0], [2.0, 2.0]]))
    >>> law.scale_tril
    array([[2., 0.],
           [1., 1.]])
    >>> law.log_prob(numpy.array([[0.0, 0.0], [2.0, 1.0]])).round(4)
    array([-2.531, -3.031])
    """

    loc: Array
    scale_tril: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(
        self,
        loc: Any,
        *,
        scale_tril: Any = None,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        validate_args: bool = True,
    ) -> None:
        given = {"scale_tril": scale_tril, "covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix}
        name = exactly_one("MultivariateNormal", **given)
        loc, matrix = as_parameters(loc, given[name])
        if loc.ndim < 1 or matrix.shape[-2:] != 2 * loc.shape[-1:]:
            raise ValueError(
                f"MultivariateNormal: loc has shape {loc.shape} and {name} has {matrix.shape}; "
                "expected (…, D) and (…, D, D)"
            )
        broadcast_parameters(
            "MultivariateNormal", **{"loc[..., 0]": loc.shape[:-1], f"{name}[..., 0, 0]": matrix.shape[:-2]}
        )
        self._set(loc=loc, scale_tril=matrix, validate_args=validate_args)
        self._require("loc", loc, finite)
        if name == "scale_tril":
            self._require(name, matrix, finite, lower_triangular)
            self._require("the diagonal of scale_tril", self._diagonal, positive)
        else:
            self._require(name, matrix, finite, symmetric)
            factor = _factor_of_inverse if name == "precision_matrix" else np.linalg.cholesky
            try:
                self._set(scale_tril=factor(matrix))
            except numpy.linalg.LinAlgError as error:
                lowest = numpy.linalg.eigvalsh(stop_gradient(matrix))[..., 0].min()
                raise ValueError(
                    f"MultivariateNormal: {name} must be positive definite; its smallest eigenvalue is {lowest}"
                ) from error
            self._require(f"the Cholesky factor of {name}", self.scale_tril, finite)  # CuPy gives NaN, and no error

    @property
    def covariance_matrix(self) -> Array:
        """Σ = L Lᵀ, of shape `batch_shape + (D, D)`."""
        L = self._lower
        return np.broadcast_to(np.matmul(L, np.swapaxes(L, -1, -2)), self.batch_shape + 2 * self.event_shape)

    @property
    def precision_matrix(self) -> Array:
        """Σ⁻¹ = L⁻ᵀ L⁻¹, of shape `batch_shape + (D, D)`."""
        inverse = np.linalg.solve_triangular(self.scale_tril, _identity_like(self.scale_tril), lower=True)
        return np.broadcast_to(
            np.matmul(np.swapaxes(inverse, -1, -2), inverse), self.batch_shape + 2 * self.event_shape
        )

    @property
    def _lower(self) -> Array:
        """L, even where a step along a gradient has put something above its diagonal."""
        return np.tril(self.scale_tril)

    @property
    def _diagonal(self) -> Array:
        return np.diagonal(self.scale_tril, axis1=-2, axis2=-1)

    @property
    def half_log_det(self) -> Array:
        """½ log |Σ| = Σ_d log L_dd."""
        return np.sum(np.log(self._diagonal), axis=-1)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and L broadcast to, less the event's axes."""
        return broadcast(self.loc.shape[:-1], self.scale_tril.shape[:-2])

    @property
    def event_shape(self) -> Shape:
        """(D,)."""
        shape: Shape = self.loc.shape[-1:]
        return shape

    @property
    def support(self) -> Constraint:
        """Every vector of finite numbers."""
        return finite

    def expand(self, batch_shape: Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`; L is not repeated, so one solve still serves all."""
        self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape + self.event_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −½ ‖L⁻¹ (x − μ)‖² − Σ_d log L_dd − ½ D log 2π."""
        z = self.whiten(self._value(value) - self.loc)
        return -0.5 * np.sum(np.square(z), axis=-1) - self.half_log_det - z.shape[-1] * HALF_LOG_TWO_PI

    def whiten(self, deviation: Array) -> Array:
        """Return L⁻¹ d, which for d = x − μ is standard normal; shape (…, D)."""
        return np.squeeze(np.linalg.solve_triangular(self.scale_tril, np.expand_dims(deviation, -1), lower=True), -1)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ + L ε with ε ~ N(0, I) (N13)."""
        epsilon = default_rng(rng, like=self.loc).standard_normal(self._shape(sample_shape), dtype=self.dtype)
        return self.loc + np.squeeze(np.matmul(epsilon[..., None, :], np.swapaxes(self._lower, -1, -2)), -2)

    @property
    def mean(self) -> Array:
        """μ, of shape `batch_shape + (D,)`."""
        return np.broadcast_to(self.loc, self.batch_shape + self.event_shape)

    @property
    def variance(self) -> Array:
        """The diagonal of Σ, Σ_e L_de²."""
        variance = np.sum(np.square(self._lower), axis=-1)
        return np.broadcast_to(variance, self.batch_shape + self.event_shape)

    @property
    def mode(self) -> Array:
        """μ."""
        return self.mean

    def entropy(self) -> Array:
        """Return ½ D log 2πe + Σ_d log L_dd."""
        D = self.loc.shape[-1]
        return np.broadcast_to(self.half_log_det + D * (0.5 + HALF_LOG_TWO_PI), self.batch_shape)


def _identity_like(a: Array) -> Array:
    return namespace(a).eye(a.shape[-1], dtype=a.dtype)


def _factor_of_inverse(a: Array) -> Array:
    """The Cholesky factor of a⁻¹: where a = U Uᵀ with U upper triangular, a⁻¹ = U⁻ᵀ U⁻¹ and U⁻ᵀ is lower triangular.

    U is a Cholesky factor too, of the matrix with its rows and columns in reverse order, put back in order.
    """
    U = np.flip(np.linalg.cholesky(np.flip(a, (-2, -1))), (-2, -1))
    return np.linalg.solve_triangular(U, _identity_like(U), trans=1)
