"""What all mixtures do as estimators: check, start, climb, keep the best end; then predict, chunk by chunk."""

from __future__ import annotations

import abc
import numbers
import warnings
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Self

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.inference import EMResult, e_step
from minilvm.mixture.conventions import ConvergenceWarning, Estimator, generator_of, theirs
from minilvm.mixture.initialisation import INIT_PARAMS
from minilvm.models import MixtureOfGaussians
from minilvm.models.covariances import COVARIANCE_TYPES

CHUNK = 8192  # points at a time, where the answer is smaller than the table of responsibilities


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

    @abc.abstractmethod
    def _start(self, x: Array, weights: Array | None, rng: Any) -> Any:
        """A model to start from."""

    @abc.abstractmethod
    def _climb(self, model: Any, x: Array, weights: Array | None, rng: Any, executor: Executor | None) -> EMResult[Any]:
        """The end of the steps from `model`."""

    @abc.abstractmethod
    def _model(self) -> Any:
        """The model that was fitted."""

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
        x = self._table(X, reset=True, missing=self.missing is not None)
        weights = self._sample_weight(sample_weight, x)
        self._check_size(x, weights)
        rng = generator_of(self.random_state, like=x)
        if self.warm_start and hasattr(self, "converged_"):
            best = self._climb(self._model(), x, weights, rng, executor)
        else:
            ends = (self._climb(self._start(x, weights, rng), x, weights, rng, executor) for _ in range(self.n_init))
            best = max(ends, key=lambda end: end.lower_bounds[-1])
        total = float(len(x) if weights is None else weights.sum())
        self._adopt(best.model, x.dtype)
        self.converged_ = best.converged
        self.n_iter_ = len(best.lower_bounds) - 1
        self.lower_bounds_ = [bound / total for bound in best.lower_bounds]
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
        return self._by_chunks(X, lambda model, x: e_step(model, x)[0].argmax(axis=1))

    def predict_proba(self, X: Any) -> Array:
        """Return the responsibilities p(z = c | x_n), shape (N, C)."""
        return self._by_chunks(X, lambda model, x: e_step(model, x)[0])

    def score_samples(self, X: Any) -> Array:
        """Return log p(x_n) in nats, shape (N,)."""
        return self._by_chunks(X, lambda model, x: e_step(model, x)[1])

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean of log p(x_n), in nats."""
        del y
        log_p = self.score_samples(X)
        weights = self._sample_weight(sample_weight, log_p)
        return float(log_p.mean() if weights is None else weights @ log_p / weights.sum())

    def sample(self, n_samples: int = 1) -> tuple[Array, Array]:
        """Return draws from the mixture, shape (n_samples, D), and the components that they come from, in order."""
        self._check_fitted()
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}. Sampling requires at least one sample.")
        mixture = MixtureOfGaussians(self.weights_, self.means_, self.covariances_, self.covariance_type)
        x, z = mixture.sample(n_samples, rng=generator_of(self.random_state, like=self.means_))
        order = np.argsort(z)
        return x[order], z[order]

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

    def _adopt_covariances(self, covariances: Array, dtype: Any) -> None:
        """Set Σ, Σ⁻¹ and P = L⁻ᵀ, with Σ = L Lᵀ and so Σ⁻¹ = P Pᵀ; of variances, the reciprocals and their roots."""
        if self.covariance_type in {"diag", "spherical"}:
            cholesky = 1.0 / np.sqrt(covariances)
            precisions = np.square(cholesky)
        else:
            identity = backend.namespace(covariances).eye(covariances.shape[-1])
            inverse = np.linalg.solve_triangular(np.linalg.cholesky(covariances), identity, lower=True)
            cholesky = np.swapaxes(inverse, -1, -2)
            precisions = cholesky @ inverse
        self.covariances_ = covariances.astype(dtype)
        self.precisions_cholesky_ = cholesky.astype(dtype)
        self.precisions_ = precisions.astype(dtype)

    def _by_chunks(self, X: Any, answer: Callable[[Any, Array], Array]) -> Array:
        """Apply a function of the fitted model and a chunk of samples."""
        self._check_fitted()
        x = self._table(X, reset=False, missing=self.missing is not None)
        model = self._model()
        return np.concatenate([answer(model, x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)])

    def _warn(self, message: str) -> None:
        warnings.warn(message, theirs("ConvergenceWarning", ConvergenceWarning), stacklevel=4)
