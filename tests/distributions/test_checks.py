"""The checks that every law is put to: a right law passes each, and a broken twin does not."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats

import minilvm.numpy as np
from minilvm import backend
from minilvm.distributions import Bernoulli, Exponential, Normal
from minilvm.tape import stop_gradient
from tests.distributions import checks

LAW = Normal(numpy.array(0.5), numpy.array(2.0))
THEIRS = scipy.stats.norm(0.5, 2.0)
X, P = numpy.array([-3.0, 0.0, 0.6, 9.0]), numpy.array([1e-300, 0.1, 0.7])
LINE = [-numpy.inf, -20.0, 0.5, 20.0, numpy.inf]


def twin(cls=Normal, **methods):
    """A class of laws that differs from the right one in these methods."""
    return type("Twin", (cls,), methods)


def draws(self, sample_shape, rng):
    return numpy.asarray(Normal.rsample(stop_gradients(self), sample_shape, rng=rng))


def stop_gradients(law):
    return Normal(stop_gradient(law.loc), stop_gradient(law.scale))


SHIFTED = twin(log_prob=lambda self, x: Normal.log_prob(self, x) + 1e-6)
WIDER = twin(rsample=lambda self, sample_shape=(), *, rng: self.loc + 1.1 * (draws(self, sample_shape, rng) - self.loc))
DETACHED = twin(log_prob=lambda self, x: Normal.log_prob(stop_gradients(self), x) + 0.0 * self.loc)
OF_LOC_ALONE = twin(
    rsample=lambda self, sample_shape=(), *, rng: draws(self, sample_shape, rng) + self.loc - stop_gradient(self.loc)
)


def gradient_of_square(law):
    checks.assert_gradient_of_expectation(law, np.square, lambda law: law.loc**2 + law.scale**2)


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (lambda law: checks.assert_log_prob(law, THEIRS, X), SHIFTED),
        (lambda law: checks.assert_cdf(law, THEIRS, X), twin(cdf=lambda self, x: Normal.cdf(self, x) + 1e-10)),
        (lambda law: checks.assert_icdf(law, THEIRS, P), twin(icdf=lambda self, p: -Normal.icdf(self, 1.0 - p))),
        (lambda law: checks.assert_moments(law, THEIRS), twin(stddev=property(lambda self: self.scale**2))),
        (lambda law: checks.assert_moments(law, THEIRS), twin(mean=property(lambda self: self.loc + 1e-9))),
        (lambda law: checks.assert_moments(law, THEIRS), twin(entropy=lambda self: Normal.entropy(self) + 1e-9)),
        (lambda law: checks.assert_integrates(law, LINE), SHIFTED),
        (lambda law: checks.assert_integrates(law, LINE), twin(mean=property(lambda self: self.loc + 1e-6))),
        (lambda law: checks.assert_integrates(law, LINE), twin(stddev=property(lambda self: self.scale * 1.001))),
        (lambda law: checks.assert_integrates(law, LINE), twin(entropy=lambda self: Normal.entropy(self) + 1e-6)),
        (lambda law: checks.assert_samples(law, THEIRS.cdf), WIDER),
        (
            lambda law: checks.assert_samples(law, THEIRS.cdf),
            twin(sample=lambda self, k, *, rng: numpy.sort(Normal.sample(self, k, rng=rng))),
        ),
        (
            lambda law: checks.assert_samples(law, THEIRS.cdf),
            twin(sample=lambda self, k, *, rng: Normal.sample(self, k, rng=rng).astype(float)),
        ),
        (lambda law: checks.assert_pathwise(law, scipy.stats.norm), WIDER),
        (lambda law: checks.assert_pathwise(law, scipy.stats.norm), OF_LOC_ALONE),
        (gradient_of_square, WIDER),
        (gradient_of_square, OF_LOC_ALONE),
        (lambda law: checks.assert_differentiable(law, X, p=P[1:]), DETACHED),
        (
            lambda law: checks.assert_differentiable(law, X, p=P[1:]),
            twin(entropy=lambda self: Normal.entropy(stop_gradients(self)) + 0.0 * self.scale),
        ),
        (lambda law: checks.assert_precision(law, X), twin(entropy=lambda self: Normal.entropy(self) + numpy.zeros(1))),
        (
            lambda law: checks.assert_precision(law, X),
            twin(log_prob=lambda self, x: Normal.log_prob(self, x) * numpy.ones(1)),
        ),
    ],
)
def test_a_right_law_passes_and_a_wrong_one_is_caught(check, wrong):
    check(LAW)
    with pytest.raises(AssertionError):
        check(wrong(LAW.loc, LAW.scale))


def test_draws_of_a_batch_that_share_their_noise_are_caught():
    both = Normal(numpy.array([0.0, 1.0]), 1.0)
    cdf = scipy.stats.norm(both.loc).cdf
    checks.assert_samples(both, cdf)
    with pytest.raises(AssertionError, match="agree in sign"):
        checks.assert_draws_follow(both.loc + both.sample(50_000, rng=0)[:, :1], cdf)


# Bits -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"log_prob": lambda self, x: Bernoulli.log_prob(self, x) + 1e-9},
        {"mean": property(lambda self: self.probs + 1e-9)},
        {"variance": property(lambda self: self.probs)},
        {"entropy": lambda self: 0.6},
    ],
)
def test_a_sum_catches_what_is_wrong(wrong):
    parameters = [0.0, 0.3, 1.0]
    bits = Bernoulli(probs=parameters)
    checks.assert_sums(bits, bits.enumerate_support())
    with pytest.raises(AssertionError):
        checks.assert_sums(twin(Bernoulli, **wrong)(probs=parameters), bits.enumerate_support())


def test_counts():
    draws = Bernoulli(probs=0.3).sample(10_000, rng=0)
    checks.assert_counts_follow(draws, [0, 1], [0.7, 0.3])
    checks.assert_counts_follow(draws, [1], [0.3])
    for values, probabilities in ([0, 1], [0.65, 0.35]), ([0], [1.0]):
        with pytest.raises(AssertionError, match="outcome"):
            checks.assert_counts_follow(draws, values, probabilities)


# Impossible events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "log_prob",
    [
        lambda self, x: np.log(self.rate) - self.rate * x,  # of negative numbers too
        lambda self, x: np.where(x >= 0, np.log(self.rate) - self.rate * x, -1e300),
        lambda self, x: np.where(x >= 0, np.log(self.rate) - self.rate * x + np.sqrt(x) - np.sqrt(x), -np.inf),  # 0 ∞
        lambda self, x: numpy.float64(0.0) + Exponential.log_prob(self, x),
    ],
)
def test_impossible_events(log_prob):
    outside, inside = [-1.0, -1e-30, -numpy.inf, numpy.inf, numpy.nan], 0.5
    checks.assert_impossible(lambda **options: Exponential(2.0, **options), outside, inside)
    with numpy.errstate(all="ignore"), pytest.raises(AssertionError):
        checks.assert_impossible(
            lambda **options: twin(Exponential, log_prob=log_prob)(2.0, **options), outside, inside
        )


# Backends -------------------------------------------------------------------------------------------------------------


def test_every_backend(xp):
    checks.assert_every_backend(xp, LAW, X)


@pytest.mark.parametrize("method", ["entropy", "log_prob"])
def test_an_answer_from_another_library_is_caught(method):
    right = {"entropy": LAW.entropy(), "log_prob": LAW.log_prob(X)}[method]
    wrong = twin(**{method: lambda self, *x: right})(LAW.loc, LAW.scale)
    with backend.using("strict_cupy"), pytest.raises((AssertionError, TypeError)):
        checks.assert_every_backend(backend.namespace(), wrong, X)
