"""Relaxed bits: two estimators biased as declared; REBAR and RELAX unbiased, whatever their control variate."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import grad, stop_gradient, value_and_grad
from minilvm.distributions import Bernoulli, Independent, OneHotCategorical
from minilvm.estimators import GumbelSoftmax, Rebar, Relax, expectation
from minilvm.estimators.relaxed import _given
from minilvm.testing import Quadrature, assert_unbiased_gradient, gradient_moments, uniform_rule
from minilvm.testing.strategies import reals
from tests.estimators.helpers import bits, one_problem, problems
from tests.statistics import assert_drawn_from
from tests.testing.helpers import assert_allclose, assert_array_equal

SMOOTH = uniform_rule(16)


@given(problems(max_latents=2), st.sampled_from([1.0, 0.5]), reals(2.0))
def test_rebar_is_unbiased_at_every_temperature_and_weight(problem, temperature, eta):
    draws = problem.every_draw(1, SMOOTH)
    estimate = problem.estimate(1, draws, estimator=Rebar(temperature, eta))
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws, rtol=1e-4)


def test_rebar_is_unbiased_to_rounding_where_the_rule_is_fine_enough():
    problem = one_problem()
    draws = problem.every_draw(1, uniform_rule(40))
    estimate = problem.estimate(1, draws, estimator=Rebar(1.0, 0.7))
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws, rtol=1e-10)


@given(problems(max_latents=1), reals(3.0), reals(3.0))
def test_relax_is_unbiased_for_any_surrogate(problem, slope, shift):
    draws = problem.every_draw(1, uniform_rule(60))
    how = Relax(lambda x: slope * np.special.expit(x[..., 0]) ** 2 + shift * np.tanh(x[..., 0]))
    estimate = problem.estimate(1, draws, estimator=how)
    assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws)


def test_relax_asks_nothing_of_the_cost():
    """Here it is a comparison, without a slope."""
    logits = numpy.array([0.4])
    draws = Quadrature([uniform_rule(1, cuts=1.0 / (1.0 + numpy.exp(-logits))), uniform_rule(40)])

    def r(z):
        return (z[..., 0] > 0.5).astype(float) * 3.0

    assert_unbiased_gradient(
        lambda q, a: expectation(r, q, estimator=Relax(lambda x: np.tanh(x[..., 0])), rng=draws),
        lambda a: expectation(r, bits(a), estimator="exact"),
        bits,
        logits,
        draws,
    )


# Labels ---------------------------------------------------------------------------------------------------------------

LOGITS = numpy.array([0.3, -0.8, 0.5])


def label_cost(phi):
    """A cost of one-hot vectors that is no sum of their elements once they are relaxed, and has a slope of its own."""
    return lambda z: np.cos(z @ np.array([1.0, 2.0, 5.0]) + phi[0] * z[..., 1]) + 0.3 * phi[2] ** 2 * z[..., 0]


def every_label(n):
    """Rules for a label and the three exponential numbers behind it, −log u, with nodes u that crowd at both ends."""
    t, w = uniform_rule(n)
    exponential = -numpy.log(t**3 * (10.0 - 15.0 * t + 6.0 * t**2)), 30.0 * w * (t * (1.0 - t)) ** 2
    p = numpy.exp(LOGITS) / numpy.exp(LOGITS).sum()
    return Quadrature([uniform_rule(1, cuts=p.cumsum()[:2]), *[exponential] * 3])


@pytest.mark.parametrize(
    "how",
    [Rebar(1.0, 0.8), Relax(lambda x: np.softmax(x)[..., 0] + np.tanh(x[..., 1] - x[..., 2]))],
    ids=["rebar", "relax"],
)
def test_of_labels_too_it_is_unbiased(how):
    draws = every_label(16)
    assert_unbiased_gradient(
        lambda q, phi: expectation(label_cost(phi), q, estimator=how, rng=draws),
        lambda phi: expectation(label_cost(phi), OneHotCategorical(logits=phi), estimator="exact"),
        lambda phi: OneHotCategorical(logits=phi),
        LOGITS,
        draws,
        rtol=1e-6,
    )


@pytest.mark.parametrize("how", ["straight_through", GumbelSoftmax(1.0)], ids=["straight through", "gumbel-softmax"])
def test_of_labels_too_the_biased_are_seen_to_be(how):
    draws = every_label(12)
    with pytest.raises(AssertionError, match="a ratio of"):
        assert_unbiased_gradient(
            lambda q, phi: expectation(label_cost(phi), q, estimator=how, rng=draws),
            lambda phi: expectation(label_cost(phi), OneHotCategorical(logits=phi), estimator="exact"),
            lambda phi: OneHotCategorical(logits=phi),
            LOGITS,
            draws,
            rtol=1e-2,
        )


def test_several_labels_are_moved_each_by_itself(xp):
    """Two labels of three in an event: the slope has the shape of the logits, and the mean that enumeration gives."""
    logits = xp.asarray(numpy.stack([LOGITS, -LOGITS]))

    def mean(a, n_samples=1, estimator="exact"):
        q = Independent(OneHotCategorical(logits=a), 1)
        return expectation(
            lambda z: z[..., 0, 0] * z[..., 1, 2] + z[..., 0, 1] ** 2, q, n_samples, estimator=estimator, rng=0
        )

    found, exact = grad(mean)(logits, 20_000, "rebar"), grad(mean)(logits)
    assert abs(found - exact).max() < 0.02
    assert found.shape == (2, 3)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_numbers_behind_a_label_agree_with_it_and_are_gumbels(label):
    n, rng = 200_000, numpy.random.default_rng(0)
    q = OneHotCategorical(logits=numpy.broadcast_to(LOGITS, (n, 3)))
    b = q.sample(rng=rng)
    x, log_pi = _given(q, b, rng), LOGITS - numpy.log(numpy.exp(LOGITS).sum())
    assert (x.argmax(axis=1) == b.argmax(axis=1)).all()
    assert_drawn_from(x[:, label], lambda x: numpy.exp(-numpy.exp(log_pi[label] - x)))


# Faults ---------------------------------------------------------------------------------------------------------------


def only_what_is_subtracted(q, r, c, draws):
    """(r − c) ∇ log q without + ∇c(x) − ∇c(x̃): a control variate whose mean is not put back."""
    b = q.sample((1,), rng=draws)
    cost, log_q, control = r(b), q.log_prob(b), c(_given(q, b, draws))
    return (cost + stop_gradient(cost - control) * (log_q - stop_gradient(log_q))).mean(axis=0)


def x_that_does_not_know_the_bit(q, r, c, draws):
    """x̃ drawn as x is, and not given b."""
    b, v = q.sample((1,), rng=draws), draws.random((1, *q.batch_shape, *q.event_shape))
    cost, log_q, control = r(b), q.log_prob(b), c(q.base.logits + numpy.log(v) - numpy.log1p(-v))
    score = stop_gradient(cost - control) * (log_q - stop_gradient(log_q))
    return (cost + score + control - stop_gradient(control)).mean(axis=0)


@pytest.mark.parametrize("fault", [only_what_is_subtracted, x_that_does_not_know_the_bit])
def test_faults_are_caught(fault):
    problem = one_problem()
    draws = problem.every_draw(1, SMOOTH)

    def estimate(q, a):
        r = problem.cost(a)
        return fault(q, r, lambda x: r(np.special.expit(x)), draws)

    with pytest.raises(AssertionError, match="a ratio of"):
        assert_unbiased_gradient(estimate, problem.exact, bits, problem.logits, draws, rtol=1e-2)


# The draws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.5])
def test_the_number_behind_the_bit_agrees_with_it_and_is_logistic(logit):
    q = Bernoulli(logits=numpy.full(200_000, logit))
    rng = numpy.random.default_rng(0)
    b = q.sample(rng=rng)
    x = _given(q, b, rng)
    assert ((x > 0) == (b == 1)).all()
    assert_drawn_from(x, lambda x: 1.0 / (1.0 + numpy.exp(logit - x)))


def test_a_number_that_knows_nothing_of_the_bit_is_seen():
    q = Bernoulli(logits=numpy.full(200_000, 1.5))
    x = _given(q, q.sample(rng=0), numpy.random.default_rng(1))
    with pytest.raises(AssertionError, match="distribution functions differ"):
        assert_drawn_from(numpy.abs(x), lambda x: 1.0 / (1.0 + numpy.exp(1.5 - x)))


def test_far_out_and_at_the_ends_of_the_uniforms_it_is_still_a_number(xp):
    class Ends:
        def random(self, shape, dtype):
            return xp.broadcast_to(xp.asarray([0.0, 1.0 - 2.0**-53]), shape).astype(dtype)

    logits = xp.asarray([[-700.0], [0.0], [700.0]])
    for b in (0.0, 1.0):
        bit = xp.full((3, 2), b)
        x = _given(Bernoulli(logits=logits + xp.zeros((3, 2))), bit, Ends())
        assert np.isfinite(x).all()
        slope = grad(lambda a, bit=bit: _given(Bernoulli(logits=a + np.zeros((3, 2))), bit, Ends()).sum())(logits)
        assert np.isfinite(slope).all()


# The biased ones ------------------------------------------------------------------------------------------------------


def test_gumbel_softmax_has_the_gradient_of_the_relaxed_average_and_the_value_of_bits():
    """Each by quadrature on its own: the value over bits, the slope over the logistic number behind them."""
    problem, temperature = one_problem(), 1.0
    draws = problem.every_draw(1, uniform_rule(24))
    estimate = problem.estimate(1, draws, estimator=GumbelSoftmax(temperature))
    found, _ = gradient_moments(estimate, bits, problem.logits, draws)

    nodes, weights = uniform_rule(60)
    u = numpy.stack(numpy.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)

    def relaxed_average(a):
        z = np.special.expit((a + numpy.log(u) - numpy.log1p(-u)) / temperature)
        return (numpy.outer(weights, weights).ravel() * problem.cost(a)(z)).sum()

    value, slope = value_and_grad(relaxed_average)(problem.logits)
    numpy.testing.assert_allclose(found, slope, rtol=1e-6)
    assert abs(value - problem.exact(problem.logits)) > 0.05  # a relaxed average is another number, and no ELBO


def test_straight_through_is_right_for_costs_that_are_linear_in_each_bit(xp):
    weights, logits = xp.asarray([2.0, -3.0]), xp.asarray([0.3, 1.2])

    def exact(a):
        return (weights * np.special.expit(a)).sum()

    found = grad(lambda a: expectation(lambda z: z @ weights, bits(a), 3, estimator="straight_through", rng=0))(logits)
    assert_allclose(found, grad(exact)(logits), rtol=1e-12)


def test_straight_through_evaluates_the_cost_at_bits(xp):
    seen = []

    def r(z):
        seen.append(stop_gradient(z))
        return z.sum(axis=-1)

    grad(lambda a: expectation(r, bits(a), 5, estimator="straight_through", rng=0))(xp.zeros(3))
    assert_array_equal(seen[0] * (1.0 - seen[0]), 0.0)


# Learning the control variate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [Rebar(0.5, 1.0), Rebar(2.0, 0.0)])
def test_the_hyperparameters_learn_from_the_squared_gradient(how):
    """The mean does not depend on them, so the slope of the square is that of the variance: down it goes."""
    problem = one_problem()
    draws = problem.every_draw(1, uniform_rule(8))

    def variance(how):
        return sum(gradient_moments(problem.estimate(1, draws, estimator=how), bits, problem.logits, draws)[1])

    def squared(how, seed):
        def mean(a):
            return expectation(problem.cost(a), bits(a), 100, estimator=how, rng=seed)

        return (grad(mean)(problem.logits) ** 2).sum()

    before = variance(how)
    for seed in range(60):
        slope = grad(squared)(how, seed)
        how = tree.map(lambda x, g: x - 0.05 * g, how, slope)
    assert variance(how) < 0.9 * before


def test_a_surrogate_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"surrogate gave shape \(2, 3\) for x of shape \(2, 3\); expected \(2,\)"):
        grad(lambda a: expectation(lambda z: z.sum(axis=-1), bits(a), 2, estimator=Relax(np.tanh), rng=0))(
            numpy.zeros(3)
        )


def test_relax_by_name_alone_says_what_is_missing():
    with pytest.raises(ValueError, match=r"or Relax\(surrogate\)"):
        expectation(lambda z: z, Bernoulli(logits=0.0), estimator="relax", rng=0)


def test_a_temperature_that_is_none_is_refused():
    for kind in (Rebar, GumbelSoftmax):
        for temperature in (0.0, -1.0, numpy.inf, numpy.nan):
            with pytest.raises(ValueError, match="expected a finite number above 0"):
                kind(temperature)


def test_what_is_no_estimator_is_refused():
    for estimator in (Rebar, None, lambda r, q, n_samples, rng: 0.0):
        with pytest.raises(TypeError, match="expected a name, or Rebar"):
            expectation(lambda z: z, Bernoulli(logits=0.0), estimator=estimator, rng=0)
