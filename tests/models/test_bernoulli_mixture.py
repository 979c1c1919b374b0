import itertools

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minilvm.inference import fit_em
from minilvm.models import BernoulliMixture


def models(seed, n_components, n_features):
    rng = numpy.random.default_rng(seed)
    weights, probs = rng.dirichlet(numpy.ones(n_components)), rng.uniform(0.05, 0.95, (n_components, n_features))
    return BernoulliMixture(weights, probs)


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5))
def test_log_marginal_is_the_mixture_of_products_and_sums_to_one(seed, n_components, n_features):
    model = models(seed, n_components, n_features)
    x = numpy.array(list(itertools.product([0.0, 1.0], repeat=n_features)))
    pmf = scipy.stats.bernoulli(model.probs[:, None]).pmf(x).prod(axis=2)
    numpy.testing.assert_allclose(numpy.exp(model.log_marginal(x)), model.weights @ pmf, rtol=1e-10)
    numpy.testing.assert_allclose(numpy.exp(model.log_marginal(x)).sum(), 1.0, rtol=1e-10)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_log_joint_is_prior_and_likelihood(seed, n_components):
    model = models(seed, n_components, 3)
    rng = numpy.random.default_rng(seed)
    x, z = (rng.random((4, 3)) < 0.5).astype(float), rng.integers(0, n_components, (2, 4))
    expected = model.prior.log_prob(z) + model.likelihood(z).log_prob(x)
    numpy.testing.assert_allclose(model.log_joint(x, z), expected, rtol=1e-10)


def test_one_component_without_pseudocount_fits_the_average():
    x = numpy.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    model = BernoulliMixture.initialise(x, 1, rng=0, pseudocount=0.0)
    fitted = model.m_step(model.statistics(x, numpy.ones((3, 1))))
    numpy.testing.assert_allclose(fitted.probs, [[2 / 3, 2 / 3]])


@given(st.integers(0, 2**32))
def test_maximum_likelihood_may_end_at_certainty_and_never_in_nan(seed):
    """Without a pseudocount a pixel that is always lit gets probability 1: then 0 · log 0 must be 0."""
    rng = numpy.random.default_rng(seed)
    x = (rng.random((12, 4)) < 0.5).astype(float)
    x[:, 0] = 1.0
    result = fit_em(BernoulliMixture.initialise(x, 2, rng=rng, pseudocount=0.0), x, max_iter=50)
    assert result.model.probs[:, 0].tolist() == [1.0, 1.0]
    assert numpy.isfinite(result.lower_bounds).all()
    assert result.model.log_marginal(numpy.zeros((1, 4))) == -numpy.inf


def test_a_component_without_data_is_refused_where_nothing_says_what_it_should_be():
    x = numpy.array([[1.0, 0.0], [0.0, 1.0]])
    model = BernoulliMixture.initialise(x, 2, rng=0, pseudocount=0.0)
    nobodys = model.statistics(x, numpy.array([[1.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="component 1"):
        model.m_step(nobodys)
