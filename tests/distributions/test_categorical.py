"""The categorical law from weights and log weights: against SciPy, a plain loop, and with impossible categories."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import Categorical
from tests.distributions.helpers import Uniforms, assert_dtype, assert_of, assert_same_to_second_order, real_arrays
from tests.statistics import assert_frequencies

weights = arrays(float, st.integers(1, 6), elements=st.one_of(st.just(0.0), st.floats(1e-300, 10.0))).filter(
    lambda w: w.sum() > 1e-3
)
log_weights = arrays(float, st.integers(1, 6), elements=st.one_of(st.just(-numpy.inf), st.floats(-1e4, 1e4))).filter(
    lambda a: a.max() > -numpy.inf
)


def assert_is_the_law(law, probabilities, rtol=1e-12):
    """Σ_z p(z) = 1, and each p(z) is as given, exactly 0 where that is."""
    log_p = law.log_prob(law.enumerate_support())
    with numpy.errstate(divide="ignore"):
        assert_allclose(log_p, numpy.log(probabilities), rtol=rtol, atol=rtol)
    assert_allclose(numpy.exp(log_p).sum(), 1.0, rtol=rtol)
    assert_array_equal(log_p == -numpy.inf, probabilities == 0)


@given(weights)
def test_from_weights(w):
    p = w / w.sum()
    law = Categorical(probs=w)
    assert_is_the_law(law, p)
    assert_allclose(law.probs, p, rtol=1e-14)
    assert_allclose(law.entropy(), scipy.stats.entropy(p), rtol=1e-10, atol=1e-12)
    assert law.mode == numpy.argmax(p)


@given(log_weights)
def test_from_log_weights(a):
    law = Categorical(logits=a)
    log_p = scipy.special.log_softmax(a)
    assert_allclose(law.log_prob(law.enumerate_support()), log_p, rtol=1e-12, atol=1e-12)
    assert_allclose(law.probs, numpy.exp(log_p), rtol=1e-10)
    assert_allclose(law.entropy(), scipy.special.entr(numpy.exp(log_p)).sum(), rtol=1e-9, atol=1e-12)


def test_log_weights_that_are_not_normalised_are_caught():
    class Twin(Categorical):
        def log_prob(self, value):
            return self.logits[value]

    with pytest.raises(AssertionError):
        assert_is_the_law(Twin(logits=[0.0, 1.0]), scipy.special.softmax([0.0, 1.0]))


@given(st.data())
def test_each_label_meets_its_own_row(data):
    """Against a loop, for every way in which samples and batch axes broadcast."""
    a = data.draw(real_arrays((2, 3, 4)))
    shape = data.draw(st.sampled_from([(), (3,), (2, 1), (2, 3), (5, 2, 3), (5, 1, 1), (1, 3)]))
    z = data.draw(arrays(int, shape, elements=st.integers(0, 3)))
    log_p = Categorical(logits=a).log_prob(z)
    z = numpy.broadcast_to(z, log_p.shape)
    for index in numpy.ndindex(log_p.shape):
        row = scipy.special.log_softmax(a[index[-2:]])
        assert_allclose(log_p[index], row[z[index]], rtol=1e-12, atol=1e-12)


@given(weights, st.floats(0, 1))
def test_distribution_function_and_quantiles(w, u):
    law = Categorical(probs=w)
    running = numpy.cumsum(law.probs)
    labels = numpy.arange(-1, len(w) + 1)
    assert_allclose(law.cdf(labels + 0.5), [0.0, *running, 1.0], rtol=1e-12)
    assert_allclose(law.cdf(labels), [0.0, *running, 1.0], rtol=1e-12)
    z = law.icdf(u)
    assert law.cdf(z) >= u * (1 - 1e-15)
    assert z == 0 or law.cdf(z - 1) < u
    assert law.icdf(0.0) == 0
    assert law.probs[law.icdf(1.0)] > 0
    with pytest.raises(ValueError, match=r"Categorical: value must be between 0 and 1; value is 1.5"):
        law.icdf(1.5)


# Derivatives ----------------------------------------------------------------------------------------------------------


@given(real_arrays((2, 3), -1.0, 1.0), arrays(int, (4, 2), elements=st.integers(0, 2)))
def test_log_prob_is_differentiable_in_the_parameters(a, z):
    check_grads(lambda law: law.log_prob(z), [Categorical(logits=a)])
    check_grads(lambda law: law.log_prob(z), [Categorical(probs=numpy.exp(a))])
    check_grads(lambda w: Categorical(probs=w).log_prob(z), [numpy.exp(a)])
    check_grads(lambda law: (law.entropy(), law.probs, law.log_probs, law.cdf(1)), [Categorical(logits=a)])


@given(real_arrays((3,)), st.integers(0, 2))
def test_gradient_in_the_logits_is_one_hot_less_probabilities(a, z):
    gradient = grad(lambda a: Categorical(logits=a).log_prob(z))(a)
    assert_allclose(gradient, numpy.eye(3)[z] - scipy.special.softmax(a), atol=1e-14)


def test_an_impossible_category_spoils_no_other_gradient():
    w = numpy.array([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
    z = numpy.array([1, 0])
    for gradient in (
        grad(lambda w: Categorical(probs=w).log_prob(z).sum())(w),
        grad(lambda w: Categorical(probs=w).entropy()[:1].sum())(w),
        grad(lambda w: Categorical(logits=w).entropy().sum())(numpy.array([[-numpy.inf, 0.0], [0.0, 1.0]])),
        grad(lambda a: Categorical(logits=a).log_prob(1))(numpy.array([-numpy.inf, 0.0, 1.0])),
    ):
        assert numpy.isfinite(gradient).all()


@given(real_arrays((2, 3, 4)), st.data())
def test_log_prob_is_one_hot_times_log_probabilities_to_second_order(a, data):
    """However labels and rows meet: one to one, several to a row, or one to several rows."""
    for logits in (a, a[0, 0]):
        batch = logits.shape[:-1]
        shape = data.draw(st.sampled_from([batch, (3, *batch), (3, *(1 for _ in batch)), batch[1:], ()]))
        z = data.draw(arrays(int, shape, elements=st.integers(0, 3)))
        one_hot = numpy.eye(4)[numpy.broadcast_to(z, numpy.broadcast_shapes(z.shape, batch))]
        assert_same_to_second_order(
            lambda a, z=z: Categorical(logits=a).log_prob(z),
            lambda a, one_hot=one_hot: np.sum(one_hot * np.log_softmax(a), axis=-1),
            [logits],
        )


# Draws ----------------------------------------------------------------------------------------------------------------

P = numpy.array([[0.0, 0.2, 0.3, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.01, 0.01, 0.01, 0.01, 0.01, 0.95]])


def assert_draws_follow_the_law(draws):
    for i, p in enumerate(P):
        assert_frequencies(numpy.bincount(draws[:, i], minlength=6), p)
    pairs = 6 * draws[:, 0] + draws[:, 2]  # independent of one another
    assert_frequencies(numpy.bincount(pairs, minlength=36), numpy.outer(P[0], P[2]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    assert_draws_follow_the_law(Categorical(probs=P.astype(dtype)).sample(50_000, rng=0))
    with numpy.errstate(divide="ignore"):
        law = Categorical(logits=(7.0 + numpy.log(P)).astype(dtype))
    assert_draws_follow_the_law(law.sample(50_000, rng=1))
    single = [Categorical(probs=p.astype(dtype)).sample(50_000, rng=rng) for rng, p in enumerate(P)]
    assert_draws_follow_the_law(numpy.stack(single, axis=-1))


@pytest.mark.parametrize("wrong", ["off by one", "one u for a batch", "weights not divided by their sum"])
def test_wrong_draws_are_caught(wrong):
    rng = numpy.random.default_rng(0)
    cdf = numpy.cumsum(P, axis=-1)
    u = rng.random((50_000, 1 if wrong == "one u for a batch" else 3))
    if wrong == "weights not divided by their sum":
        cdf *= 1.1
    draws = (u[..., None] >= cdf[..., :-1]).sum(axis=-1)
    if wrong == "off by one":
        draws = numpy.maximum(draws - 1, 0)
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(draws)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_uniform_number_draws_an_impossible_category(dtype):
    """Neither the first nor the last, though the running sum of the weights may end a rounding error short of 1."""
    for n in range(1, 200):
        weights = numpy.pad(numpy.full(n, 0.1, dtype=dtype), 1)
        for law in (Categorical(probs=weights), Categorical(probs=weights[None])):  # one law; a batch of them
            assert law.sample(rng=Uniforms(greatest=False)) == 1
            assert law.sample(rng=Uniforms(greatest=True)) == law.icdf(1.0) == n


# Precision, validation, backends --------------------------------------------------------------------------------------


def test_float32_stays_float32():
    for law in (Categorical(logits=numpy.zeros(3, "float32")), Categorical(probs=numpy.ones(3, "float32"))):
        for result in (law.log_prob(1), law.probs, law.logits, law.log_probs, law.entropy()):
            assert_dtype(result, "float32")
        assert_dtype(law.sample(4, rng=0), "int64")
        assert_dtype(grad(lambda law: law.log_prob([0, 1]).sum())(law).parameter, "float32")
    impossible = Categorical(probs=numpy.array([1.0, 0.0], "float32")).log_prob(1)
    assert_dtype(impossible, "float32")
    assert impossible == -numpy.inf


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "Categorical: none given; expected exactly one of probs, logits"),
        ({"probs": [1.0], "logits": [0.0]}, "Categorical: probs and logits given"),
        ({"logits": 1.0}, r"Categorical: logits has shape \(\); expected \(..., C\)"),
        ({"probs": [0.5, -0.5]}, r"Categorical: probs must be finite and not negative; probs\[1\] is -0.5"),
        ({"probs": [0.5, numpy.inf]}, r"probs\[1\] is inf"),
        ({"probs": [[1.0, 1.0], [0.0, 0.0]]}, r"probs must be positive somewhere in each row; probs\[1\] is \[0. 0.\]"),
        ({"logits": [0.0, numpy.nan]}, r"Categorical: logits must be .*; logits\[1\] is nan"),
        ({"logits": [0.0, numpy.inf]}, r"logits\[1\] is inf"),
        ({"logits": [[0.0], [-numpy.inf]]}, r"logits must be finite somewhere in each row; logits\[1\] is \[-inf\]"),
        ({"logits": numpy.zeros((2, 0))}, r"logits must be finite somewhere in each row; logits\[0\] is \[\]"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Categorical(**parameters)


@pytest.mark.parametrize("value", [7, -1, 0.5, numpy.nan])
def test_labels_that_do_not_exist(value):
    with pytest.raises(
        ValueError, match=rf"Categorical: value must be an integer from 0 to 2; value is {float(value)}"
    ):
        Categorical(logits=numpy.zeros(3)).log_prob(value)
    law = Categorical(logits=numpy.zeros(3), validate_args=False)
    assert_array_equal(law.log_prob([0.0, value]), [numpy.log(1 / 3), -numpy.inf])


def test_labels_have_no_mean():
    law = Categorical(logits=numpy.zeros(3))
    for moment in ("mean", "variance", "stddev"):
        with pytest.raises(TypeError, match="labels have no"):
            getattr(law, moment)


@given(real_arrays((2, 3)), arrays(int, (4, 2), elements=st.integers(0, 2)))
def test_every_backend(xp, a, z):
    theirs = Categorical(logits=a)
    for law in (Categorical(logits=xp.asarray(a)), Categorical(probs=xp.exp(xp.asarray(a)))):
        value = law.log_prob(xp.asarray(z))
        assert_of(xp, value)
        assert_allclose(to_numpy(value), theirs.log_prob(z), rtol=1e-12)
        assert_allclose(to_numpy(law.entropy()), theirs.entropy(), rtol=1e-12)
        assert_allclose(to_numpy(law.cdf(xp.asarray(z))), theirs.cdf(z), rtol=1e-12)
        assert_array_equal(to_numpy(law.icdf(0.3)), theirs.icdf(0.3))
        assert_array_equal(to_numpy(law.enumerate_support()), theirs.enumerate_support())
        assert to_numpy(law.sample(4, rng=0)).shape == (4, 2)
    gradient = grad(lambda law: law.log_prob(xp.asarray(z)).sum())(Categorical(logits=xp.asarray(a)))
    one_hot = numpy.eye(3)[z].sum(axis=0)
    assert_allclose(to_numpy(gradient.logits), one_hot - 4 * np.softmax(a), atol=1e-12)
