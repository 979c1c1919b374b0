import itertools

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm.inference import fit_em
from minilvm.models import BernoulliMixture
from minilvm.models.bernoulli_mixture import BernoulliStatistics
from tests.testing.helpers import assert_allclose, host, moved


def models(seed, n_components, n_features):
    rng = numpy.random.default_rng(seed)
    weights, probs = rng.dirichlet(numpy.ones(n_components)), rng.uniform(0.05, 0.95, (n_components, n_features))
    return moved(BernoulliMixture(weights, probs))


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5))
def test_log_marginal_is_the_mixture_of_products_and_sums_to_one(xp, seed, n_components, n_features):
    model = models(seed, n_components, n_features)
    x = xp.asarray(list(itertools.product([0.0, 1.0], repeat=n_features)))
    pmf = scipy.stats.bernoulli(host(model.probs)[:, None]).pmf(host(x)).prod(axis=2)
    assert_allclose(np.exp(model.log_marginal(x)), host(model.weights) @ pmf, rtol=1e-10)
    assert_allclose(np.exp(model.log_marginal(x)).sum(), 1.0, rtol=1e-10)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_log_joint_is_prior_and_likelihood(xp, seed, n_components):
    model = models(seed, n_components, 3)
    rng = numpy.random.default_rng(seed)
    x, z = moved(((rng.random((4, 3)) < 0.5).astype(float), rng.integers(0, n_components, (2, 4))))
    expected = model.prior.log_prob(z) + model.likelihood(z).log_prob(x)
    assert_allclose(model.log_joint(x, z), expected, rtol=1e-10)


def test_one_component_without_pseudocount_fits_the_average(xp):
    x = xp.asarray([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    model = BernoulliMixture.initialise(x, 1, rng=0, pseudocount=0.0)
    fitted = model.m_step(model.statistics(x, xp.ones((3, 1))))
    assert_allclose(fitted.probs, [[2 / 3, 2 / 3]])


@given(st.integers(0, 2**32))
def test_maximum_likelihood_may_end_at_certainty_and_never_in_nan(xp, seed):
    """Without a pseudocount a pixel that is always lit gets probability 1: then 0 · log 0 must be 0."""
    rng = numpy.random.default_rng(seed)
    x = (rng.random((12, 4)) < 0.5).astype(float)
    x[:, 0] = 1.0
    x = xp.asarray(x)
    result = fit_em(BernoulliMixture.initialise(x, 2, rng=seed, pseudocount=0.0), x, max_iter=50)
    assert result.model.probs[:, 0].tolist() == [1.0, 1.0]
    assert numpy.isfinite(result.lower_bounds).all()
    assert result.model.log_marginal(xp.zeros((1, 4))) == -numpy.inf


def test_grey_levels_are_refused_with_the_way_out():
    x = numpy.array([[1.0, 0.0], [0.0, 0.3]])
    with pytest.raises(ValueError, match=r"x\[1, 1\] is 0.3; expected 0 or 1.*binarize"):
        BernoulliMixture.initialise(x, 1, rng=0)
    with pytest.raises(ValueError, match="expected 0 or 1"):
        models(0, 2, 2).log_marginal(x)


def test_a_component_without_data_is_refused_where_nothing_says_what_it_should_be(xp):
    x = xp.asarray([[1.0, 0.0], [0.0, 1.0]])
    model = BernoulliMixture.initialise(x, 2, rng=0, pseudocount=0.0)
    nobodys = model.statistics(x, xp.asarray([[1.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="component 1"):
        model.m_step(nobodys)


def test_a_start_gives_every_component_a_datum_of_its_own_and_an_equal_share(xp):
    x = xp.eye(4)
    start = BernoulliMixture.initialise(x, 3, rng=0)
    assert_allclose(start.weights, 1 / 3)
    nearest = start.probs.argmax(axis=1)
    assert len(set(nearest.tolist())) == 3
    assert_allclose(start.probs, 0.25 + 0.25 / 4 + 0.25 * x[nearest])


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_certain_pixels_are_certain_either_way(xp, seed, n_components):
    """x_d = 0 where p_d = 1, and x_d = 1 where p_d = 0, are impossible; the other two cost nothing."""
    rng = numpy.random.default_rng(seed)
    probs = rng.choice([0.0, 1.0, 0.3], (n_components, 3))
    weights = rng.dirichlet(numpy.ones(n_components))
    x = numpy.array(list(itertools.product([0.0, 1.0], repeat=3)))
    p = numpy.where(x[:, None, :] == 1.0, probs, 1.0 - probs).prod(axis=2) @ weights
    model = moved(BernoulliMixture(weights, probs, 0.0))
    assert_allclose(np.exp(model.log_marginal(xp.asarray(x))), p, rtol=1e-12)


def test_probabilities_that_rounding_puts_past_their_range_are_put_back(xp):
    counts, sums = xp.asarray([3.0]), xp.asarray([[numpy.nextafter(3.0, 4.0), 3.0, 1.0]])
    for pseudocount in (0.0, 1e-30):
        start = BernoulliMixture(xp.ones(1), xp.full((1, 3), 0.5), pseudocount)
        fitted = start.m_step(BernoulliStatistics(counts, sums))
        assert (fitted.probs <= 1.0).all()
        assert np.isfinite(fitted.log_parameter_prior())
        assert np.isfinite(fitted.log_marginal(xp.ones((1, 3))))


@pytest.mark.parametrize("pseudocount", [-1.0, numpy.nan, numpy.inf])
def test_a_pseudocount_that_counts_nothing_is_refused(pseudocount):
    with pytest.raises(ValueError, match=f"pseudocount is {pseudocount}; expected"):
        BernoulliMixture.initialise(numpy.eye(2), 1, rng=0, pseudocount=pseudocount)
