"""Longer steps: fewer passes to the same height, never downwards, never out of the parameters' space."""

import itertools
from dataclasses import dataclass

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minilvm import tree
from minilvm.inference import fit_em
from minilvm.inference.passes import Pass
from minilvm.inference.steps import _ahead, _length, squarem
from minilvm.models import BernoulliMixture, ConjugatePrior, MixtureOfGaussians
from minilvm.models.covariances import COVARIANCE_TYPES
from minilvm.models.variational_mixture import VariationalMixture
from tests.models.gaussians import TYPES


def overlapping(rng):
    """Two clusters that are nearly one."""
    x = rng.standard_normal((2000, 2)) + numpy.repeat([[0.0, 0.0], [1.5, 0.0]], 1000, axis=0)
    return MixtureOfGaussians.initialise(x, 2, rng=0), x


def overfitted(rng):
    """Five components for two clusters."""
    x = numpy.concatenate([rng.standard_normal((500, 2)), rng.standard_normal((500, 2)) + 4.0])
    return MixtureOfGaussians.initialise(x, 5, rng=2), x


def in_other_units(rng):
    """The first, with features whose units are five orders of magnitude apart."""
    _, x = overlapping(rng)
    return MixtureOfGaussians.initialise(x * [1e3, 1e-2], 2, rng=0), x * [1e3, 1e-2]


def diagonal(rng):
    """Variances only, of correlated data."""
    x = rng.standard_normal((1500, 4)) * [1.0, 2.0, 0.5, 1.0] + 1.2 * rng.integers(0, 2, (1500, 1))
    return MixtureOfGaussians.initialise(x, 3, rng=3, covariance_type="diag"), x


def faint_bits(rng):
    """Four sorts of thirty bits, that differ little."""
    x = (rng.random((800, 30)) < rng.uniform(0.35, 0.65, (4, 30))[rng.integers(0, 4, 800)]).astype(float)
    return BernoulliMixture.initialise(x, 4, rng=0), x


@pytest.mark.parametrize("problem", [overlapping, overfitted, in_other_units, diagonal, faint_bits])
def test_slow_problems_take_three_times_fewer_passes_to_the_same_height(problem):
    start, x = problem(numpy.random.default_rng(0))
    plain = fit_em(start, x, max_iter=6000)
    assert plain.n_passes > 400  # it is slow
    fast = fit_em(start, x, max_iter=6000, accelerate="squarem")
    assert fast.lower_bounds[-1] >= plain.lower_bounds[-1] - 1e-6
    assert 3 * fast.n_passes <= plain.n_passes
    assert plain.n_passes == len(plain.lower_bounds)
    assert fast.n_passes >= len(fast.lower_bounds)
    assert never_falls(fast.lower_bounds)


def never_falls(bounds):
    return all(low <= high + 1e-9 * (1 + abs(high)) for low, high in itertools.pairwise(bounds))


def small(seed):
    rng = numpy.random.default_rng(seed)
    return rng, rng.standard_normal((60, 2)) + 3.0 * rng.integers(0, 2, (60, 1))


@given(st.integers(0, 2**32), st.sampled_from(TYPES))
@example(45640, "diag")  # a leap to negative variances
def test_with_a_prior_it_never_falls(xp, seed, covariance_type):
    _, x = small(seed)
    x = xp.asarray(x)
    prior = ConjugatePrior.fraley_raftery(x, 2, covariance_type)
    start = MixtureOfGaussians.initialise(x, 2, rng=seed, covariance_type=covariance_type, parameter_prior=prior)
    found = fit_em(start, x, accelerate="squarem", max_iter=200)
    assert never_falls(found.lower_bounds)
    assert found.converged == (len(found.lower_bounds) <= 200)


@given(st.integers(0, 2**32), st.sampled_from(TYPES), st.booleans())
def test_variational_bayes_never_falls(seed, covariance_type, sticks):
    rng, x = small(seed)
    start = MixtureOfGaussians.initialise(x, 3, rng=rng, covariance_type=covariance_type)
    scale = COVARIANCE_TYPES[covariance_type].from_full(numpy.cov(x.T))
    prior = ConjugatePrior(x.mean(axis=0), 1.0, 4.0, scale)
    statistics = start.statistics(x, rng.dirichlet(numpy.ones(3), 60))
    q = VariationalMixture.from_statistics(statistics, prior, 1.0, sticks=sticks)
    assert never_falls(fit_em(q, x, accelerate="squarem", max_iter=100).lower_bounds)


def test_the_bound_is_that_of_the_parameters_and_the_callback_sees_each():
    start, x = overlapping(numpy.random.default_rng(0))
    seen = []
    found = fit_em(start, x, max_iter=20, tol=-1.0, accelerate="squarem", callback=lambda *step: seen.append(step))
    assert len(found.lower_bounds) == 21
    assert [bound for _, _, bound in seen] == found.lower_bounds
    for _, model, bound in seen:
        numpy.testing.assert_allclose(model.log_marginal(x).sum(), bound, rtol=1e-11)
    assert seen[-1][1] is found.model


def test_one_rate_of_convergence_is_gone_after_one_leap():
    zero, one, two = (numpy.array([8.0, 4.0]) * 0.5**k for k in range(3))
    assert _length(zero, one, two) == 2.0  # 1 / (1 − ½)
    numpy.testing.assert_array_equal(_ahead(zero, one, two, 2.0), 0.0)
    numpy.testing.assert_array_equal(_ahead(zero, one, two, 1.0), two)


def test_the_shortest_length_counts_and_what_rests_asks_for_none():
    zero = {"fast": numpy.ones(2), "slow": numpy.ones(3), "still": numpy.ones(4)}
    one, two = ({"fast": 0.5**k * zero["fast"], "slow": 0.9**k * zero["slow"], "still": zero["still"]} for k in (1, 2))
    numpy.testing.assert_allclose(_length(zero, one, two), 2.0)
    assert _length(zero, zero, zero) == 1.0


@dataclass(frozen=True)
class OnALine:
    """Where EM halves the distance to 0 in every step, and a leap would go there."""

    theta: numpy.ndarray
    least: float = tree.static(default=-1.0)

    def m_step(self, _):
        """Go half the way."""
        return OnALine(0.5 * self.theta, self.least)

    def is_valid(self):
        """Whether it is not too near."""
        return bool((self.theta > self.least).all())


@pytest.mark.parametrize(
    ("least", "at_zero", "expected"),
    [
        (-1.0, 0.0, [8.0, 4.0, 0.0, 0.0]),  # it leaps
        (-1.0, -9.0, [8.0, 4.0, 2.0, 1.0]),  # not where that leads down
        (0.1, 0.0, [8.0, 4.0, 0.5, 0.25]),  # nor out of the space, but as near as half of the rest of the way and again
    ],
)
def test_a_leap_is_made_upwards_and_within_the_space(least, at_zero, expected):
    def sum_over(model):
        theta = float(model.theta[0])
        return Pass(-theta if theta > 0.0 else at_zero, 1.0, None)

    steps = itertools.islice(squarem(OnALine(numpy.array([8.0]), least), sum_over), 4)
    assert [float(step.model.theta[0]) for step in steps] == expected


def test_an_acceleration_that_there_is_not_is_refused():
    start, x = overlapping(numpy.random.default_rng(0))
    with pytest.raises(ValueError, match="accelerate is 'fast'; expected one of None, 'squarem'"):
        fit_em(start, x, accelerate="fast")
