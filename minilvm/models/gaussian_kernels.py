"""The E-step's arithmetic for Gaussian components, a chunk of data at a time: log densities, and moments.

*Whitened*: y_nc = L_c⁻¹ (x_n − μ_c). Then log N(x_n; μ_c, Σ_c) = −½ ‖y_nc‖² − ½ log |2πΣ_c|, and the moments of x about
the old mean are those of y, mapped back with L_c: nothing is squared that is large, so nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy

from minilvm.backend import Array, namespace
from minilvm.models.gaussian_statistics import GaussianStatistics

Sums = Callable[[Array], GaussianStatistics]


class WhitenedKernel:
    """A function of a chunk x (n, D): log_constants_c − ½ ‖L_c⁻¹ (x_n − μ_c)‖², of shape (C, n), and the way to sums.

    The second part of what it returns is a function of responsibilities (C, n): the chunk's statistics.

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
    """

    floor = -500.0  # of log responsibilities: below −708 are denormals, 100 times slower on some processors

    def __init__(self, log_constants: Array, means: Array, factors: Array, covariance_type: str) -> None:
        self.log_constants, self.means, self.factors, self.covariance_type = (
            log_constants, means, factors, covariance_type,
        )  # fmt: skip
        if covariance_type in {"full", "tied"}:
            xp = namespace(means)
            self.inverse = numpy.linalg.solve(factors, xp.broadcast_to(xp.eye(factors.shape[-1]), factors.shape))
        else:
            self.inverse = 1.0 / factors

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        """Return the table, and the function from responsibilities to statistics."""
        deviations = x.T - self.means[:, :, None]  # (C, D, n)
        y = self._whiten(deviations)
        log_joint = self.log_constants[:, None] - 0.5 * numpy.square(y).sum(axis=1)
        return log_joint, lambda responsibilities: self._sums(y, responsibilities)

    def _whiten(self, deviations: Array) -> Array:
        if self.covariance_type in {"full", "tied"}:
            return self.inverse @ deviations
        if self.covariance_type == "diag":
            return self.inverse[:, :, None] * deviations
        return self.inverse[:, None, None] * deviations

    def _sums(self, y: Array, responsibilities: Array) -> GaussianStatistics:
        counts = responsibilities.sum(axis=1)
        root = numpy.sqrt(responsibilities)
        z = root[:, None, :] * y
        first = (z @ root[:, :, None])[:, :, 0]
        L = self.factors
        if self.covariance_type in {"full", "tied"}:
            moments = z @ numpy.swapaxes(z, 1, 2)
            if self.covariance_type == "tied":
                moments = moments.sum(axis=0)
            first = (L @ first[:, :, None])[:, :, 0]
            second = L @ moments @ numpy.swapaxes(L, -1, -2)
        elif self.covariance_type == "diag":
            first, second = L * first, numpy.square(L) * numpy.square(z).sum(axis=2)
        else:
            first, second = L[:, None] * first, numpy.square(L) * numpy.square(z).sum(axis=(1, 2))
        return GaussianStatistics(counts, first, second, self.means, self.covariance_type)
