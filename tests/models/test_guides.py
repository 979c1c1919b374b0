import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import grad
from minilvm.models import AmortizedGuide, PerDatapointGuide, diagonal_normal, factorised_bernoulli
from minilvm.nn import MLP
from tests.testing.helpers import assert_allclose, assert_array_equal


@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 5))
def test_rows_of_a_diagonal_normal_are_means_and_log_deviations(xp, seed, n_latents, n):
    rows = backend.default_rng(seed).standard_normal((n, 2 * n_latents))
    q = diagonal_normal(rows)
    assert (q.batch_shape, q.event_shape) == ((n,), (n_latents,))
    assert_array_equal(q.mean, rows[:, :n_latents])
    assert_allclose(q.stddev, np.exp(rows[:, n_latents:]))


def test_a_table_and_the_network_that_writes_it_are_the_same_guide(xp):
    x = backend.default_rng(0).standard_normal((5, 3))
    network = MLP.create([3, 4, 4], rng=0)
    z = diagonal_normal(network(x)).sample((2,), rng=0)
    amortised, tabled = AmortizedGuide(network), PerDatapointGuide(network(x))
    assert_array_equal(amortised(x).log_prob(z), tabled(x).log_prob(z))
    index = xp.asarray([3, 1])
    assert_array_equal(tabled(x[index], index).log_prob(z[:, index]), tabled(x).log_prob(z)[:, index])


def test_only_the_rows_asked_for_receive_gradient(xp):
    guide = PerDatapointGuide(xp.zeros((4, 2)), factorised_bernoulli)
    x, index = xp.zeros((2, 1)), xp.asarray([2, 0])
    gradient = grad(lambda g: g(x, index).log_prob(xp.ones((2, 2))).sum())(guide)
    assert_allclose(gradient.table, [[0.5, 0.5], [0.0, 0.0], [0.5, 0.5], [0.0, 0.0]])
    assert gradient.law is factorised_bernoulli


def test_an_odd_number_of_columns_is_no_diagonal_normal():
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected \(N, 2L\)"):
        diagonal_normal(numpy.zeros((2, 3)))
