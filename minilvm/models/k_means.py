"""K-means: a mixture of round clusters that are never in doubt, and the usual start of a mixture of Gaussians.

    inertia(μ) = Σ_n min_c ‖x_n − μ_c‖²

Lloyd's algorithm is EM with responsibilities of 0 and 1: each point goes to its nearest centre, each centre to the mean
of its points, and the inertia falls until nothing moves. Where it ends depends on where it starts, so the centres start
as points of the data that are far apart (k-means++).
"""

from __future__ import annotations

import math
from typing import Any

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array

CHUNK = 8192  # points at a time: a table of distances that stays in cache


def squared_distances(x: Array, centres: Array) -> Array:
    """Return ‖x_n − μ_c‖², shape (N, C), from one product: ‖x‖² − 2 x·μ + ‖μ‖², for x and μ about the same origin."""
    squares = np.square(x).sum(axis=1)[:, None] - 2.0 * (x @ centres.T) + np.square(centres).sum(axis=1)
    return np.maximum(squares, 0.0)  # rounding may leave the distance of a point to itself below 0


def k_means_plus_plus(x: Array, n_clusters: int, *, rng: Any) -> Array:
    """Return the indices of `n_clusters` points of `x` (N, D) that lie far apart, no index twice: greedy k-means++.

    Each is the best of 2 + ⌊log C⌋ candidates, drawn with probability proportional to their squared distance from the
    nearest point chosen before; the best is the one that leaves the least inertia. (Arthur and Vassilvitskii, 2007: the
    expected inertia of the plain form is within 8 (log C + 2) of the least.)
    """
    generator = backend.default_rng(rng, like=x)
    x = x - x.mean(axis=0)
    n_candidates = 2 + int(math.log(n_clusters))
    chosen = [int(generator.integers(0, len(x)))]
    nearest = squared_distances(x, x[chosen])[:, 0]
    nearest[chosen] = 0.0
    while len(chosen) < n_clusters:
        # Where only copies of chosen points are left, every point that is not chosen is as good as another.
        chances = nearest if float(nearest.sum()) > 0 else _all_but(chosen, nearest)
        cumulative = np.cumsum(chances)
        u = generator.random(n_candidates) * cumulative[-1]
        candidates = np.minimum((cumulative <= u[:, None]).sum(axis=1), len(x) - 1)
        left = np.minimum(nearest[:, None], squared_distances(x, x[candidates]))
        best = int(left.sum(axis=0).argmin())
        chosen.append(int(candidates[best]))
        nearest = left[:, best]
        nearest[chosen] = 0.0
    return backend.namespace(x).asarray(chosen)


def _all_but(chosen: list[int], like: Array) -> Array:
    chances = np.ones_like(like)
    chances[chosen] = 0.0
    return chances


def k_means(x: Array, n_clusters: int, *, rng: Any, max_iter: int = 300) -> Array:
    """Return each point's cluster, a label 0 … C − 1 of shape (N,): a local optimum of the inertia, from k-means++.

    A cluster that loses all its points starts again at the point that lies farthest from its centre.
    """
    x = x - x.mean(axis=0)
    centres = x[k_means_plus_plus(x, n_clusters, rng=rng)]
    labels, distances = _assign(x, centres)
    for _ in range(max_iter):
        centres = _means(x, labels, distances, n_clusters)
        before, (labels, distances) = labels, _assign(x, centres)
        if bool((labels == before).all()):
            break
    return labels


def _assign(x: Array, centres: Array) -> tuple[Array, Array]:
    """Each point's nearest centre, and its squared distance from it."""
    chunks = [squared_distances(x[i : i + CHUNK], centres) for i in range(0, len(x), CHUNK)]
    labels = np.concatenate([chunk.argmin(axis=1) for chunk in chunks])
    return labels, np.concatenate([chunk.min(axis=1) for chunk in chunks])


def _means(x: Array, labels: Array, distances: Array, n_clusters: int) -> Array:
    """Each cluster's mean; the empty ones share out the points that are farthest from their centres."""
    clusters = backend.namespace(x).arange(n_clusters)
    counts = np.zeros_like(x, shape=(n_clusters,))
    sums = np.zeros_like(x, shape=(n_clusters, x.shape[1]))
    for i in range(0, len(x), CHUNK):
        members = (labels[i : i + CHUNK] == clusters[:, None]).astype(x.dtype)
        counts += members.sum(axis=1)
        sums += members @ x[i : i + CHUNK]
    empty = counts == 0
    centres = sums / np.maximum(counts, 1.0)[:, None]
    if bool(empty.any()):
        farthest = np.argsort(-distances)[: int(empty.sum())]
        centres[empty] = x[farthest]
    return centres
