"""The mixture of Gaussians (N3): z ~ Categorical(π), x | z = c ~ N(μ_c, Σ_c). Its EM steps, in closed form."""

from __future__ import annotations

import dataclasses
import functools
import operator
from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.distributions.normal import HALF_LOG_TWO_PI
from minilvm.models.base import CollapsedComponentError, Mixture, check_data, check_n_components
from minilvm.models.conjugate_prior import ConjugatePrior
from minilvm.models.covariances import COVARIANCE_TYPES, CovarianceType, covariance_type_of
from minilvm.models.gaussian_kernels import gaussian_kernel
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.models.kernels import Kernel, Regulariser

NO_POINTS = 1e-150  # a share of the data that is none: responsibilities are floored at e⁻⁵⁰⁰ = 7e-218 or less


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
        Σ, symmetric and positive definite: (C, D, D); for the other types see `covariance_type`.
    covariance_type
        "full"; "tied", one matrix (D, D) for all components; "diag", variances (C, D); "spherical", variances (C,).
    reg_covar
        Added to the diagonals after each M-step, as scikit-learn does. EM then maximises nothing exactly; a prior lets
        it.
    parameter_prior
        What is added to log p(x) by `log_parameter_prior`, or None for maximum likelihood.
    """

    weights: Array
    means: Array
    covariances: Array
    covariance_type: str = tree.static(default="full")
    reg_covar: float = tree.static(default=0.0)
    parameter_prior: ConjugatePrior | None = tree.static(default=None)

    @classmethod
    def initialise(
        cls,
        x: Array,
        n_components: int,
        *,
        rng: Any,
        covariance_type: str = "full",
        reg_covar: float = 0.0,
        parameter_prior: ConjugatePrior | None = None,
    ) -> Self:
        """Return a mixture to start EM from: equal weights, means spread over the data, the covariance of all data.

        The means are points of `x`, each drawn with probability proportional to its squared distance from those before
        it, in units of the data's deviations: the seeding of k-means++ (Arthur and Vassilvitskii, 2007).
        """
        check_data(x)
        check_n_components(n_components, x)
        generator = backend.default_rng(rng, like=x)
        centred = x - x.mean(axis=0)
        covariance = centred.T @ centred / len(x)
        kind, variances = covariance_type_of(covariance_type), np.diagonal(covariance)
        own = kind.from_full(covariance)
        if bool((kind.variances(own) == 0).any()):
            column = int(backend.to_numpy(variances).argmin())
            raise ValueError(f"x[:, {column}] is constant, so no covariance fits it: drop the column")
        if covariance_type in {"full", "tied"} and not _is_definite(covariance):
            raise ValueError("the columns of x are linearly dependent, so no covariance fits them: drop one")
        scaled = centred / np.sqrt(np.where(variances == 0, 1.0, variances))
        chosen = [int(generator.integers(0, len(x)))]
        nearest = np.square(scaled - scaled[chosen[0]]).sum(axis=1)
        while len(chosen) < n_components:
            cumulative = np.cumsum(nearest)
            chosen.append(min(int((cumulative < generator.random() * cumulative[-1]).sum()), len(x) - 1))
            nearest = np.minimum(nearest, np.square(scaled - scaled[chosen[-1]]).sum(axis=1))
        return cls(
            np.full_like(covariance, 1.0 / n_components, shape=(n_components,)),
            x[chosen].astype(covariance.dtype),  # differences of uint8 would wrap at 256
            kind.repeated(own, n_components),
            covariance_type,
            reg_covar,
            parameter_prior,
        )

    @classmethod
    def from_responsibilities(
        cls,
        x: Array,
        responsibilities: Array,
        *,
        covariance_type: str = "full",
        reg_covar: float = 0.0,
        parameter_prior: ConjugatePrior | None = None,
    ) -> Self:
        """Return the mixture that an M-step makes of responsibilities (N, C), labels in one-hot rows among them."""
        check_data(x)
        C, D = responsibilities.shape[1], x.shape[1]
        kind = covariance_type_of(covariance_type)
        identity = kind.repeated(kind.from_full(backend.namespace(x).eye(D)), C)
        means = responsibilities.T @ x / responsibilities.sum(axis=0)[:, None]
        equal = np.full_like(means, 1.0 / C, shape=(C,))
        unit = cls(equal, means, identity, covariance_type, reg_covar, parameter_prior)
        return unit.m_step(unit.statistics(x, responsibilities))

    @property
    def _kind(self) -> CovarianceType:
        return COVARIANCE_TYPES[self.covariance_type]

    @functools.cached_property
    def factors(self) -> Array:
        """L with L Lᵀ = Σ, lower triangular, (C, D, D) or tied (D, D); standard deviations (C, D) or (C,)."""
        return self._kind.factor(self.covariances)

    @property
    def known_factors(self) -> Array | None:
        """The same; None where a covariance is not definite."""
        try:
            return self.factors
        except numpy.linalg.LinAlgError:
            return None

    def likelihood(self, z: Array) -> Distribution:
        """p(x | z) = N(μ_z, Σ_z)."""
        return self._kind.law(self.means[z], self._kind.of(self.covariances, z))

    def check_data(self, x: Array) -> None:
        """Refuse data that are not a finite (N, D) table to match the means."""
        check_data(x, self.means.shape[1])

    def is_valid(self) -> bool:
        """Whether the weights are positive and the covariances definite."""
        sound = self._kind.are_sound(self.covariances, np.zeros_like(self._kind.variances(self.covariances)))
        return bool((self.weights > 0).all() & sound.all())

    def component_log_joint(self, x: Array) -> Array:
        """log π_c + log N(x_n; μ_c, Σ_c), of shape (N, C)."""
        self.check_data(x)
        return self.prior.logits + self._kind.law(self.means, self.covariances).log_prob(x[:, None, :])

    def kernel(self) -> Kernel:
        """Return the table above as arithmetic on chunks (models/gaussian_kernels.py)."""
        D = self.means.shape[1]
        log_constants = np.log(self.weights) - self._kind.half_log_det(self.factors, D) - D * HALF_LOG_TWO_PI
        of_components = log_constants, self.means, self.factors, self.covariance_type
        return gaussian_kernel(*of_components, weights=self.weights, regulariser=self.regulariser)

    @property
    def regulariser(self) -> Regulariser:
        """What the M-step adds to the scatter of the data."""
        return Regulariser(None if self.parameter_prior is None else self.parameter_prior.scale, self.reg_covar)

    def log_parameter_prior(self) -> Array:
        """log p(θ), up to a constant; 0 without a prior."""
        if self.parameter_prior is None:
            return 0.0
        return self.parameter_prior.log_density(self.weights, self.means, self.covariances, self.covariance_type)

    def statistics(self, x: Array, responsibilities: Array) -> GaussianStatistics:
        """Sum the data's moments, each point shared among the components by its `responsibilities` (N, C)."""
        rows = (slice(start, start + Kernel.chunk) for start in range(0, len(x), Kernel.chunk))
        of = functools.partial(GaussianStatistics.from_data, centres=self.means, covariance_type=self.covariance_type)
        return functools.reduce(operator.add, (of(x[n], responsibilities[n]) for n in rows))

    def m_step(self, statistics: GaussianStatistics) -> Self:
        """Return the maximiser of the expected log joint, Σ_nc γ_nc log π_c N(x_n; μ_c, Σ_c) (docs/notes.md, 4.4).

        π_c = N_c / N, μ_c the weighted mean and Σ_c the weighted covariance of the points, N_c = Σ_n γ_nc; with a
        prior, of the points and those it stands for.

        Raises
        ------
        CollapsedComponentError
            A component has lost its points, or closed in on too few of them for a covariance; the message says which.
        """
        kind, prior, counts = self._kind, self.parameter_prior, statistics.counts
        mass, weights = kind.mass(counts, statistics.centres.shape[1]), counts
        if prior is not None:
            statistics = prior.add_to(statistics)
            mass = mass + prior.mass(self.covariance_type, *statistics.centres.shape)
            weights = weights + (prior.concentration - 1.0)
        total = weights.sum()
        alive = statistics.counts > NO_POINTS * total
        with numpy.errstate(divide="ignore", invalid="ignore"):  # nothing is left of a component without points
            means = statistics.means
            covariances = statistics.scatter / mass
            if self.reg_covar:
                covariances = kind.add_to_diagonal(covariances, self.reg_covar)
            fitted = dataclasses.replace(
                self,
                weights=(weights / total).astype(self.weights.dtype, copy=False),
                means=means.astype(self.means.dtype, copy=False),
                covariances=covariances.astype(self.covariances.dtype, copy=False),
            )
            # Data carry relative errors: a variance below `error` of its second moment, or (`error` μ)², is rounding.
            error = 16.0 * numpy.finfo(fitted.covariances.dtype).eps
            rounding = error * kind.variances(statistics.second / mass + error * kind.pair(means, means))
            sound = alive & kind.are_sound(fitted.covariances, rounding, fitted.known_factors)
        if not bool(sound.all()):
            raise _collapse(backend.to_numpy(sound), counts)
        return fitted


def _collapse(sound: Any, counts: Array) -> CollapsedComponentError:
    """The error that says which components have collapsed; all of them, if they share a covariance that has."""
    components = tuple(int(c) for c in numpy.flatnonzero(~sound))
    c = components[0]
    return CollapsedComponentError(
        f"component {c} has collapsed: it holds {float(counts[c]):.3g} of {float(counts.sum()):.6g} points, "
        "too few for a covariance, or in a subspace. Use fewer components, drop features that others determine, use a "
        "parameter_prior, or start from another rng",
        components,
    )


def _is_definite(covariance: Array) -> bool:
    """Whether the correlations have a least eigenvalue above rounding: the scales of the features have no say."""
    deviations = np.sqrt(np.diagonal(covariance))
    least = np.linalg.eigvalsh(covariance / (deviations[:, None] * deviations))[0]
    return bool(least > 16.0 * np.finfo(covariance.dtype).eps)
