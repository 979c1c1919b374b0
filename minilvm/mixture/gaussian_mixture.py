"""The mixture of Gaussians as an estimator with `fit` and `predict`: scikit-learn's, by a change of the import."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Literal, Self

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.inference import EMResult, em_pass, fit_em
from minilvm.inference.em import STEPS
from minilvm.mixture.base import MixtureEstimator, total_weight
from minilvm.mixture.conventions import generator_of
from minilvm.mixture.initialisation import filled, given_parameters, revived, start, subset, unit
from minilvm.mixture.split_and_merge import split_and_merge
from minilvm.models import CollapsedComponentError, ConjugatePrior, MixtureOfGaussians
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.gaussian_statistics import GaussianStatistics
from minilvm.models.missing import MarginalizedMixtureOfGaussians
from minilvm.numpy.special import xlogy

MOST_RESTARTS = 10

WIDE = "points drawn at random, with the covariance of all data"
COLLAPSED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


class GaussianMixture(MixtureEstimator):
    """A mixture of Gaussians, p(x) = Σ_c π_c N(x; μ_c, Σ_c) (N3), fitted by EM.

    scikit-learn's estimator of that name with its arguments, defaults and attributes, and what its users have asked
    for: weights of samples, missing values, streams, a prior, components that cannot be lost, acceleration.

    Parameters
    ----------
    n_components
        C.
    covariance_type
        "full", "tied", "diag" or "spherical".
    tol
        EM has converged when a step changes the bound by less than this, in nats per sample.
    reg_covar
        Added to the diagonal of every covariance after each step. EM then no longer climbs what it reports: at the end
        the bound may fall. A `parameter_prior` regularises without that, and takes its place.
    max_iter
        The most steps; 0 to see where EM would start.
    n_init
        How many starts; the best end is kept.
    init_params
        How to start: "kmeans", "k-means++", "random" or "random_from_data".
    weights_init, means_init, precisions_init
        Where to start, as far as that is known.
    random_state
        A seed, a generator, or None for a start that nobody can repeat.
    warm_start
        Whether `fit` goes on from the parameters that there are, from the last fit or set by hand.
    verbose
        Whether to show progress bars.
    missing
        None: NaN in the data is refused. "marginalize": it is a number that nobody saw, and the likelihood is that of
        the others, exactly, in both steps (Little and Rubin, *Statistical Analysis with Missing Data*, §11.2).
    parameter_prior
        A `minilvm.models.ConjugatePrior`, or "fraley_raftery" for their default: EM climbs log p(X | θ) + log p(θ).
    split_and_merge
        Whether to try, from each end of EM, to merge two components and split a third, and to go on from there if that
        leads higher: dearer than one start, and surer than many (Ueda et al., 2000).
    accelerate
        "squarem" for leaps along EM's way, never downwards: the same ends in fewer passes over the data.
    callback
        Called as `callback(step, model, lower_bound)` with the parameters before each step, and with the last.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_
        The mixture: shapes (C,), (C, D), and by `covariance_type` (C, D, D), (D, D), (C, D) or (C,).
    converged_, n_iter_
        Whether EM settled, and after how many steps.
    lower_bound_, lower_bounds_
        What was maximised, in nats per sample: at these parameters, and after 0, 1, 2, … steps on the way to them.
    parameter_prior_
        The prior that was used, or None.
    n_samples_seen_
        How many samples have been learnt from, by weight.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §9.2. Dempster, Laird and Rubin (1977).

    Examples
    --------
    >>> from minilvm.data import load_old_faithful
    >>> X = load_old_faithful()
    >>> mixture = GaussianMixture(2, tol=1e-10, max_iter=1000, random_state=0).fit(X)
    >>> round(mixture.score(X) * len(X), 2), mixture.means_[mixture.means_[:, 0].argsort()].round(2).tolist()
    (-1130.26, [[2.04, 54.48], [4.29, 79.97]])
    """

    n_samples_seen_: float

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        missing: str | None = None,
        parameter_prior: ConjugatePrior | str | None = None,
        split_and_merge: bool = False,
        accelerate: Literal["squarem"] | None = None,
        callback: Callable[[int, MixtureOfGaussians, float], None] | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.missing = missing
        self.parameter_prior = parameter_prior
        self.split_and_merge = split_and_merge
        self.accelerate = accelerate
        self.callback = callback

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Take one step of stepwise EM on the next batch of a stream (Cappé and Moulines, arXiv:0712.4273).

            s ← (1 − ρ) s + ρ ŝ(batch),    θ ← M-step(s),    ρ = (2 + t)^−0.6

        with s the statistics per sample, and t how many batches of this size went before: so the past is forgotten
        slowly and never all at once. After `fit` the stream goes on from there; without, the first batch also says
        where to start, so it has at least a sample for each component. What `fit` has said of its data (`converged_`,
        `n_iter_`, `lower_bound_`, `lower_bounds_`) is no more, for it would not be of these parameters.
        """
        del y
        self._check_parameters()
        first = not self.__sklearn_is_fitted__()
        x = self._table(X, reset=first, missing=self.missing is not None)
        weights = self._sample_weight(sample_weight, x)
        if first:
            self._check_size(x, weights)
        unseen = not hasattr(self, "parameter_prior_")  # there is no fit to go on from, though there may be parameters
        if first or unseen:
            self._prepare(x, weights)
        model = self._start(x, weights, generator_of(self.random_state, like=x)) if first else self._last()
        model = replace(model, **self._objective())
        _, batch = em_pass(model, x, sample_weight=weights)
        size, seen = total_weight(x, weights), 0.0 if first or unseen else self.n_samples_seen_
        statistics = (1.0 / size) * batch
        if not first:
            past, rho = getattr(self, "_statistics", None) or _statistics_of(model), (2.0 + seen / size) ** -0.6
            statistics = (1.0 - rho) * past + rho * statistics
        self._adopt(model.m_step((seen + size) * statistics), x.dtype)
        self._statistics, self.n_samples_seen_ = statistics, seen + size
        for name in ("converged_", "n_iter_", "lower_bound_", "lower_bounds_"):
            vars(self).pop(name, None)
        return self

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's criterion, −2 log p(X) + 2 P for P parameters: lower is better."""
        log_likelihood, _ = self._log_likelihood(X, sample_weight)
        return -2.0 * log_likelihood + 2.0 * self._n_parameters()

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion, −2 log p(X) + P log N: lower is better."""
        log_likelihood, total = self._log_likelihood(X, sample_weight)
        return -2.0 * log_likelihood + self._n_parameters() * math.log(total)

    def icl(self, X: Any, sample_weight: Any = None) -> float:
        """Return the integrated completed likelihood, BIC + 2 Σ_n H(z | x_n): lower is better.

        BIC counts the components that a density needs; this counts clusters, for it charges for points that could
        belong to several. (Biernacki, Celeux and Govaert, 2000; with the entropy of the responsibilities, as McLachlan
        and Peel, *Finite Mixture Models*, 2000, §6.10.3, have it.)
        """
        entropy = self._by_chunks(X, lambda log_joint: _entropy(np.softmax(log_joint, axis=0)))
        weights = self._sample_weight(sample_weight, entropy)
        return self.bic(X, sample_weight) + 2.0 * float(entropy.sum() if weights is None else weights @ entropy)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_choice("missing", (None, "marginalize"))
        self._check_choice("split_and_merge", (False, True))
        self._check_choice("accelerate", tuple(STEPS))
        if not isinstance(self.parameter_prior, ConjugatePrior):
            self._check_choice("parameter_prior", (None, "fraley_raftery"))

    def _kind(self) -> type[MixtureOfGaussians]:
        return MixtureOfGaussians if self.missing is None else MarginalizedMixtureOfGaussians

    def _model(self) -> MixtureOfGaussians:
        mixture = self._mixture()
        return self._kind()(mixture.weights, mixture.means, mixture.covariances, mixture.covariance_type)

    def _prepare(self, x: Array, weights: Array | None) -> None:
        prior = self.parameter_prior
        if prior == "fraley_raftery":
            x = self._complete(x, weights)
            prior = ConjugatePrior.fraley_raftery(x, self.n_components, self.covariance_type, sample_weight=weights)
        self.parameter_prior_ = prior
        self.n_samples_seen_ = total_weight(x, weights)
        vars(self).pop("_statistics", None)

    def _objective(self) -> dict[str, Any]:
        """What regularises: a prior, or else a number on diagonals."""
        prior = self.parameter_prior_
        return {"parameter_prior": prior, "reg_covar": float(self.reg_covar) if prior is None else 0.0}

    def _complete(self, x: Array, weights: Array | None) -> Array:
        """The data with something in the place of what is missing: enough to start from."""
        return x if self.missing is None else filled(x, weights)

    def _start(self, x: Array, weights: Array | None, rng: Any) -> MixtureOfGaussians:
        given = (self.weights_init, self.means_init, self.precisions_init)
        if all(parameter is not None for parameter in given):
            model = unit(x, self.n_components, self.covariance_type)
        else:
            model = self._start_from(self.init_params, self._complete(x, weights), weights, rng)
        model = given_parameters(model, *given)
        return self._kind()(model.weights, model.means, model.covariances, self.covariance_type)

    def _start_from(self, init_params: str, x: Array, weights: Array | None, rng: Any) -> MixtureOfGaussians:
        try:
            fields = {"covariance_type": self.covariance_type, **self._objective()}
            return start(x, self.n_components, init_params, rng=rng, sample_weight=weights, **fields)
        except CollapsedComponentError as error:
            if init_params == "random_from_data":
                raise ValueError(COLLAPSED) from error
            self._warn(f"{error}: started from {WIDE} instead")
            return self._start_from("random_from_data", x, weights, rng)

    def _climb(
        self, model: MixtureOfGaussians, x: Array, weights: Array | None, rng: Any, executor: Executor | None
    ) -> EMResult[MixtureOfGaussians]:
        """EM from `model`; a component that collapses on the way starts again elsewhere, and the user is told."""

        def climb(model: MixtureOfGaussians) -> EMResult[MixtureOfGaussians]:
            return fit_em(
                model,
                x,
                max_iter=int(self.max_iter),
                tol=self.tol,
                sample_weight=weights,
                executor=executor,
                accelerate=self.accelerate,
                callback=self.callback,
                progress=bool(self.verbose),
            )

        model, total = replace(model, **self._objective()), total_weight(x, weights)
        for _ in range(MOST_RESTARTS):
            try:
                end = climb(model)
                if not self.split_and_merge:
                    return end
                return split_and_merge(end, *subset(x, weights, rng), climb, self.tol * total)
            except CollapsedComponentError as error:
                shared = self.covariance_type == "tied" and len(error.components) == self.n_components
                if shared or error.result is None:
                    raise ValueError(COLLAPSED) from error
                complete = self._complete(x, weights)
                model, cause = revived(error.result.model, error.components, complete, weights, rng), error
                self._warn(f"{error}: restarted from {WIDE}")
        raise ValueError(COLLAPSED) from cause

    def _adopt(self, model: MixtureOfGaussians, dtype: Any) -> None:
        self._adopt_mixture(model.weights, model.means, model.covariances, dtype)

    def _log_likelihood(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Σ_n w_n log p(x_n) and Σ_n w_n."""
        log_p = self.score_samples(X).astype(float, copy=False)
        weights = self._sample_weight(sample_weight, log_p)
        return float(log_p.sum() if weights is None else weights @ log_p), total_weight(log_p, weights)

    def _n_parameters(self) -> int:
        """The free parameters: C − 1 weights, C D means, and the covariances' by type."""
        C, D = self.means_.shape
        n = {"full": C * D * (D + 1) // 2, "tied": D * (D + 1) // 2, "diag": C * D, "spherical": C}
        return int(n[self.covariance_type] + C * D + C - 1)


def _entropy(q: Array) -> Array:
    """H(q_n) = −Σ_c q_cn log q_cn."""
    return -xlogy(q, q).sum(axis=0)


def _statistics_of(model: MixtureOfGaussians) -> GaussianStatistics:
    """The statistics per sample that have this mixture for an M-step (but for a prior, which then counts again)."""
    kind, D = COVARIANCE_TYPES[model.covariance_type], model.means.shape[1]
    scatter = kind.mass(model.weights, D) * kind.add_to_diagonal(model.covariances, -model.reg_covar)
    return GaussianStatistics(model.weights, np.zeros_like(model.means), scatter, model.means, model.covariance_type)
