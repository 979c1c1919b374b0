"""How many components? Fit a range of them, and charge each for its parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from minilvm.mixture.gaussian_mixture import GaussianMixture

CRITERIA: Final = ("aic", "bic", "icl")


@dataclass(frozen=True)
class Candidate:
    """A fitted mixture and what the criteria say of it; all but the log-likelihood are lower for the better."""

    n_components: int
    covariance_type: str
    log_likelihood: float  # nats, of all data
    aic: float
    bic: float
    icl: float
    mixture: GaussianMixture


@dataclass(frozen=True)
class Selection:
    """Candidates in the order in which they were fitted; `print` shows them as a table, `plot` as curves.

    Attributes
    ----------
    criterion
        What `best` has the least of: "aic", "bic" or "icl".
    """

    criterion: str
    candidates: list[Candidate]

    @property
    def best(self) -> GaussianMixture:
        """The fitted mixture that the criterion prefers."""
        return min(self.candidates, key=self._cost).mixture

    def _cost(self, candidate: Candidate) -> float:
        return float(getattr(candidate, self.criterion))

    def __str__(self) -> str:
        least = {name: min(getattr(c, name) for c in self.candidates) for name in CRITERIA}
        lines = [f"{'C':>3}  {'covariance':<10}  {'log p(X)':>12}" + "".join(f"  {name:>12} " for name in CRITERIA)]
        for c in self.candidates:
            costs = "".join(f"  {getattr(c, n):12.2f}{'*' if getattr(c, n) == least[n] else ' '}" for n in CRITERIA)
            lines.append(f"{c.n_components:3d}  {c.covariance_type:<10}  {c.log_likelihood:12.2f}{costs}")
        return "\n".join(line.rstrip() for line in lines)

    def plot(self, ax: Any) -> None:
        """Draw the criterion against the number of components on matplotlib's axes, and a ring around the best."""
        for kind in dict.fromkeys(c.covariance_type for c in self.candidates):
            curve = [(c.n_components, self._cost(c)) for c in self.candidates if c.covariance_type == kind]
            ax.plot(*zip(*curve, strict=True), marker="o", label=kind)
        best = min(self.candidates, key=self._cost)
        ax.plot(best.n_components, self._cost(best), marker="o", markersize=14, markerfacecolor="none", color="black")
        ax.set(xlabel="components", ylabel=f"{self.criterion.upper()}, lower is better")
        ax.legend()


def select(
    X: Any,
    n_components: Iterable[int] = range(1, 10),
    *,
    covariance_type: str | Iterable[str] = "full",
    criterion: str = "bic",
    sample_weight: Any = None,
    **arguments: Any,
) -> Selection:
    """Fit a mixture for each number of components and each covariance type, and say what each costs.

        AIC = −2 log p(X) + 2 P      BIC = −2 log p(X) + P log N      ICL = BIC + 2 Σ_n H(z | x_n)

    for P free parameters: AIC prefers what predicts, BIC the truth if it is among the candidates, ICL clusters that do
    not overlap.

    Parameters
    ----------
    X
        Data (N, D).
    n_components, covariance_type
        What to try.
    criterion
        "aic", "bic" or "icl".
    sample_weight
        How many samples each counts as, shape (N,).
    arguments
        The other arguments of `GaussianMixture`.

    Raises
    ------
    TypeError
        `n_components` is a single number.
    ValueError
        The criterion is none of these, there is nothing to try, or a fit fails.

    References
    ----------
    Fraley and Raftery, "Model-based clustering, discriminant analysis, and density estimation", *JASA* 97 (2002).

    Examples
    --------
    >>> from minilvm.data import load_old_faithful
    >>> print(select(load_old_faithful(), [1, 2, 3], tol=1e-6, max_iter=1000, random_state=0))
      C  covariance      log p(X)           aic            bic            icl
      1  full            -1289.80       2589.59        2607.62        2607.62
      2  full            -1130.26       2282.53        2322.19*       2323.58*
      3  full            -1119.30       2272.59*       2333.89        2402.25
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion is {criterion!r}; expected one of {', '.join(map(repr, CRITERIA))}")
    if not isinstance(n_components, Iterable):
        raise TypeError(f"n_components is {n_components!r}; expected several, such as range(1, 10)")
    kinds = [covariance_type] if isinstance(covariance_type, str) else covariance_type
    candidates = []
    for kind, n in itertools.product(kinds, n_components):
        mixture = GaussianMixture(n, covariance_type=kind, **arguments).fit(X, sample_weight=sample_weight)
        log_likelihood = mixture.score(X, sample_weight=sample_weight) * mixture.n_samples_seen_
        costs = (mixture.aic(X, sample_weight), mixture.bic(X, sample_weight), mixture.icl(X, sample_weight))
        candidates.append(Candidate(n, kind, log_likelihood, *costs, mixture))
    if not candidates:
        raise ValueError("there is nothing to select from: n_components or covariance_type is empty")
    return Selection(criterion, candidates)
