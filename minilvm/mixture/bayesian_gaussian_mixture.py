"""The mixture whose parameters have laws instead of values: scikit-learn's, by a change of the import."""

from __future__ import annotations

import numbers
from concurrent.futures import Executor
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm.backend import Array, namespace
from minilvm.inference import EMResult, em_pass, fit_em
from minilvm.inference.shards import slices
from minilvm.mixture.base import MixtureEstimator, require_possible, total_weight
from minilvm.mixture.initialisation import start
from minilvm.models import ConjugatePrior
from minilvm.models.conjugate_prior import moments
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.kernels import Kernel
from minilvm.models.variational_mixture import VariationalMixture

WEIGHTS = ("dirichlet_process", "dirichlet_distribution")


class BayesianGaussianMixture(MixtureEstimator):
    """A mixture of Gaussians with priors on its parameters, fitted by variational Bayes (Bishop 2006, §10.2).

        log p(X) ≥ ELBO = E_q[log p(X, z, θ) − log q(z) − log q(θ)]

    The bound is whole, constants included: a lower bound on log p(X), which never falls. Components that the data do
    not need end with the weight that the prior gives them, so `n_components` is only the most there can be.

    scikit-learn's estimator of that name, with its arguments, defaults and attributes. Three things are exact here:
    with tied covariances ν = ν₀ + N (there ν₀ + N / C); precisions of single features have gamma laws of their own; and
    `score_samples` is the logarithm of the predictive density, a mixture of Student laws.

    Parameters
    ----------
    n_components
        C, the most.
    covariance_type
        "full", "tied", "diag" or "spherical".
    tol
        Converged when a step changes the ELBO by less than this, in nats of all samples together: scikit-learn's
        meaning here, though not for `GaussianMixture`, since components that are not needed leave slowly.
    reg_covar
        Added to the diagonal of the default `covariance_prior`.
    max_iter, n_init, init_params, random_state, warm_start, verbose
        As for `GaussianMixture`.
    weight_concentration_prior_type
        "dirichlet_process": sticks v ~ Beta(1, γ), C of them in q. "dirichlet_distribution": π ~ Dirichlet(γ, …, γ).
    weight_concentration_prior
        γ > 0; 1 / C by default. The smaller, the fewer components.
    mean_precision_prior
        β₀ > 0; 1 by default. How many samples the belief in `mean_prior` is worth.
    mean_prior
        m₀, shape (D,); the data's mean by default.
    degrees_of_freedom_prior
        ν₀ > D − 1; D by default.
    covariance_prior
        S₀, of the shape of one component's covariance; the data's by default.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_
        E[π], E[μ], E[Λ]⁻¹, E[Λ] and a factor of that, in the shapes of `GaussianMixture`.
    weight_concentration_, mean_precision_, degrees_of_freedom_
        The other parameters of q(θ): the first a pair of arrays (C,) for a Dirichlet process.
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_, covariance_prior_
        The prior that was used.
    converged_, n_iter_
        As for `GaussianMixture`.
    lower_bound_, lower_bounds_
        The ELBO, in nats: at the end, and after 0, 1, 2, … steps.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §10.2. Blei and Jordan, "Variational inference for
    Dirichlet process mixtures", *Bayesian Analysis* 1 (2006).

    Examples
    --------
    >>> from minilvm.data import load_old_faithful
    >>> X = load_old_faithful()
    >>> mixture = BayesianGaussianMixture(n_components=6, max_iter=1000, random_state=0)
    >>> (mixture.fit(X).weights_ > 0.01).sum().item()
    2
    """

    bounds_are_means = False

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def score_samples(self, X: Any) -> Array:
        """Return log E_q(θ)[p(x_n | θ)] in nats, shape (N,): the predictive density (Bishop, 10.81)."""
        self._check_fitted()
        x, model = self._table(X, reset=False), self._model()
        log_p = np.concatenate([_log_predictive(model, x[n], n.start) for n in slices(len(x), Kernel.chunk)])
        return self._in_their_precision(log_p, x)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_choice("weight_concentration_prior_type", WEIGHTS)

    def _prepare(self, x: Array, weights: Array | None) -> None:
        """Set p(θ) as the user gave it, and where not, as the data suggest it."""
        D, kind = x.shape[1], COVARIANCE_TYPES[self.covariance_type]
        total, mean, scatter = moments(x, weights)
        covariance = kind.from_full(scatter / max(total - 1.0, 0.5 * total))  # weights may sum to 1 or less
        self.weight_concentration_prior_ = self._positive("weight_concentration_prior", 1.0 / self.n_components)
        self.mean_precision_prior_ = self._positive("mean_precision_prior", 1.0)
        self.degrees_of_freedom_prior_ = self._positive("degrees_of_freedom_prior", float(D), above=D - 1.0)
        self.mean_prior_ = self._array("mean_prior", mean)
        self.covariance_prior_ = self._array("covariance_prior", kind.add_to_diagonal(covariance, self.reg_covar))
        if not bool(kind.are_sound(self.covariance_prior_[None], 0.0 * self.covariance_prior_[None]).all()):
            raise ValueError("covariance_prior must be positive definite; by default it is so where reg_covar is not 0")

    def _prior(self) -> ConjugatePrior:
        return ConjugatePrior(
            self.mean_prior_, self.mean_precision_prior_, self.degrees_of_freedom_prior_, self.covariance_prior_
        )

    def _start(self, x: Array, weights: Array | None, rng: Any) -> VariationalMixture:
        """A first q(θ), from the responsibilities of a mixture of Gaussians that starts in the usual way."""
        fields = {"covariance_type": self.covariance_type, "parameter_prior": self._prior()}
        first = start(x, self.n_components, self.init_params, rng=rng, sample_weight=weights, **fields)
        _, statistics = em_pass(first, x, sample_weight=weights)
        sticks = self.weight_concentration_prior_type == "dirichlet_process"
        if sticks:  # p(π) expects the large shares first
            statistics = statistics.of(np.argsort(-statistics.counts))
        concentration = self.weight_concentration_prior_
        return VariationalMixture.from_statistics(statistics, self._prior(), concentration, sticks=sticks)

    def _positive(self, name: str, default: float, above: float = 0.0) -> float:
        value = getattr(self, name)
        if value is None:
            return default
        number = float(value) if isinstance(value, numbers.Real) else np.nan
        if not above < number < np.inf:
            given = repr(value) if np.isnan(number) else f"{number:.3f}"
            raise ValueError(f"The parameter '{name}' should be greater than {above:g}, but got {given}.")
        return number

    def _array(self, name: str, default: Array) -> Array:
        value = getattr(self, name)
        if value is None:
            return default
        array = namespace(default).asarray(value, dtype=float)
        if array.shape != default.shape:
            raise ValueError(f"The parameter '{name}' should have the shape of {default.shape}, but got {array.shape}")
        if not bool(np.isfinite(array).all()):
            raise ValueError(f"The parameter '{name}' should be finite, but has NaN or infinity")
        return array

    def _climb(
        self, model: VariationalMixture, x: Array, weights: Array | None, rng: Any, executor: Executor | None
    ) -> EMResult[VariationalMixture]:
        del rng
        return fit_em(
            model,
            x,
            max_iter=int(self.max_iter),
            tol=self.tol / total_weight(x, weights),
            sample_weight=weights,
            executor=executor,
            progress=bool(self.verbose),
        )

    def _model(self) -> VariationalMixture:
        mixture, nu = self._mixture(), self.degrees_of_freedom_
        concentration = self.weight_concentration_
        return VariationalMixture(
            np.stack(concentration, axis=1) if isinstance(concentration, tuple) else concentration,
            self.mean_precision_,
            mixture.means,
            nu,
            mixture.covariances * nu.reshape(nu.shape + (1,) * (mixture.covariances.ndim - nu.ndim)),
            self._prior(),
            self.weight_concentration_prior_,
            self.covariance_type,
        )

    def _adopt(self, model: VariationalMixture, dtype: Any) -> None:
        self._adopt_mixture(model.weights, model.means, model.covariances, dtype)
        sticks = model.concentration.ndim == 2
        self.weight_concentration_ = tuple(model.concentration.T) if sticks else model.concentration
        self.mean_precision_ = model.mean_precision
        self.degrees_of_freedom_ = model.degrees_of_freedom


def _log_predictive(model: VariationalMixture, x: Array, start: int) -> Array:
    with numpy.errstate(over="ignore"):  # what is too far away for its square is named
        log_p = model.log_predictive(x)
    require_possible(log_p, start)
    return log_p
