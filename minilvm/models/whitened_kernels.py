"""Gaussian kernels by whitening: y_nc = L_c⁻¹ (x_n − μ_c) with L_c L_cᵀ = Σ_c is standard normal.

    log N(x_n; μ_c, Σ_c) = −½ ‖y_nc‖² − ½ log |2πΣ_c|

The moments of x about the old mean are those of y, mapped back with L_c. Nothing large is squared, and nothing cancels:
as accurate as it can be, however narrow a cluster and far away.
"""

from __future__ import annotations

import abc
import functools

import numpy

from minilvm.backend import Array
from minilvm.models.gaussian_statistics import GaussianStatistics, Moments
from minilvm.models.kernels import GaussianKernel, Sums, points_at_a_time


class Whitened(GaussianKernel):
    """y = L⁻¹ (x − μ), of shape (C, D, n), and back. A subclass knows how to multiply with L."""

    def __init__(self, log_constants: Array, means: Array, factors: Array) -> None:
        C, self.D = means.shape
        self.log_constants, self.means, self.factors = log_constants[:, None], means, factors
        self.chunk = points_at_a_time(C * self.D, means, 256, 4096)

    @abc.abstractmethod
    def _whiten(self, x: Array) -> Array:
        """Return y."""

    @abc.abstractmethod
    def _sum(self, y: Array, squares: Array, r: Array) -> Moments:
        """Return the moments of y."""

    @abc.abstractmethod
    def _unwhiten(self, first: Array, second: Array) -> tuple[Array, Array]:
        """Return the moments of x − μ = L y."""

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return log constants − ½ ‖y‖², and the moments of y as a function of responsibilities."""
        y = self._whiten(x)
        squares = numpy.square(y)
        log_joint = self.log_constants - 0.5 * squares.sum(axis=1)
        return log_joint, functools.partial(self._sum, y, squares)

    def statistics(self, sums: Moments) -> GaussianStatistics:
        """Return the moments about the means."""
        first, second = self._unwhiten(sums.first, sums.second)
        return GaussianStatistics(sums.counts, first, second, self.means, self.covariance_type)


class WhitenedFull(Whitened):
    """One product with L⁻¹ for each component."""

    covariance_type = "full"

    def __init__(self, log_constants: Array, means: Array, factors: Array) -> None:
        super().__init__(log_constants, means, factors)
        self.inverse = numpy.linalg.inv(factors)

    def _whiten(self, x: Array) -> Array:
        return self.inverse @ (x.T - self.means[:, :, None])

    def _sum(self, y: Array, squares: Array, r: Array) -> Moments:
        root = numpy.sqrt(r)
        z = numpy.multiply(y, root[:, None, :], out=squares)
        return Moments(r.sum(axis=1), (z @ root[:, :, None])[:, :, 0], z @ numpy.swapaxes(z, 1, 2))

    def _as_summed(self, moments: Array) -> Array:
        return self.inverse @ moments @ numpy.swapaxes(self.inverse, -1, -2)

    def _unwhiten(self, first: Array, second: Array) -> tuple[Array, Array]:
        L = self.factors
        return (L @ first[:, :, None])[:, :, 0], L @ second @ numpy.swapaxes(L, -1, -2)


class WhitenedTied(WhitenedFull):
    """The same with one L."""

    covariance_type = "tied"

    def _sum(self, y: Array, squares: Array, r: Array) -> Moments:
        sums = super()._sum(y, squares, r)
        return sums._replace(second=sums.second.sum(axis=0))


class WhitenedDiagonal(Whitened):
    """y = (x − μ) / σ, feature by feature."""

    covariance_type = "diag"

    def _whiten(self, x: Array) -> Array:
        return (x.T - self.means[:, :, None]) / self.factors[:, :, None]

    def _sum(self, y: Array, squares: Array, r: Array) -> Moments:
        column = r[:, :, None]
        return Moments(r.sum(axis=1), (y @ column)[:, :, 0], (squares @ column)[:, :, 0])

    def _unwhiten(self, first: Array, second: Array) -> tuple[Array, Array]:
        return self.factors * first, numpy.square(self.factors) * second


class WhitenedSpherical(WhitenedDiagonal):
    """The same, with one σ."""

    covariance_type = "spherical"

    def __init__(self, log_constants: Array, means: Array, factors: Array) -> None:
        super().__init__(log_constants, means, factors[:, None])

    def _unwhiten(self, first: Array, second: Array) -> tuple[Array, Array]:
        first, second = super()._unwhiten(first, second)
        return first, second.sum(axis=1)
