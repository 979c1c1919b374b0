"""Problems whose gradients are known exactly, for the tests of estimators of gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
from hypothesis import strategies as st

from minilvm.distributions import Bernoulli, Independent
from minilvm.estimators import expectation
from minilvm.models import SigmoidBeliefNetwork
from minilvm.testing import Quadrature, sigmoid_belief_networks, uniform_rule
from minilvm.testing.strategies import arrays


def bits(logits: Any) -> Independent:
    """Π_l Bernoulli(z_l; σ(a_l))."""
    return Independent(Bernoulli(logits=logits), 1)


@dataclass
class Problem:
    """An ELBO of a sigmoid belief network: r(z, a) = log p(x, z) − log q(z; a), which depends on a through q too."""

    model: SigmoidBeliefNetwork
    x: Any
    logits: Any

    def cost(self, logits: Any) -> Callable[[Any], Any]:
        """r, as a function of z of any leading shape."""

        def r(z):
            rows = z.reshape(-1, 1, z.shape[-1])
            return self.model.log_joint(self.x, rows)[:, 0].reshape(z.shape[:-1]) - bits(logits).log_prob(z)

        return r

    def exact(self, logits: Any) -> Any:
        """E_q[r], by enumeration."""
        return expectation(self.cost(logits), bits(logits), estimator="exact")

    def estimate(self, n_samples: int, rng: Any = 0, **how: Any) -> Callable[[Any, Any], Any]:
        """The estimator that `how` describes, as the laws of `minilvm.testing` take it."""
        return lambda q, logits: expectation(self.cost(logits), q, n_samples, rng=rng, **how)

    def every_draw(self, n_samples: int, *noise: Any) -> Quadrature:
        """A rule for z, in which each bit has two values, and for each of the `noise` of every bit beyond it."""
        p = 1.0 / (1.0 + numpy.exp(-numpy.asarray(self.logits)))
        draws = [uniform_rule(1, cuts=[p_l]) for p_l in p] * n_samples
        return Quadrature(draws + [rule for rule in noise for _ in draws])

    def every_pair(self, n_pairs: int, n: int = 1) -> Quadrature:
        """A rule for antithetic pairs of bits, u < p and 1 − u < p."""
        p = 1.0 / (1.0 + numpy.exp(-numpy.asarray(self.logits)))
        return Quadrature([uniform_rule(n, cuts=[p_l, 1.0 - p_l]) for p_l in p] * n_pairs)


@st.composite
def problems(draw: Any, max_latents: int = 2) -> Problem:
    """Problems of one latent or two, on the active backend; they shrink towards zeros."""
    model = draw(sigmoid_belief_networks(max_latents=max_latents))
    x = draw(arrays((1, len(model.bias)), 1.0)) > 0
    return Problem(model, x.astype(float), draw(arrays(len(model.prior_logits), 2.0)))


def one_problem(xp: Any = numpy) -> Problem:
    """The same problem each time, with costs of some size."""
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    return Problem(model, xp.asarray([[1.0, 0.0, 1.0]]), xp.asarray([0.3, -0.5]))
