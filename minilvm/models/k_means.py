"""K-means: a mixture of round clusters that are never in doubt, and the usual start of a mixture of Gaussians.

    inertia(μ) = Σ_n min_c ‖x_n − μ_c‖²

Lloyd's algorithm is EM with responsibilities of 0 and 1: each point goes to its nearest centre, each centre to the mean
of its points, and the inertia falls until nothing moves. Where it ends depends on where it starts, so the centres start
as points of the data that are far apart (k-means++).
"""

from __future__ import annotations

import math
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array

CHUNK = 8192  # points at a time: a table of distances that stays in cache


def squared_distances(x: Array, centres: Array) -> Array:
    """Return ‖x_n − μ_c‖², shape (N, C), from one product: ‖x‖² − 2 x·μ + ‖μ‖², for x and μ about the same origin."""
    squares = np.square(x).sum(axis=1)[:, None] - 2.0 * (x @ centres.T) + np.square(centres).sum(axis=1)
    return np.maximum(squares, 0.0)  # rounding may leave the distance of a point to itself below 0


def k_means_plus_plus(x: Array, n_clusters: int, *, rng: Any, sample_weight: Array | None = None) -> Array:
    """Return the indices of `n_clusters` points of `x` (N, D) that lie far apart, no index twice: greedy k-means++.

    The first is drawn by weight. Each other is the best of 2 + ⌊log C⌋ candidates, drawn with probability proportional
    to their weight times their squared distance from the nearest point chosen before; the best is the one that leaves
    the least inertia. (Arthur and Vassilvitskii, 2007: the expected inertia of the plain form is at most 8 (log C + 2)
    times the least.)
    """
    generator = backend.default_rng(rng, like=x)
    x = x - x.mean(axis=0)
    weights = np.ones_like(x, shape=(len(x),)) if sample_weight is None else sample_weight
    n_candidates = 2 + int(math.log(n_clusters))
    chosen = drawn(weights, generator.random(1)).tolist()
    nearest = squared_distances(x, x[chosen])[:, 0]
    nearest[chosen] = 0.0
    while len(chosen) < n_clusters:
        chances = weights * nearest
        if (
            not float(chances.sum()) > 0
        ):  # copies of chosen points are left, or points of weight 0: one is as good as another
            chances = np.ones_like(nearest)
            chances[chosen] = 0.0
        candidates = drawn(chances, generator.random(n_candidates))
        left = np.minimum(nearest[:, None], squared_distances(x, x[candidates]))
        best = int((weights @ left).argmin())
        chosen.append(int(candidates[best]))
        nearest = left[:, best]
        nearest[chosen] = 0.0
    return backend.namespace(x).asarray(chosen)


def drawn(chances: Array, u: Array) -> Array:
    """Return indices with these chances, from uniform u: a point that is there twice is as one of twice the weight."""
    cumulative = np.cumsum(chances)
    return np.minimum(numpy.searchsorted(cumulative, u * cumulative[-1], side="right"), len(chances) - 1)


def k_means(
    x: Array, n_clusters: int, *, rng: Any, sample_weight: Array | None = None, max_iter: int = 300
) -> tuple[Array, Array]:
    """Return centres (C, D) and each point's label (N,): a local optimum of the inertia, from k-means++.

    A cluster that loses all its points starts again at the point that lies farthest from its centre.
    """
    origin = x.mean(axis=0)
    x = x - origin
    weights = np.ones_like(x, shape=(len(x),)) if sample_weight is None else sample_weight
    centres = x[k_means_plus_plus(x, n_clusters, rng=rng, sample_weight=sample_weight)]
    labels, distances = _assign(x, centres)
    for _ in range(max_iter):
        centres = _means(x, labels, weights, distances, n_clusters)
        before, (labels, distances) = labels, _assign(x, centres)
        if bool((labels == before).all()):
            break
    return centres + origin, labels


def _assign(x: Array, centres: Array) -> tuple[Array, Array]:
    """Each point's nearest centre, and its squared distance from it."""
    chunks = [squared_distances(x[i : i + CHUNK], centres) for i in range(0, len(x), CHUNK)]
    labels = np.concatenate([chunk.argmin(axis=1) for chunk in chunks])
    return labels, np.concatenate([chunk.min(axis=1) for chunk in chunks])


def _means(x: Array, labels: Array, weights: Array, distances: Array, n_clusters: int) -> Array:
    """Each cluster's mean; the empty ones share out the points that are farthest from their centres."""
    clusters = backend.namespace(x).arange(n_clusters)
    counts = np.zeros_like(x, shape=(n_clusters,))
    sums = np.zeros_like(x, shape=(n_clusters, x.shape[1]))
    for i in range(0, len(x), CHUNK):
        members = (labels[i : i + CHUNK] == clusters[:, None]) * weights[i : i + CHUNK]
        counts += members.sum(axis=1)
        sums += members @ x[i : i + CHUNK]
    empty = counts == 0
    centres = sums / np.where(empty, 1.0, counts)[:, None]
    if bool(empty.any()):
        farthest = np.argsort(-weights * distances)[: int(empty.sum())]
        centres[empty] = x[farthest]
    return centres
