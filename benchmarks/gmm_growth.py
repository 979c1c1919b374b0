"""How the cost of a pass of EM grows with the number of points and of components: in proportion, on one thread."""

from __future__ import annotations

import importlib.util
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import command_line, machine

from minilvm.inference import em_pass
from minilvm.threads import one_blas_thread

POINTS, COMPONENTS = [10_000, 30_000, 100_000, 300_000, 1_000_000], [2, 4, 8, 16, 32, 64]
D = 4
COVARIANCE_TYPES = ("full", "diag")


def cost(N: int, C: int, covariance_type: str, rounds: int) -> float:
    """Processor time of a pass, in milliseconds: the least of several."""
    spec = importlib.util.spec_from_file_location("contests", Path(__file__).with_name("gmm.py"))
    contests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(contests)
    x, start = contests.problem(N, D, C, covariance_type)
    times = []
    with one_blas_thread(), ThreadPoolExecutor(1) as executor:
        for _ in range(rounds):
            begun = time.process_time()
            em_pass(start, x, executor=executor)
            times.append(time.process_time() - begun)
    return 1e3 * min(times)


def draw(rows: list[dict[str, object]], file: Path) -> None:
    """Draw the cost against either number: straight lines."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    labels = {"N": "points, with 8 components", "C": "components, of 100,000 points"}
    for axis, (varied, label) in zip(axes, labels.items(), strict=True):
        for covariance_type in COVARIANCE_TYPES:
            mine = [row for row in rows if row["varied"] == varied and row["covariance_type"] == covariance_type]
            axis.plot([row[varied] for row in mine], [row["ms"] for row in mine], "o-", label=covariance_type)
        axis.set(xlabel=label, ylabel="a pass on one thread, ms", xlim=(0, None), ylim=(0, None))
        axis.legend(frameon=False)
    fig.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> None:
    """Run `[--quick] [--json FILE] [--plot FILE]`."""
    parser = command_line(__doc__, "few sizes, once: does it run")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them")
    arguments = parser.parse_args()
    points, components = (POINTS[:2], COMPONENTS[:2]) if arguments.quick else (POINTS, COMPONENTS)
    sizes = [("N", N, 8) for N in points] + [("C", 100_000, C) for C in components]
    rows = []
    for covariance_type in COVARIANCE_TYPES:
        for varied, N, C in sizes:
            ms = cost(N, C, covariance_type, rounds=2 if arguments.quick else 9)
            rows.append({"varied": varied, "covariance_type": covariance_type, "N": N, "C": C, "ms": ms})
    print(f"\n{machine()}\n\n| covariances | N | C | ms | ns for a point and a component |\n|---|---:|---:|---:|---:|")
    for row in rows:
        each = 1e6 * row["ms"] / (row["N"] * row["C"])
        print(f"| {row['covariance_type']} | {row['N']:,} | {row['C']} | {row['ms']:.3g} | {each:.2g} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.plot:
        draw(rows, arguments.plot)


if __name__ == "__main__":
    main()
