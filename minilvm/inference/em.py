"""Expectation-maximisation: coordinate ascent on the free energy F(q, θ) = E_q[log p(x, z | θ)] + H(q) (N8).

    E-step  the best q for these parameters is the posterior: then F = log p(x | θ), the bound is tight (N9)
    M-step  the best parameters for this q: F rises, and log p(x | θ) ≥ F rises at least as much

(Dempster, Laird and Rubin 1977; this view of it, Neal and Hinton 1998.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tqdm import tqdm

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions.parameters import times_log
from minilvm.models.base import check_data

Statistics = TypeVar("Statistics")


class EMModel(Protocol[Statistics]):
    """A mixture whose M-step has a closed form in sufficient statistics that add up over the data."""

    def component_log_joint(self, x: Array) -> Array:
        """log p(x_n, z = c), of shape (N, C)."""

    def statistics(self, x: Array, responsibilities: Array) -> Statistics:
        """What the M-step needs to know of the data, given whose they are."""

    def m_step(self, statistics: Statistics) -> Any:
        """The model of largest expected log joint."""


Model = TypeVar("Model", bound=EMModel[Any])


@dataclass(frozen=True, eq=False)
class EMResult(Generic[Model]):
    """What EM found: the parameters, and the bound that each step reached, the last being that of these parameters."""

    model: Model
    lower_bounds: list[float]
    converged: bool


def e_step(model: EMModel[Any], x: Array) -> tuple[Array, Array]:
    """Return the responsibilities p(z = c | x_n), shape (N, C), and log p(x_n), shape (N,).

    Raises
    ------
    ValueError
        A datum is impossible: p(x_n) is 0, or too small to have a logarithm, and Bayes' rule divides by it.
    """
    log_joint = model.component_log_joint(x)
    log_marginal = np.logsumexp(log_joint, axis=1)
    impossible = backend.to_numpy(np.equal(log_marginal, -np.inf))
    if impossible.any():
        raise ValueError(
            f"x[{int(impossible.argmax())}] has probability 0 under every component: use a pseudocount or wider "
            "covariances, or drop it"
        )
    return np.exp(log_joint - log_marginal[:, None]), log_marginal


def free_energy(model: EMModel[Any], x: Array, responsibilities: Array) -> Array:
    """Return F(q, θ) = Σ_c q_nc [log p(x_n, c) − log q_nc] for *any* q of shape (N, C) (N8): shape (N,).

    A lower bound on log p(x_n), by KL(q_n ‖ p(z | x_n)) (N9); equal to it after an E-step.
    """
    q = responsibilities
    return times_log(q, model.component_log_joint(x)).sum(axis=1) - np.special.xlogy(q, q).sum(axis=1)


def fit_em(
    model: Model,
    x: Array,
    *,
    max_iter: int = 1000,
    tol: float = 1e-10,
    callback: Callable[[int, Model, float], None] | None = None,
    progress: bool = False,
) -> EMResult[Model]:
    """Maximise log p(x | θ), plus the model's log prior if it has one, by EM from `model`.

    Parameters
    ----------
    model
        Where to start.
    x
        Data of shape (N, D).
    max_iter
        The most steps to take; 0 for none.
    tol
        Converged when a step changes the bound by less than `tol` nats per datum.
    callback
        Called as `callback(step, model, lower_bound)` with the parameters before each step, and with the last.
    progress
        Show a progress bar.

    Returns
    -------
    EMResult
        `lower_bounds[i]` is what is maximised (the bound after an E-step, which is log p(x | θ), and the log prior), in
        nats over all data, at the parameters after i steps. It never falls, but for rounding.

    Raises
    ------
    ValueError
        The data are not a finite (N, D) table to match the model, `max_iter` < 0, a datum is impossible, or a component
        has collapsed.
    """
    check_data(x)
    if max_iter < 0:
        raise ValueError(f"max_iter is {max_iter}; expected at least 0")
    bounds: list[float] = []
    for step in tqdm(range(max_iter + 1), desc="EM", disable=not progress):
        responsibilities, log_marginal = e_step(model, x)
        bounds.append(float(log_marginal.sum() + _log_parameter_prior(model)))
        if callback is not None:
            callback(step, model, bounds[-1])
        converged = step > 0 and abs(bounds[-1] - bounds[-2]) < tol * len(x)
        if converged or step == max_iter:
            break
        model = model.m_step(model.statistics(x, responsibilities))
    return EMResult(model, bounds, converged)


def _log_parameter_prior(model: Any) -> Any:
    return model.log_parameter_prior() if hasattr(model, "log_parameter_prior") else 0.0
