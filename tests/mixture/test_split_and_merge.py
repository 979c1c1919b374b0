"""Split and merge: it never lowers the bound, its moves are what they say, and what they start from may be awkward."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minilvm.inference import e_step, fit_em
from minilvm.mixture import GaussianMixture
from minilvm.mixture.split_and_merge import moves, split_and_merge
from minilvm.models import ConjugatePrior, MixtureOfGaussians
from minilvm.models.missing import MarginalizedMixtureOfGaussians
from tests.models.gaussians import TYPES

each_type = pytest.mark.parametrize("kind", TYPES)


def climb(x, weights=None):
    return lambda model: fit_em(model, x, tol=1e-6, max_iter=500, sample_weight=weights)


def misplaced(kind="full", **fields):
    """Two components in one of two clusters, and one between the two halves of the other."""
    rng = numpy.random.default_rng(0)
    centres = numpy.array([[0.0, 0.0], [10.0, 2.0], [10.0, -2.0]])
    x = numpy.concatenate([centre + 0.3 * rng.standard_normal((40, 2)) for centre in centres])
    start = MixtureOfGaussians.from_responsibilities(
        x, numpy.repeat([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], [40, 80], axis=0) + 1e-3 * rng.random((120, 3)),
        covariance_type=kind, **fields,
    )  # fmt: skip
    return x, start


@each_type
def test_a_component_is_taken_to_where_it_is_missed(kind):
    x, start = misplaced(kind)
    stuck = climb(x)(start)
    better = split_and_merge(stuck, x, None, climb(x), 1e-3)
    assert better.lower_bounds[-1] > stuck.lower_bounds[-1] + 10.0
    counts = numpy.bincount(e_step(better.model, x)[0].argmax(axis=1))
    assert sorted(counts) == [40, 40, 40]
    again = split_and_merge(better, x, None, climb(x), 1e-3)
    assert again is better  # and there is nothing left to gain


@given(st.integers(0, 1000), st.sampled_from(TYPES), st.integers(1, 3), st.booleans())
def test_it_never_ends_lower(seed, kind, C, weighted):
    rng = numpy.random.default_rng(seed)
    x = rng.standard_normal((25, 2)) + 3.0 * rng.integers(0, 3, (25, 1))
    weights = rng.integers(0, 3, 25) + 0.1 if weighted else None
    prior = ConjugatePrior.fraley_raftery(x, C, kind)
    end = climb(x, weights)(MixtureOfGaussians.initialise(x, C, rng=rng, covariance_type=kind, parameter_prior=prior))
    assert split_and_merge(end, x, weights, climb(x, weights), 1e-3).lower_bounds[-1] >= end.lower_bounds[-1]


def test_the_first_move_merges_the_two_that_share_and_splits_the_one_that_fits_worst():
    x, start = misplaced()
    first = next(moves(start, x, numpy.ones(120)))
    assert_allclose(sorted(first.weights), [1 / 3] * 3, atol=0.01)
    order = first.means[:, 1].argsort()
    assert_allclose(first.means[order], [[10, -2], [0, 0], [10, 2]], atol=0.3)


def test_of_two_that_could_be_split_the_one_that_fits_worse_is():
    x, _ = misplaced()
    rng = numpy.random.default_rng(1)
    x = numpy.concatenate([x, [0.0, 20.0] + 0.3 * rng.standard_normal((40, 2))])  # and a fourth cluster, well fitted
    shares = numpy.repeat([[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [40, 80, 40], axis=0)
    model = MixtureOfGaussians.from_responsibilities(x, shares + 1e-3 * rng.random((160, 4)))
    first = next(moves(model, x, numpy.ones(160)))
    order = first.means[:, 1].argsort()
    assert_allclose(first.means[order], [[10, -2], [0, 0], [10, 2], [0, 20]], atol=0.4)


def test_moves_are_few_and_as_many_as_the_triples_of_components():
    x, start = misplaced()
    assert len(list(moves(start, x, numpy.ones(120)))) == 3  # three pairs, and for each one to split
    rng = numpy.random.default_rng(0)
    many = MixtureOfGaussians.from_responsibilities(x, rng.dirichlet(numpy.ones(8), 120))
    assert len(list(moves(many, x, numpy.ones(120)))) == 30


@given(st.integers(0, 1000))
def test_a_weight_is_a_number_of_copies(seed):
    rng = numpy.random.default_rng(seed)
    x, copies = rng.standard_normal((30, 2)), rng.integers(1, 4, 30)
    model = MixtureOfGaussians.from_responsibilities(x, rng.dirichlet(numpy.ones(3), 30))
    weighted = moves(model, x, copies.astype(float))
    repeated = moves(model, numpy.repeat(x, copies, axis=0), numpy.ones(copies.sum()))
    for one, two in zip(weighted, repeated, strict=True):
        assert_allclose(one.weights.sum(), 1.0)
        order, theirs = one.means[:, 0].argsort(), two.means[:, 0].argsort()
        assert_allclose(one.means[order], two.means[theirs], rtol=1e-6, atol=1e-9)
        assert_allclose(one.weights[order], two.weights[theirs], rtol=1e-6)


def test_what_is_one_point_is_not_split():
    """Not even where a prior would keep the empty half."""
    means = numpy.array([[0.0, 0.0], [1.0, 5.0], [4.0, 1.0]])
    x = numpy.repeat(means, 10, axis=0)
    prior = ConjugatePrior.fraley_raftery(x, 3)
    narrow = 1e-4 * numpy.stack([numpy.eye(2)] * 3)
    model = MixtureOfGaussians(numpy.full(3, 1 / 3), means, narrow, parameter_prior=prior)
    assert list(moves(model, x, numpy.ones(30))) == []


@each_type
def test_missing_numbers_are_marginalised_in_moves_too(kind):
    x, start = misplaced(kind)
    x[::4, 0] = numpy.nan
    model = MarginalizedMixtureOfGaussians(start.weights, start.means, start.covariances, kind)
    stuck = climb(x)(model)
    better = split_and_merge(stuck, x, None, climb(x), 1e-3)
    assert isinstance(better.model, MarginalizedMixtureOfGaussians)
    assert better.lower_bounds[-1] > stuck.lower_bounds[-1] + 10.0


@each_type
def test_a_component_without_points_is_the_first_to_be_merged(kind):
    """A prior keeps it alive, where nothing is: no NaN, no warning, and it comes to where it is missed."""
    x, _ = misplaced()
    given_start = {"means_init": [[0.0, 0.0], [10.0, 0.0], [5e4, 5e4]], "parameter_prior": "fraley_raftery"}
    idle, moved = (
        GaussianMixture(3, covariance_type=kind, random_state=0, split_and_merge=on, **given_start).fit(x)
        for on in (False, True)
    )
    assert idle.weights_.min() < 1e-100
    assert_allclose(moved.weights_, 1 / 3, atol=0.02)
    assert moved.lower_bound_ > idle.lower_bound_ + 0.1


def test_how_much_all_weigh_has_no_say():
    x, _ = misplaced()
    arguments = {"init_params": "random", "random_state": 0, "max_iter": 500, "split_and_merge": True}
    ends = [GaussianMixture(3, **arguments).fit(x, sample_weight=numpy.full(120, w)) for w in (1e-6, 1.0, 1e6)]
    for end in (ends[0], ends[2]):
        assert_allclose(end.lower_bound_, ends[1].lower_bound_, rtol=1e-6)
