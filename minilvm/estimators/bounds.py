"""Bounds on log p(x), each a line or two; each returns one number per datum, shape (N,).

They are functions of `log_w` of shape (K, N), or, where part of the average is done in closed form, of a model and a q.

What is bounded is an expectation. A single draw of a perfectly correct lower bound may lie above log p(x), and for a
good q does so about half the time; `minilvm.testing` holds the checks that are valid all the same.
"""

from __future__ import annotations

from typing import Any, Protocol

from minilvm.backend import Array
from minilvm.distributions import Distribution, kl_divergence
from minilvm.estimators.weights import LogJoint, check_n_samples, logmeanexp, per_datum


class LikelihoodModel(LogJoint, Protocol):
    """A model that says p(z) and p(x | z) apart."""

    @property
    def prior(self) -> Distribution:
        """p(z)."""

    def likelihood(self, z: Array) -> Distribution:
        """p(x | z)."""


def elbo(log_w: Array) -> Array:
    """Return (1/K) Σ_k log w_k, unbiased for the ELBO E_q[log p(x, z) − log q(z)] (N7): a lower bound on log p(x).

    Tight at q(z) = p(z | x), where log w is constant in z; the gap is KL(q(z) ‖ p(z | x)) (N9). (Jordan et al. 1999.)
    """
    return log_w.mean(axis=0)


def elbo_entropy_form(model: LogJoint, q: Distribution, x: Array, n_samples: int = 1, *, rng: Any) -> Array:
    """Return (1/K) Σ_k log p(x, z_k) + H(q), z_k ~ q (N8): the ELBO with the entropy in closed form. Lower bound."""
    q = per_datum(q, x)
    check_n_samples(n_samples)
    return model.log_joint(x, q.rsample((n_samples,), rng=rng)).mean(axis=0) + q.entropy()


def elbo_kl_form(model: LikelihoodModel, q: Distribution, x: Array, n_samples: int = 1, *, rng: Any) -> Array:
    """Return (1/K) Σ_k log p(x | z_k) − KL(q ‖ p(z)), z_k ~ q (N15): reconstruction less complexity. Lower bound.

    The form that trains a VAE: the divergence is exact, so only the reconstruction is sampled.
    (Kingma and Welling, arXiv:1312.6114, eq. 7.)
    """
    q = per_datum(q, x)
    check_n_samples(n_samples)
    z = q.rsample((n_samples,), rng=rng)
    return model.likelihood(z).log_prob(x).mean(axis=0) - kl_divergence(q, model.prior)


def iwae(log_w: Array) -> Array:
    """Return log (1/K) Σ_k w_k, unbiased for L_K (N17): a lower bound on log p(x) that rises with K.

    L_1 = ELBO ≤ L_K ≤ L_{K+1} ≤ log p(x). (Burda, Grosse and Salakhutdinov, arXiv:1509.00519, Theorem 1.)
    """
    return logmeanexp(log_w)


def eubo(log_w: Array) -> Array:
    """Return (1/K) Σ_k log w_k for z_k from the exact posterior (N18): unbiased for an upper bound on log p(x).

    The gap is KL(p(z | x) ‖ q). The same average as `elbo`; where z comes from makes the difference.
    """
    return log_w.mean(axis=0)
