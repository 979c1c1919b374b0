"""Gaussian kernels by features: log N(x; μ_c, Σ_c) is linear in φ(x) = [1, x, x xᵀ].

    log N(x; μ, Σ) = −½ log |2πΣ| − ½ μᵀΛμ  +  (Λμ)·x  −  ½ Λ·x xᵀ,    Λ = Σ⁻¹

So a chunk's table is one product Θ φ(x), and its moments are another, of the responsibilities with φ(x): as fast as it
can be. The first column of Θ, for the 1 in φ, holds log π_c too, less the ceiling.

But φ(x) holds squares. It is taken of x less one origin for all components, the middle of the data; means less that
are called m. Of a cluster that is as narrow as 10⁻ᵏ of its distance from there, 2k digits cancel: `amplification` is
10²ᵏ, about.
"""

from __future__ import annotations

import abc
import functools
from types import ModuleType
from typing import Final

import numpy

from minilvm.backend import Array, namespace
from minilvm.models.gaussian_statistics import GaussianStatistics, Moments
from minilvm.models.kernels import GaussianKernel, Sums, points_at_a_time

FEW: Final = 64  # features: of more, ½ ‖y‖² ≈ D / 2 alone may take a datum too far below the ceiling to count by it


class Features(GaussianKernel):
    """Θ φ(x) and back. A subclass says which products of features are in φ(x), and what Θ makes of them."""

    def __init__(self, log_constants: Array, means: Array, factors: Array, origin: Array) -> None:
        C, self.D = means.shape
        m = means - origin
        bounds, variances, linear, quadratic = self._coefficients(factors, m)
        constant = log_constants - 0.5 * (linear * m).sum(axis=1)
        if self.D <= FEW:
            self.ceiling = float(log_constants.max())  # of a log density, at its mean
            constant -= self.ceiling
        self.theta = numpy.concatenate([constant[:, None], linear, quadratic], axis=1)
        self.centres = 0.0 * means + origin
        self.origin = origin[:, None]
        self.chunk = points_at_a_time(C + self.theta.shape[1], means, 2048, 2**14)
        # About how large the terms of a log density are, at a datum three deviations from the mean.
        self.amplification = float((bounds * (m * m + 9.0 * variances)).sum(axis=1).max())

    @abc.abstractmethod
    def _coefficients(self, factors: Array, m: Array) -> tuple[Array, Array, Array, Array]:
        """Return b, the variances, Λm and Q, for each component.

        b, with Σ_ij |x_i Λ_ij x_j| ≤ Σ_i b_i x_i², says how large terms are; Λm are Θ's columns for x, Q for products.
        """

    @abc.abstractmethod
    def _multiply(self, x: Array, products: Array) -> None:
        """Write the products of the rows of x (D, n)."""

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return Θ φ(x), and R φ(x)ᵀ as a function of R."""
        phi = numpy.empty_like(self.theta, shape=(self.theta.shape[1], len(x)))
        phi[0] = 1.0
        numpy.subtract(x.T, self.origin, out=phi[1 : 1 + self.D])
        self._multiply(phi[1 : 1 + self.D], phi[1 + self.D :])
        return self.theta @ phi, functools.partial(self._sum, phi)

    def _sum(self, phi: Array, r: Array) -> Moments:
        moments = (phi @ r.T).T  # the same as r @ φᵀ, which takes BLAS longer
        return Moments(moments[:, 0], moments[:, 1 : 1 + self.D], moments[:, 1 + self.D :])

    def statistics(self, sums: Moments) -> GaussianStatistics:
        """Return the moments about the origin."""
        second = self._second(sums.second)
        return GaussianStatistics(sums.counts, sums.first, second, self.centres, self.covariance_type)

    def _second(self, moments: Array) -> Array:
        """Return moments of products in the form that the type of covariance has."""
        return moments


class FullFeatures(Features):
    """All products x_i x_j with i ≤ j."""

    covariance_type = "full"

    def _coefficients(self, factors: Array, m: Array) -> tuple[Array, Array, Array, Array]:
        inverse = numpy.linalg.inv(factors)
        Lambda = numpy.swapaxes(inverse, 1, 2) @ inverse
        upper, scale, _ = _triangle(self.D, namespace(m))
        quadratic = Lambda.reshape(len(m), -1).take(upper, axis=1) * scale
        bounds = self.D * Lambda.diagonal(0, 1, 2)  # since |Λ_ij| ≤ √(Λ_ii Λ_jj)
        return bounds, (factors * factors).sum(axis=2), (Lambda @ m[:, :, None])[:, :, 0], quadratic

    def _multiply(self, x: Array, products: Array) -> None:
        row = 0
        for d in range(self.D):
            numpy.multiply(x[d], x[d:], out=products[row : row + self.D - d])
            row += self.D - d

    def _second(self, moments: Array) -> Array:
        _, _, square = _triangle(self.D, namespace(moments))
        return moments.take(square, axis=1)


@functools.cache
def _triangle(D: int, xp: ModuleType) -> tuple[Array, Array, Array]:
    """Where in D² elements the upper triangle is, −½ or −1 for each, and where in the triangle the D × D are."""
    rows, columns = numpy.triu_indices(D)
    square = numpy.empty((D, D), dtype=int)
    square[rows, columns] = square[columns, rows] = numpy.arange(len(rows))
    return xp.asarray(rows * D + columns), xp.asarray(numpy.where(rows == columns, -0.5, -1.0)), xp.asarray(square)


class TiedFeatures(Features):
    """The quadratic term is the same for all components, so that one number is enough for it: ‖L⁻¹ x‖²."""

    covariance_type = "tied"

    def _coefficients(self, factors: Array, m: Array) -> tuple[Array, Array, Array, Array]:
        self.inverse = numpy.linalg.inv(factors)
        Lambda = self.inverse.T @ self.inverse
        variances = (factors * factors).sum(axis=1)
        return self.D * numpy.diagonal(Lambda), variances, m @ Lambda, numpy.full_like(m, -0.5, shape=(len(m), 1))

    def _multiply(self, x: Array, products: Array) -> None:
        numpy.sum(numpy.square(self.inverse @ x), axis=0, out=products[0])

    def _sum(self, phi: Array, r: Array) -> Moments:
        x = phi[1 : 1 + self.D]
        return Moments(r.sum(axis=1), r @ x.T, (x * r.sum(axis=0)) @ x.T)


class DiagonalFeatures(Features):
    """The squares x_i²."""

    covariance_type = "diag"

    def _coefficients(self, factors: Array, m: Array) -> tuple[Array, Array, Array, Array]:
        variances = numpy.square(factors)
        precisions = 1.0 / variances
        return precisions, variances, precisions * m, -0.5 * precisions

    def _multiply(self, x: Array, products: Array) -> None:
        numpy.square(x, out=products)


class SphericalFeatures(DiagonalFeatures):
    """‖x‖²."""

    covariance_type = "spherical"

    def _coefficients(self, factors: Array, m: Array) -> tuple[Array, Array, Array, Array]:
        return super()._coefficients(factors[:, None], m)

    def _multiply(self, x: Array, products: Array) -> None:
        numpy.sum(numpy.square(x), axis=0, out=products[0])

    def _second(self, moments: Array) -> Array:
        return moments[:, 0]
