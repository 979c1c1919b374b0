"""The table of contracts, held against what the estimators do: every claim, every need, every price."""

import itertools
import math

import numpy
import pytest

import minilvm.numpy as np
from minilvm.autograd import grad, value_and_grad
from minilvm.distributions import (
    AffineTransform,
    Bernoulli,
    Binomial,
    Categorical,
    Exponential,
    ExpTransform,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    Transformed,
)
from minilvm.estimators import CONTRACTS, Contract, GumbelSoftmax, Rebar, Relax, expectation
from minilvm.estimators.contracts import differential, sound_for
from minilvm.testing import Quadrature, assert_unbiased_gradient, expected_estimate, normal_rule, uniform_rule
from tests.estimators.helpers import bits
from tests.testing.helpers import assert_allclose, assert_array_equal

OF_EXPECTATIONS = [name for name, contract in CONTRACTS.items() if contract.estimates == "E_q[r(z)]"]
PARAMETERS = numpy.array([0.4, -0.9])


def surrogate(x):
    return np.tanh(x).sum(axis=-1) + np.special.expit(x[..., 0]) ** 2


def how(name):
    """The estimator, with hyperparameters that a rule of a few nodes can follow."""
    return {"relax": Relax(surrogate), "rebar": Rebar(1.0, 0.7), "gumbel_softmax": GumbelSoftmax(1.0)}.get(name, name)


def cost(phi):
    """r depends on φ by itself too, and the mean of that slope is not 0."""
    return lambda z: (
        np.cos(2.0 * phi[0] * z[..., 0] - 3.0 * z[..., 1] + z[..., 0] * z[..., 1]) + phi[1] ** 2 * z[..., 0]
    )


def law(name):
    """From parameters to a law that the estimator can serve."""
    return (lambda phi: Independent(Normal(phi, 0.3), 1)) if name == "reparameterization" else bits


def estimate_and_draws(name):
    """The estimator, of the fewest draws it takes, and all that it draws for two elements of z."""
    p = 1.0 / (1.0 + numpy.exp(-PARAMETERS))
    if name == "reparameterization":
        rules = [normal_rule(20)] * 2
    elif name in {"arm", "disarm"}:
        rules = [uniform_rule(1, cuts=[p_l, 1.0 - p_l]) for p_l in p]
    else:
        rules = [uniform_rule(1, cuts=[p_l]) for p_l in p]
        rules += [uniform_rule(24)] * 2 if name in {"rebar", "relax", "gumbel_softmax"} else []
    draws, n_samples = Quadrature(rules), 2 if name in {"arm", "disarm"} else 1
    return lambda q, phi: expectation(cost(phi), q, n_samples, estimator=how(name), rng=draws), draws


def exact(name):
    """E_q[r], as a function of φ."""
    if name == "reparameterization":
        t, w = normal_rule(40)
        z = numpy.stack(numpy.meshgrid(t, t), axis=-1).reshape(-1, 2)
        return lambda phi: (numpy.outer(w, w).ravel() * cost(phi)(phi + 0.3 * z)).sum()
    return lambda phi: expectation(cost(phi), bits(phi), estimator="exact")


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_the_table_says_whether_the_gradient_is_unbiased(name):
    estimate, draws = estimate_and_draws(name)
    if CONTRACTS[name].gradient == "unbiased":
        assert_unbiased_gradient(estimate, exact(name), law(name), PARAMETERS, draws)
    else:
        with pytest.raises(AssertionError, match="a ratio of"):
            assert_unbiased_gradient(estimate, exact(name), law(name), PARAMETERS, draws, rtol=1e-2)


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_the_value_is_unbiased_though_the_gradient_be_not(name):
    """So that no relaxed average can be taken for a bound; and whether anything is traced makes no difference."""
    assert CONTRACTS[name].direction == "unbiased"
    estimate, draws = estimate_and_draws(name)

    def mean(phi):
        return expected_estimate(lambda q: estimate(q, phi), law(name)(phi), draws)

    for value in (mean(PARAMETERS), value_and_grad(mean)(PARAMETERS)[0]):
        numpy.testing.assert_allclose(value, exact(name)(PARAMETERS), rtol=1e-9)


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_the_table_says_what_it_costs(name):
    rows, K, L = [], 4, 2

    def counted(phi):
        def r(z):
            rows.append(len(z))
            return cost(phi)(z)

        return expectation(r, law(name)(phi), K, estimator=how(name), rng=0)

    grad(counted)(PARAMETERS)
    prices = {"1": K, "2": 2 * K, "1 + 2 P L": (1 + 2 * L) * K, "all values of z": 2**L}
    assert sum(rows) == prices[CONTRACTS[name].evaluations]


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_where_nothing_is_traced_only_the_mean_is_asked_for(name):
    rows = []

    def r(z):
        rows.append(len(z))
        return cost(PARAMETERS)(z)

    expectation(r, law(name)(PARAMETERS), 4, estimator=how(name), rng=0)
    assert rows == [4]


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_every_library_gives_the_same_gradient(xp, name):
    def gradient(phi):
        return grad(lambda phi: expectation(cost(phi), law(name)(phi), 4, estimator=how(name), rng=3))(phi)

    found = gradient(xp.asarray(PARAMETERS))
    if xp.__name__ == "cupy":  # which has random numbers of its own
        assert np.isfinite(found).all()
    else:
        assert_allclose(found, gradient(PARAMETERS), rtol=1e-12)


@pytest.mark.parametrize("name", OF_EXPECTATIONS)
def test_single_precision_stays_single(name):
    def mean(phi):
        value = expectation(cost(phi), law(name)(phi), 2, estimator=how(name), rng=0)
        assert value.dtype == numpy.float32
        return value

    assert grad(mean)(PARAMETERS.astype(numpy.float32)).dtype == numpy.float32


def test_the_smooth_need_a_slope():
    """Behind a threshold there is none; the gradient would be 0, and wrong."""
    for name in OF_EXPECTATIONS:
        if CONTRACTS[name].smooth:
            with pytest.raises(TypeError, match=r'not differentiable in z.*estimator="score_function"'):
                grad(
                    lambda phi, name=name: expectation(
                        lambda z: (stopped(z) > 0.5).all(axis=-1).astype(float),
                        law(name)(phi),
                        2,
                        estimator=name,
                        rng=0,
                    )
                )(PARAMETERS)


def stopped(z):
    return np.greater(z, 0.5).astype(float)


SOUND = [
    (Normal(0.0, 1.0), ["reparameterization", "measure_valued", "score_function"]),
    (bits(numpy.zeros(2)), ["exact", "measure_valued", "disarm", "arm", "rebar", "relax", "score_function"]),
    (Categorical(probs=numpy.ones(3)), ["exact", "score_function"]),
    (OneHotCategorical(probs=numpy.ones(3)), ["exact", "rebar", "relax", "score_function"]),
    (Poisson(1.0), ["measure_valued", "score_function"]),
    (MultivariateNormal(numpy.zeros(2), scale_tril=numpy.eye(2)), ["reparameterization", "score_function"]),
    (Exponential(1.0), ["reparameterization", "measure_valued", "score_function"]),
]


@pytest.mark.parametrize(("q", "names"), SOUND, ids=lambda value: type(value).__name__)
def test_what_is_unsound_is_refused_with_all_that_is_sound(q, names):
    assert sound_for(q) == names
    for name in OF_EXPECTATIONS:
        needed = {*names, *(["straight_through", "gumbel_softmax"] if "relax" in names else [])}
        if name not in needed:
            with pytest.raises(
                TypeError, match=f"{name} needs .*; q is .*{type(q).__name__}.*Unbiased for it: "
            ) as error:
                expectation(lambda z: z, q, 2, estimator=how(name), rng=0)
            assert all(repr(sound) in str(error.value) for sound in names)


def test_a_bit_that_is_certain_cannot_be_moved_and_says_so():
    q = Bernoulli(probs=numpy.array([0.5, 1.0]))
    for name in ("arm", "disarm"):
        with pytest.raises(ValueError, match=r"probabilities of exactly 0 or 1.*measure_valued"):
            expectation(lambda z: z, q, 2, estimator=name, rng=0)


@pytest.mark.parametrize(
    ("name", "law", "at"),
    [
        *itertools.product(["exact", "score_function"], [lambda p: Bernoulli(probs=p)], [[0.0, 0.5], [0.5, 1.0]]),
        *itertools.product(["exact", "score_function"], [lambda p: Categorical(probs=p)], [[0.25, 0.75, 0.0]]),
        ("exact", lambda p: Independent(Binomial(3, probs=p), 1), [0.0, 0.5]),
        ("score_function", lambda p: Independent(Binomial(3, probs=p), 1), [0.0, 0.5]),
        ("score_function", Poisson, [0.0, 2.0]),
    ],
)
def test_a_slope_that_log_q_does_not_see_is_refused_and_not_given_as_another(name, law, at):
    """Of Bernoulli(p) at p = 0, d E[3 + 4 z] / dp is 4; r(0) d log q(0) / dp is −3."""
    q = law(numpy.array(at))

    def value(p):
        return expectation(lambda z: 3.0 + 4.0 * z.reshape(*z.shape[: 1 + len(q.batch_shape)], -1).sum(axis=-1), law(p),
                           50, estimator=name, rng=0).sum()  # fmt: skip

    assert numpy.isfinite(value(numpy.array(at)))  # the mean is one that can be had
    with pytest.raises(ValueError, match="probabilities of exactly 0 or 1"):
        grad(value)(numpy.array(at))


def test_a_differential_is_nothing_in_value_and_all_in_slope(xp):
    x = xp.asarray([1.0, -math.inf])
    assert_array_equal(differential(x), 0.0)
    assert_array_equal(grad(lambda x: (differential(x) * np.array([2.0, 3.0])).sum())(x), np.array([2.0, 3.0]))
    twice = grad(grad(lambda x: np.exp(differential(x**2))))
    assert_allclose(twice(xp.asarray(3.0)), 4 * 3.0**2 + 2, rtol=1e-14)  # (exp ∘ f)″ = f′² + f″, at f = 0


def test_a_support_that_is_pushed_about_moves():
    """exp maps onto what is positive, and a traced shift moves that; a traced shift before exp moves nothing."""

    def still(*transforms):
        return Transformed(Independent(Laplace(numpy.zeros(2), 1.0), 1), transforms)

    def score(make):
        r = lambda z: numpy.ones(z.shape[:-1])  # noqa: E731
        return grad(lambda a: expectation(r, make(AffineTransform(a, 1.0)), 4, estimator="score_function", rng=0))(0.3)

    with pytest.raises(TypeError, match="score_function needs a q whose support does not move"):
        score(lambda shift: still(ExpTransform(), shift))
    with pytest.raises(TypeError, match="support does not move"):
        score(lambda shift: still(AffineTransform(0.0, 1.0), ExpTransform(), shift))
    assert numpy.isfinite(score(lambda shift: still(shift, ExpTransform())))
    assert numpy.isfinite(score(lambda shift: still(shift, AffineTransform(0.0, 2.0))))


def test_contracts_are_data():
    assert all(
        isinstance(contract, Contract) and contract.source for name, contract in CONTRACTS.items() if name != "exact"
    )
    assert {contract.direction for contract in CONTRACTS.values()} <= {"unbiased", "lower", "upper", "neither"}
