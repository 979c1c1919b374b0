"""EM: monotone, stationary, tight. A monotone EM can still be wrong, so both ends of the claim are checked."""

import contextlib
import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import grad
from minilvm.data import load_old_faithful
from minilvm.inference import e_step, fit_em, free_energy
from minilvm.models import BernoulliMixture, MixtureOfGaussians
from tests.testing.helpers import assert_allclose, assert_array_equal, moved


@st.composite
def gaussian_problems(draw):
    """Data in clusters, and a mixture to start from."""
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    n_features, n_components = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    centres = 4.0 * rng.standard_normal((n_components, n_features))
    x = centres[rng.integers(0, n_components, 60)] + rng.standard_normal((60, n_features))
    return moved((MixtureOfGaussians.initialise(x, n_components, rng=rng), x))


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


def objective(parameters, kind, x, pseudocount):
    """log p(x | θ) + log prior in free coordinates: any θ is feasible, so at a maximum the gradient is zero."""
    if kind is BernoulliMixture:
        model = BernoulliMixture(np.softmax(parameters["logits"]), np.special.expit(parameters["probs"]), pseudocount)
        return np.logsumexp(model.component_log_joint(x), axis=1).sum() + model.log_parameter_prior()
    factor = parameters["factors"]
    covariances = np.matmul(factor, np.swapaxes(factor, 1, 2))
    model = MixtureOfGaussians(np.softmax(parameters["logits"]), parameters["means"], covariances)
    return np.logsumexp(model.component_log_joint(x), axis=1).sum()


def slope(model, x):
    """The gradient of the objective at the fitted parameters, largest component, per datum."""
    if isinstance(model, BernoulliMixture):
        point = {"logits": np.log(model.weights), "probs": np.log(model.probs / (1 - model.probs))}
        gradient = grad(objective)(point, BernoulliMixture, x, model.pseudocount)
    else:
        point = {
            "logits": np.log(model.weights),
            "means": model.means,
            "factors": np.linalg.cholesky(model.covariances),
        }
        gradient = grad(objective)(point, MixtureOfGaussians, x, None)
    return max(abs(part).max() for part in gradient.values()) / len(x)


def test_em_ends_where_the_gradient_of_the_likelihood_is_zero(xp):
    x = xp.asarray(load_old_faithful())
    start = MixtureOfGaussians.initialise(x, 2, rng=0)
    assert slope(start, x) > 1e-3
    assert slope(fit_em(start, x, tol=0.0).model, x) < 1e-6
    rng = numpy.random.default_rng(0)
    bits = xp.asarray(rng.random((200, 5)) < numpy.where(rng.random((200, 1)) < 0.4, 0.2, 0.7)).astype(float)
    fitted = fit_em(BernoulliMixture.initialise(bits, 2, rng=1), bits, tol=0.0, max_iter=5000).model
    assert slope(fitted, bits) < 1e-6


def test_an_m_step_that_forgets_the_weights_is_monotone_and_caught_by_stationarity(monkeypatch):
    x = load_old_faithful()
    right = MixtureOfGaussians.m_step

    def forgetful(self, statistics):
        model = right(self, statistics)
        return MixtureOfGaussians(self.weights, model.means, model.covariances)

    monkeypatch.setattr(MixtureOfGaussians, "m_step", forgetful)
    result = fit_em(MixtureOfGaussians.initialise(x, 2, rng=0), x)
    assert rises(result.lower_bounds)
    assert slope(result.model, x) > 1e-3


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
    log_prior = result.model.log_parameter_prior() if hasattr(result.model, "log_parameter_prior") else 0.0
    assert len(result.lower_bounds) == 4
    assert_allclose(result.model.log_marginal(x).sum() + log_prior, result.lower_bounds[-1], rtol=1e-12)


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
