"""Peak memory: a large VAE step beside PyTorch's, log p(x) from many samples, and a long graph made again and again.

Each contender runs in a process of its own; what is reported is the process's peak less what it held before the step.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from harness import command_line, installed, machine

BATCH, NET = 10_000, (784, [200, 200], 50)


def peak_mb() -> float:
    """The most memory this process ever held, in MB."""
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def benchmark(name: str) -> ModuleType:
    """Import another benchmark by its file: their names are those of libraries."""
    spec = importlib.util.spec_from_file_location(f"steps_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of_step(contender: str, batch: int) -> float:
    """Peak memory of training steps above what libraries, data and parameters take."""
    import numpy

    steps = benchmark("autograd")
    d, hidden, n_latents = NET
    x = (numpy.random.default_rng(0).random((batch, d), dtype="float32") < 0.3).astype(numpy.float32)
    make = {"minilvm": steps.our_vae, "torch": steps.torch_vae}[contender]
    make(d, hidden, n_latents, x[:10])()  # libraries loaded, threads started
    step = make(d, hidden, n_latents, x)
    before = peak_mb()
    for _ in range(3):
        step()
    return peak_mb() - before


def of_evaluation(n_samples: int) -> float:
    """Peak memory of log p(x) of 100 images by IWAE, above what libraries, data and parameters take."""
    estimators = benchmark("estimators")
    estimators.TORCH = estimators.JAX = False
    estimators.evaluation({}, 10).subject()
    evaluate = estimators.evaluation({}, n_samples).subject
    before = peak_mb()
    evaluate()
    return peak_mb() - before


def of_long_graphs(repeats: int, operations: int = 200_000) -> tuple[float, float]:
    """Peak memory after the first and after the last of many long graphs: equal, if nothing leaks."""
    import minilvm.numpy as np
    from minilvm.autograd import grad

    def chain(x):
        for _ in range(operations):
            x = np.sin(x)
        return x

    gradient = grad(chain)
    gradient(0.5)
    first = peak_mb()
    for _ in range(repeats - 1):
        gradient(0.5)
    return first, peak_mb()


def in_new_process(*arguments: str) -> list[float]:
    """Run this file with other arguments, and read the numbers it prints."""
    run = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    return [float(word) for word in run.stdout.split()]


def main() -> None:
    """Run `[--quick] [--json FILE]`, or one contender where `--only` says so."""
    parser = command_line(__doc__, "a small batch and few repeats: does it run")
    parser.add_argument("--only", nargs=2, metavar=("WHAT", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        what, size = arguments.only[0], int(arguments.only[1])
        alone = {"graphs": of_long_graphs, "evaluation": lambda K: [of_evaluation(K)]}
        print(*(alone[what](size) if what in alone else [of_step(what, size)]))
        return
    batch, repeats = (1_000, 3) if arguments.quick else (BATCH, 50)
    rows = []
    (ours,) = in_new_process("--only", "minilvm", str(batch))
    if installed("torch"):
        (theirs,) = in_new_process("--only", "torch", str(batch))
        rows.append(row(f"VAE step 784-200-200-50, batch {batch:,}", "torch", ours, theirs, 1.3))
    else:
        print("torch is not installed, left out", file=sys.stderr)
    n_samples = 500 if arguments.quick else 5_000
    (ours,) = in_new_process("--only", "evaluation", str(n_samples))
    rows.append(row(f"log p(x) of 100 images, IWAE-{n_samples:,}", "100 MB", ours, 100.0, 1.0))
    first, last = in_new_process("--only", "graphs", str(repeats))
    rows.append(row(f"200,000 operations, {repeats} times", "the first time", last, first, 1.05))
    print(f"\n{machine()}\n\n| work | peer | ours, MB | peer, MB | ratio | goal | met |")
    print("|---|---|---:|---:|---:|---:|---|")
    for r in rows:
        met = "yes" if r["met"] else "**no**"
        print(
            f"| {r['work']} | {r['peer']} | {r['subject_mb']:.0f} | {r['peer_mb']:.0f} "
            f"| {r['ratio']:.2f} | ≤ {r['goal']:g} | {met} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def row(work: str, peer: str, ours: float, theirs: float, goal: float) -> dict[str, object]:
    """One record, in the form that the other benchmarks have."""
    ratio = ours / theirs
    return {
        "work": work, "subject": "minilvm", "peer": peer, "subject_mb": ours, "peer_mb": theirs,
        "ratio": ratio, "goal": goal, "met": ratio <= goal,
    }  # fmt: skip


if __name__ == "__main__":
    main()
