"""Where EM starts: what each way promises, and that points of no weight are nowhere in it."""

from __future__ import annotations

from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.data import load_old_faithful
from minilvm.mixture import GaussianMixture, initialisation
from minilvm.mixture.initialisation import INIT_PARAMS, filled, revived, start, subset
from minilvm.models import MixtureOfGaussians
from tests.models.gaussians import TYPES
from tests.statistics import assert_frequencies

each_way = pytest.mark.parametrize("way", INIT_PARAMS)
each_type = pytest.mark.parametrize("kind", TYPES)


def clusters(n=30, seed=0):
    rng = numpy.random.default_rng(seed)
    return numpy.concatenate([centre + rng.standard_normal((n, 2)) for centre in ([0, 0], [20, 0], [0, 20])])


def rng(seed=0):
    return numpy.random.default_rng(seed)


@each_type
def test_from_k_means_each_component_is_a_cluster(kind):
    x = clusters()
    model = start(x, 3, "kmeans", rng=rng(), covariance_type=kind)
    labels = numpy.repeat(numpy.eye(3), 30, axis=0)
    expected = MixtureOfGaussians.from_responsibilities(x, labels, covariance_type=kind)
    order, theirs = (numpy.lexsort(m.means.round(6).T) for m in (model, expected))
    assert_allclose(model.weights, 1.0 / 3.0)
    assert_allclose(model.means[order], expected.means[theirs])
    covariances, wanted = (m.covariances for m in (model, expected))
    assert_allclose(*((covariances, wanted) if kind == "tied" else (covariances[order], wanted[theirs])))


@pytest.mark.parametrize("way", ["k-means++", "random_from_data"])
@each_type
def test_from_points_means_are_different_points_and_the_rest_is_that_of_all_data(way, kind):
    x = clusters()
    for seed in range(10):
        model = start(x, 3, way, rng=rng(seed), covariance_type=kind)
        rows = [numpy.flatnonzero((x == mean).all(axis=1)).tolist() for mean in model.means]
        assert len({row for (row,) in rows}) == 3
        if way == "k-means++":
            assert sorted(row // 30 for (row,) in rows) == [0, 1, 2]
        assert_allclose(model.weights, 1.0 / 3.0)
        whole = MixtureOfGaussians.from_responsibilities(x, numpy.ones((90, 1)), covariance_type=kind).covariances
        assert_allclose(model.covariances, numpy.broadcast_to(whole, model.covariances.shape))


def test_from_nothing_but_chance_all_components_are_nearly_all_data():
    x = clusters(n=3000)
    model = start(x, 2, "random", rng=rng(), covariance_type="full")
    assert_allclose(model.means, numpy.broadcast_to(x.mean(axis=0), (2, 2)), atol=1.0)
    assert_allclose(model.weights @ model.means, x.mean(axis=0), rtol=1e-12)  # each point is shared, and counts once
    assert not numpy.allclose(model.means[0], model.means[1], atol=1e-3)


@each_way
def test_points_of_no_weight_are_nowhere(way):
    x = numpy.concatenate([clusters(), numpy.full((60, 2), 1e6)])
    weights = numpy.repeat([1.0, 0.0], [90, 60])
    for seed in range(5):
        model = start(x, 3, way, rng=rng(seed), sample_weight=weights, covariance_type="full")
        assert model.means.max() < 100.0
        assert model.covariances.max() < 1000.0
        again = revived(model, (1,), x, weights, rng(seed))
        assert again.means.max() < 100.0


@each_way
def test_many_points_are_represented_by_some(way, monkeypatch):
    monkeypatch.setattr(initialisation, "ENOUGH", 500)
    x = numpy.concatenate([clusters(n=1000), numpy.full((60, 2), 1e6)])
    model = start(x, 3, way, rng=rng(), sample_weight=numpy.repeat([1.0, 0.0], [3000, 60]), covariance_type="full")
    assert model.means.max() < 100.0
    assert len(subset(x, None, rng())[0]) == 500
    if way == "kmeans":
        assert_allclose(500 * model.weights, (500 * model.weights).round(), atol=1e-9)


def test_points_represent_the_rest_as_often_as_they_weigh(monkeypatch):
    monkeypatch.setattr(initialisation, "ENOUGH", 3000)
    x = numpy.arange(4000.0)[:, None] % 4
    weights = numpy.tile([0.0, 1.0, 2.0, 5.0], 1000)
    for given_weights, shares in ((None, [0.25] * 4), (weights, [0.0, 0.125, 0.25, 0.625])):
        chosen, left = subset(x, given_weights, rng())
        assert left is None
        assert_frequencies(numpy.bincount(chosen[:, 0].astype(int), minlength=4), shares)


def test_points_are_chosen_at_random_in_proportion_to_their_weights():
    x, weights = numpy.array([[0.0], [1.0], [2.0], [4.0]]), numpy.array([1.0, 2.0, 5.0, 0.0])
    generator = rng()
    fields = {"rng": generator, "sample_weight": weights, "covariance_type": "full"}
    first = [int(start(x, 1, "random_from_data", **fields).means.item()) for _ in range(2000)]
    assert_frequencies(numpy.bincount(first, minlength=5), [0.125, 0.25, 0.625, 0.0, 0.0])


@each_type
def test_a_lost_component_starts_again_and_the_others_stay(kind):
    x = clusters()
    model = start(x, 3, "kmeans", rng=rng(), covariance_type=kind)
    model = replace(model, weights=numpy.array([0.2, 0.6, 0.2]))
    again = revived(model, (2,), x, None, rng(1))
    assert any((again.means[2] == point).all() for point in x)
    assert_array_equal(again.means[:2], model.means[:2])
    assert_allclose(again.weights, numpy.array([0.2, 0.6, 1.0 / 3.0]) / (0.8 + 1.0 / 3.0))
    if kind == "tied":
        assert_array_equal(again.covariances, model.covariances)
    else:
        assert_array_equal(again.covariances[:2], model.covariances[:2])
        assert again.covariances[2].max() > 10.0 * model.covariances[2].max()


@given(st.integers(0, 1000))
def test_a_missing_number_counts_as_the_mean_of_its_column_by_weight(seed):
    generator = numpy.random.default_rng(seed)
    x, copies = generator.standard_normal((20, 3)), generator.integers(0, 3, 20)
    x[generator.random((20, 3)) < 0.3] = numpy.nan
    x[:2], copies[:2] = 1.0, 1
    found = filled(x, copies.astype(float))
    mean = numpy.nanmean(numpy.repeat(x, copies, axis=0), axis=0)
    assert_allclose(found, numpy.where(numpy.isnan(x), mean, x))


@each_type
def test_whoever_says_all_of_it_starts_there(kind, monkeypatch):
    """And nothing is looked for: not even what would fail."""
    monkeypatch.setattr(initialisation, "k_means", None)
    x = numpy.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    precisions = {
        "full": numpy.stack([numpy.diag([1.0, 4.0])] * 2),
        "tied": numpy.diag([1.0, 4.0]),
        "diag": numpy.array([[1.0, 4.0]] * 2),
        "spherical": numpy.array([4.0, 4.0]),
    }[kind]
    given_start = {"weights_init": [0.25, 0.75], "means_init": [[0.0, 1.0], [4.0, 2.0]], "precisions_init": precisions}
    mixture = GaussianMixture(2, covariance_type=kind, max_iter=0, reg_covar=0.0, **given_start).fit(x)
    assert_allclose(mixture.weights_, [0.25, 0.75])
    assert_allclose(mixture.means_, [[0.0, 1.0], [4.0, 2.0]])
    assert_allclose(mixture.precisions_, precisions)


def test_weights_that_nearly_sum_to_one_do():
    given_start = {"weights_init": [0.25, 0.75 + 5e-7], "means_init": [[2.0, 55.0], [4.0, 80.0]]}
    mixture = GaussianMixture(2, max_iter=0, random_state=0, **given_start).fit(load_old_faithful())
    assert abs(mixture.weights_.sum() - 1.0) < 1e-15


@pytest.mark.parametrize(
    ("precisions", "message"),
    [
        (numpy.stack([[[1.0, 2.0], [0.0, 1.0]]] * 2), "'full precision' should be symmetric, positive-definite"),
        (numpy.stack([[[1.0, 2.0], [2.0, 1.0]]] * 2), "'full precision' should be symmetric, positive-definite"),
        (numpy.eye(2), r"'full precision' should have the shape of \(2, 2, 2\)"),
    ],
)
def test_precisions_that_none_has_are_refused(precisions, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, precisions_init=precisions).fit(load_old_faithful())
