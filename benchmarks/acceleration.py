"""How many passes over the data do SQUAREM's leaps save where EM is slow? No timing.

The problems are those of `tests/inference/test_steps.py`; both stop where a step gains less than 1e-10 nats a point.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy
from harness import command_line

from minilvm.inference import fit_em

sys.path.append(str(Path(__file__).parents[1]))
from tests.inference.test_steps import diagonal, faint_bits, in_other_units, overfitted, overlapping

PROBLEMS = [overlapping, overfitted, in_other_units, diagonal, faint_bits]


def main() -> None:
    """Run `[--quick] [--json FILE]`."""
    arguments = command_line(__doc__, "the first problem only").parse_args()
    rows = []
    print("| problem | passes, EM | passes, SQUAREM | times fewer | higher by, nats |\n|---|---:|---:|---:|---:|")
    for problem in PROBLEMS[: 1 if arguments.quick else None]:
        start, x = problem(numpy.random.default_rng(0))
        plain, fast = (fit_em(start, x, max_iter=6000, accelerate=how) for how in (None, "squarem"))
        gain = fast.lower_bounds[-1] - plain.lower_bounds[-1]
        name = problem.__doc__.rstrip(".")
        rows.append({"problem": name, "em": plain.n_passes, "squarem": fast.n_passes, "higher_by": gain})
        times = plain.n_passes / fast.n_passes
        print(f"| {name} | {plain.n_passes:,} | {fast.n_passes:,} | {times:.1f} | {gain:.0e} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
