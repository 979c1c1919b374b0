"""The score function and its baselines: each free of its own draw, and the faults that are not, caught."""

import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import grad, stop_gradient
from minilvm.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)
from minilvm.estimators import RunningMean, expectation
from minilvm.estimators.score_function import optimal
from minilvm.testing import assert_unbiased_gradient, gradient_moments
from minilvm.testing.strategies import arrays, reals
from tests.estimators.helpers import bits, one_problem, problems
from tests.testing.helpers import assert_allclose, assert_array_equal


@given(problems(max_latents=1), st.integers(2, 3))
def test_the_optimal_baseline_is_unbiased(problem, n_samples):
    draws = problem.every_draw(n_samples)
    estimate = problem.estimate(n_samples, draws, estimator="score_function", baseline="optimal")
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws)


@given(problems(), reals(1e6), st.integers(1, 3))
def test_whatever_was_known_before_the_draw_leaves_it_unbiased(xp, problem, b, n_samples):
    estimate = problem.estimate(n_samples, estimator="score_function", baseline=b)
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, n_samples, rtol=1e-9 * max(1.0, abs(b)))


# Faults ---------------------------------------------------------------------------------------------------------------


def with_baseline(q, r, n_samples, baseline):
    """The surrogate, with a baseline made of the costs of the draws themselves."""
    z = q.sample((n_samples,), rng=0)
    value, log_q = r(z), q.log_prob(z)
    cost = stop_gradient(value)
    return (value + (cost - baseline(cost)) * (log_q - stop_gradient(log_q))).mean(axis=0)


def own_sample(q, r, n_samples):
    return with_baseline(q, r, n_samples, lambda cost: cost.mean(axis=0))


def moving_average_with_the_current_cost(q, r, n_samples):
    past = RunningMean().update(1.0)
    return with_baseline(q, r, n_samples, lambda cost: past.update(cost.mean(axis=0)).mean)


def optimal_of_all_draws(q, r, n_samples):
    """Σ r s² / Σ s², its own draw included; for one bit ‖s‖² ∝ (z − p)²."""
    p = stop_gradient(np.exp(q.log_prob(np.ones_like(q.sample((n_samples,), rng=0)))))
    s2 = (q.sample((n_samples,), rng=0)[..., 0] - p) ** 2
    return with_baseline(q, r, n_samples, lambda cost: (cost * s2).sum(axis=0) / s2.sum(axis=0))


def no_score_term(q, r, n_samples):
    return r(q.sample((n_samples,), rng=0)).mean(axis=0)


def no_explicit_term(q, r, n_samples):
    return with_baseline(q, lambda z: stop_gradient(r(z)), n_samples, lambda cost: 0.0)


def of_itself(phi):
    """A cost whose own slope in φ has a mean that is not 0."""
    return lambda z: (1.0 + phi[0] ** 2) * z[..., 0] + 2.0


FAULTS = [own_sample, moving_average_with_the_current_cost, optimal_of_all_draws, no_score_term, no_explicit_term]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faults_are_caught(xp, fault):
    def exact(phi):
        return expectation(of_itself(phi), bits(phi), estimator="exact")

    logits = xp.asarray([0.3])
    with pytest.raises(AssertionError, match=r"E\[∇ estimate\] is .* in parameter\[0\].*: a ratio of"):
        assert_unbiased_gradient(lambda q, phi: fault(q, of_itself(phi), 2), exact, bits, logits, 2)


@pytest.mark.parametrize("n_samples", [2, 3, 4])
def test_its_own_sample_in_the_baseline_is_told_by_the_ratio(xp, n_samples):
    """E_q[∇ log q] = 0, so the gradient of an ELBO is all score term, and the fault scales the whole of it."""
    problem = one_problem(xp)
    with pytest.raises(AssertionError, match=f"a ratio of {(n_samples - 1) / n_samples:.6g}$"):
        assert_unbiased_gradient(
            lambda q, a: own_sample(q, problem.cost(a), n_samples), problem.exact, bits, problem.logits, n_samples
        )


def test_a_number_for_each_draw_is_refused():
    """It could only have been made of the draws."""
    q = Bernoulli(logits=numpy.zeros(3))
    for baseline in (numpy.zeros((2, 3)), numpy.zeros(2)):
        with pytest.raises(ValueError, match=r"expected one number for each law of q, \(3,\), or \(\)"):
            expectation(lambda z: z, q, 2, estimator="score_function", baseline=baseline, rng=0)


def test_a_baseline_that_is_no_number_is_refused(xp):
    """Subtracted, −∞ would leave NaN; it comes of averaging a cost that was infinite."""
    with pytest.raises(ValueError, match="baseline is infinite or NaN"):
        expectation(
            lambda z: z,
            Bernoulli(logits=xp.zeros(2)),
            2,
            estimator="score_function",
            baseline=xp.asarray([0.0, -np.inf]),
        )


@pytest.mark.parametrize("baseline", [RunningMean(), lambda z: z, [[0.0, 0.0], [0.0, 0.0]]], ids=type)
def test_a_baseline_that_is_no_array_is_refused(baseline):
    """A list would pass for a number, whatever its shape, one for each draw included."""
    with pytest.raises(TypeError, match=r"baseline is (RunningMean|function|list); expected .*RunningMean\(\)\.mean"):
        expectation(
            lambda z: z, Bernoulli(logits=numpy.zeros(2)), 2, estimator="score_function", baseline=baseline, rng=0
        )


def test_the_optimal_baseline_of_a_rare_draw_is_that_of_the_others_to_the_last_digit(xp):
    """Its squared score is 1e16 times theirs: of a sum, less its own, rounding would be left, which knows the draw."""
    q = Normal(xp.zeros(1), 1.0)
    z, cost = xp.asarray([[1e8], [1.0], [2.0]]), xp.asarray([[7.0], [3.0], [5.0]])
    assert_allclose(optimal(cost, q, z)[0], [(3.0 * 1.0 + 5.0 * 4.0) / 5.0], rtol=1e-14)


# Quieter --------------------------------------------------------------------------------------------------------------


def variance(problem, n_samples, **how):
    draws = problem.every_draw(n_samples)
    estimate = problem.estimate(n_samples, draws, estimator="score_function", **how)
    return sum(gradient_moments(estimate, bits, problem.logits, draws)[1])


def test_the_best_constant_is_e_r_s2_over_e_s2_and_no_other():
    """docs/notes.md, 5.2, over all draws: the explicit slope of the ELBO, −s, is a constant more for the baseline."""
    problem = one_problem()
    z = bits(problem.logits).enumerate_support()
    q, p = numpy.exp(bits(problem.logits).log_prob(z)), 1.0 / (1.0 + numpy.exp(-problem.logits))
    s2 = ((z - p) ** 2).sum(axis=1)
    best = (q * (problem.cost(problem.logits)(z) - 1.0) * s2).sum() / (q * s2).sum()
    least = variance(problem, 1, baseline=best)
    for off in (-0.1, 0.1):
        assert variance(problem, 1, baseline=best + off) > least
    assert least < 0.5 * variance(problem, 1)


def test_baselines_of_the_others_are_quieter_than_none():
    problem = one_problem()
    for baseline in ("leave_one_out", "optimal"):
        assert variance(problem, 3, baseline=baseline) < 0.5 * variance(problem, 3)


@given(arrays((4, 3), 2.0), arrays((2, 3), 2.0))
def test_the_optimal_baseline_weighs_the_others_by_their_squared_scores(xp, cost, logits):
    """Three data, two bits each; of a categorical law the score in the logits is the one-hot less the probabilities."""
    q = bits(logits.T)
    z = q.sample((4,), rng=0)
    s2 = ((z - q.mean) ** 2).sum(axis=-1)
    found = optimal(cost, q, z)
    for k in range(4):
        others = [j for j in range(4) if j != k]
        expected = (cost[others] * s2[others]).sum(axis=0) / s2[others].sum(axis=0)
        assert_allclose(found[k], expected, rtol=1e-7, atol=1e-9)

    labels = Categorical(logits=logits.T[:, :2])
    z = labels.sample((4,), rng=0)
    s2 = ((np.equal(z[..., None], np.arange(2)).astype(float) - labels.probs) ** 2).sum(axis=-1)
    others = (cost[1:] * s2[1:]).sum(axis=0) / s2[1:].sum(axis=0)
    assert_allclose(optimal(cost, labels, z)[0], others, rtol=1e-7, atol=1e-9)


def test_a_parameter_that_laws_share_has_no_say_in_their_baselines(xp):
    q = Independent(Normal(xp.asarray([[0.0, 1.0], [2.0, 3.0]]), xp.asarray([0.5, 2.0])), 1)
    z = q.sample((3,), rng=0)
    s2 = (((z - q.base.loc) / q.base.scale**2) ** 2).sum(axis=-1)
    cost = xp.asarray([[1.0, 2.0], [3.0, 5.0], [8.0, 13.0]])
    assert_allclose(optimal(cost, q, z)[0], (cost[1:] * s2[1:]).sum(axis=0) / s2[1:].sum(axis=0), rtol=1e-10)


def test_a_learned_baseline_takes_the_level_of_each_datum_away(xp):
    """Costs of level −50 and 70: the baseline, fitted to past values alone, learns both, and most of the noise goes."""
    level, logits = xp.asarray([-50.0, 70.0]), xp.zeros((2, 3))

    def bound(a, b, rng):
        return expectation(
            lambda z: z.sum(axis=-1) + level, bits(a), 1, estimator="score_function", baseline=b, rng=rng
        )

    def fit(b, seed):
        return ((stop_gradient(bound(logits, b, seed)) - b) ** 2).sum()

    def noise(b):
        slopes = [grad(lambda a: bound(a, b, seed).sum())(logits) for seed in range(50)]  # noqa: B023
        return float(np.stack(slopes).var(axis=0).sum())

    b = xp.zeros(2)
    for seed in range(200):
        b = b - 0.05 * grad(fit)(b, seed)
    assert_allclose(b, level + 1.5, atol=1.0)
    assert noise(b) < 1e-2 * noise(xp.zeros(2))
    assert_array_equal(grad(lambda b: bound(logits, b, 0).sum())(b), 0.0)  # the bound itself does not move it


def test_a_running_mean_is_of_the_past_and_is_not_changed(xp):
    past = RunningMean(decay=0.5)
    assert past.mean == 0.0
    later = past.update(xp.asarray([4.0, 0.0])).update(xp.asarray([1.0, 3.0]))
    assert past.mean == 0.0
    assert_allclose(later.mean, [(0.5 * 4.0 + 1.0) / 1.5, 3.0 / 1.5], rtol=1e-15)


def test_a_running_mean_keeps_nothing_of_a_trace():
    kept = []

    def loss(a):
        value = expectation(lambda z: z.sum(axis=-1), bits(a), 2, estimator="score_function", rng=0)
        kept.append(RunningMean().update(value))
        return value

    grad(loss)(numpy.zeros(2))
    assert isinstance(kept[0].mean, float)


# At every order, and at the edge --------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["none", "leave_one_out", 0.7])
def test_the_second_derivative_is_unbiased_too(xp, baseline):
    from minilvm.autograd import hessian
    from minilvm.testing import expected_estimate

    problem = one_problem(xp)
    estimate = problem.estimate(2, estimator="score_function", baseline=baseline)
    found = hessian(lambda a: expected_estimate(lambda q: estimate(q, a), bits(a), 2))(problem.logits)
    assert_allclose(found, hessian(problem.exact)(problem.logits), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("baseline", ["none", "leave_one_out", "optimal", 3.0])
def test_costs_of_minus_infinity_have_no_slope_and_raise_no_storm(xp, baseline):
    def mean(a, r):
        return expectation(r, bits(a), 4, estimator="score_function", baseline=baseline, rng=0)

    def nowhere(z):
        return np.full_like(z[..., 0], -np.inf)

    def somewhere(z):
        return np.where(z[..., 0] > 0, -np.inf, z[..., 1] - 50.0)  # 0 for −∞ would be better than −50

    a = xp.zeros(2)
    for r in (nowhere, somewhere):
        assert mean(a, r) == -np.inf
        assert_array_equal(grad(mean)(a, r), 0.0)


@pytest.mark.parametrize("n_laws", [1, 2, 3, 4])
def test_a_shared_parameter_whose_first_axis_is_as_long_as_the_batch_is_shared(xp, n_laws):
    """The baseline of a draw then knows nothing of the draws of other laws, and so nothing of its own."""
    q = MultivariateNormal(xp.zeros((n_laws, 3)), scale_tril=xp.eye(3))
    z, cost = q.sample((4,), rng=0), backend.default_rng(1).random((4, n_laws))
    each = MultivariateNormal(xp.zeros((n_laws, 3)), scale_tril=xp.eye(3) + xp.zeros((n_laws, 1, 1)))
    square = np.square(z).sum(axis=2)  # ‖∇_mean log q‖²: the shared factor is a parameter of no law of its own
    others = [[j for j in range(4) if j != k] for k in range(4)]
    expected = np.stack([(cost[o] * square[o]).sum(axis=0) / square[o].sum(axis=0) for o in others])
    assert_allclose(optimal(cost, q, z), expected, rtol=1e-12)
    assert float(np.abs(optimal(cost, each, z) - expected).max()) > 1e-6  # here it is one


def test_the_optimal_baseline_is_unbiased_with_shared_components():
    """Over all tuples: a mixture of C components for N = C = K laws, which share them."""
    shared = Bernoulli(probs=numpy.array([0.2, 0.5, 0.9]))
    logits = numpy.random.default_rng(0).standard_normal((3, 3))

    def law(logits):
        return MixtureSameFamily(Categorical(logits=logits), shared)

    tuples = numpy.array(list(itertools.product([0.0, 1.0], repeat=9))).reshape(-1, 3, 3)
    r = lambda z: 3.0 * z + z * numpy.array([0.3, -1.0, 2.0]) + 1.0  # noqa: E731
    total = numpy.zeros_like(logits)
    for z in tuples:
        b = optimal(r(z), law(logits), z)
        slope = grad(lambda a, z=z, b=b: ((r(z) - b) * law(a).log_prob(z)).mean(axis=0).sum())(logits)
        total += numpy.exp(law(logits).log_prob(z).sum()) * slope
    exact = grad(lambda a: sum(np.exp(law(a).log_prob(v)) * r(v) for v in (0.0, 1.0)).sum())(logits)
    assert_allclose(total, exact, atol=1e-12)
