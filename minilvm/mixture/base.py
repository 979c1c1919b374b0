"""What all mixtures do as estimators: check, start, climb, keep the best end; then predict, chunk by chunk."""

from __future__ import annotations

import abc
import numbers
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.inference import EMResult
from minilvm.inference.shards import slices
from minilvm.mixture.conventions import ConvergenceWarning, Estimator, generator_of, theirs, warn
from minilvm.mixture.initialisation import INIT_PARAMS
from minilvm.models import MixtureOfGaussians
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.kernels import Kernel


class MixtureEstimator(Estimator, abc.ABC):
    """A mixture fitted by steps that raise a bound. A subclass says where to start, how to climb, and what it is."""

    n_components: int
    covariance_type: str
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: str
    random_state: Any
    warm_start: bool
    verbose: int
    missing: str | None = None

    weights_: Array
    means_: Array
    covariances_: Array
    precisions_cholesky_: Array

    bounds_are_means = True  # over samples; else the bound is that of all samples together

    @abc.abstractmethod
    def _prepare(self, x: Array, weights: Array | None) -> None:
        """Settle what is maximised, before there is anything to start from: the prior, if it depends on the data."""

    @abc.abstractmethod
    def _start(self, x: Array, weights: Array | None, rng: Any) -> Any:
        """A model to start from."""

    @abc.abstractmethod
    def _climb(self, model: Any, x: Array, weights: Array | None, rng: Any, executor: Executor | None) -> EMResult[Any]:
        """The end of the steps from `model`."""

    @abc.abstractmethod
    def _model(self) -> Any:
        """The model that the fitted attributes describe, in double precision."""

    @abc.abstractmethod
    def _adopt(self, model: Any, dtype: Any) -> None:
        """Set the fitted attributes, in the precision of the data."""

    # Fitting ---------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, executor: Executor | None = None) -> Self:
        """Fit the mixture to X, of shape (N, D), from `n_init` starts.

        Parameters
        ----------
        X
            Data; an array on disk (`numpy.memmap`) is read in chunks. `minilvm.inference.fit_em` takes streams of them.
        y
            Ignored.
        sample_weight
            How many samples each counts as, shape (N,): not negative, not all 0.
        executor
            Where to work: threads, processes, a cluster (`concurrent.futures.Executor`). Threads if None.

        Raises
        ------
        ValueError
            The data are no finite table of at least 2 samples and at least one for each component; a parameter is out
            of range; or a covariance is singular, however often one starts.
        """
        del y
        self._check_parameters()
        goes_on = self.warm_start and self.__sklearn_is_fitted__()
        x = self._table(X, reset=not goes_on, missing=self.missing is not None)
        weights = self._sample_weight(sample_weight, x)
        self._check_size(x, weights)
        rng = generator_of(self.random_state, like=x)
        self._prepare(x, weights)
        if goes_on:
            best = self._climb(self._last(), x, weights, rng, executor)
        else:
            ends = (self._climb(self._start(x, weights, rng), x, weights, rng, executor) for _ in range(self.n_init))
            best = max(ends, key=lambda end: end.lower_bounds[-1])
        self._adopt(best.model, x.dtype)
        self.converged_ = best.converged
        self.n_iter_ = len(best.lower_bounds) - 1
        unit = total_weight(x, weights) if self.bounds_are_means else 1.0
        self.lower_bounds_ = [bound / unit for bound in best.lower_bounds]
        self.lower_bound_ = self.lower_bounds_[-1]
        if not best.converged and self.max_iter > 0:
            self._warn(
                "Best performing initialization did not converge. Try different init parameters, or increase max_iter, "
                "tol, or check for degenerate data."
            )
        return self

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, executor: Executor | None = None
    ) -> Array:
        """Fit the mixture to X and return its most probable component for each sample, shape (N,)."""
        return self.fit(X, y, sample_weight, executor=executor).predict(X)

    # What a fitted mixture says --------------------------------------------------------------------------------------

    def predict(self, X: Any) -> Array:
        """Return the most probable component of each sample, shape (N,)."""
        return self._by_chunks(X, lambda log_joint: log_joint.argmax(axis=0))

    def predict_proba(self, X: Any) -> Array:
        """Return the responsibilities p(z = c | x_n), shape (N, C)."""
        return self._by_chunks(X, lambda log_joint: np.softmax(log_joint, axis=0).T)

    def score_samples(self, X: Any) -> Array:
        """Return log p(x_n) in nats, shape (N,)."""
        return self._by_chunks(X, lambda log_joint: np.logsumexp(log_joint, axis=0))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of log p(x_n), in nats."""
        del y
        log_p = self.score_samples(X)
        weights = self._sample_weight(sample_weight, log_p)
        return float(log_p.mean() if weights is None else weights @ log_p / weights.sum())

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Return draws from the mixture, shape (n_samples, D), and the components that they come from, in order.

        Where parameters have laws, it is the mixture at their expectations, as scikit-learn's is.
        """
        self._check_fitted()
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. Sampling requires at least one sample.")
        mixture, rng = self._mixture(), generator_of(self.random_state, like=self.means_)
        z = numpy.sort(mixture.prior.sample((n_samples,), rng=rng))
        counts = [int((z == c).sum()) for c in range(len(self.weights_))]
        draws = [mixture.likelihood(c).sample((n,), rng=rng) for c, n in enumerate(counts) if n > 0]
        return np.concatenate(draws).astype(self.means_.dtype, copy=False), z

    # Parts -----------------------------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        for name, least in {"n_components": 1, "max_iter": 0, "n_init": 1}.items():
            self._check_range(name, numbers.Integral, least)
        for name in ("tol", "reg_covar"):
            self._check_range(name, numbers.Real, 0)
        self._check_choice("covariance_type", tuple(COVARIANCE_TYPES))
        self._check_choice("init_params", INIT_PARAMS)

    def _check_size(self, x: Array, weights: Array | None) -> None:
        n_samples = len(x) if weights is None else int((weights > 0).sum())
        if n_samples < 2:
            raise ValueError(
                f"Found array with {n_samples} sample(s) (shape={x.shape}) while a minimum of 2 is required by "
                f"{type(self).__name__}."
            )
        if n_samples < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components but got n_components = "
                f"{self.n_components}, n_samples = {n_samples}"
            )

    def _last(self) -> Any:
        """The model to go on from."""
        if len(self.weights_) != self.n_components:
            raise ValueError(
                f"there are {len(self.weights_)} components to go on from, and n_components is {self.n_components}: "
                "begin again with a clone, or with warm_start=False"
            )
        return self._model()

    def _mixture(self) -> MixtureOfGaussians:
        """The fitted attributes as a mixture in double precision."""
        C, D = self.means_.shape
        expected = {"full": (C, D, D), "tied": (D, D), "diag": (C, D), "spherical": (C,)}[self.covariance_type]
        if self.covariances_.shape != expected:
            raise ValueError(
                f"covariances_ has shape {self.covariances_.shape}; expected {expected}, for covariance_type is "
                f"{self.covariance_type!r}: fit again, or set it back"
            )
        return MixtureOfGaussians(
            self.weights_.astype(float), self.means_.astype(float), self._covariances(), self.covariance_type
        )

    def _covariances(self) -> Array:
        """Σ in double precision: as it was fitted, for rounded to single it may be indefinite, unless it was set."""
        fitted: Array = getattr(self, "_fitted_covariances", self.covariances_)
        rounded = fitted.astype(self.covariances_.dtype)
        untouched = rounded.shape == self.covariances_.shape and bool((rounded == self.covariances_).all())
        return (fitted if untouched else self.covariances_).astype(float, copy=False)

    def _adopt_mixture(self, weights: Array, means: Array, covariances: Array, dtype: Any) -> None:
        """Set π, μ, Σ, Σ⁻¹ and P = L⁻ᵀ, with Σ = L Lᵀ and so Σ⁻¹ = P Pᵀ; of variances, reciprocals and their roots."""
        if self.covariance_type in {"diag", "spherical"}:
            cholesky = 1.0 / np.sqrt(covariances)
            precisions = np.square(cholesky)
        else:
            identity = backend.namespace(covariances).eye(covariances.shape[-1])
            inverse = np.linalg.solve_triangular(np.linalg.cholesky(covariances), identity, lower=True)
            cholesky = np.swapaxes(inverse, -1, -2)
            precisions = cholesky @ inverse
        self.weights_, self.means_ = weights.astype(dtype), means.astype(dtype)
        self.covariances_, self._fitted_covariances = covariances.astype(dtype), covariances
        self.precisions_cholesky_ = cholesky.astype(dtype)
        self.precisions_ = precisions.astype(dtype)

    def _by_chunks(self, X: Any, answer: Callable[[Array], Array]) -> Array:
        """Apply a function of the table log p(x_n, c), shape (C, n), to samples, as many at a time as stay in cache."""
        self._check_fitted()
        x = self._table(X, reset=False, missing=self.missing is not None)
        # A component that is switched off has log π = −∞; what else is not finite is found, and named.
        with numpy.errstate(divide="ignore", over="ignore", invalid="ignore"):
            kernel = self._model().kernel()
            answers = [answer(_log_joint(kernel, x[rows], rows.start)) for rows in slices(len(x), kernel.chunk)]
        return self._in_their_precision(np.concatenate(answers), x)

    def _in_their_precision(self, answer: Array, x: Array) -> Array:
        """Single, if the samples and those that were fitted are; but counts stay counts."""
        dtype = numpy.result_type(x.dtype, self.means_.dtype)
        return answer.astype(dtype, copy=False) if answer.dtype.kind == "f" else answer

    def _warn(self, message: str) -> None:
        warn(message, theirs("ConvergenceWarning", ConvergenceWarning))


def total_weight(x: Array, weights: Array | None) -> float:
    """Return Σ_n w_n, which is N where samples count once."""
    return float(len(x) if weights is None else weights.sum())


def require_possible(log_p: Array, start: int) -> None:
    """Refuse a sample, of those from `start` on, whose log p(x_n) is no finite number, at its likeliest."""
    impossible = backend.to_numpy(~np.isfinite(log_p))
    if impossible.any():
        raise ValueError(
            f"X[{start + int(impossible.argmax())}] is so far from every component that the logarithm of its "
            "probability is not a finite number: drop it"
        )


def _log_joint(kernel: Kernel, x: Array, start: int) -> Array:
    log_joint = kernel.log_joint(x)
    require_possible(log_joint.max(axis=0), start)
    return log_joint
