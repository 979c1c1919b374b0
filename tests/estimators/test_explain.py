"""N7 and N9 in words and numbers: the numbers are the right ones, however they are come by."""

import re

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.distributions import Bernoulli, Binomial, Independent, Normal, OneHotCategorical, kl_divergence
from minilvm.estimators import elbo, exact_log_marginal, expectation, explain, iwae
from minilvm.models import VAE, LinearGaussian, SigmoidBeliefNetwork, diagonal_normal
from minilvm.nn import MLP
from minilvm.testing import gaussian_mixtures, sigmoid_belief_networks
from tests.testing.helpers import host


def numbers(text):
    """What stands behind each name, and how far N9 is off."""
    found = {name: float(value) for name, value in re.findall(r"^ +(.+?) {2,}(-?\d+\.\d{4})", text, re.MULTILINE)}
    assert list(found) == ["log p(x)", "ELBO", "slack", "KL", "ELBO + KL"]
    how = re.search(r"log p\(x\), (?:to (\S+)|by Bayes' rule)$", text)
    return found, None if how[1] is None else float(how[1])


def assert_identities(text, log_p, bound):
    found, error = numbers(text)
    assert found["log p(x)"] == pytest.approx(log_p, abs=6e-5)
    assert found["ELBO"] == pytest.approx(bound, abs=6e-5)
    assert found["slack"] == pytest.approx(log_p - bound, abs=6e-5)
    assert found["KL"] == pytest.approx(log_p - bound, abs=6e-5)
    assert found["ELBO + KL"] == pytest.approx(log_p, abs=6e-5)
    assert error <= 1e-9 * (1 + abs(log_p) + abs(bound))


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_of_bits_all_is_summed(xp, model, seed):
    rng = backend.default_rng(seed)
    x = (rng.random((1, len(model.bias))) < 0.5).astype(float)
    q = Independent(Bernoulli(logits=rng.standard_normal(len(model.prior_logits))), 1)

    def log_w(z):
        return model.log_joint(x, z[:, None])[:, 0] - q.log_prob(z)

    exact = float(expectation(log_w, q, estimator="exact"))
    assert_identities(explain(model, q, x), float(model.log_marginal(x)[0]), exact)


@given(gaussian_mixtures(), st.integers(0, 2**32))
def test_at_the_posterior_there_is_no_slack(xp, model, seed):
    x = 3.0 * backend.default_rng(seed).standard_normal((1, model.means.shape[1]))
    log_p = float(model.log_marginal(x)[0])
    assert_identities(explain(model, model.posterior(x), x), log_p, log_p)


@pytest.mark.parametrize("n_latents", [1, 2])
def test_of_one_or_two_numbers_all_is_integrated(xp, n_latents):
    model = LinearGaussian.random(n_latents, 3, rng=0)
    x, _ = model.sample(1, rng=1)
    log_p = model.log_marginal(x)
    text = explain(model, model.posterior(x), x)
    assert_identities(text, float(log_p[0]), float(log_p[0]))
    assert "by quadrature" in text
    network = VAE(MLP.create([n_latents, 5, 4], rng=0), n_latents)
    bits = xp.ones((1, 4))
    q = diagonal_normal(backend.default_rng(1).standard_normal((1, 2 * n_latents)))
    found, error = numbers(explain(network, q, bits))
    assert error is None  # without a posterior N9 is no check
    assert found["log p(x)"] == pytest.approx(float(exact_log_marginal(network, bits)[0]), abs=6e-5)
    assert found["KL"] > 0
    complexity = float(kl_divergence(q, network.prior)[0])
    assert found["ELBO"] < -complexity  # a reconstruction of bits is below 0


def test_of_more_numbers_draws_are_made_and_say_so(xp):
    model = LinearGaussian.random(3, 4, rng=0)
    x, _ = model.sample(1, rng=1)
    text = explain(model, model.prior, x, 500, rng=2)
    z = model.prior.expand((1,)).sample((500,), rng=2)
    log_w = (model.log_joint(x, z) - model.prior.log_prob(z))[:, 0]
    assert_identities(text, float(model.log_marginal(x)[0]), float(elbo(log_w)))
    assert text.count(f"± {host(log_w).std(ddof=1) / numpy.sqrt(500):.4f}") == 3
    assert "from 500 draws" in text
    assert explain(model, model.prior, x, 1, rng=2).count("± nan") == 3  # of a single draw no error is known


def test_a_slack_of_draws_is_at_least_0_on_average_alone_and_says_so(xp):
    model = LinearGaussian.random(3, 4, rng=0)
    x, _ = model.sample(1, rng=1)
    q = Independent(Normal(model.posterior(x).mean, model.posterior(x).stddev), 1)
    texts = [explain(model, q, x, 5, rng=seed) for seed in range(20)]
    assert all(re.search(r"slack .* ≥ 0 in expectation$", text, re.MULTILINE) for text in texts)
    assert min(numbers(text)[0]["slack"] for text in texts) < 0
    few = LinearGaussian.random(1, 4, rng=0)
    assert re.search(r"slack .* ≥ 0$", explain(few, few.prior, x), re.MULTILINE)


def test_a_model_that_cannot_list_its_values_is_not_asked_to(xp):
    """Sixty bits: the network has a `log_marginal` and a `posterior`, which would sum over 2^60 states."""
    model = SigmoidBeliefNetwork.random(60, 4, rng=0)
    text = explain(model, model.prior, xp.ones((1, 4)), 500, rng=2)
    found, error = numbers(text)
    assert error is None  # by Bayes' rule
    assert "log mean weight; above" in text
    assert "from 500 draws" in text
    z = model.prior.expand((1,)).sample((500,), rng=2)
    log_w = model.log_joint(xp.ones((1, 4)), z) - model.prior.log_prob(z)
    assert found["log p(x)"] == pytest.approx(float(iwae(log_w)[0]), abs=6e-5)


def test_where_nothing_is_exact_log_p_is_an_estimate_with_its_certificate(xp):
    model = VAE(MLP.create([3, 5, 4], rng=0), 3)
    text = explain(model, model.prior, xp.ones((1, 4)), 500, rng=2)
    found, _ = numbers(text)
    limit = float(re.search(r"above (-\d+\.\d{4}) with probability 95 % \(N19\)", text)[1])
    assert limit == pytest.approx(found["log p(x)"] + numpy.log(0.05), abs=2e-4)
    assert found["slack"] >= 0  # of one set of draws: the log of the mean is above the mean of the logs


def test_all_is_summed_where_z_has_few_values_however_they_are_written(xp):
    """Seventeen labels are few; seventeen bits, or twelve counts up to three, are not."""

    class Wide:
        def __init__(self, prior):
            self.prior = prior

        def log_joint(self, x, z):
            return self.prior.log_prob(z) - z.reshape(*z.shape[:2], -1)[..., 0]

    one = xp.ones(1)
    few = [OneHotCategorical(logits=xp.zeros(17)), Independent(Binomial(3, probs=0.3 * one), 1)]
    many = [Independent(Bernoulli(logits=xp.zeros(17)), 1), Independent(Binomial(3, probs=xp.full(12, 0.3)), 1)]
    for prior in few:
        assert "values of z" in explain(Wide(prior), prior, xp.ones((1, 1)), rng=0)
    for prior in many:
        assert "from 50 draws" in explain(Wide(prior), prior, xp.ones((1, 1)), 50, rng=0)


def test_what_q_never_draws_counts_for_nothing(xp):
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    x, z = xp.ones((1, 3)), xp.asarray([0.0, 1.0])
    found, _ = numbers(explain(model, Independent(Bernoulli(probs=z), 1), x))
    assert found["ELBO"] == pytest.approx(float(model.log_joint(x, z[None, None])[0, 0]), abs=6e-5)


def test_refusals():
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    with pytest.raises(ValueError, match=r"x has 3 data; expected one: x\[:1\]"):
        explain(model, model.prior, numpy.ones((3, 3)))
    with pytest.raises(ValueError, match="n_samples is 0"):
        explain(model, model.prior, numpy.ones((1, 3)), 0)
    with pytest.raises(ValueError, match=r"batch shape \(2,\); expected \(1,\)"):
        explain(model, model.prior.expand((2,)), numpy.ones((1, 3)))

    class Broken:
        prior = model.prior

        def log_joint(self, x, z):
            return np.full(z.shape[:2], numpy.nan)

    with pytest.raises(ValueError, match="sample 0, datum 0 is nan"):
        explain(Broken(), model.prior, numpy.ones((1, 3)))
