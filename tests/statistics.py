"""Statistical tests that are wrong as rarely as they say.

A check of random draws can fail though the code is right. Here each does so with a probability of at most
`FALSE_ALARM_RATE`, the one such number of the suite, at any sample size and without a tolerance: the bounds are exact
or finite-sample inequalities, not asymptotic ones. What a check can see is then a matter of the sample size alone, so
every use has a broken twin that it must reject.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
import scipy.stats

FALSE_ALARM_RATE = 1e-6


def kolmogorov_bound(n: int, rate: float = FALSE_ALARM_RATE) -> float:
    """Return the ε with P(sup_x |F_n(x) − F(x)| > ε) ≤ rate for n draws from any F: √(log(2/rate) / 2n).

    (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant, *Annals of Probability* 18 (1990).)
    """
    return math.sqrt(math.log(2.0 / rate) / (2.0 * n))


def kolmogorov_distance(draws: Any, cdf: Callable[[Any], Any]) -> float:
    """Return sup_x |F_n(x) − F(x)|, for a continuous `cdf`."""
    draws = numpy.sort(numpy.ravel(draws))
    n = len(draws)
    F = numpy.asarray(cdf(draws))
    return float(max((numpy.arange(1, n + 1) / n - F).max(), (F - numpy.arange(n) / n).max()))


def assert_drawn_from(draws: Any, cdf: Callable[[Any], Any], rate: float = FALSE_ALARM_RATE) -> None:
    """Assert that independent draws of one number have this continuous distribution function, and miss neither tail.

    Tails weigh little in the distance of Kolmogorov; but that all of n draws miss a tail of probability t has only
    probability (1 − t)ⁿ ≤ exp(−n t).
    """
    n, rate = numpy.size(draws), rate / 3.0
    distance, bound = kolmogorov_distance(draws, cdf), kolmogorov_bound(n, rate)
    assert distance <= bound, f"the distribution functions differ by {distance:.4g}; by chance at most {bound:.4g}"
    missed, bound = missed_tail(draws, cdf), -math.log(rate) / n
    assert missed <= bound, f"no draw is in a tail of probability {missed:.4g}; by chance at most {bound:.4g}"


def missed_tail(draws: Any, cdf: Callable[[Any], Any]) -> float:
    """Return the probability below the least draw or above the greatest, whichever is more."""
    F = numpy.asarray(cdf(numpy.ravel(draws)))
    return float(max(F.min(), 1.0 - F.max()))


def binomial_p_value(successes: int, n: int, p: float) -> float:
    """Return the exact two-sided p-value of `successes` among `n` independent trials of probability `p`."""
    return float(scipy.stats.binomtest(int(successes), int(n), float(p)).pvalue)


def assert_frequencies(counts: Any, probabilities: Any, rate: float = FALSE_ALARM_RATE) -> None:
    """Assert that outcomes counted in independent trials have these probabilities, each by an exact binomial test."""
    counts, probabilities = numpy.ravel(counts), numpy.ravel(probabilities)
    for outcome, (count, probability) in enumerate(zip(counts, probabilities, strict=True)):
        p_value = binomial_p_value(count, counts.sum(), min(max(probability, 0.0), 1.0))
        assert p_value >= rate / len(counts), (
            f"outcome {outcome} of probability {probability:.4g} came {count} times in {counts.sum()}: "
            f"p-value {p_value:.1e}"
        )


def assert_no_common_sign(a: Any, b: Any, rate: float = FALSE_ALARM_RATE) -> None:
    """Assert that pairs of draws, symmetric about 0, agree in sign half of the time, as they do if independent."""
    agreements = numpy.count_nonzero(numpy.sign(a) == numpy.sign(b))
    p_value = binomial_p_value(agreements, numpy.size(a), 0.5)
    assert p_value >= rate, f"{agreements} of {numpy.size(a)} pairs agree in sign: p-value {p_value:.1e}"


def assert_mean(values: Any, mean: float, deviation: float, rate: float = FALSE_ALARM_RATE, what: str = "") -> None:
    """Assert that independent draws have this mean, given a bound on their deviation, and whatever their tails.

    With ψ(x) = sign(x) log(1 + |x| + x²/2), which is at most log(1 + x + x²/2), and d_k the draws less their mean,
    E exp Σ_k ψ(α d_k) ≤ exp(n α² σ² / 2). So (Markov) |Σ_k ψ(α d_k)| exceeds n α² σ² / 2 + log(2/rate) no more often
    than at this rate; α makes the two terms equal. (Catoni, *Annales de l'Institut Henri Poincaré* 48 (2012), 1148.)
    """
    values = numpy.ravel(values)
    if deviation <= 1e-12 * abs(mean):
        numpy.testing.assert_allclose(values, mean, rtol=1e-9, atol=1e-12, err_msg=what)
        return
    bound = 2.0 * math.log(2.0 / rate)
    x = math.sqrt(bound / len(values)) / deviation * (values - mean)
    influence = abs(float((numpy.sign(x) * numpy.log1p(numpy.abs(x) + 0.5 * x * x)).sum()))
    assert influence <= bound, (
        f"{what or 'the mean'} is {values.mean():.6g} ± {deviation / math.sqrt(len(values)):.2g} where {mean:.6g} was "
        f"expected: {influence:.4g}; by chance at most {bound:.4g}"
    )


def log_wealth(draws: Any) -> float:
    """Return the logarithm of the most that a better on a mean above 1 ever owned, having begun with 1.

    Of draws u ≥ 0 with mean 1, given those before, staking a fixed fraction λ multiplies the wealth by 1 + λ (u − 1), a
    fair game; so is spreading the wealth over several λ. (docs/notes.md, 10.4.)
    """
    stakes = numpy.array([0.003, 0.01, 0.03, 0.1, 0.3])
    wealths = numpy.cumsum(numpy.log1p(stakes[:, None] * (numpy.ravel(draws) - 1.0)), axis=1)
    return float((numpy.logaddexp.reduce(wealths, axis=0) - math.log(len(stakes))).max())


def assert_mean_at_most_one(draws: Any, rate: float = FALSE_ALARM_RATE) -> None:
    """Assert that independent draws of a number never negative have a mean of at most 1, by Ville's inequality."""
    won = log_wealth(draws)
    assert won <= -math.log(rate), f"a bet on a mean above 1 won e^{won:.4g}; by chance at most e^{-math.log(rate):.4g}"
