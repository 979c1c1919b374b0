"""Infinite divergences: decided by supports alone, for each law of a batch, and harmless to gradients."""

from __future__ import annotations

import itertools

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minilvm import tree
from minilvm.autograd import grad
from minilvm.backend import to_numpy
from minilvm.distributions import (
    Beta,
    Exponential,
    Gamma,
    Gumbel,
    Laplace,
    LogNormal,
    Normal,
    RelaxedBernoulli,
    StudentT,
    Uniform,
    kl_divergence,
)
from minilvm.distributions.divergences.supports import ENDS, covered, ends
from tests.distributions.helpers import assert_dtype, assert_of

LAWS = [
    Exponential(numpy.ones(2)),
    Beta(numpy.ones(2), 1.0),
    Gamma(numpy.ones(2), 1.0),
    Gumbel(numpy.zeros(2), 1.0),
    Laplace(numpy.zeros(2), 1.0),
    LogNormal(numpy.zeros(2), 1.0),
    Normal(numpy.zeros(2), 1.0),
    RelaxedBernoulli(0.5, logits=numpy.zeros(2)),
    StudentT(numpy.full(2, 3.0)),
    Uniform(0.1, numpy.full(2, 0.9)),
]
each_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)


def assert_ends(law, low, high):
    """All that is drawn is between them, and what is just outside of either scores −inf."""
    draws = law.sample(1000, rng=0)
    assert ((low <= draws) & (draws <= high)).all()
    relaxed = law._replace(validate_args=False)
    for end, side in ((low, -1.0), (high, 1.0)):
        if numpy.isfinite(end).all():
            assert_array_equal(relaxed.log_prob(end + side * 1e-9), [-numpy.inf] * 2)
            assert (relaxed.log_prob(end - side * 1e-9) > -numpy.inf).all()
        else:
            assert (relaxed.log_prob(side * 1e2) > -numpy.inf).all()


@each_law
def test_the_ends_are_those_of_the_density(law):
    assert_ends(law, *ends(law))


def test_wrong_ends_are_caught():
    for low, high in [(-numpy.inf, numpy.inf), (1.0, numpy.inf), (0.0, 2.0)]:
        with pytest.raises(AssertionError):
            assert_ends(LAWS[0], low, high)


def test_every_law_with_ends_is_tested():
    assert {*ENDS, Uniform} == set(map(type, LAWS))


@pytest.mark.parametrize(
    ("p", "q"),
    [(p, q) for p, q in itertools.permutations(LAWS, 2) if not numpy.all(covered(p, q))],
    ids=lambda law: type(law).__name__,
)
def test_what_p_can_produce_and_q_cannot_is_infinite(xp, p, q):
    assert (q._replace(validate_args=False).log_prob(p.sample(1000, rng=0)) == -numpy.inf).any()
    infinite = kl_divergence(*tree.map(xp.asarray, (p, q)))
    assert_of(xp, infinite)
    assert_array_equal(to_numpy(infinite), [numpy.inf, numpy.inf])
    assert_dtype(kl_divergence(*tree.map(lambda a: a.astype("float32"), (p, q))), "float32")
    for leaf in tree.leaves(grad(lambda both: kl_divergence(*both).sum())((p, q))):
        assert_array_equal(leaf, numpy.zeros_like(leaf))


def test_each_law_of_a_batch_decides_for_itself():
    p = Uniform(numpy.array([-1.0, 0.0, 0.2, 0.2]), numpy.array([0.5, 0.5, 1.0, 2.0]))
    q = Uniform(0.0, 1.0)
    assert_allclose(kl_divergence(p, q), [numpy.inf, numpy.log(2.0), numpy.log(1.25), numpy.inf])
    for other in (Exponential(1.0), Gamma(2.0, 1.0), Beta(2.0, 3.0)):
        assert kl_divergence(p, other)[0] == numpy.inf
        gradient = grad(lambda both: kl_divergence(*both)[:3].sum())((p, other))
        assert all(numpy.isfinite(leaf).all() for leaf in tree.leaves(gradient))
        assert_array_equal(grad(lambda p, other=other: kl_divergence(p, other)[0])(p).low, numpy.zeros(4))


def test_a_pair_that_is_finite_somewhere_and_has_no_formula_says_so():
    assert kl_divergence(Uniform(-1.0, 1.0), LogNormal(0.0, 1.0)) == numpy.inf
    with pytest.raises(TypeError, match=r"KL\(Uniform ‖ LogNormal\)"):
        kl_divergence(Uniform(numpy.array([-1.0, 1.0]), 2.0), LogNormal(0.0, 1.0))
