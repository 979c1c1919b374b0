"""How many digits does a step of EM keep? Clusters from wide to a ten-millionth of the data's range; no timing.

The problems, and the textbook in extended precision that they are held to, are of `tests/models/test_accuracy.py`.
Errors of the log-likelihood are relative, of means in deviations, of covariances relative to the largest element; ours
stands first, then scikit-learn's.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy
from harness import command_line
from sklearn import mixture

sys.path.append(str(Path(__file__).parents[1]))
from tests.models.test_accuracy import errors, ours, problem, step

HEADER = """\
| deviation / range | condition | log-likelihood | means | covariances |
|---|---:|---:|---:|---:|"""


def theirs(x: numpy.ndarray, model):
    """Return what scikit-learn makes of the same step."""
    precisions = numpy.linalg.inv(model.covariances)
    start = {
        "weights_init": model.weights,
        "means_init": model.means,
        "precisions_init": 0.5 * (precisions + precisions.swapaxes(1, 2)),
    }
    fitted = mixture.GaussianMixture(len(model.weights), reg_covar=0.0, max_iter=1, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one step is not enough
        fitted.fit(x)
    return fitted.lower_bound_ * len(x), fitted.weights_, fitted.means_, fitted.covariances_


def main() -> None:
    """Run `[--quick] [--json FILE]`."""
    arguments = command_line(__doc__, "two widths only").parse_args()
    rows = []
    print(HEADER)
    for exponent in (1, 7) if arguments.quick else range(1, 8):
        for condition in (1.0, 1e2):
            sd = 10.0**-exponent
            x, matrices, model = problem(sd, condition, "full")
            expected = step(x, model.weights, model.means, matrices, "full")
            found = {
                who: errors(of(x, model), expected, sd).tolist()
                for who, of in {"ours": ours, "sklearn": theirs}.items()
            }
            rows.append({"deviation": sd, "condition": condition, **found})
            pairs = zip(*found.values(), strict=True)
            numbers = " | ".join(f"{mine:.0e}, {other:.0e}" for mine, other in pairs)
            print(f"| 1e-{exponent} | {condition:g} | {numbers} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
