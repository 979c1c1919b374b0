import numpy
from hypothesis import given
from hypothesis import strategies as st

from minilvm.autograd import check_grads
from minilvm.estimators import exact_log_marginal
from minilvm.models import SigmoidBeliefNetwork
from minilvm.testing import sigmoid_belief_networks


def bits(model, seed, n=4):
    return (numpy.random.default_rng(seed).random((n, len(model.bias))) < 0.5).astype(float)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_the_shared_table_is_the_enumeration_of_the_joint(model, seed):
    """`log_marginal` shares z W + b between the data; `exact_log_marginal` knows nothing but log p(x, z)."""
    x = bits(model, seed)
    numpy.testing.assert_allclose(model.log_marginal(x), exact_log_marginal(model, x), rtol=1e-12)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_the_posterior_is_bayes_rule(model, seed):
    x = bits(model, seed)
    z = model.prior.enumerate_support()
    rows = numpy.arange(len(z))[:, None]
    found = model.posterior(x).log_prob(rows + numpy.zeros(len(x), dtype=int)) + model.log_marginal(x)
    numpy.testing.assert_allclose(found, model.log_joint(x, z[:, None]), rtol=1e-10, atol=1e-10)


def test_derivatives_of_the_log_marginal():
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    x = bits(model, 0)
    check_grads(lambda m: m.log_marginal(x), [model])
