"""Out of a local optimum: merge two components that share their points, and split one that fits its own badly.

EM moves means a little at a time, so it never takes a component from a place that has two to a place that needs one.
A split-and-merge move does, in one step; EM goes on from there, and the move is kept if it ends higher.
(Ueda, Nakano, Ghahramani and Hinton, "SMEM algorithm for mixture models", *Neural Computation* 12 (2000).)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.inference import EMResult, e_step
from minilvm.models import CollapsedComponentError, MixtureOfGaussians
from minilvm.numpy.special import xlogy

MOST_MOVES = 30  # tried from one optimum before it is accepted

Climb = Callable[[MixtureOfGaussians], EMResult[MixtureOfGaussians]]


def split_and_merge(
    end: EMResult[MixtureOfGaussians], x: Array, sample_weight: Array | None, climb: Climb, least_gain: float
) -> EMResult[MixtureOfGaussians]:
    """Return an end of EM at least as high as `end`, which none of the likeliest moves would raise.

    Parameters
    ----------
    end
        Where EM ended.
    x, sample_weight
        Points to look for moves on, and what they count.
    climb
        EM: from a model to its end.
    least_gain
        What a move must raise the bound by, in nats.
    """
    weights = np.ones_like(end.model.means, shape=(len(x),)) if sample_weight is None else sample_weight
    while True:
        ends = _ends(end.model, x, weights, climb)
        higher = (new for new in ends if new.lower_bounds[-1] > end.lower_bounds[-1] + least_gain)
        better = next(higher, None)
        if better is None:
            return end
        end = better


def _ends(model: MixtureOfGaussians, x: Array, weights: Array, climb: Climb) -> Iterator[EMResult[MixtureOfGaussians]]:
    for moved in moves(model, x, weights):
        try:
            yield climb(moved)
        except CollapsedComponentError:
            continue


def moves(model: MixtureOfGaussians, x: Array, weights: Array) -> Iterator[MixtureOfGaussians]:
    """Yield what an M-step makes of responsibilities in which i and j are one, and k is two; the best chances first."""
    posterior, _ = e_step(model, x)
    q = posterior * weights[:, None]
    C = q.shape[1]
    pairs = [(i, j) for i in range(C) for j in range(i)]
    with numpy.errstate(divide="ignore", invalid="ignore"):  # of a component without points
        overlap, misfit = _overlap(posterior, q), _misfit(model, x, posterior, q)
    pairs.sort(key=lambda pair: -overlap[pair])
    worst = sorted((k for k in range(C) if misfit[k] > -math.inf), key=lambda k: -misfit[k])
    triples = [(i, j, k) for i, j in pairs for k in [k for k in worst if k not in {i, j}][:2]]
    for i, j, k in triples[:MOST_MOVES]:
        moved = _moved(q, np.where(np.isnan(x), 0.0, x - model.means[k]), i, j, k)
        if not bool((moved.sum(axis=0) > 0.0).all()):  # all points of k are one
            continue
        try:
            yield model.m_step(model.statistics(x, moved))
        except CollapsedComponentError:
            continue


def _overlap(posterior: Array, q: Array) -> Any:
    """The cosine between the columns of responsibilities: 1 where two components share all their points alike."""
    products = backend.to_numpy(posterior.T @ q)
    length = numpy.sqrt(numpy.diagonal(products))
    return numpy.nan_to_num(products / (length[:, None] * length), nan=1.0)  # nothing is lost with what is empty


def _misfit(model: MixtureOfGaussians, x: Array, posterior: Array, q: Array) -> Any:
    """KL from a component's own points, of weight q_nk / N_k, to its density (up to what is the same for all)."""
    n_k = q.sum(axis=0)
    log_density = model.component_log_joint(x) - np.log(model.weights)
    log_ratio = xlogy(q, posterior / n_k) - q * log_density
    return numpy.nan_to_num(backend.to_numpy(log_ratio.sum(axis=0) / n_k), nan=-math.inf)  # nothing to split


def _moved(q: Array, deviations: Array, i: int, j: int, k: int) -> Array:
    """Responsibilities with i and j merged in i, and k split in j and k, where its points spread the most."""
    weights = q[:, k] / q[:, k].sum()
    centred = deviations - weights @ deviations
    _, axes = np.linalg.eigh(centred.T @ (weights[:, None] * centred))
    side = centred @ axes[:, -1] > 0
    columns = [q[:, c] for c in range(q.shape[1])]
    columns[i], columns[j], columns[k] = q[:, i] + q[:, j], np.where(side, q[:, k], 0.0), np.where(side, 0.0, q[:, k])
    return np.stack(columns, axis=1)
