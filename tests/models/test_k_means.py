"""K-means: against its definition, its fixed point, the chances of its seeds by enumeration, and awkward data."""

from __future__ import annotations

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.backend import to_numpy
from minilvm.models.k_means import _means, drawn, k_means, k_means_plus_plus, squared_distances
from tests.statistics import assert_frequencies

tables = arrays(float, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.floats(-5, 5, width=16))


def inertia(x, centres):
    return float(numpy.square(x[:, None] - centres).sum(axis=2).min(axis=1).sum())


def blobs(n=40, seed=0):
    rng = numpy.random.default_rng(seed)
    centres = numpy.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0], [20.0, 20.0]])
    return (centres[:, None] + rng.standard_normal((4, n, 2))).reshape(-1, 2), numpy.repeat(numpy.arange(4), n)


@given(tables)
def test_squared_distances(x):
    centres = x[::2] + 1.0
    expected = numpy.square(x[:, None] - centres).sum(axis=2)
    assert_allclose(squared_distances(x, centres), expected, atol=1e-11)


@given(tables, st.data(), st.integers(0, 5))
def test_seeds_are_points_and_no_index_comes_twice(x, data, seed):
    """Not even where there are fewer distinct points than clusters."""
    n = data.draw(st.integers(1, len(x)))
    chosen = k_means_plus_plus(x, n, rng=seed)
    assert len(set(chosen.tolist())) == n
    distinct = len(numpy.unique(x, axis=0))
    assert len(numpy.unique(x[chosen], axis=0)) == min(n, distinct)


def test_no_index_comes_twice_where_copies_differ_by_rounding():
    x = numpy.repeat(numpy.random.default_rng(0).standard_normal((4, 5)), 5, axis=0)
    for seed in range(20):
        assert sorted(k_means_plus_plus(x, 20, rng=seed).tolist()) == list(range(20))


def test_what_has_no_chance_is_not_drawn():
    assert_array_equal(drawn(numpy.array([0.0, 1.0, 0.0, 3.0]), numpy.array([0.0, 0.25, 0.999])), [1, 3, 3])


def test_an_empty_cluster_starts_again_at_the_point_that_costs_most():
    x, labels = numpy.array([[0.0], [1.0], [9.0], [20.0]]), numpy.array([0, 0, 0, 2])
    weights, distances = numpy.array([1.0, 1.0, 1.0, 0.1]), numpy.array([9.0, 4.0, 36.0, 300.0])
    assert_allclose(_means(x, labels, weights, distances, 4), [[10.0 / 3.0], [9.0], [20.0], [20.0]])


def test_seeds_of_blobs_are_one_of_each():
    x, label = blobs()
    for seed in range(20):
        assert sorted(label[k_means_plus_plus(x, 4, rng=seed)].tolist()) == [0, 1, 2, 3]


def test_the_second_seed_is_the_better_of_two_by_the_rule_of_the_paper():
    """Every way to choose two of five, with its chance by enumeration: weight times distance, the best of two draws."""
    x, weights = numpy.array([[0.0], [1.1], [3.5], [7.9], [100.0]]), numpy.array([1.0, 2.0, 3.0, 1.0, 0.0])
    chances = {}
    for i in range(5):
        nearest = numpy.square(x - x[i])[:, 0]
        left = [float(weights @ numpy.minimum(nearest, numpy.square(x - x[j])[:, 0])) for j in range(5)]
        second = weights * nearest / (weights @ nearest)
        for j, k in itertools.product(range(5), repeat=2):
            better = j if left[j] <= left[k] else k
            chances[i, better] = chances.get((i, better), 0.0) + weights[i] / 7.0 * second[j] * second[k]
    rng = numpy.random.default_rng(0)
    n_draws = 3000
    found = [tuple(k_means_plus_plus(x, 2, rng=rng, sample_weight=weights).tolist()) for _ in range(n_draws)]
    pairs = sorted(chances)
    assert_frequencies([found.count(pair) for pair in pairs], [chances[pair] for pair in pairs])


@pytest.mark.parametrize("n_clusters", [2, 7, 8, 21])
def test_candidates_are_as_many_as_it_says(n_clusters, monkeypatch):
    sizes = []

    def watched(chances, u):
        sizes.append(len(u))
        return drawn(chances, u)

    monkeypatch.setattr("minilvm.models.k_means.drawn", watched)
    k_means_plus_plus(numpy.arange(30.0)[:, None], n_clusters, rng=0)
    assert sizes == [1] + [2 + int(numpy.log(n_clusters))] * (n_clusters - 1)


@given(tables, st.data(), st.integers(0, 5))
def test_the_end_is_a_fixed_point_and_no_worse_than_its_start(x, data, seed):
    n = data.draw(st.integers(1, len(x)))
    _, labels = k_means(x, n, rng=seed)
    present = numpy.unique(labels)
    centres = numpy.stack([x[labels == c].mean(axis=0) for c in present])
    own = numpy.square(x - centres[numpy.searchsorted(present, labels)]).sum(axis=1)
    assert_allclose(own, numpy.square(x[:, None] - centres).sum(axis=2).min(axis=1), atol=1e-9)
    assert inertia(x, centres) <= inertia(x, x[k_means_plus_plus(x, n, rng=seed)]) + 1e-9


def test_blobs_are_found_wherever_they_lie():
    x, label = blobs()
    for offset in (0.0, 1e7):
        centres, labels = k_means(x + offset, 4, rng=0)
        assert_allclose(centres[labels] - offset, numpy.stack([x[label == c].mean(axis=0) for c in label]), atol=1e-7)
        pairs = set(zip(labels.tolist(), label.tolist(), strict=True))
        assert len(pairs) == 4


def test_no_cluster_stays_empty_while_points_differ():
    x = numpy.concatenate([numpy.zeros((50, 1)), numpy.arange(1.0, 6.0)[:, None]])
    for seed in range(10):
        assert len(numpy.unique(k_means(x, 6, rng=seed)[1])) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend(xp, dtype):
    x, label = blobs()
    labels = to_numpy(k_means(xp.asarray(x.astype(dtype)), 4, rng=0)[1])
    assert len(set(zip(labels.tolist(), label.tolist(), strict=True))) == 4


def test_the_same_seed_gives_the_same_labels():
    x, _ = blobs()
    assert_array_equal(k_means(x, 6, rng=3)[0], k_means(x, 6, rng=3)[0])


@given(tables, st.data(), st.integers(0, 5))
def test_a_weight_is_a_number_of_copies(x, data, seed):
    copies = data.draw(arrays(int, len(x), elements=st.integers(0, 3)).filter(lambda w: w.sum() > 0))
    n = data.draw(st.integers(1, min(4, int((copies > 0).sum()))))
    centres, _ = k_means(x, n, rng=seed, sample_weight=copies.astype(float), max_iter=1)
    repeated, _ = k_means(numpy.repeat(x, copies, axis=0), n, rng=seed, max_iter=1)
    if len(numpy.unique(x, axis=0)) == len(x):
        assert_allclose(centres, repeated, atol=1e-9)
