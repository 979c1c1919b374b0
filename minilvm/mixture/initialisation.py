"""Where EM starts: from clusters, from points, from nothing but chance, or from what the user says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.models import MixtureOfGaussians
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.k_means import drawn, k_means, k_means_plus_plus

INIT_PARAMS: Final = ("kmeans", "k-means++", "random", "random_from_data")
ENOUGH: Final = 100_000  # points to start from; more make no better start, and k-means reads them dozens of times


def start(
    x: Array, n_components: int, init_params: str, *, rng: Any, sample_weight: Array | None = None, **fields: Any
) -> MixtureOfGaussians:
    """Return a mixture to start EM from, made from at most `ENOUGH` points of `x`, chosen at random.

    Parameters
    ----------
    x
        Data (N, D), without NaN.
    init_params
        "kmeans": each component has the points of a cluster of k-means. "k-means++" and "random_from_data": each has a
        point for its mean, far from the others' or anywhere, and the covariance of all data. "random": each has a
        random share of every point.
    sample_weight
        How many points each counts as, (N,). One that counts for nothing might as well not be there.
    fields
        `covariance_type`, `reg_covar`, `parameter_prior`.
    """
    x, sample_weight = subset(x, sample_weight, rng)
    x, share = x.astype(float, copy=False), 1.0 if sample_weight is None else sample_weight[:, None]
    if init_params == "random":
        responsibilities = rng.random((len(x), n_components), dtype=x.dtype)
    elif init_params == "kmeans":
        _, labels = k_means(x, n_components, rng=rng, sample_weight=sample_weight)
        responsibilities = _one_hot(labels, x, n_components)
    else:
        alike = np.full_like(x, 1.0 / n_components, shape=(len(x), n_components))
        whole = MixtureOfGaussians.from_responsibilities(x, alike * share, **fields)
        if init_params == "k-means++":
            chosen = k_means_plus_plus(x, n_components, rng=rng, sample_weight=sample_weight)
        else:
            chosen = _race(len(x), sample_weight, rng)[:n_components]
        return replace(whole, means=x[chosen])
    responsibilities /= responsibilities.sum(axis=1)[:, None]
    return MixtureOfGaussians.from_responsibilities(x, responsibilities * share, **fields)


def unit(x: Array, n_components: int, covariance_type: str) -> MixtureOfGaussians:
    """Return a mixture with equal weights, of components that are all at 0 and of covariance I."""
    xp, kind = backend.namespace(x), COVARIANCE_TYPES[covariance_type]
    identity = kind.repeated(kind.from_full(xp.eye(x.shape[1])), n_components)
    means = xp.zeros((n_components, x.shape[1]))
    return MixtureOfGaussians(xp.full(n_components, 1.0 / n_components), means, identity, covariance_type)


def revived(
    model: MixtureOfGaussians, components: tuple[int, ...], x: Array, sample_weight: Array | None, rng: Any
) -> MixtureOfGaussians:
    """Return the mixture with lost `components` started again: at random points, wide, with an equal share."""
    C = len(model.weights)
    fields = {name: getattr(model, name) for name in ("covariance_type", "reg_covar", "parameter_prior")}
    fresh = start(x, C, "random_from_data", rng=rng, sample_weight=sample_weight, **fields)
    lost = backend.namespace(x).asarray([c in components for c in range(C)])
    weights = np.where(lost, fresh.weights, model.weights)
    new = {"weights": weights / weights.sum(), "means": np.where(lost[:, None], fresh.means, model.means)}
    if model.covariance_type != "tied":
        rows = lost.reshape(C, *(1 for _ in model.covariances.shape[1:]))
        new["covariances"] = np.where(rows, fresh.covariances, model.covariances)
    return replace(model, **new)


def subset(x: Array, sample_weight: Array | None, rng: Any) -> tuple[Array, Array | None]:
    """Return at most `ENOUGH` points, and their weights; of more, a sample, of which each counts the same."""
    if len(x) <= ENOUGH:
        return x, sample_weight
    if sample_weight is None:
        return x[rng.integers(0, len(x), ENOUGH)], None
    return x[drawn(sample_weight, rng.random(ENOUGH))], None


def _race(n: int, sample_weight: Array | None, rng: Any) -> Array:
    """Indices in a random order, as they win a race at speeds in proportion to their weights; those of 0 come last."""
    times = -np.log1p(-rng.random(n))
    if sample_weight is not None:
        runs = sample_weight > 0
        times = np.where(runs, times / np.where(runs, sample_weight, 1.0), np.inf)
    return np.argsort(times)


def filled(x: Array, sample_weight: Array | None = None) -> Array:
    """Return the data with their columns' means where numbers are missing."""
    present = ~np.isnan(x)
    if bool(present.all()):
        return x
    share = present if sample_weight is None else present * sample_weight[:, None]
    counts = share.sum(axis=0)
    if not bool((counts > 0).all()):
        raise ValueError(f"X[:, {int(counts.argmin())}] has no number that is not NaN: drop the column")
    return np.where(present, x, (np.where(present, x, 0.0) * share).sum(axis=0) / counts)


def _one_hot(labels: Array, x: Array, n_components: int) -> Array:
    """Rows of the identity; a cluster without points (the data have too few that differ) shares one with another."""
    components = backend.namespace(x).arange(n_components)
    table = (labels[:, None] == components).astype(x.dtype)
    empty = components[table.sum(axis=0) == 0]
    table[empty, empty] = 1.0
    return table


def given_parameters(
    model: MixtureOfGaussians, weights: Any = None, means: Any = None, precisions: Any = None
) -> MixtureOfGaussians:
    """Return the model with the parameters that the user gave in place of its own.

    Raises
    ------
    ValueError
        One has the wrong shape, or is no such parameter.
    """
    given: dict[str, Array] = {}
    if weights is not None:
        given["weights"] = _weights(_like(model, "weights", weights, model.weights.shape))
    if means is not None:
        given["means"] = _like(model, "means", means, model.means.shape)
    if precisions is not None:
        name = f"{model.covariance_type} precision"
        given["covariances"] = _inverse(name, _like(model, name, precisions, model.covariances.shape), model)
    return replace(model, **given)


def _like(model: MixtureOfGaussians, name: str, value: Any, shape: tuple[int, ...]) -> Array:
    array = backend.namespace(model.means).asarray(value, dtype=model.means.dtype)
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
    if not bool(np.isfinite(array).all()):
        raise ValueError(f"The parameter '{name}' should be finite, but has NaN or infinity")
    return array


def _weights(weights: Array) -> Array:
    low, high, total = float(weights.min()), float(weights.max()), float(weights.sum())
    if low < 0 or high > 1:
        raise ValueError(
            f"The parameter 'weights' should be in the range [0, 1], but got max value {high:.5f}, min value {low:.5f}"
        )
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"The parameter 'weights' should be normalized, but got sum(weights) = {total:.5f}")
    return weights / total


def _inverse(name: str, precisions: Array, model: MixtureOfGaussians) -> Array:
    if model.covariance_type in {"diag", "spherical"}:
        if not bool((precisions > 0).all()):
            raise ValueError(f"'{name}' should be positive")
        return 1.0 / precisions
    asymmetry = np.abs(precisions - np.swapaxes(precisions, -1, -2)).max()
    if not asymmetry <= 1e-8 * np.abs(precisions).max() or not bool((np.linalg.eigvalsh(precisions) > 0).all()):
        raise ValueError(f"'{name}' should be symmetric, positive-definite")
    inverse = np.linalg.inv(precisions)
    return 0.5 * (inverse + np.swapaxes(inverse, -1, -2))
