"""Bounds, by the ladder: exact expectations over all tuples of draws, and order in every single draw."""

import itertools

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, stop_gradient
from minilvm.distributions import Bernoulli, Categorical, Exponential, Independent
from minilvm.estimators import (
    CONTRACTS,
    cubo,
    elbo,
    elbo_entropy_form,
    elbo_kl_form,
    eubo,
    expectation,
    iwae,
    jackknife,
    log_weights,
    renyi,
    tvo,
    tvo_upper,
)
from minilvm.estimators.weights import weigh
from minilvm.models import VAE, SigmoidBeliefNetwork, diagonal_normal
from minilvm.nn import MLP, Linear
from minilvm.testing import (
    AllTuples,
    assert_lower_bound,
    assert_per_draw_order,
    assert_unbiased,
    expected_bound,
    gaussian_mixtures,
    log_tables,
    log_weight_arrays,
    sigmoid_belief_networks,
)
from tests.statistics import FALSE_ALARM_RATE
from tests.testing.helpers import assert_allclose, assert_array_equal, moved

K = st.integers(1, 4)


@given(log_tables(), K)
@pytest.mark.parametrize("bound", [elbo, iwae])
def test_lower_bounds_lie_below_log_p_in_expectation(xp, bound, tables, n_samples):
    assert_lower_bound(bound, *tables, n_samples)


def self_normalised(log_w):
    """The IWAE "loss" Σ w̃ log w: right gradient, wrong number. It estimates an upper quantity."""
    return (np.softmax(log_w, axis=0) * log_w).sum(axis=0)


def wrong_sign(log_w):
    return -elbo(log_w)


def sum_for_mean(log_w):
    return np.logsumexp(log_w, axis=0)


def largest(log_w):
    return log_w.max(axis=0)


@pytest.mark.parametrize("fault", [self_normalised, wrong_sign, sum_for_mean, largest])
def test_bounds_that_are_not_are_caught(xp, fault):
    log_joint, log_q = moved(numpy.log([[0.02, 0.001, 0.3], [0.2, 0.5, 0.3]]))
    with pytest.raises(AssertionError, match="is above log p"):
        assert_lower_bound(fault, log_joint, log_q, 5)


def softmax_of_losses(log_w):
    return (stop_gradient(np.softmax(-log_w, axis=0)) * log_w).sum(axis=0)


def softmax_over_the_data(log_w):
    return (stop_gradient(np.softmax(log_w, axis=1)) * log_w).sum(axis=0)


@given(log_weight_arrays(max_samples=5))
def test_the_slope_of_iwae_is_the_weights_normalised_over_the_samples(xp, log_w):
    slope = grad(lambda log_w: iwae(log_w).sum())(log_w)
    assert_allclose(slope, np.softmax(log_w, axis=0), rtol=1e-12, atol=1e-18)  # what no sum would show is 0


@pytest.mark.parametrize("fault", [softmax_of_losses, softmax_over_the_data])
def test_other_slopes_are_seen(fault):
    log_w = numpy.array([[0.0, 1.0], [2.0, -1.0]])
    slope = grad(lambda log_w: fault(log_w).sum())(log_w)
    assert abs(slope - numpy.exp(log_w - iwae(log_w)) / 2.0).max() > 0.1


@given(log_tables(max_states=3))
def test_iwae_rises_with_k_from_the_elbo_towards_log_p(xp, tables):
    log_joint, log_q = tables
    slack = 1e-10 * (1 + abs(log_joint).max() + abs(log_q).max())
    rungs = [expected_bound(iwae, log_joint, log_q, k) for k in (1, 2, 3, 4, 5)]
    assert abs(rungs[0] - expected_bound(elbo, log_joint, log_q, 3)) <= slack
    assert all(low <= high + slack for low, high in itertools.pairwise(rungs))
    assert rungs[-1] <= np.logsumexp(log_joint) + slack


@given(log_tables(), K)
def test_the_exponential_of_iwae_is_unbiased_for_p(xp, tables, n_samples):
    """So it is no other number between the ELBO and log p(x), which all the laws above would let pass."""
    assert_unbiased(iwae, *tables, n_samples, rtol=1e-9)


@given(log_tables(), K)
def test_both_are_tight_at_the_posterior_in_every_draw(xp, tables, n_samples):
    log_joint, _ = tables
    posterior = log_joint - np.logsumexp(log_joint)
    for bound in (elbo, iwae):
        gap = np.logsumexp(log_joint) - expected_bound(bound, log_joint, posterior, n_samples)
        assert abs(gap) <= 1e-10 * (1 + abs(log_joint).max())


@given(log_tables())
def test_the_gap_of_the_elbo_is_the_kl_to_the_posterior_and_of_the_eubo_the_kl_back(xp, tables):
    log_joint, log_q = tables
    log_p = np.logsumexp(log_joint)
    log_posterior = log_joint - log_p
    slack = 1e-10 * (1 + abs(log_joint).max() + abs(log_q).max())
    kl = (np.exp(log_q) * (log_q - log_posterior)).sum()
    assert abs(log_p - expected_bound(elbo, log_joint, log_q, 1) - kl) <= slack
    upper = (np.exp(log_posterior) * eubo((log_joint - log_q)[None])).sum()
    kl_back = (np.exp(log_posterior) * (log_posterior - log_q)).sum()
    assert abs(upper - log_p - kl_back) <= slack
    assert upper >= log_p - slack


@given(log_weight_arrays())
def test_order_in_every_draw(xp, log_w):
    assert_per_draw_order(log_w)


def test_order_catches_weights_averaged_over_the_data(xp, monkeypatch):
    monkeypatch.setattr("minilvm.testing.laws.iwae", lambda log_w: np.logsumexp(log_w, axis=1)[:1] - np.log(2.0))
    with pytest.raises(AssertionError, match="is above"):
        assert_per_draw_order(xp.asarray([[0.0, 5.0], [-1.0, -3.0]]))


@given(gaussian_mixtures(), st.integers(0, 2**32))
def test_elbo_and_iwae_of_a_mixture_at_its_posterior_are_log_p(xp, model, seed):
    rng = backend.default_rng(seed)
    x = 3.0 * rng.standard_normal((4, model.means.shape[1]))
    log_w = log_weights(model, model.posterior(x), x, 3, rng=rng)
    assert_allclose(elbo(log_w), model.log_marginal(x), rtol=1e-9, atol=1e-9)
    assert_allclose(iwae(log_w), model.log_marginal(x), rtol=1e-9, atol=1e-9)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_a_bound_on_a_network_with_its_own_prior_for_a_guide(xp, model, seed):
    x = (backend.default_rng(seed).random((1, len(model.bias))) < 0.5).astype(float)
    z = model.prior.enumerate_support()
    log_joint, log_q = model.log_joint(x, z[:, None])[:, 0], model.prior.log_prob(z)
    assert_lower_bound(iwae, log_joint, log_q, 2)


def small_vae():
    rng = backend.default_rng(0)
    return VAE(MLP.create([2, 5, 4], rng=rng), 2), (rng.random((3, 4)) < 0.5).astype(float)


def test_the_three_forms_of_the_elbo_agree_in_expectation(xp):
    """N7, N8 and N15 are three averages with one mean: by their standard errors, at the suite's false-alarm rate."""
    model, x = small_vae()
    rows = backend.default_rng(1).standard_normal((3, 4))
    q = diagonal_normal(rows)
    n = 40_000
    log_w = log_weights(model, q, x, n, rng=2)
    forms = [elbo(log_w), elbo_entropy_form(model, q, x, n, rng=3), elbo_kl_form(model, q, x, n, rng=4)]
    z = q.sample((n,), rng=5)
    pieces = [log_w, model.log_joint(x, z), model.likelihood(z).log_prob(x)]
    n_comparisons = 3 * len(x)
    furthest = scipy.stats.norm.isf(FALSE_ALARM_RATE / n_comparisons / 2.0)
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        error = np.sqrt((pieces[i].var(axis=0) + pieces[j].var(axis=0)) / n)
        assert (abs(forms[i] - forms[j]) < furthest * error).all()


@pytest.mark.parametrize("form", [elbo_entropy_form, elbo_kl_form])
def test_forms_take_bits_too_and_refuse_to_differentiate_through_them(xp, form):
    """Over all draws the forms are the ELBO; the slope that autograd alone would give lacks the term r ∇ log q."""
    model, x = SigmoidBeliefNetwork.random(2, 3, rng=0), xp.asarray([[1.0, 0.0, 1.0]])
    law = Independent(Bernoulli(logits=xp.asarray([0.3, -0.5])), 1)
    every, exact = (
        AllTuples(law, 1),
        expectation(lambda z: weigh(model, law, x, z[:, None])[:, 0], law, estimator="exact"),
    )

    class EveryDraw(Independent):
        def sample(self, sample_shape, *, rng):
            return every.sample(sample_shape, rng=rng)

    q = EveryDraw(law.base.expand((4, 2)), 1)
    assert_allclose((every.probability * form(model, q, xp.ones((4, 1)) * x, 1, rng=0)).sum(), exact, rtol=1e-12)
    with pytest.raises(TypeError, match=r"draws are not differentiable.*score_function"):
        grad(lambda a: form(model, Independent(Bernoulli(logits=a), 1), x, 2, rng=0).sum())(xp.zeros(2))


@pytest.mark.parametrize("form", [elbo_entropy_form, elbo_kl_form])
def test_forms_refuse_a_guide_that_misses_what_the_model_can_do_or_is_of_another_shape(form):
    model, x = small_vae()
    with pytest.raises(ValueError, match="q of datum 0 never draws z = "):
        form(model, Independent(Exponential(numpy.ones(2)), 1), x, rng=0)
    with pytest.raises(ValueError, match=r"q has draws of shape \(\); expected \(2,\)"):
        form(model, Categorical(probs=numpy.ones(3) / 3), x, rng=0)


def flat_vae():
    return VAE(MLP((Linear(np.zeros((2, 4)), np.zeros(4)),)), 2)  # a decoder that ignores z


def test_the_kl_form_has_no_variance_where_the_decoder_ignores_z(xp):
    model, (_, x) = flat_vae(), small_vae()
    values = elbo_kl_form(model, model.prior, x, 3, rng=0)
    assert_allclose(values, 4 * numpy.log(0.5), rtol=1e-14)


def test_what_is_in_closed_form_is_differentiated(xp):
    """Where the decoder ignores z, all the slope is that of −KL, or that of the entropy and of E[log p(z)], drawn."""
    model, (_, x) = flat_vae(), small_vae()
    rows = backend.default_rng(0).standard_normal((3, 4))
    mean, deviation = rows[:, :2], np.exp(rows[:, 2:])

    def slope(form):
        return grad(lambda rows: form(model, diagonal_normal(rows), x, 5, rng=0).sum())(rows)

    in_kl = np.concatenate([-mean, 1.0 - deviation**2], axis=1)
    z = diagonal_normal(rows).sample((5,), rng=0)
    in_entropy = np.concatenate([-z.mean(axis=0), 1.0 - (z * (z - mean)).mean(axis=0)], axis=1)
    assert_allclose(slope(elbo_kl_form), in_kl, rtol=1e-10)
    assert_allclose(slope(elbo_entropy_form), in_entropy, rtol=1e-10)


# Power means and paths ------------------------------------------------------------------------------------------------

ALPHAS = [0.0, 0.3, 0.999, 1.0, 1.5, 4.0]
paths = st.lists(st.floats(0.01, 0.99), max_size=4, unique=True).map(lambda inner: [0.0, *sorted(inner), 1.0])


@st.composite
def weights_with_zeros(draw):
    """Log weights out to ±700, some of them −inf."""
    log_w = draw(log_weight_arrays(limit=700.0))
    return np.where(backend.asarray(draw(hnp.arrays(bool, log_w.shape))), -numpy.inf, log_w)


@given(log_tables(), K, st.sampled_from(ALPHAS))
def test_renyi_and_tvo_lie_below_log_p_in_expectation(xp, tables, n_samples, alpha):
    assert_lower_bound(lambda log_w: renyi(log_w, alpha), *tables, n_samples)
    assert_lower_bound(tvo, *tables, n_samples)


@given(log_weight_arrays())
def test_renyi_has_iwae_and_the_elbo_for_members(xp, log_w):
    assert_allclose(renyi(log_w, 0.0), iwae(log_w), rtol=0)
    assert_allclose(renyi(log_w, 1.0), elbo(log_w), rtol=0)


@given(log_weight_arrays(limit=20.0), st.sampled_from([-1e-6, 1e-6]))
def test_renyi_leaves_the_elbo_by_half_the_variance(xp, log_w, step):
    expected = elbo(log_w) - 0.5 * step * log_w.var(axis=0)
    assert_allclose(renyi(log_w, 1.0 + step), expected, rtol=0, atol=1e-7)


@given(log_tables(max_states=3), st.sampled_from([0.0, 0.4, 1.7, 3.0]))
def test_renyi_moves_with_k_from_the_elbo_towards_its_own_bound(xp, tables, alpha):
    log_joint, log_q = tables
    slack = 1e-10 * (1 + abs(log_joint).max() + abs(log_q).max())
    limit = np.logsumexp((1 - alpha) * (log_joint - log_q) + log_q) / (1 - alpha)
    rungs = [expected_bound(lambda log_w: renyi(log_w, alpha), log_joint, log_q, k) for k in (1, 2, 3, 4)]
    rungs = [expected_bound(elbo, log_joint, log_q, 1), *rungs, limit]
    sign = 1 if alpha < 1 else -1
    assert all(sign * (high - low) >= -slack for low, high in itertools.pairwise(rungs))


def rising(bounds, log_w):
    """Whether bounds never fall from one to the next, to rounding; −inf equals itself."""
    finite = log_w[log_w > -numpy.inf]
    slack = 1e-12 * max(1.0, float(abs(finite).max())) if finite.size else 0.0
    return all(bool(((low <= high + slack) | (low == high)).all()) for low, high in itertools.pairwise(bounds))


@given(weights_with_zeros())
def test_power_means_rise_with_their_power_in_every_draw(xp, log_w):
    ladder = [log_w.min(axis=0), *(renyi(log_w, alpha) for alpha in reversed(ALPHAS))]
    ladder += [*(cubo(log_w, n) for n in (1.0, 1.5, 2.0, 7.0)), log_w.max(axis=0)]
    assert rising(ladder, log_w)


OF_WEIGHTS = {
    "iwae": [iwae],
    "elbo": [elbo],
    "renyi": [lambda log_w, alpha=alpha: renyi(log_w, alpha) for alpha in (0.0, 0.5, 0.999, 1.0, 2.0)],
    "tvo": [tvo],
    "tvo_upper": [tvo_upper, lambda log_w: tvo_upper(log_w, [0.0, 1.0])],
    "jackknife": [jackknife],
    "cubo": [cubo],
    "eubo": [eubo],
}


def sides(log_joint, log_q, bounds, n_samples, *, at_the_posterior):
    """E[bound] − log p(x), of tuples from q, or of draws from the posterior: exactly."""
    log_p = np.logsumexp(log_joint)
    if at_the_posterior:
        return [float((np.exp(log_joint - log_p) * (log_joint - log_q)).sum() - log_p)]
    return [float(expected_bound(bound, log_joint, log_q, n_samples) - log_p) for bound in bounds]


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_the_table_says_on_which_side_of_log_p_each_lies(xp, name):
    """One that is declared neither is seen on both sides; the others on theirs, for every table of states tried."""
    direction, seen = CONTRACTS[name].direction, []
    rng = backend.default_rng(0)
    for n_samples, spread in 3 * list(itertools.product([2, 3, 6], [0.3, 3.0])):
        log_joint, logits = spread * rng.standard_normal(4), spread * rng.standard_normal(4)
        log_q = logits - np.logsumexp(logits)
        seen += sides(log_joint, log_q, OF_WEIGHTS[name], n_samples, at_the_posterior=name == "eubo")
    assert {"lower": max(seen) < 1e-12, "upper": min(seen) > -1e-12, "neither": min(seen) < -0.01 < 0.01 < max(seen)}[
        direction
    ]
    assert {name for name, contract in CONTRACTS.items() if contract.estimates.startswith("log p(x), from")} == {
        *OF_WEIGHTS
    } - {"iwae"}


@pytest.mark.parametrize("power", [1e-13, 1e-10, 1e-7, 1e-4, 9.9e-3])
def test_next_to_the_elbo_no_digit_is_lost_to_the_power(xp, power):
    """M_s = mean + s Var / 2 + O(s²), from either side; log (1/K) Σ wˢ, divided by s, has 1e-16 / s left of it."""
    log_w = 40.0 * backend.default_rng(0).standard_normal((20, 3))
    for s in (power, -power):
        expected = elbo(log_w) + 0.5 * s * log_w.var(axis=0)
        tolerance = 1e-13 + 40.0**3 * s**2 / abs(elbo(log_w))
        assert bool((abs(renyi(log_w, 1.0 - s) - expected) < tolerance * abs(expected)).all())
    check_grads(lambda log_w: renyi(log_w, 1.0 - 5e-3), [0.02 * log_w])


@given(weights_with_zeros(), paths)
def test_the_path_lies_left_and_right_of_iwae_in_every_draw(xp, log_w, betas):
    ends = [tvo(log_w, betas), iwae(log_w), tvo_upper(log_w, betas)]
    assert rising([elbo(log_w), *ends, log_w.max(axis=0)], log_w)
    assert_allclose(tvo(log_w, [0.0, 1.0]), elbo(log_w), rtol=1e-15)


@given(log_weight_arrays(limit=700.0), paths)
def test_a_finer_path_is_tighter_on_both_sides_and_one_interval_ends_at_the_self_normalised_mean(xp, log_w, betas):
    finer = sorted({*betas, 0.25, 0.5, 0.75})
    assert rising([tvo(log_w, betas), tvo(log_w, finer), tvo_upper(log_w, finer), tvo_upper(log_w, betas)], log_w)
    assert_allclose(tvo_upper(log_w, [0.0, 1.0]), self_normalised(log_w), rtol=1e-12)


@given(log_tables(), paths)
def test_the_path_itself_has_a_lower_and_an_upper_sum(xp, tables, betas):
    """Under a uniform q all states once, equally often, are its expectation: then E_β is exact, and so is log p(x)."""
    log_joint, _ = tables
    log_w = (log_joint + numpy.log(len(log_joint)))[:, None]
    assert rising([tvo(log_w, betas), np.logsumexp(log_joint)[None], tvo_upper(log_w, betas)], log_w)


@given(log_tables(), K, st.sampled_from([1.0, 2.0, 3.5]))
def test_cubo_is_an_upper_bound_of_which_only_the_exponential_is_unbiased(xp, tables, n_samples, n):
    log_joint, log_q = tables
    exact = np.logsumexp(n * (log_joint - log_q) + log_q)
    assert exact / n >= np.logsumexp(log_joint) - 1e-10 * (1 + abs(log_joint).max())
    found = expected_bound(lambda log_w: np.exp(n * cubo(log_w, n) - exact), log_joint, log_q, n_samples)
    assert_allclose(found, 1.0, rtol=1e-9)


def test_neither_is_what_it_says(xp):
    """The estimates that are no bounds are seen on both sides of log p(x), in expectation and to many digits."""
    log_joint, log_q = moved(numpy.log([[0.02, 0.3], [0.5, 0.5]]))
    log_p = np.logsumexp(log_joint)

    def excess(bound, n_samples):
        return float(expected_bound(bound, log_joint, log_q, n_samples) - log_p)

    for bound in (cubo, tvo_upper):
        assert excess(bound, 1) == pytest.approx(excess(elbo, 1), abs=1e-12) == pytest.approx(-0.725, abs=1e-3)
    assert excess(cubo, 12) > 0.2
    assert excess(tvo_upper, 12) > 0.02
    assert excess(jackknife, 3) > 0.08
    log_joint, log_q = moved(numpy.log([[1.0, 0.01], [0.1, 0.9]]))
    assert expected_bound(jackknife, log_joint, log_q, 3) < np.logsumexp(log_joint) - 2.0


def test_the_jackknife_takes_the_first_term_of_the_bias_away():
    """The bias of IWAE is halved by twice the samples; the jackknife's is quartered."""
    tables = numpy.log([0.2, 0.3]), numpy.log([0.5, 0.5])
    errors = {b: [expected_bound(b, *tables, k) - numpy.log(0.5) for k in (8, 16)] for b in (iwae, jackknife)}
    assert errors[iwae][1] / errors[iwae][0] == pytest.approx(1 / 2, abs=0.01)
    assert errors[jackknife][1] / errors[jackknife][0] == pytest.approx(1 / 4, abs=0.01)
    assert abs(errors[jackknife][0]) < 0.01 * abs(errors[iwae][0])


@given(log_weight_arrays(max_samples=5, limit=20.0))
def test_the_jackknife_is_its_definition(xp, log_w):
    n_samples = len(log_w)
    if n_samples == 1:
        with pytest.raises(ValueError, match="at least two samples"):
            jackknife(log_w)
        return
    without = [iwae(np.concatenate([log_w[:k], log_w[k + 1 :]])) for k in range(n_samples)]
    expected = n_samples * iwae(log_w) - (n_samples - 1) * np.stack(without).mean(axis=0)
    assert_allclose(jackknife(log_w), expected, rtol=1e-10, atol=1e-9)


OTHERS = [
    *(pytest.param(lambda log_w, a=a: renyi(log_w, a), id=f"renyi-{a}") for a in (0.0, 0.5, 2.0)),
    cubo,
    tvo,
    tvo_upper,
    jackknife,
]


@pytest.mark.parametrize("bound", [elbo, eubo, iwae, *OTHERS])
def test_weights_that_are_all_zero_give_minus_infinity_and_no_slope_and_no_warning(xp, bound):
    log_w = xp.asarray([[-numpy.inf, 0.3], [-numpy.inf, -1.0], [-numpy.inf, 0.1]])
    values = bound(log_w)
    assert values[0] == -numpy.inf
    assert np.isfinite(values[1])
    slope = grad(lambda log_w: np.where(np.isfinite(values), bound(log_w), 0.0).sum())(log_w)
    everything = grad(lambda log_w: bound(log_w).sum())(log_w)
    assert_allclose(everything[:, 1], slope[:, 1], rtol=0)
    assert (everything[:, 0] == 0.0).all()
    assert_allclose(everything[:, 1].sum(), 1.0, rtol=1e-12)  # all of them shift as their weights do


@pytest.mark.parametrize("bound", [elbo, eubo])
def test_a_weight_that_is_zero_has_no_slope_in_a_mean(xp, bound):
    log_w = xp.asarray([[-numpy.inf, 0.3], [0.2, -1.0]])
    assert_array_equal(grad(lambda log_w: bound(log_w).sum())(log_w), np.array([[0.0, 0.5], [0.5, 0.5]]))


@pytest.mark.parametrize("bound", [elbo, eubo, iwae, *OTHERS])
def test_single_precision_stays_single(xp, bound):
    log_w = xp.asarray([[0.3, 5.0], [-0.2, -3.0], [1.0, 4.5]], dtype=numpy.float32)
    assert bound(log_w).dtype == grad(lambda log_w: bound(log_w).sum())(log_w).dtype == numpy.float32


@pytest.mark.parametrize("bound", [elbo, *OTHERS])
def test_derivatives(xp, bound):
    check_grads(bound, [xp.asarray([[0.3, 5.0], [-0.2, -3.0], [1.0, 4.5]])])


def test_bounds_refuse_what_would_make_them_something_else():
    log_w = numpy.zeros((3, 2))
    for alpha in (-0.5, numpy.nan, numpy.inf):
        with pytest.raises(ValueError, match=f"alpha is {alpha}; expected a finite number of at least 0"):
            renyi(log_w, alpha)
    for n in (0.5, numpy.nan, numpy.inf):
        with pytest.raises(ValueError, match=f"n is {n}; expected a finite number of at least 1"):
            cubo(log_w, n)
    for betas in ([], [0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.2, 1.0], [0.0, numpy.nan, 1.0]):
        with pytest.raises(ValueError, match="rise from 0 to 1"):
            tvo(log_w, betas)


@pytest.mark.parametrize("bound", [elbo, eubo, iwae, *OTHERS])
def test_the_mean_of_no_samples_is_refused(bound):
    with pytest.raises(ValueError, match=r"log_w has shape \(0, 3\); expected"):
        bound(numpy.zeros((0, 3)))
