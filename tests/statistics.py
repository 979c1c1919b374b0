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
    """Assert that independent draws of one number have this continuous distribution function."""
    distance, bound = kolmogorov_distance(draws, cdf), kolmogorov_bound(numpy.size(draws), rate)
    assert distance <= bound, f"the distribution functions differ by {distance:.4g}; by chance at most {bound:.4g}"


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
