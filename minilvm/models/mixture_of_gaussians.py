"""The mixture of Gaussians (N3): z ~ Categorical(π), x | z = c ~ N(μ_c, Σ_c). Its EM steps, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import MultivariateNormal
from minilvm.models.base import Mixture, check_data, check_n_components


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """What the M-step needs to know of the data: sums over points, so statistics of parts of the data add up.

    The moments are taken about the components' old means, where they lose no digits to cancellation.
    """

    counts: Array  # (C,)       N_c = Σ_n γ_nc
    first: Array  #  (C, D)     Σ_n γ_nc (x_n − μ_c)
    second: Array  # (C, D, D)  Σ_n γ_nc (x_n − μ_c)(x_n − μ_c)ᵀ

    def __add__(self, other: GaussianStatistics) -> GaussianStatistics:
        return GaussianStatistics(self.counts + other.counts, self.first + other.first, self.second + other.second)


@dataclass(frozen=True, eq=False)
class MixtureOfGaussians(Mixture):
    """A mixture of C Gaussians in D dimensions (N3).

    Parameters
    ----------
    weights
        π, shape (C,): positive, summing to 1.
    means
        μ, shape (C, D).
    covariances
        Σ, shape (C, D, D): symmetric, positive definite.
    """

    weights: Array
    means: Array
    covariances: Array

    @classmethod
    def initialise(cls, x: Array, n_components: int, *, rng: Any) -> MixtureOfGaussians:
        """Return a mixture to start EM from: equal weights, means spread over the data, the covariance of all data.

        The means are points of `x`, each drawn with probability proportional to its squared distance from those before
        it, in units of the data's deviations: the seeding of k-means++ (Arthur and Vassilvitskii, 2007).
        """
        check_data(x)
        check_n_components(n_components, x)
        generator = backend.default_rng(rng, like=x)
        centred = x - x.mean(axis=0)
        covariance = centred.T @ centred / len(x)
        if bool((np.diag(covariance) == 0).any()):
            column = int(backend.to_numpy(np.diag(covariance)).argmin())
            raise ValueError(f"x[:, {column}] is constant, so no covariance fits it: drop the column")
        if not bool(_is_definite(covariance)):
            raise ValueError("the columns of x are linearly dependent, so no covariance fits them: drop one")
        scaled = centred / np.sqrt(np.diag(covariance))
        chosen = [int(generator.integers(0, len(x)))]
        nearest = np.square(scaled - scaled[chosen[0]]).sum(axis=1)
        while len(chosen) < n_components:
            cumulative = np.cumsum(nearest)
            chosen.append(min(int((cumulative < generator.random() * cumulative[-1]).sum()), len(x) - 1))
            nearest = np.minimum(nearest, np.square(scaled - scaled[chosen[-1]]).sum(axis=1))
        return cls(
            np.full_like(covariance, 1.0 / n_components, shape=(n_components,)),
            x[chosen].astype(covariance.dtype),  # differences of uint8 would wrap at 256
            np.stack([covariance] * n_components),
        )

    def likelihood(self, z: Array) -> MultivariateNormal:
        """p(x | z) = N(μ_z, Σ_z)."""
        return MultivariateNormal(self.means[z], covariance_matrix=self.covariances[z])

    def component_log_joint(self, x: Array) -> Array:
        """log π_c + log N(x_n; μ_c, Σ_c), of shape (N, C)."""
        check_data(x, self.means.shape[1])
        components = MultivariateNormal(self.means, covariance_matrix=self.covariances)
        return self.prior.logits + components.log_prob(x[:, None, :])

    def statistics(self, x: Array, responsibilities: Array) -> GaussianStatistics:
        """Sum the data's moments, each point shared among the components by its `responsibilities` (N, C)."""
        deviations = x[:, None, :] - self.means
        weighted = responsibilities[:, :, None] * deviations
        return GaussianStatistics(
            responsibilities.sum(axis=0), weighted.sum(axis=0), np.einsum("nci,ncj->cij", weighted, deviations)
        )

    def m_step(self, statistics: GaussianStatistics) -> MixtureOfGaussians:
        """Return the maximiser of the expected log joint, Σ_nc γ_nc log π_c N(x_n; μ_c, Σ_c) (docs/notes.md, 4.4).

        π_c = N_c / N, μ_c the weighted mean and Σ_c the weighted covariance of the points, N_c = Σ_n γ_nc.

        Raises
        ------
        ValueError
            A component has lost its points, or closed in on too few of them for a covariance; the message says which.
        """
        counts = statistics.counts
        with numpy.errstate(divide="ignore", invalid="ignore"):
            shift = statistics.first / counts[:, None]
            second = statistics.second / counts[:, None, None]
        covariances = second - shift[:, :, None] * shift[:, None, :]
        rounding = 16.0 * np.finfo(second.dtype).eps * np.diagonal(second, axis1=1, axis2=2)
        apart = (np.diagonal(covariances, axis1=1, axis2=2) > rounding).all(axis=1)
        healthy = backend.to_numpy((counts > 0) & apart & _is_definite(covariances))
        if not healthy.all():
            c = int(healthy.argmin())
            raise ValueError(
                f"component {c} has collapsed: it holds {float(counts[c]):.3g} of {float(counts.sum()):.6g} points, "
                "too few for a covariance. Use fewer components, or start from another rng"
            )
        return MixtureOfGaussians(counts / counts.sum(), self.means + shift, covariances)


def _is_definite(covariances: Array) -> Array:
    """Whether the correlations (…, D, D) have an eigenvalue above rounding: the scales of the features have no say."""
    with numpy.errstate(divide="ignore", invalid="ignore"):
        deviations = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))
        correlations = covariances / (deviations[..., :, None] * deviations[..., None, :])
    finite = np.isfinite(correlations).all(axis=(-2, -1))
    smallest = np.linalg.eigvalsh(np.where(finite[..., None, None], correlations, 0.0))[..., 0]
    return finite & (smallest > 16.0 * np.finfo(correlations.dtype).eps)
