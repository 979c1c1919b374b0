"""N7 and N9 as text, with the numbers of a model, a q and a datum: every step of the bound, and the slack in it."""

from __future__ import annotations

import math
from typing import Any

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.distributions.base import MOST_ELEMENTS
from minilvm.estimators.contracts import LISTED, base
from minilvm.estimators.marginal import ModelWithPrior, exact_log_marginal, importance_sampling
from minilvm.estimators.quadrature import is_integrable, quadrature
from minilvm.estimators.weights import check_n_samples, check_weights, per_datum, tiles, weigh

_MOST_VALUES = 2**16  # of z, in a sum over all of them


def explain(model: ModelWithPrior, q: Distribution, x: Array, n_samples: int = 10_000, *, rng: Any = None) -> str:
    """Return N7 and N9 for one datum, with their numbers, as a table of text.

    Averages under q are exact where z has at most 2^16 values or is one or two real numbers, and else means of draws,
    with their standard errors (that of log p(x) not in them). log p(x) and p(z | x) are `model.log_marginal(x)` and
    `model.posterior(x)` where the model has them, but not where z has too many values to be listed, as these would sum
    over all: then log p(x) is estimated by the same draws. Without a `posterior(x)`, p(z | x) is by Bayes' rule from
    this log p(x), and N9 holds whatever that is.

    Parameters
    ----------
    model
        Has `log_joint(x, z)` and `prior`; better, `log_marginal(x)` and `posterior(x)` too.
    q
        A law of z.
    x
        One datum, (1, …).
    n_samples, rng
        How many draws, and their seed or generator, where draws are needed.

    Raises
    ------
    ValueError
        x is not one datum, q does not suit it or the model, or a weight is NaN or +inf.

    Examples
    --------
    >>> import numpy
    >>> from minilvm.models import SigmoidBeliefNetwork
    >>> model = SigmoidBeliefNetwork.random(n_latents=3, n_features=4, rng=0)
    >>> print(explain(model, model.prior, numpy.ones((1, 4))))
    N7   log p(x) = log E_q[w] ≥ E_q[log w] = ELBO,   w = p(x, z) / q(z)
           log p(x)         -5.0323   exact, as the model has it
           ELBO             -8.5597   over 8 values of z
           slack             3.5273   ≥ 0
    N9   log p(x) = ELBO + KL(q ‖ p(z | x)),   KL ≥ 0
           KL                3.5273   itself the slack in KL ≥ 0; 0 where q is the posterior
           ELBO + KL        -5.0323   log p(x), to ...
    """
    if len(x) != 1:
        raise ValueError(f"x has {len(x)} data; expected one: x[:1] is the first")
    check_n_samples(n_samples)
    q = per_datum(q, x)
    z, log_mass, averages, drawn = _points(q, n_samples, rng)
    weighed = [weigh(model, q, x, z[start : start + rows]) for start, rows in tiles(len(z), x)]
    log_w, log_q = check_weights(np.concatenate(weighed))[:, 0], q.log_prob(z)[:, 0]
    log_p, evidence = _log_marginal(model, x, log_w if drawn else None)
    posterior = getattr(model, "posterior", None) if _can_sum(model.prior) else None
    log_posterior = log_q + log_w - log_p if posterior is None else posterior(x).log_prob(z)[:, 0]
    mass = np.exp(log_mass)
    bound, divergence = float(mass @ log_w), float(mass @ (log_q - log_posterior))
    both = "by Bayes' rule" if posterior is None else f"to {abs(bound + divergence - log_p):.0e}"
    error = f" ± {_error_of_the_mean(log_w):.4f}" if drawn else ""
    sign = "≥ 0 in expectation" if drawn else "≥ 0"

    def line(name: str, value: float, note: str) -> str:
        return f"       {name:<12}{round(value, 4) + 0.0:>12.4f}{note}"

    return "\n".join(
        [
            "N7   log p(x) = log E_q[w] ≥ E_q[log w] = ELBO,   w = p(x, z) / q(z)",
            line("log p(x)", log_p, evidence),
            line("ELBO", bound, f"{error}   {averages}"),
            line("slack", log_p - bound, f"{error}   {sign}"),
            "N9   log p(x) = ELBO + KL(q ‖ p(z | x)),   KL ≥ 0",
            line("KL", divergence, f"{error}   itself the slack in KL ≥ 0; 0 where q is the posterior"),
            line("ELBO + KL", bound + divergence, f"   log p(x), {both}"),
        ]
    )


def _log_marginal(model: ModelWithPrior, x: Array, log_w: Array | None) -> tuple[float, str]:
    """log p(x), and where it is from: of all that can be done, the best."""
    if hasattr(model, "log_marginal") and _can_sum(model.prior):
        return float(model.log_marginal(x)[0]), "   exact, as the model has it"
    if log_w is None or is_integrable(model.prior):
        return float(exact_log_marginal(model, x)[0]), "   exact, over all z"
    estimate = importance_sampling(log_w[:, None])
    limit = float(estimate.lower_limit(0.05)[0])
    return float(estimate.log_p[0]), (
        f" ± {float(estimate.standard_error[0]):.4f}   log mean weight; above {limit:.4f} with probability 95 % (N19)"
    )


def _points(q: Distribution, n_samples: int, rng: Any) -> tuple[Array, Array, str, bool]:
    """Values z (S, 1, …) and log masses (S,) with E_q[g] = Σ_s mass_s g(z_s), how they were come by, whether drawn."""
    if is_integrable(q):
        points, log_volume = quadrature(lambda z: q.log_prob(z[:, None])[:, 0], q)
        z = points[:, None]
        return z, q.log_prob(z)[:, 0] + log_volume, f"by quadrature, {len(z)} points", False
    if LISTED.met(q) and _n_values(q) <= _MOST_VALUES:
        z = q.enumerate_support()
        log_mass = q.log_prob(z)[:, 0]
        possible = log_mass > -np.inf  # 0 · log 0 = 0
        return z[possible], log_mass[possible], f"over {len(z)} values of z", False
    z = q.sample((n_samples,), rng=rng)
    return z, np.full_like(q.log_prob(z)[:, 0], -math.log(n_samples)), f"from {n_samples} draws", True


def _error_of_the_mean(log_w: Array) -> float:
    """Its standard error; of a single draw nothing is known."""
    return float(log_w.std(ddof=1)) / math.sqrt(len(log_w)) if len(log_w) > 1 else math.nan


def _can_sum(prior: Distribution) -> bool:
    """Whether a model might sum over z: not where the values to be listed are more than `enumerate_support` gives."""
    return not LISTED.met(prior) or _n_values(prior) * math.prod(prior.event_shape) <= MOST_ELEMENTS


def _n_values(q: Distribution) -> int:
    """How many values z has: those of an element of q, to the power of how many elements there are."""
    law = base(q)
    n_elements = math.prod(q.event_shape) // math.prod(law.event_shape)
    return int(len(law.enumerate_support()) ** n_elements)
