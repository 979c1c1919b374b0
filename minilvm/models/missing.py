"""Numbers that nobody saw: a mixture of Gaussians that marginalises what is missing, exactly, in both steps.

    p(x_o) = Σ_c π_c N(x_o; μ_o, Σ_oo),     x_m | x_o, c ~ N(μ_m + Σ_mo Σ_oo⁻¹ (x_o − μ_o),  Σ_mm − Σ_mo Σ_oo⁻¹ Σ_om)

for a datum whose features o were observed and m were not. The E-step needs the first line. The M-step needs the moments
of the whole datum, and takes their expectations: the missing part stands at its mean, and its covariance is added.
(Ghahramani and Jordan, "Supervised learning from incomplete data via an EM approach", NIPS 1994. What is missing is
taken to be so for no reason that its value has to do with: Little and Rubin, *Statistical Analysis with Missing Data*.)
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array, namespace
from minilvm.distributions.normal import HALF_LOG_TWO_PI
from minilvm.models.base import check_data
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.models.kernels import NO_DENORMALS, Kernel, Sums, digits_are_lost
from minilvm.models.mixture_of_gaussians import MixtureOfGaussians


@dataclass(frozen=True, eq=False)
class MarginalizedMixtureOfGaussians(MixtureOfGaussians):
    """A `MixtureOfGaussians` for data in which NaN stands for what is missing; log p(x_n) is that of what is there.

    A datum with nothing observed has log p = 0, and says nothing.
    """

    def check_data(self, x: Array) -> None:
        """Refuse data that are no (N, D) table of finite numbers and NaN to match the means."""
        check_data(x, self.means.shape[1], missing=True)

    def component_log_joint(self, x: Array) -> Array:
        """log π_c + log N(x_o; μ_o, Σ_oo), of shape (N, C)."""
        self.check_data(x)
        log_joint, _ = _marginal(self, x, self.means)
        return np.swapaxes(log_joint, 0, 1)

    def kernel(self) -> Kernel:
        """Return the table above, and what follows from it, as arithmetic on chunks."""
        return _MarginalKernel(self)

    def statistics(self, x: Array, responsibilities: Array) -> GaussianStatistics:
        """Sum the moments of whole data that are expected, each shared by its `responsibilities` (N, C)."""
        chunks = (slice(start, start + Kernel.chunk) for start in range(0, len(x), Kernel.chunk))
        parts = (_marginal(self, x[rows], self.means)[1](responsibilities[rows].T) for rows in chunks)
        total: GaussianStatistics = functools.reduce(operator.add, parts)
        return total


class _MarginalKernel(Kernel):
    floor = NO_DENORMALS

    def __init__(self, model: MarginalizedMixtureOfGaussians, centres: Array | None = None) -> None:
        self.model = model
        self.centres = model.means if centres is None else centres  # of the moments

    def check(self, x: Array) -> None:
        self.model.check_data(x)

    def __call__(self, x: Array) -> tuple[Array, Sums]:
        return _marginal(self.model, x, self.centres)

    def again(self, statistics: GaussianStatistics) -> Kernel | None:
        """Return the same with moments about the new means, if digits have been lost about the old ones."""
        if self.centres is self.model.means and digits_are_lost(statistics, self.model.regulariser, lambda m: m):
            return _MarginalKernel(self.model, statistics.means)
        return None


def _marginal(model: MixtureOfGaussians, x: Array, centres: Array) -> tuple[Array, Sums]:
    """log p(x_n, c) of shape (C, n), and the function from responsibilities (C, n) to the expected statistics."""
    covariances = _matrices(model)
    groups = [_Group(model, covariances, x[rows], rows, observed) for rows, observed in _patterns(x)]
    log_joint = np.concatenate([group.log_joint() for group in groups], axis=1)
    order = numpy.argsort(numpy.concatenate([backend.to_numpy(group.rows) for group in groups]))

    def sums(responsibilities: Array) -> GaussianStatistics:
        return functools.reduce(
            operator.add, (group.sums(responsibilities[:, group.rows], centres) for group in groups)
        )

    return log_joint[:, namespace(x).asarray(order)], sums


def _patterns(x: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the rows with the same features observed, and those features."""
    xp = namespace(x)
    observed = backend.to_numpy(~np.isnan(x))
    kinds, kind = numpy.unique(observed, axis=0, return_inverse=True)
    if len(x) == 0:  # one group, of nothing: its sums are 0, and have a shape
        kinds = numpy.ones((1, x.shape[1]), dtype=bool)
    for i, features in enumerate(kinds):
        yield xp.asarray(numpy.flatnonzero(kind.reshape(-1) == i)), xp.asarray(numpy.flatnonzero(features))


def _matrices(model: MixtureOfGaussians) -> Array:
    """Σ_c as matrices (C, D, D), whatever the covariance type."""
    (C, D), S = model.means.shape, model.covariances
    identity = namespace(S).eye(D)
    if model.covariance_type in {"full", "tied"}:
        return np.broadcast_to(S, (C, D, D))
    return (S[:, :, None] if S.ndim == 2 else S[:, None, None]) * identity


class _Group:
    """Data with the same features observed."""

    def __init__(self, model: MixtureOfGaussians, covariances: Array, x: Array, rows: Array, observed: Array) -> None:
        self.model, self.rows, self.observed = model, rows, observed
        self.of_observed = covariances[:, :, observed]  # (C, D, o)
        self.factor = np.linalg.cholesky(self.of_observed[:, observed])
        self.covariances = covariances
        deviations = x[:, observed].T - np.expand_dims(model.means[:, observed], -1)  # (C, o, n)
        self.whitened = np.linalg.solve_triangular(self.factor, deviations, lower=True)

    def log_joint(self) -> Array:
        """log π_c + log N(x_o; μ_o, Σ_oo), of shape (C, n)."""
        log_det = np.log(np.diagonal(self.factor, axis1=-2, axis2=-1)).sum(axis=-1)
        constants = np.log(self.model.weights) - log_det - len(self.observed) * HALF_LOG_TWO_PI
        return np.expand_dims(constants, -1) - 0.5 * np.square(self.whitened).sum(axis=1)

    def sums(self, responsibilities: Array, centres: Array) -> GaussianStatistics:
        """Expected moments about centres: of x̂ = μ + Σ_:o Σ_oo⁻¹ (x_o − μ_o), and N_c (Σ − Σ_:o Σ_oo⁻¹ Σ_o:)."""
        regression = np.swapaxes(
            np.linalg.solve_triangular(self.factor, np.swapaxes(self.of_observed, 1, 2), lower=True), 1, 2
        )
        counts = responsibilities.sum(axis=1)
        deviations = regression @ self.whitened + (self.model.means - centres)[:, :, None]  # (C, D, n)
        weighted = responsibilities[:, None, :] * deviations
        unknown = self.covariances - regression @ np.swapaxes(regression, 1, 2)
        second = weighted @ np.swapaxes(deviations, 1, 2) + counts[:, None, None] * unknown
        first, type_ = weighted.sum(axis=2), self.model.covariance_type
        return GaussianStatistics(counts, first, self._reduced(second), centres, type_)

    def _reduced(self, second: Array) -> Array:
        """The second moment that the covariance type keeps."""
        if self.model.covariance_type == "full":
            return second
        if self.model.covariance_type == "tied":
            return second.sum(axis=0)
        squares = np.diagonal(second, axis1=1, axis2=2)
        return squares if self.model.covariance_type == "diag" else squares.sum(axis=1)
