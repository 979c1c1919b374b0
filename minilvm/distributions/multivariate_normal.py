"""The multivariate normal law: a vector whose elements vary together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace, scipy_namespace
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
    to_shape,
)
from minilvm.rules import primitive
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
    covariance_matrix
        Σ, symmetric and positive definite, (…, D, D).
    precision_matrix
        Σ⁻¹, symmetric and positive definite, in place of Σ.
    scale_tril
        L, lower triangular with a positive diagonal, in place of Σ. This is what is stored, and costs nothing to make.
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
    >>> law = MultivariateNormal(numpy.zeros(2), numpy.array([[4.0, 2.0], [2.0, 2.0]]))
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
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        *,
        validate_args: bool = True,
    ) -> None:
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
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

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`; L is not repeated, so one solve still serves all."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape + self.event_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −½ ‖L⁻¹ (x − μ)‖² − Σ_d log L_dd − ½ D log 2π."""
        z = self.whiten(self._value(value))
        return -0.5 * squared_length(z) - self.half_log_det - z.shape[-1] * HALF_LOG_TWO_PI

    def whiten(self, x: Array) -> Array:
        """Return z = L⁻¹ (x − μ), which is standard normal where x has this law; shape (…, D)."""
        return whitened(x, self.loc, self.scale_tril)

    def squared_distance(self, deviation: Array) -> Array:
        """Return dᵀ Σ⁻¹ d = ‖L⁻¹ d‖²; for d = x − μ, Mahalanobis' distance squared."""
        return squared_length(whitened(deviation, np.zeros_like(self.loc), self.scale_tril))

    @property
    def inverse_diagonal(self) -> Array:
        """The diagonal of Σ⁻¹ = L⁻ᵀ L⁻¹, of shape (…, D)."""
        inverse = np.linalg.solve_triangular(self.scale_tril, _identity_like(self.scale_tril), lower=True)
        return np.sum(np.square(inverse), axis=-2)

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


# The two halves of the density. With z̄ = ∂/∂z, dz = L⁻¹ (dx − dμ − dL z) gives x̄ = L⁻ᵀ z̄ = −μ̄ and L̄ = −L⁻ᵀ z̄ zᵀ. What
# is shared by many points is summed over them before L⁻ᵀ is applied: then no rule but that for x solves for each point.


def _pulled_back(g: Array, L: Array, shape: Shape) -> Array:
    """L⁻ᵀ z̄, for an operand of this shape."""
    g = to_shape(g, broadcast(shape, L.shape[:-1]))
    x_bar = np.squeeze(np.linalg.solve_triangular(L, np.expand_dims(g, -1), trans=1, lower=True), -1)
    return to_shape(x_bar, shape)


def _rows(z: Array, L: Array) -> Array:
    """The points that meet each factor as the rows of one matrix: the axes in front of those of L's batch go there."""
    n = z.ndim - L.ndim + 1
    z = np.moveaxis(z, tuple(range(n)), tuple(range(-1 - n, -1)))
    return np.reshape(z, (*z.shape[: L.ndim - 2], math.prod(z.shape[L.ndim - 2 : -1]), z.shape[-1]))


def _factor_rule(g: Array, y: Array, L: Array) -> Array:
    g, y = np.swapaxes(_rows(g, L), -1, -2), _rows(y, L)
    if y.shape[-2] < y.shape[-1]:  # fewer points to a factor than the factor has columns
        product = np.matmul(np.linalg.solve_triangular(L, g, trans=1, lower=True), y)
    else:
        product = np.linalg.solve_triangular(L, np.matmul(g, y), trans=1, lower=True)
    return -np.tril(to_shape(product, L.shape))


@primitive(
    x=lambda g, x_shape, L: _pulled_back(g, L, x_shape),
    loc=lambda g, loc_shape, L: -_pulled_back(g, L, loc_shape),
    L=_factor_rule,
)
def whitened(x: Array, loc: Array, L: Array) -> Array:
    """Return z = L⁻¹ (x − μ) along the last axis, reading the lower triangle of L alone."""
    z = x - loc
    if L.ndim > 2:
        return np.squeeze(np.linalg.solve_triangular(L, z[..., None], lower=True), -1)
    columns = z.reshape(-1, z.shape[-1]).T  # as LAPACK wants them: it solves in place, and z is the one array made
    solve = scipy_namespace("linalg", L).solve_triangular
    return solve(L, columns, lower=True, overwrite_b=True, check_finite=False).T.reshape(z.shape)


@primitive(z=lambda g, z: (2.0 * g)[..., None] * z)
def squared_length(z: Array) -> Array:
    """Return ‖z‖² along the last axis."""
    return numpy.einsum("...d,...d->...", z, z)


def _identity_like(a: Array) -> Array:
    return namespace(a).eye(a.shape[-1], dtype=a.dtype)


def _factor_of_inverse(a: Array) -> Array:
    """The Cholesky factor of a⁻¹: where a = U Uᵀ with U upper triangular, a⁻¹ = U⁻ᵀ U⁻¹ and U⁻ᵀ is lower triangular.

    U is a Cholesky factor too, of the matrix with its rows and columns in reverse order, put back in order.
    """
    U = np.flip(np.linalg.cholesky(np.flip(a, (-2, -1))), (-2, -1))
    return np.linalg.solve_triangular(U, _identity_like(U), trans=1)
