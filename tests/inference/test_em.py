"""EM: monotone, stationary, tight. A monotone EM can still be wrong, so both ends of the claim are checked."""

import contextlib
import dataclasses
import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import grad
from minilvm.data import load_old_faithful
from minilvm.inference import e_step, fit_em, free_energy
from minilvm.inference.em import STEPS
from minilvm.inference.steps import Step
from minilvm.models import BernoulliMixture, ConjugatePrior, MixtureOfGaussians
from tests.models.gaussians import TYPES
from tests.testing.helpers import assert_allclose, assert_array_equal, moved


@st.composite
def gaussian_problems(draw):
    """Data in clusters, and a mixture to start from, of any type, with or without a prior."""
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    n_features, n_components = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    centres = 4.0 * rng.standard_normal((n_components, n_features))
    x = backend.asarray(centres[rng.integers(0, n_components, 60)] + rng.standard_normal((60, n_features)))
    covariance_type = draw(st.sampled_from(TYPES))
    prior = None
    if draw(st.booleans()):
        prior = ConjugatePrior.fraley_raftery(x, n_components, covariance_type)
        prior = dataclasses.replace(prior, mean_precision=draw(st.sampled_from([0.0, 0.01, 3.0])), concentration=1.5)
    start = MixtureOfGaussians.initialise(
        x, n_components, rng=0, covariance_type=covariance_type, parameter_prior=prior
    )
    return start, x


@st.composite
def bernoulli_problems(draw):
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    x = (rng.random((40, 6)) < rng.random((1, 6))).astype(float)
    n_components, pseudocount = draw(st.integers(1, 4)), draw(st.floats(0.1, 2.0))
    return moved((BernoulliMixture.initialise(x, n_components, rng=rng, pseudocount=pseudocount), x))


problems = st.one_of(gaussian_problems(), bernoulli_problems())


def rises(bounds):
    return all(low <= high + 1e-9 * (1 + abs(high)) for low, high in itertools.pairwise(bounds))


@given(problems)
def test_em_is_monotone(xp, problem):
    bounds = []
    with contextlib.suppress(ValueError):  # on a handful of points a component may collapse: until then, then
        fit_em(*problem, max_iter=20, tol=-1.0, callback=lambda _, __, bound: bounds.append(bound))
    assert bounds
    assert rises(bounds)


def expected_log_joint(model, x, q):
    """What an M-step maximises, up to a constant: F(q, θ) and the log prior; both scale weights to sum to 1."""
    return free_energy(model, x, q).sum() + log_prior(model)


def log_prior(model):
    return model.log_parameter_prior() if hasattr(model, "log_parameter_prior") else 0.0


def slope(model, x, objective):
    """The largest derivative, per datum, in units in which the weights, means and covariances are all about 1."""
    gradient = grad(objective)(model)
    return max(
        float(abs(g * abs(p).max()).max()) for g, p in zip(tree.leaves(gradient), tree.leaves(model), strict=True)
    ) / len(x)


def slope_of_log_p(model, x):
    return slope(model, x, lambda model: model.log_marginal(x).sum() + log_prior(model))


@given(problems, st.integers(0, 2**32))
def test_an_m_step_leaves_nothing_to_gain_whatever_the_responsibilities(xp, problem, seed):
    model, x = problem
    rng = numpy.random.default_rng(seed)
    q = xp.asarray(rng.dirichlet(numpy.ones(len(model.weights)), len(x)))
    fitted = model.m_step(model.statistics(x, q))
    assert slope(fitted, x, lambda model: expected_log_joint(model, x, q)) < 1e-6
    best = expected_log_joint(fitted, x, q)
    for size in (1e-3, 0.1):
        change = tree.map(lambda p: p * xp.asarray(rng.uniform(-1.0, 1.0, p.shape)), fitted)
        other = tree.map(lambda p, d, size=size: p + size * d, fitted, change)
        if isinstance(other, MixtureOfGaussians) and other.covariances.ndim > 1:
            other = dataclasses.replace(other, covariances=symmetric(other))
        if other.is_valid():
            assert expected_log_joint(other, x, q) <= best + 1e-9 * abs(best)


def symmetric(model):
    """The covariances, matrices made symmetric."""
    S = model.covariances
    return 0.5 * (S + np.swapaxes(S, -1, -2)) if model.covariance_type in {"full", "tied"} else S


@pytest.mark.parametrize("covariance_type", TYPES)
def test_em_ends_where_the_gradient_of_the_likelihood_is_zero(xp, covariance_type):
    x = xp.asarray(load_old_faithful())
    start = MixtureOfGaussians.initialise(x, 2, rng=0, covariance_type=covariance_type)
    assert slope_of_log_p(start, x) > 1e-3
    assert slope_of_log_p(fit_em(start, x, tol=0.0).model, x) < 1e-6


def test_em_of_bits_ends_where_the_gradient_is_zero(xp):
    rng = numpy.random.default_rng(0)
    bits = xp.asarray(rng.random((200, 5)) < numpy.where(rng.random((200, 1)) < 0.4, 0.2, 0.7)).astype(float)
    fitted = fit_em(BernoulliMixture.initialise(bits, 2, rng=1), bits, tol=0.0, max_iter=5000).model
    assert slope_of_log_p(fitted, bits) < 1e-6


def test_an_m_step_that_forgets_the_weights_is_monotone_and_caught_by_stationarity(monkeypatch):
    x = load_old_faithful()
    right = MixtureOfGaussians.m_step

    def forgetful(self, statistics):
        model = right(self, statistics)
        return dataclasses.replace(model, weights=self.weights)

    monkeypatch.setattr(MixtureOfGaussians, "m_step", forgetful)
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x)
    assert rises(result.lower_bounds)
    assert slope_of_log_p(result.model, x) > 1e-3


def test_an_m_step_that_overshoots_is_caught_by_monotonicity(monkeypatch):
    x = load_old_faithful()
    right = MixtureOfGaussians.m_step

    def overshooting(self, statistics):
        model = right(self, statistics)
        return MixtureOfGaussians(model.weights, self.means + 2.5 * (model.means - self.means), model.covariances)

    monkeypatch.setattr(MixtureOfGaussians, "m_step", overshooting)
    bounds = []
    with contextlib.suppress(ValueError):  # in the end it collapses
        fit_em(
            MixtureOfGaussians.initialise(x, 2, rng=0), x, callback=lambda _, __, bound: bounds.append(bound), tol=0.0
        )
    assert len(bounds) > 2
    assert not rises(bounds)


def test_old_faithful_to_all_published_digits(xp):
    x = xp.asarray(load_old_faithful())
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x)
    model, order = result.model, np.argsort(result.model.means[:, 0])
    assert result.converged
    assert round(result.lower_bounds[-1], 4) == -1130.2640
    assert_array_equal(model.means[order].round(3), [[2.036, 54.479], [4.290, 79.968]])
    assert_array_equal(model.weights[order].round(4), [0.3559, 0.6441])


@given(problems)
def test_the_bound_does_not_lag_the_parameters(xp, problem):
    model, x = problem
    result = fit_em(model, x, max_iter=3, tol=-1.0)
    assert len(result.lower_bounds) == 4
    assert_allclose(result.model.log_marginal(x).sum() + log_prior(result.model), result.lower_bounds[-1], rtol=1e-12)


@given(problems, st.integers(0, 2**32))
def test_free_energy_is_below_log_p_by_the_kl_and_meets_it_after_an_e_step(xp, problem, seed):
    model, x = problem
    responsibilities, log_marginal = e_step(model, x)
    assert_allclose(free_energy(model, x, responsibilities), log_marginal, rtol=1e-9, atol=1e-9)
    q = xp.asarray(numpy.random.default_rng(seed).dirichlet(numpy.ones(len(model.weights)), len(x)))
    log_posterior = model.component_log_joint(x) - log_marginal[:, None]
    kl = (q * (np.log(q) - log_posterior)).sum(axis=1)
    gap = log_marginal - free_energy(model, x, q)
    assert_allclose(gap, kl, rtol=1e-7, atol=1e-8)
    assert (gap >= -1e-9 * (1 + abs(log_marginal))).all()


@given(problems)
def test_statistics_add_over_parts_of_the_data(xp, problem):
    model, x = problem
    responsibilities, _ = e_step(model, x)
    whole = model.m_step(model.statistics(x, responsibilities))
    parts = model.statistics(x[:17], responsibilities[:17]) + model.statistics(x[17:], responsibilities[17:])
    for a, b in zip(tree.leaves(whole), tree.leaves(model.m_step(parts)), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_tight_cluster_far_from_the_origin_keeps_its_variance(xp):
    """E[x²] − μ² would lose it: here it is 1e-8 beside a mean square of 1e6."""
    rng = numpy.random.default_rng(0)
    x = xp.asarray(numpy.repeat([[1000.0], [1001.0]], 500, axis=0) + 1e-4 * rng.standard_normal((1000, 1)))
    model = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x).model
    order = np.argsort(model.means[:, 0])
    assert_allclose(model.covariances[order, 0, 0], np.stack([x[:500].var(), x[500:].var()]), rtol=1e-6)


def test_callback_sees_every_step():
    x = load_old_faithful()
    seen = []
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x, callback=lambda *args: seen.append(args))
    assert [step for step, _, _ in seen] == list(range(len(result.lower_bounds)))
    assert [bound for _, _, bound in seen] == result.lower_bounds
    assert seen[-1][1] is result.model


def nan_in(x):
    x = x.copy()
    x[3, 1] = numpy.nan
    return x


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (nan_in, ValueError, r"x\[3, 1\] is nan; expected finite"),
        (lambda x: x[:, 0], ValueError, r"shape \(272,\); expected \(N, D\)"),
        (lambda x: x[:, :1], ValueError, r"expected \(N, 2\) to match the model"),
        (lambda x: x[:0], ValueError, "at least one point"),
        (lambda x: x.tolist(), TypeError, "numpy.asarray"),
        (lambda x: x.astype(str), ValueError, "expected real numbers"),
        (lambda x: x + 1j, ValueError, "expected real numbers"),
        (lambda x: x.astype("float16"), ValueError, "float16; expected real numbers, of single or double precision"),
    ],
)
def test_bad_data_are_refused_at_the_door(data, error, message):
    x = load_old_faithful()
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    with pytest.raises(error, match=message):
        fit_em(start, data(x))


def test_integers_are_fitted_as_the_numbers_they_are(xp):
    """Eight-bit colours: a difference of two, in eight bits, would wrap."""
    rng = numpy.random.default_rng(0)
    colours = numpy.concatenate([rng.integers(20, 90, (50, 3)), rng.integers(150, 250, (50, 3))])
    same = [xp.asarray(colours.astype(dtype)) for dtype in ("uint8", "float64")]
    fits = [fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x) for x in same]
    assert_allclose(fits[0].lower_bounds, fits[1].lower_bounds, rtol=1e-12)


def test_bad_starts_are_refused():
    x = load_old_faithful()
    with pytest.raises(ValueError, match="expected 1 to 3"):
        MixtureOfGaussians.initialise(x[:3], 4, rng=0)
    with pytest.raises(ValueError, match="expected 1 to 272"):
        MixtureOfGaussians.initialise(x, 0, rng=0)
    with pytest.raises(ValueError, match="linearly dependent"):
        MixtureOfGaussians.initialise(numpy.stack([x[:, 0], 3.0 * x[:, 0] + 1.0], axis=1), 2, rng=0)
    with pytest.raises(ValueError, match="max_iter is -1"):
        fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x, max_iter=-1)
    with pytest.raises(ValueError, match=r"x\[:, 1\] is constant"):
        MixtureOfGaussians.initialise(numpy.stack([x[:, 0], numpy.ones(272)], axis=1), 2, rng=0)


def test_a_collapsing_component_ends_in_a_clear_error_not_in_nan(xp):
    x = xp.asarray(load_old_faithful())
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    means = start.means.copy()
    means[1] = 1e6
    with pytest.raises(ValueError, match="component 1 has collapsed"):
        fit_em(MixtureOfGaussians(start.weights, means, start.covariances), x)
    duplicates = np.repeat(x[:3], 20, axis=0)
    with pytest.raises(ValueError, match="has collapsed"):
        fit_em(MixtureOfGaussians.initialise(duplicates, 2, rng=0), duplicates)


def test_convergence_is_judged_per_datum_and_running_out_of_steps_is_none():
    x = load_old_faithful()
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    once, ten_times = (fit_em(start, data, tol=1e-4) for data in (x, numpy.concatenate([x] * 10)))
    assert (once.converged, len(once.lower_bounds)) == (True, len(ten_times.lower_bounds))
    rises = numpy.diff(once.lower_bounds)
    assert rises[-1] < 1e-4 * len(x) <= rises[-2]
    assert not fit_em(start, x, max_iter=3).converged


def test_data_are_checked_before_any_model_sees_them():
    class Unsuspecting:
        def component_log_joint(self, x):
            raise AssertionError("reached")

    with pytest.raises(ValueError, match=r"x\[0, 0\] is nan"):
        fit_em(Unsuspecting(), numpy.array([[numpy.nan]]))


def test_a_datum_that_no_component_can_make_is_refused_by_name_and_not_fitted_as_nan(xp):
    x = xp.asarray([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    never = BernoulliMixture(xp.full(2, 0.5), xp.asarray([[0.0, 0.5], [0.0, 0.9]]), 0.0)
    far = MixtureOfGaussians(xp.ones(1), xp.full((1, 2), 1e200), xp.eye(2)[None])
    for model in (never, far):
        with pytest.raises(ValueError, match=r"x\[[01]\] has probability 0"), numpy.errstate(all="ignore"):
            fit_em(model, x)


def test_free_energy_forgives_a_component_that_cannot_have_made_a_datum_and_is_not_held_to_have(xp):
    """0 · log 0 = 0 on both sides of log p(x, z) − log q; but q > 0 where p = 0 is infinitely wrong."""
    model = BernoulliMixture(xp.full(2, 0.5), xp.asarray([[0.0, 1.0], [0.5, 0.5]]), 0.0)
    x = xp.asarray([[1.0, 1.0], [0.0, 1.0]])
    q, log_marginal = e_step(model, x)
    assert_array_equal(q[0], [0.0, 1.0])
    assert_allclose(free_energy(model, x, q), log_marginal, rtol=1e-12)
    assert free_energy(model, x, xp.full((2, 2), 0.5))[0] == -numpy.inf


def test_a_bound_that_falls_is_no_sign_of_convergence(monkeypatch):
    x = load_old_faithful()
    right = MixtureOfGaussians.m_step

    def ruinous(self, statistics):
        model = right(self, statistics)
        return MixtureOfGaussians(model.weights, model.means + 3.0, model.covariances)

    monkeypatch.setattr(MixtureOfGaussians, "m_step", ruinous)
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x, max_iter=1)
    assert result.lower_bounds[1] < result.lower_bounds[0]
    assert not result.converged


def test_a_leap_that_gains_little_is_no_sign_of_convergence_either(monkeypatch):
    def steps(model, sum_over):
        found = sum_over(model)
        for bound, by_em in [(0.0, True), (10.0, True), (10.0, False), (20.0, True), (20.0, True), (30.0, True)]:
            yield Step(model, found, bound, by_em)

    monkeypatch.setitem(STEPS, None, steps)
    x = load_old_faithful()
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x)
    assert result.lower_bounds == [0.0, 10.0, 10.0, 20.0, 20.0]
    assert result.converged
