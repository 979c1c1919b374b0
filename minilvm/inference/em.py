"""Expectation-maximisation: coordinate ascent on the free energy F(q, θ) = E_q[log p(x, z | θ)] + H(q) (N8).

    E-step  the best q for these parameters is the posterior: then F = log p(x | θ), the bound is tight (N9)
    M-step  the best parameters for this q: F rises, and log p(x | θ) ≥ F rises at least as much

(Dempster, Laird and Rubin 1977; this view of it, Neal and Hinton 1998.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from tqdm import tqdm

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.parameters import times_log
from minilvm.inference.passes import EMModel, Pass, summing
from minilvm.inference.shards import Data
from minilvm.inference.steps import Step, SumOver, em, squarem
from minilvm.inference.workers import WorkerLostError
from minilvm.models.base import CollapsedComponentError

Model = TypeVar("Model", bound=EMModel)

STEPS: Final[dict[str | None, Callable[[Any, SumOver], Iterator[Step]]]] = {None: em, "squarem": squarem}


@dataclass(frozen=True, eq=False)
class EMResult(Generic[Model]):
    """What EM found: the parameters, and the bound that each step reached, the last being that of these parameters."""

    model: Model
    lower_bounds: list[float]
    converged: bool
    n_passes: int  # passes made, rejected leaps included; a repeat for digits (`Kernel.again`) is not counted


def free_energy(model: EMModel, x: Array, responsibilities: Array) -> Array:
    """Return F(q, θ) = Σ_c q_nc [log p(x_n, c) − log q_nc] for *any* q of shape (N, C) (N8): shape (N,).

    Its sum over n is the F of the notes; each term is below log p(x_n) by KL(q_n ‖ p(z | x_n)) (N9), and equal to it
    after an E-step.
    """
    q = responsibilities
    return times_log(q, model.component_log_joint(x)).sum(axis=1) - np.special.xlogy(q, q).sum(axis=1)


def fit_em(
    model: Model,
    x: Data,
    *,
    max_iter: int = 1000,
    tol: float = 1e-10,
    sample_weight: Array | None = None,
    executor: Executor | None = None,
    accelerate: Literal["squarem"] | None = None,
    callback: Callable[[int, Model, float], None] | None = None,
    progress: bool = False,
) -> EMResult[Model]:
    """Maximise log p(x | θ), plus the model's log prior if it has one, by EM from `model`.

    Parameters
    ----------
    model
        Where to start.
    x
        Data of shape (N, D): an array, a memory map, or something that can be iterated over again and again for chunks
        of shape (n, D), or for pairs of a chunk and the weights of its points.
    max_iter
        The most steps to take; 0 for none.
    tol
        Converged when a step changes the bound by less than `tol` nats per datum.
    sample_weight
        Of shape (N,), at least 0: as if each point were there so many times.
    executor
        Of `concurrent.futures`, or one like it, whose workers share each pass over the data.
    accelerate
        "squarem" for leaps after every two steps, where they lead no lower (inference/steps.py): several times fewer
        passes where EM is slow. The model then needs an `is_valid()`.
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
        has collapsed (a `CollapsedComponentError`, which says what was found before).
    """
    if max_iter < 0:
        raise ValueError(f"max_iter is {max_iter}; expected at least 0")
    if accelerate not in STEPS:
        raise ValueError(f"accelerate is {accelerate!r}; expected one of {', '.join(map(repr, STEPS))}")
    bounds: list[float] = []
    n_passes, at, converged = 0, model, False
    try:
        with summing(model, x, sample_weight, executor) as sum_over, tqdm(desc="EM", disable=not progress) as bar:

            def counted(model: Any) -> Pass:
                nonlocal n_passes
                n_passes += 1
                return sum_over(model)

            for at, found, bound, by_em in STEPS[accelerate](model, counted):
                converged = by_em and len(bounds) > 0 and abs(bound - bounds[-1]) < tol * found.weight
                bounds.append(bound)
                bar.update()
                if callback is not None:
                    callback(len(bounds) - 1, at, bound)
                if converged or len(bounds) > max_iter:
                    break
    except (CollapsedComponentError, WorkerLostError) as error:
        error.result = EMResult(at, bounds, converged=False, n_passes=n_passes)
        raise
    return EMResult(at, bounds, converged, n_passes)
