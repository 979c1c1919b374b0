"""A batch of laws read as one event: densities multiply, and whatever the base can do remains."""

from __future__ import annotations

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import Bernoulli, Categorical, Independent, MultivariateNormal, Normal
from tests.distributions.helpers import assert_dtype, real_arrays


@given(real_arrays((4, 3, 2)), real_arrays((3, 2)), st.integers(0, 2))
def test_log_prob_is_the_sum_over_the_event(x, loc, n):
    base = Normal(loc, 2.0)
    law = Independent(base, n)
    axes = tuple(range(-n, 0))
    assert law.batch_shape == (3, 2)[: 2 - n]
    assert law.event_shape == (3, 2)[2 - n :]
    assert_allclose(law.log_prob(x), base.log_prob(x).sum(axis=axes), rtol=1e-14)
    assert_allclose(law.entropy(), base.entropy().sum(axis=axes), rtol=1e-14)
    for moment in ("mean", "variance", "stddev", "mode"):
        assert_array_equal(getattr(law, moment), getattr(base, moment))
    assert_array_equal(law.sample(5, rng=0), base.sample(5, rng=0))
    assert law.support is base.support


@given(real_arrays((2, 3)), real_arrays((3,), 0.5, 2.0), real_arrays((2, 3)))
def test_log_prob_is_differentiable_in_parameters_and_value(loc, scale, x):
    check_grads(lambda law, x: law.log_prob(x), [Independent(Normal(loc, scale), 1), x])


def test_laws_of_vectors_can_be_independent_too():
    base = MultivariateNormal(numpy.zeros((5, 3, 2)), scale_tril=numpy.eye(2))
    law = Independent(base, 1)
    assert (law.batch_shape, law.event_shape) == ((5,), (3, 2))
    assert law.log_prob(numpy.zeros((7, 5, 3, 2))).shape == (7, 5)
    outer = Independent(law, 1)
    assert (outer.batch_shape, outer.event_shape) == ((), (5, 3, 2))
    assert_allclose(outer.log_prob(numpy.ones((5, 3, 2))), base.log_prob(numpy.ones(2)).sum(), rtol=1e-14)


def test_a_value_that_would_be_stretched_over_the_event_is_refused():
    """Summing a broadcast density would count one number many times."""
    law = Independent(Normal(numpy.zeros(5), 1.0), 1)
    for shape in [(), (4, 1), (4,), (5, 4)]:
        with pytest.raises(ValueError, match=r"Independent: value has shape .*; expected one that ends in .*\(5,\)"):
            law.log_prob(numpy.zeros(shape))
    twin = Independent(Normal(numpy.zeros(5), 1.0), 1, validate_args=False)
    assert twin.log_prob(numpy.zeros((4, 1))).shape == (4,)


def test_the_base_checks_the_elements():
    law = Independent(Bernoulli(logits=numpy.zeros((2, 3))), 1)
    with pytest.raises(ValueError, match=r"Bernoulli: value must be 0 or 1; value\[0, 2\] is 2.0"):
        law.log_prob([[0, 1, 2], [0, 1, 0]])


def test_the_base_must_have_the_axes():
    with pytest.raises(ValueError, match=r"Independent: Normal has batch_shape \(\), too few axes to read the last 1"):
        Independent(Normal(0.0, 1.0), 1)
    assert Independent(Normal(0.0, 1.0).expand((4,)), 1).event_shape == (4,)


def test_draws_are_differentiable_where_the_bases_are():
    law = Independent(Normal(numpy.zeros((2, 3)), 1.0), 1)
    assert law.reparameterized
    assert_array_equal(grad(lambda law: law.rsample(5, rng=0).sum())(law).base.loc, numpy.full((2, 3), 5.0))
    assert not Independent(Bernoulli(logits=numpy.zeros(3)), 1).reparameterized
    with pytest.raises(TypeError, match="Bernoulli is not reparameterised"):
        Independent(Bernoulli(logits=numpy.zeros(3)), 1).rsample(rng=0)


# Enumeration ----------------------------------------------------------------------------------------------------------


def assert_enumerates(law, states):
    """Every event once, in lexicographic order, for each law of the batch; and their probabilities sum to 1."""
    z = law.enumerate_support()
    events = list(itertools.product(range(states), repeat=int(numpy.prod(law.event_shape))))
    assert z.shape == (len(events), *law.batch_shape, *law.event_shape)
    for index in numpy.ndindex(law.batch_shape):
        assert_array_equal(z[(slice(None), *index)].reshape(len(events), -1), events)
    assert_allclose(numpy.exp(law.log_prob(z)).sum(axis=0), numpy.ones(law.batch_shape), rtol=1e-12)


@pytest.mark.parametrize("shape", [(0,), (1,), (4,), (2, 3), (2, 3, 2)])
@pytest.mark.parametrize("n", [1, 2])
def test_enumeration(shape, n):
    if n > len(shape):
        shape = (1, *shape)
    rng = numpy.random.default_rng(0)
    assert_enumerates(Independent(Bernoulli(logits=rng.standard_normal(shape)), n), 2)
    if numpy.prod(shape) < 7:
        assert_enumerates(Independent(Categorical(logits=rng.standard_normal((*shape, 3))), n), 3)


def test_a_wrong_enumeration_is_caught():
    class Twin(Independent):
        def enumerate_support(self):
            return numpy.broadcast_to(self.base.enumerate_support(), (2, *self.event_shape))  # 2 events of 2^L

    with pytest.raises(AssertionError):
        assert_enumerates(Twin(Bernoulli(logits=numpy.zeros(3)), 1), 2)


def test_enumerating_independent_vectors():
    inner = Independent(Bernoulli(logits=numpy.zeros((2, 2))), 1)
    assert_enumerates(Independent(inner, 1), 2)


def test_what_cannot_be_enumerated_says_so():
    with pytest.raises(NotImplementedError, match="Normal has no finite support"):
        Independent(Normal(numpy.zeros(2), 1.0), 1).enumerate_support()
    with pytest.raises(ValueError, match=r"2\^100 values for each law are too many to enumerate"):
        Independent(Bernoulli(logits=numpy.zeros(100)), 1).enumerate_support()


def test_expand():
    law = Independent(Bernoulli(logits=numpy.zeros(3)), 1).expand((4, 2))
    assert (law.batch_shape, law.event_shape) == ((4, 2), (3,))
    assert law.sample(5, rng=0).shape == (5, 4, 2, 3)


def test_float32_stays_float32():
    law = Independent(Bernoulli(logits=numpy.zeros((2, 3), "float32")), 1)
    for result in (law.log_prob([0, 1, 0]), law.sample(rng=0), law.entropy(), law.enumerate_support()):
        assert_dtype(result, "float32")


@given(real_arrays((2, 3)))
def test_every_backend(xp, a):
    law, theirs = (Independent(Bernoulli(logits=array), 1) for array in (xp.asarray(a), a))
    z = law.enumerate_support()
    assert_array_equal(to_numpy(z), theirs.enumerate_support())
    assert_allclose(to_numpy(law.log_prob(z)), theirs.log_prob(to_numpy(z)), rtol=1e-12)
    assert_allclose(to_numpy(law.entropy()), theirs.entropy(), rtol=1e-12)
    normal = Independent(Normal(xp.asarray(a), 1.0), 1)
    gradient = grad(lambda law: law.log_prob(law.rsample(4, rng=0)).sum())(normal)
    assert to_numpy(gradient.base.loc).shape == (2, 3)
