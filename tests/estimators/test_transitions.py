"""Transitions leave a law as it was: exactly, where that can be computed, else at the suite's false-alarm rate."""

import itertools

import numpy
import pytest
import scipy.stats

import minilvm.numpy as np
from minilvm import backend
from minilvm.distributions import Bernoulli, Categorical, Independent, MultivariateNormal, Normal, StudentT
from minilvm.estimators import HMC, Gibbs
from minilvm.estimators.transitions import transition_for
from minilvm.models import SigmoidBeliefNetwork
from tests.statistics import assert_drawn_from, assert_frequencies
from tests.testing.helpers import assert_allclose, host

N = 40_000


class Scripted:
    """A generator that gives what it is told to, the same for all chains."""

    def __init__(self, uniforms, normals=()):
        self.uniforms, self.normals = iter(uniforms), iter(normals)

    def random(self, shape, dtype=float):
        return np.full(shape, next(self.uniforms), dtype=dtype)

    def standard_normal(self, shape, dtype=float):
        return np.asarray(next(self.normals), dtype=dtype).reshape(shape)


def banana(z):
    """A density that is no Gaussian."""
    return -0.5 * z[..., 0] ** 2 - 0.5 * (z[..., 1] - z[..., 0] ** 2) ** 2


def trajectory(state):
    """Where the leapfrog goes from (z, p): accepted whatever happens, with the momentum at the end."""
    ends = []

    def watched(z):
        ends.append(z)
        return banana(z) + 1e6 * len(ends)  # downhill all the way: accepted

    z, p = state[:2].reshape(1, 1, 2), state[2:]
    moved = HMC(0.2, 0.2, n_leapfrog=5)(watched, z, rng=Scripted([0.5, 0.5], [p]))
    return moved.reshape(2)


def test_hmc_goes_back_the_way_it_came(xp):
    """From where it ends, with the momentum turned round, it ends where it began: half of detailed balance."""
    z, p = xp.asarray([0.3, -1.0]), xp.asarray([0.7, 0.4])
    step, n = 0.2, 5

    def leapfrog(z, p):
        for _ in range(n):
            slope = xp.stack([-z[0] + 2 * z[0] * (z[1] - z[0] ** 2), -(z[1] - z[0] ** 2)])
            p = p + 0.5 * step * slope
            z = z + step * p
            slope = xp.stack([-z[0] + 2 * z[0] * (z[1] - z[0] ** 2), -(z[1] - z[0] ** 2)])
            p = p + 0.5 * step * slope
        return z, p

    there, momentum = leapfrog(z, p)
    assert_allclose(trajectory(np.concatenate([z, p])), there, rtol=1e-12)
    assert_allclose(trajectory(np.concatenate([there, -momentum])), z, rtol=1e-10)


def draws_of(law):
    return law.sample((N, 1), rng=0)


def no_rejection(log_density, z, rng):
    return HMC(1.5, 1.5, n_leapfrog=3)(lambda z: log_density(z) + Rising.more(), z, rng=rng)


class Rising:
    """A density that is higher each time one looks: nothing is ever rejected."""

    height = 0.0

    @classmethod
    def more(cls):
        cls.height += 1e3
        return cls.height


@pytest.mark.parametrize(
    "transition", [HMC(1.5, 1.5, n_leapfrog=3), HMC(0.1, 2.5), HMC(np.array([0.1, 0.5]), np.array([1.0, 1.9]))]
)
def test_hmc_leaves_a_normal_law_alone_and_moves(transition):
    law = MultivariateNormal(numpy.array([1.0, -2.0]), covariance_matrix=numpy.array([[1.0, 0.6], [0.6, 2.0]]))
    z = draws_of(law)
    after = transition(law.log_prob, z, rng=numpy.random.default_rng(1))
    assert 0.2 < (after != z).any(axis=-1).mean() <= 1.0
    assert ((after != z).all(axis=-1) == (after != z).any(axis=-1)).all()  # a chain moves as a whole or not at all
    white = law.whiten(after)[:, 0]
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.6, -0.8]):
        assert_drawn_from(white @ direction, scipy.stats.norm.cdf)


def test_hmc_leaves_a_law_that_is_no_normal_alone():
    rng = numpy.random.default_rng(0)
    z = rng.standard_normal((N, 1, 2))
    z[..., 1] += z[..., 0] ** 2
    after = HMC(0.3, 1.0)(banana, z, rng=rng)
    assert_drawn_from(after[..., 0], scipy.stats.norm.cdf)
    assert_drawn_from(after[..., 1] - after[..., 0] ** 2, scipy.stats.norm.cdf)


def wrong_energy(log_density, z, rng):
    """Accepts by log π alone, as a random walk would: the kinetic half is forgotten."""
    end = no_rejection(log_density, z, rng)
    accepted = numpy.log1p(-rng.random(z.shape[:2])) <= log_density(end) - log_density(z)
    return numpy.where(accepted[..., None], end, z)


@pytest.mark.parametrize("fault", [no_rejection, wrong_energy])
def test_hmc_that_accepts_wrongly_is_caught(fault):
    law = MultivariateNormal(numpy.zeros(2), covariance_matrix=numpy.eye(2))
    after = fault(law.log_prob, draws_of(law), numpy.random.default_rng(1))
    with pytest.raises(AssertionError, match="distribution functions differ"):
        assert_drawn_from(after[..., 0], scipy.stats.norm.cdf)


def test_a_trajectory_that_flies_off_is_rejected_without_a_warning(xp):
    z = xp.full((3, 2, 1), 1.0)
    after = HMC(1e3, 1e3)(lambda z: -(z[..., 0] ** 4), z, rng=backend.default_rng(0))
    assert_allclose(after, z, rtol=0)


def test_single_precision_stays_single(xp):
    rng, z = backend.default_rng(0), xp.zeros((3, 2, 1), "float32")
    assert HMC()(lambda z: -0.5 * z[..., 0] ** 2, z, rng=rng).dtype == numpy.float32
    assert Gibbs()(lambda z: z.sum(axis=-1), z, rng=rng).dtype == numpy.float32


# Gibbs ----------------------------------------------------------------------------------------------------------------


def network(xp):
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    x = xp.asarray([[1.0, 0.0, 1.0, 1.0]])
    return model, x, lambda z: model.log_joint(x, z)


def states(z):
    return host(z).reshape(-1, 3) @ [4, 2, 1]


def test_gibbs_leaves_the_posterior_alone(xp):
    model, x, log_density = network(xp)
    posterior = model.posterior(x)
    z = posterior.sample((N,), rng=0)
    after = Gibbs()(log_density, z, rng=backend.default_rng(1))
    assert (after != z).any()
    probabilities = np.exp(posterior.log_prob(posterior.enumerate_support()))[:, 0]
    assert_frequencies(numpy.bincount(states(after).astype(int), minlength=8), host(probabilities))


class Given:
    """A generator that deals an order of three bits, then the same uniform number to all chains for each."""

    def __init__(self, order, uniforms):
        self.order, self.uniforms = order, iter(uniforms)

    def random(self, shape, dtype=float):
        if shape == 3:
            return np.asarray(numpy.argsort(self.order).astype(float))
        return np.full(shape, next(self.uniforms), dtype=dtype)


def conditionals(pi, place):
    """The 8 × 8 table of probabilities of drawing a bit anew given the others."""
    bits = numpy.array(list(itertools.product([0, 1], repeat=3)))
    same = (numpy.delete(bits, place, axis=1)[:, None] == numpy.delete(bits, place, axis=1)).all(axis=2)
    return same * pi / (same * pi).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_gibbs_draws_each_bit_from_its_conditional_in_the_order_dealt(xp, order):
    model, x, log_density = network(xp)
    table = model.prior.enumerate_support()
    pi = host(np.exp(model.posterior(x).log_prob(table[:, None])))[:, 0]
    for uniforms in itertools.product([0.03, 0.3, 0.8], repeat=3):
        state = numpy.arange(8)
        for place, u in zip(order, uniforms, strict=True):
            one = 4 >> place  # what the bit counts
            p = conditionals(pi, place)[state, state | one]
            state = numpy.where(u < p, state | one, state & ~one)
        after = Gibbs()(log_density, table[:, None], rng=Given(order, uniforms))
        assert states(after).tolist() == state.tolist()


def test_a_random_order_is_its_own_way_back_and_a_fixed_one_is_not(xp):
    """π(z) T(z' | z) = π(z') T(z | z') for all pairs, the orders being equally likely."""
    model, x, _ = network(xp)
    pi = host(np.exp(model.posterior(x).log_prob(model.prior.enumerate_support()[:, None])))[:, 0]
    one_by_one = [conditionals(pi, place) for place in range(3)]
    sweeps = [numpy.linalg.multi_dot([one_by_one[i] for i in order]) for order in itertools.permutations(range(3))]
    flow = pi[:, None] * numpy.mean(sweeps, axis=0)
    numpy.testing.assert_allclose(flow, flow.T, rtol=1e-12)
    fixed = pi[:, None] * sweeps[0]
    assert abs(fixed - fixed.T).max() > 1e-3


# Which ----------------------------------------------------------------------------------------------------------------


def test_numbers_move_by_hmc_and_bits_by_gibbs(xp):
    hmc = transition_for(Independent(Normal(xp.zeros(2), xp.asarray([1.0, 100.0])), 1))
    assert_allclose(hmc.largest, [1.0, 100.0])
    assert isinstance(transition_for(Independent(Bernoulli(logits=xp.zeros(2)), 1)), Gibbs)
    assert isinstance(transition_for(SigmoidBeliefNetwork.random(2, 3, rng=0).posterior(xp.ones((1, 3)))), Gibbs)


@pytest.mark.parametrize(
    "limits", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.1, numpy.array([0.05, 1.0])), (0.1, numpy.inf), (0.1, numpy.nan)]
)
def test_steps_that_lead_nowhere_or_back_are_refused(limits):
    with pytest.raises(ValueError, match="expected 0 < smallest <= largest"):
        HMC(*limits)


def test_labels_are_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"Categorical draws are an integer from 0 to 2.*exact_log_marginal"):
        transition_for(Categorical(probs=numpy.ones(3)))


@pytest.mark.parametrize("n", [0, 2.5])
def test_no_leapfrog_step_is_no_transition(n):
    with pytest.raises(ValueError, match=f"n_leapfrog is {n}; expected an integer, at least 1"):
        HMC(n_leapfrog=n)


def test_a_deviation_that_is_infinite_is_no_step():
    with pytest.raises(ValueError, match=r"heavy tails have not: give transition=HMC\(smallest, largest\)"):
        transition_for(Independent(StudentT(2.0, numpy.zeros(2), 1.0), 1))


def test_gibbs_moves_bits_and_nothing_else(xp):
    for z in (xp.full((2, 3, 4), 0.5), xp.zeros((2, 3))):
        with pytest.raises(ValueError, match="is not of bits; expected"):
            Gibbs()(lambda z: z.sum(axis=2), z, rng=backend.default_rng(0))
