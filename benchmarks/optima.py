"""How often does a mixture of Gaussians end at the best optimum known? Ten data sets, many starts, no timing.

    python benchmarks/optima.py [--quick] [--json FILE]

An end counts if its log-likelihood is within 0.1 nats of the best that anyone reached here. The same `tol`, `reg_covar`
and number of components for all; scikit-learn starts as it does by default, from one k-means.
"""

from __future__ import annotations

import json
import statistics
import warnings

import numpy
from harness import command_line
from sklearn import datasets, mixture
from sklearn.decomposition import PCA

from minilvm.data import load_old_faithful
from minilvm.mixture import GaussianMixture

HEADER = """\
| data, C | scikit-learn | ours | ours, split and merge | nats below the best, medians |
|---|---:|---:|---:|---|"""


def data_sets():
    """Yield (name, standardised points, number of components)."""
    rng = numpy.random.default_rng(0)

    def grid(k):
        corners = numpy.array([(i, j) for i in range(k) for j in range(k)], dtype=float)
        return numpy.concatenate([corner + 0.12 * rng.standard_normal((40, 2)) for corner in corners])

    small = [8.0 * rng.standard_normal(2) + 0.2 * rng.standard_normal((15, 2)) for _ in range(6)]
    sets = {
        "Old Faithful": (load_old_faithful(), 4),
        "iris": (datasets.load_iris().data, 4),
        "wine, 4 principal axes": (PCA(4).fit_transform(_standard(datasets.load_wine().data)), 4),
        "digits, 4 principal axes": (PCA(4).fit_transform(datasets.load_digits().data), 8),
        "grid of 3 × 3": (grid(3), 9),
        "grid of 5 × 5": (grid(5), 25),
        "two moons": (datasets.make_moons(400, noise=0.05, random_state=0)[0], 8),
        "two circles": (datasets.make_circles(400, noise=0.03, factor=0.5, random_state=0)[0], 8),
        "Swiss roll": (datasets.make_swiss_roll(500, random_state=0)[0], 10),
        "one large, six small": (numpy.concatenate([3.0 * rng.standard_normal((400, 2)), *small]), 7),
    }
    for name, (x, C) in sets.items():
        yield name, _standard(x), C


def _standard(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def main() -> None:
    """Print the table, and write it as JSON where asked to."""
    arguments = command_line(__doc__, "two starts: does it run, not what it finds").parse_args()
    warnings.simplefilter("ignore")  # of fits that stop before they have converged
    starts = range(2 if arguments.quick else 20)
    print(HEADER)
    rows = []
    for name, x, C in data_sets():
        shared = {"n_components": C, "tol": 1e-6, "max_iter": 2000, "reg_covar": 1e-4}
        ends = {
            "scikit-learn": [mixture.GaussianMixture(**shared, random_state=i).fit(x) for i in starts],
            "ours": [GaussianMixture(**shared, random_state=i).fit(x) for i in starts],
            "split and merge": [GaussianMixture(**shared, split_and_merge=True, random_state=i).fit(x) for i in starts],
        }
        reached = {who: [len(x) * end.score(x) for end in of] for who, of in ends.items()}
        best = max(max(of) for of in reached.values())
        share = {who: sum(end > best - 0.1 for end in of) / len(starts) for who, of in reached.items()}
        below = {who: best - statistics.median(of) for who, of in reached.items()}
        rows.append({"data": name, "components": C, "best": best, "share": share, "median_below": below})
        shares = " | ".join(f"{100 * s:.0f}%" for s in share.values())
        print(f"| {name}, {C} | {shares} | {', '.join(f'{b:.1f}' for b in below.values())} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
