import itertools
import math
import threading

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import check_grads, grad, jit
from minilvm.distributions import Bernoulli, Categorical, Independent, Normal, Uniform
from minilvm.estimators import (
    elbo,
    elbo_entropy_form,
    elbo_kl_form,
    iwae,
    log_weights,
    logmeanexp,
    logsumexp_of_others,
)
from minilvm.estimators.weights import normalised_weights
from minilvm.models import (
    BernoulliMixture,
    LinearGaussian,
    PerDatapointGuide,
    SigmoidBeliefNetwork,
    diagonal_normal,
)
from minilvm.testing import log_weight_arrays, sigmoid_belief_networks
from tests.testing.helpers import assert_allclose, assert_array_equal


@given(log_weight_arrays(limit=300.0))
def test_logmeanexp_is_the_log_of_the_mean(xp, log_w):
    top = log_w.max(axis=0)
    assert_allclose(logmeanexp(log_w), np.log(np.exp(log_w - top).mean(axis=0)) + top, rtol=1e-12, atol=1e-12)


@given(log_weight_arrays())
def test_logmeanexp_over_another_axis_is_that_of_the_transpose(xp, log_w):
    assert_allclose(logmeanexp(log_w, axis=1), logmeanexp(log_w.T), rtol=1e-12, atol=1e-12)


@given(log_weight_arrays(), st.data())
def test_what_others_sum_to_is_the_sum_without_one(xp, log_w, data):
    log_w = np.where(xp.asarray(data.draw(hnp.arrays(bool, log_w.shape))), -numpy.inf, log_w)
    nothing = xp.full((1, log_w.shape[1]), -numpy.inf)
    others = [np.concatenate([log_w[:k], nothing, log_w[k + 1 :]]) for k in range(len(log_w))]
    expected = np.stack([np.logsumexp(rows, axis=0) for rows in others])
    assert_allclose(logsumexp_of_others(log_w), expected, rtol=1e-13, atol=1e-13)


def test_the_sum_of_others_beside_a_giant_keeps_its_digits_where_a_difference_has_none(xp):
    log_w = xp.asarray([[50.0], [0.0], [1.0]])
    assert_allclose(logsumexp_of_others(log_w)[0], np.logsumexp(log_w[1:], axis=0), rtol=1e-15)
    assert np.exp(log_w).sum(axis=0) - np.exp(log_w[0]) == 0.0  # 1 + e is not there any more


@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_what_others_sum_to_takes_any_number_of_axes(xp, shape):
    log_w = backend.default_rng(0).standard_normal(shape)
    expected = logsumexp_of_others(log_w.reshape(4, -1)).reshape(shape)
    assert_array_equal(logsumexp_of_others(log_w), expected)


def test_derivatives_of_the_sum_of_others(xp):
    check_grads(logsumexp_of_others, [xp.asarray([[0.3, 5.0], [-0.2, -3.0], [1.0, 4.5]])])
    zeros = grad(lambda w: np.exp(logsumexp_of_others(w)).sum())(xp.full((3, 1), -numpy.inf))
    assert_array_equal(zeros, 0.0)


def test_logmeanexp_at_the_edges(xp):
    assert logmeanexp(xp.full((3, 1), -numpy.inf)) == -numpy.inf
    assert logmeanexp(xp.asarray([[1e4], [-numpy.inf]])) == 1e4 - numpy.log(2.0)
    assert_array_equal(grad(lambda w: logmeanexp(w).sum())(xp.full((3, 1), -numpy.inf)), 0.0)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_log_weights_are_log_joint_less_log_q_at_the_same_draws(xp, model, seed):
    rng = backend.default_rng(seed)
    x = (rng.random((3, len(model.bias))) < 0.5).astype(float)
    q = Independent(Bernoulli(logits=rng.standard_normal((3, len(model.prior_logits)))), 1)
    z = q.sample((4,), rng=seed)
    expected = model.log_joint(x, z) - q.log_prob(z)
    assert_allclose(log_weights(model, q, x, 4, rng=seed), expected, rtol=1e-12)


def model_and_data():
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    return model, (backend.default_rng(1).random((5, 4)) < 0.5).astype(float)


def test_one_law_serves_all_data_with_fresh_draws_for_each(xp):
    model, x = model_and_data()
    z = []

    class Listening:
        def log_joint(self, x, draws):
            z.append(draws)
            return model.log_joint(x, draws)

    assert log_weights(Listening(), model.prior, x, 20, rng=0).shape == (20, 5)
    assert z[0].shape == (20, 5, 3)
    assert (z[0][:, 0] != z[0][:, 1]).any()


def test_refusals(xp):
    model, x = model_and_data()
    for n_samples in (0, -1, 2.5, "3", None):
        with pytest.raises(ValueError, match=f"n_samples is {n_samples!r}; expected an integer of at least 1"):
            log_weights(model, model.prior, x, n_samples, rng=0)
    for nothing in (x[:0], x[0, 0]):
        with pytest.raises(ValueError, match=r"x has shape \(.*\); expected \(N, …\), at least one datum"):
            log_weights(model, model.prior, nothing, 2, rng=0)
    with pytest.raises(ValueError, match=r"batch shape \(3,\); expected \(5,\)"):
        log_weights(model, model.prior.expand((3,)), x, 2, rng=0)

    class Broken:
        def log_joint(self, x, z):
            table = model.log_joint(x, z)
            table[1, 2] = numpy.nan
            return table

    with pytest.raises(ValueError, match=r"sample 1, datum 2 is nan"):
        log_weights(Broken(), model.prior, x, 2, rng=0)

    class Infinite:
        def __init__(self, value):
            self.value = value

        def log_joint(self, x, z):
            return np.full(z.shape[:2], self.value)

    with pytest.raises(ValueError, match=r"sample 0, datum 0 is inf"):
        log_weights(Infinite(numpy.inf), model.prior, x, 2, rng=0)
    assert (log_weights(Infinite(-numpy.inf), model.prior, x, 2, rng=0) == -numpy.inf).all()  # an impossible z may be

    class Summed:
        def log_joint(self, x, z):
            return model.log_joint(x, z)[..., None]

    with pytest.raises(ValueError, match=r"shape \(2, 5, 1\); expected \(K, N\) = \(2, 5\)"):
        log_weights(Summed(), model.prior, x, 2, rng=0)


def test_a_gradient_through_discrete_draws_is_refused_not_wrong(xp):
    """Pyro and NumPyro return a gradient here that lacks the score term, without a word."""
    model, x = model_and_data()

    def bound(logits):
        return elbo(log_weights(model, Independent(Bernoulli(logits=logits), 1), x, 2, rng=0)).sum()

    with pytest.raises(TypeError, match='estimator="score_function"'):
        grad(bound)(xp.zeros((5, 3)))


# In tiles -------------------------------------------------------------------------------------------------------------


def linear_problem():
    model = LinearGaussian.random(2, 3, rng=0)
    x, _ = model.sample(4, rng=1)
    return model, x, diagonal_normal(backend.default_rng(2).standard_normal((4, 4)))


def in_tiles_of(n_rows, x, monkeypatch):
    monkeypatch.setattr("minilvm.estimators.weights._WIDEST", 1)
    monkeypatch.setattr("minilvm.estimators.weights._TILE", n_rows * x.size)
    monkeypatch.setattr("minilvm.threads.n_cores", lambda: 1)  # in order


@pytest.mark.parametrize("n_rows", [1, 3, 7])
def test_tiles_hold_the_draws_and_the_gradient_of_one_piece(xp, monkeypatch, n_rows):
    """Bit for bit the same draws; their densities to rounding, as a product of fewer rows may be summed otherwise."""
    model, x, q = linear_problem()

    def draws_and_weights():
        draws = []

        class Listening:
            def log_joint(self, x, z):
                draws.append(z)
                return model.log_joint(x, z)

        return log_weights(Listening(), q, x, 7, rng=0), np.concatenate(draws), len(draws)

    def bound(model, q):
        return logmeanexp(log_weights(model, q, x, 7, rng=0)).sum()

    (whole, z, _), slope = draws_and_weights(), grad(bound, (0, 1))(model, q)
    in_tiles_of(n_rows, x, monkeypatch)
    parts, z_of_parts, n_tiles = draws_and_weights()
    assert n_tiles == -(-7 // n_rows)
    assert_array_equal(z_of_parts, z)
    assert_allclose(parts, whole, rtol=1e-13)
    tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-11), grad(bound, (0, 1))(model, q), slope)


@pytest.mark.parametrize("n_workers", [2, 7])
def test_threads_give_the_bits_of_one(xp, monkeypatch, n_workers):
    model, x, q = linear_problem()
    monkeypatch.setattr("minilvm.estimators.weights._WIDEST", 1)
    monkeypatch.setattr("minilvm.estimators.weights._TILE", 3 * x.size)
    monkeypatch.setattr("minilvm.threads.n_cores", lambda: n_workers)
    slope = grad(lambda m: logmeanexp(log_weights(m, q, x, 50, rng=0)).sum())(model)
    threaded = log_weights(model, q, x, 50, rng=0)
    in_tiles_of(3, x, monkeypatch)
    assert_array_equal(threaded, log_weights(model, q, x, 50, rng=0))
    tree.map(assert_array_equal, slope, grad(lambda m: logmeanexp(log_weights(m, q, x, 50, rng=0)).sum())(model))


def test_what_is_traced_or_recorded_stays_in_its_thread(monkeypatch):
    model, x, q = linear_problem()
    seen = set()

    class Listening:
        def log_joint(self, x, z):
            seen.add(threading.get_ident())
            return model.log_joint(x, z)

    def bound(q, rng):
        return logmeanexp(log_weights(Listening(), q, x, 50, rng=rng)).sum()

    in_tiles_of(3, x, monkeypatch)
    grad(bound)(q, 0)
    jit(grad(bound))(q, backend.default_rng(0))
    assert seen == {threading.get_ident()}
    bound(q, 0)
    assert len(seen) == 2


def test_a_bad_weight_in_a_later_tile_is_named_by_its_own_number(xp, monkeypatch):
    model, x, q = linear_problem()
    calls = itertools.count(1)

    class Broken:
        def log_joint(self, x, z):
            return model.log_joint(x, z) + (numpy.nan if next(calls) == 3 else 0.0)

    in_tiles_of(2, x, monkeypatch)
    with pytest.raises(ValueError, match="sample 4, datum 0 is nan"):
        log_weights(Broken(), q, x, 7, rng=0)


def test_a_wide_network_of_narrow_data_is_held_in_small_tiles(monkeypatch):
    monkeypatch.setattr("minilvm.estimators.weights._TILE", 10 * 512)
    monkeypatch.setattr("minilvm.threads.n_cores", lambda: 1)
    sizes = []

    class Listening:
        def log_joint(self, x, z):
            sizes.append(len(z))
            return np.zeros(z.shape[:2])

    log_weights(Listening(), Independent(Bernoulli(logits=numpy.zeros((1, 2))), 1), numpy.zeros((1, 2)), 25, rng=0)
    assert sizes == [10, 10, 5]


# Support --------------------------------------------------------------------------------------------------------------


def test_a_guide_that_misses_what_the_model_can_do_is_refused(xp):
    network, x = model_and_data()
    certain = Independent(Bernoulli(probs=xp.asarray([0.5, 1.0, 0.5])), 1)
    mixture = BernoulliMixture(xp.asarray([0.998, 0.001, 0.001]), xp.full((3, 4), 0.5))
    one_sided = Categorical(probs=xp.asarray([0.5, 0.5, 0.0]))
    for model, q in [(network, certain), (mixture, one_sided)]:
        with pytest.raises(ValueError, match=r"q of datum 0 never draws z = .*, where p\(x, z\) > 0"):
            log_weights(model, q, x, 20, rng=0)
    with pytest.raises(ValueError, match=r"never draws z = 2"):
        log_weights(mixture, one_sided, x, 1, rng=0)  # a label that the prior draws once in a thousand


def test_the_datum_whose_guide_misses_something_is_the_one_that_is_named(xp):
    class Flat:
        prior = Uniform(xp.asarray(0.0), 1.0)

        def log_joint(self, x, z):
            return self.prior.log_prob(z) + np.zeros(len(x))

    q = Uniform(xp.asarray([-1.0, 0.9]), xp.asarray([2.0, 2.0]))
    with pytest.raises(ValueError, match="q of datum 1 never draws z = 0"):
        log_weights(Flat(), q, xp.zeros((2, 1)), 20, rng=0)


def test_labels_that_a_guide_lists_and_never_draws_are_seen_beside_those_that_it_does_not_list():
    class Three:
        prior = Categorical(probs=numpy.array([0.5, 0.5, 0.0]))

        def log_joint(self, x, z):
            return self.prior.log_prob(z) + numpy.zeros(len(x))

    with pytest.raises(ValueError, match="q of datum 0 never draws z = 0"):
        log_weights(Three(), Categorical(probs=numpy.array([0.0, 1.0])), numpy.zeros((1, 1)), 1, rng=0)


def test_a_guide_on_another_set_than_the_prior_is_refused():
    """Bits for a latent that is any number: no draw of q says that p(x, z) has a density elsewhere."""
    model, x, _ = linear_problem()
    with pytest.raises(ValueError, match="q of datum 0 never draws"):
        log_weights(model, Independent(Bernoulli(probs=numpy.full(2, 0.5)), 1), x, 3, rng=0)


def test_a_guide_may_miss_what_cannot_have_made_the_data(xp):
    model = BernoulliMixture(xp.full(2, 0.5), xp.asarray([[0.0, 0.5], [0.5, 0.5]]), 0.0)
    x = xp.asarray([[1.0, 1.0]])
    q = Categorical(probs=xp.asarray([[0.0, 1.0]]))
    assert_allclose(log_weights(model, q, x, 5, rng=0), np.tile(model.log_marginal(x), (5, 1)), rtol=1e-12)


def test_a_guide_for_latents_of_another_shape_is_refused(xp):
    model, x = model_and_data()
    with pytest.raises(ValueError, match=r"draws of shape \(2,\); expected \(3,\)"):
        log_weights(model, Independent(Bernoulli(logits=xp.zeros(2)), 1), x, 2, rng=0)


@given(log_weight_arrays(limit=30.0))
def test_normalised_weights_sum_to_one_and_are_the_slope_of_logmeanexp_to_second_order(xp, log_w):
    share = normalised_weights(log_w)
    assert_allclose(share, np.softmax(log_w, axis=0), rtol=1e-12, atol=1e-18)
    assert_allclose(share.sum(axis=0), xp.ones(log_w.shape[1]), rtol=1e-14)
    check_grads(logmeanexp, [0.1 * log_w])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_sum_would_not_show_is_zero_and_so_are_all_if_all_are_impossible(xp, dtype):
    eps = numpy.finfo(dtype).eps
    log_w = xp.asarray([[0.0, -numpy.inf], [numpy.log(1e-2 * eps), -numpy.inf], [numpy.log(1e-4 * eps), -numpy.inf]])
    share = normalised_weights(log_w.astype(dtype))
    assert share.dtype == dtype
    assert_allclose(share[:, 0], xp.asarray([1.0, 1e-2 * eps, 0.0]), rtol=1e-4)
    assert_array_equal(share[:, 1], 0.0)
    for datum in (0, 1):
        slope = grad(lambda log_w, datum=datum: logmeanexp(log_w)[datum])(log_w.astype(dtype))
        assert_array_equal(slope[2:], 0.0)
        assert_array_equal(slope[:, 1], 0.0)


def test_what_is_left_out_of_many_is_little_too(xp):
    """A million weights of a thousandth of a rounding are a ten-thousandth: each is kept."""
    log_w = np.full((10**6, 1), math.log(5e-4 * numpy.finfo("float32").eps), dtype="float32")
    log_w = np.concatenate([log_w[:1] * 0.0, log_w])
    share = normalised_weights(log_w)
    assert float(share[1:].sum()) == pytest.approx(1e6 * 5e-4 * numpy.finfo("float32").eps, rel=1e-3)


def test_a_joint_that_z_does_not_reach_is_refused(xp):
    """Its gradient would be 0 along the path of z, and no sign of it."""
    model, x, _ = linear_problem()

    class Thresholded:
        prior = model.prior

        def log_joint(self, x, z):
            return np.where(np.greater(z[..., 0], 0.0), -1.0, -2.0) + np.zeros_like(x[:, 0])

        def likelihood(self, z):
            return Normal(np.zeros(z.shape[0]), 1.0)

    def of(objective):
        return grad(
            lambda mean: objective(Thresholded(), diagonal_normal(np.concatenate([mean, mean], axis=1)), x).sum()
        )

    for objective in (
        lambda model, q, x: iwae(log_weights(model, q, x, 3, rng=0)),
        lambda model, q, x: elbo_entropy_form(model, q, x, 3, rng=0),
    ):
        with pytest.raises(TypeError, match=r"log p\(x, z\) is not differentiable in z"):
            of(objective)(xp.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"has shape \(4, 3\); expected \(K, N\) = \(3, 4\)"):
        elbo_kl_form(Thresholded(), diagonal_normal(xp.zeros((4, 4))), x, 3, rng=0)


def test_a_guide_is_to_be_called_first(xp):
    model, x, _ = linear_problem()
    guide = PerDatapointGuide(xp.zeros((4, 4)))
    with pytest.raises(
        TypeError, match=r"q is PerDatapointGuide, which is no law of z, but gives one: pass guide\(x\)"
    ):
        log_weights(model, guide, x, 2, rng=0)
    assert log_weights(model, guide(x), x, 2, rng=0).shape == (2, 4)


def test_a_list_is_no_array():
    model, x, q = linear_problem()
    with pytest.raises(TypeError, match=r"x is list; expected an array of shape \(N, …\): numpy.asarray"):
        log_weights(model, q, x.tolist(), 2, rng=0)
