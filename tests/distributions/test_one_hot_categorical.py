"""The categorical law of one-hot vectors: the categorical law of labels, spelled out, with moments."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import check_grads, grad
from minilvm.distributions import Categorical, OneHotCategorical
from tests.distributions import checks
from tests.distributions.helpers import FEW, Uniforms, real_arrays

log_weights = arrays(
    float, st.tuples(st.integers(1, 3), st.integers(1, 5)), elements=st.one_of(st.just(-numpy.inf), st.floats(-50, 50))
).filter(lambda a: (a.max(axis=-1) > -numpy.inf).all())


def spelled_out(law, labels):
    return numpy.eye(law.n_categories)[labels]


def assert_is_the_categorical(law, labels):
    z = labels.enumerate_support()
    x = law.enumerate_support()
    assert_array_equal(x, spelled_out(law, z))
    assert_allclose(law.log_prob(x), labels.log_prob(z), rtol=1e-12, atol=1e-12)
    assert_array_equal(law.log_prob(x) == -numpy.inf, labels.log_prob(z) == -numpy.inf)
    assert_allclose(law.entropy(), labels.entropy(), rtol=1e-12)
    assert_array_equal(law.mode, spelled_out(law, labels.mode))
    p = numpy.exp(labels.log_prob(z))[..., None]
    assert_allclose(law.mean, (p * x).sum(axis=0), rtol=1e-12, atol=1e-15)
    assert_allclose(law.variance, (p * (x - law.mean) ** 2).sum(axis=0), rtol=1e-12, atol=1e-15)


@given(log_weights)
def test_it_is_the_categorical(a):
    assert_is_the_categorical(OneHotCategorical(logits=a), Categorical(logits=a))
    w = numpy.exp(a - a.max(axis=-1, keepdims=True))
    assert_is_the_categorical(OneHotCategorical(probs=w), Categorical(probs=w))


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_prob": lambda self, x: (x * self.logits).sum(axis=-1)},
        {"variance": property(lambda self: self.probs)},
        {"mode": property(lambda self: self.mean)},
    ],
)
def test_what_is_wrong_is_caught(wrong):
    twin = type("Twin", (OneHotCategorical,), wrong)
    with pytest.raises(AssertionError):
        assert_is_the_categorical(twin(logits=[0.0, 1.0]), Categorical(logits=[0.0, 1.0]))


def test_draws_are_the_categoricals():
    a = numpy.array([[0.0, 1.0, -numpy.inf], [2.0, 0.0, 0.0]])
    law = OneHotCategorical(logits=a)
    draws = law.sample(20_000, rng=0)
    assert_array_equal(draws, spelled_out(law, Categorical(logits=a).sample(20_000, rng=0)))
    for i in range(2):
        checks.assert_counts_follow(draws[:, i], numpy.eye(3), law.probs[i])
    assert law.sample(rng=Uniforms(greatest=True))[0].tolist() == [0.0, 1.0, 0.0]


def test_a_relaxed_vector_is_scored_by_the_formula_when_asked_to():
    law = OneHotCategorical(probs=[0.25, 0.75], validate_args=False)
    assert_allclose(law.log_prob([0.5, 0.5]), 0.5 * numpy.log([0.25, 0.75]).sum())


def test_what_is_no_one_hot_vector_is_refused():
    law = OneHotCategorical(logits=numpy.zeros(3))
    for value in ([1, 1, 0], [0, 0, 0], [0.5, 0.5, 0.0], [numpy.nan, 1, 0], [2, -1, 0]):
        with pytest.raises(ValueError, match=r"value must be a vector of zeros and a single 1; value\[1\] is \["):
            law.log_prob([[0, 1, 0], value])


@FEW
@given(real_arrays((2, 3), -1.0, 1.0), arrays(int, (4, 2), elements=st.integers(0, 2)))
def test_it_is_differentiable(a, z):
    x = numpy.eye(3)[z]
    check_grads(lambda law, x: law.log_prob(x), [OneHotCategorical(logits=a, validate_args=False), x])
    check_grads(lambda law: law.log_prob(x), [OneHotCategorical(probs=numpy.exp(a))])
    check_grads(lambda law: (law.mean, law.variance, law.entropy()), [OneHotCategorical(logits=a)])


def test_an_impossible_category_spoils_no_other_gradient():
    x = numpy.array([0.0, 1.0, 0.0])
    for law in (OneHotCategorical(probs=[0.0, 1.0, 3.0]), OneHotCategorical(logits=[-numpy.inf, 0.0, 1.0])):
        assert numpy.isfinite(grad(lambda law: law.log_prob(x))(law).parameter).all()
        assert law.log_prob(x[[1, 0, 2]]) == -numpy.inf


def test_float32_and_every_backend(xp):
    x = numpy.eye(3)[[1, 2]]
    for law in (OneHotCategorical(logits=numpy.array([[0.5, -1.0, 2.0]] * 2)), OneHotCategorical(probs=numpy.ones(3))):
        checks.assert_precision(law, x)
        checks.assert_every_backend(xp, law, x)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "OneHotCategorical: none given; expected exactly one of probs, logits"),
        ({"logits": 1.0}, r"OneHotCategorical: logits has shape \(\); expected \(..., C\) for C categories"),
        ({"probs": [0.5, -0.5]}, r"OneHotCategorical: probs must be finite and not negative; probs\[1\] is -0.5"),
        ({"logits": [[0.0], [-numpy.inf]]}, r"OneHotCategorical: logits must be finite somewhere in each row"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        OneHotCategorical(**parameters)
