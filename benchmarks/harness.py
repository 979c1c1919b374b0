"""How every benchmark here measures: contenders in turn within each round, medians over rounds, ratios to goals.

A round times each contender once, so a machine that slows down slows all of them; the median forgets the rounds in
which something else ran. A peer that is not installed is left out with a note.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy

# A script's own folder comes first on the path, where benchmarks/autograd.py would pass for the peer of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]

Work = Callable[[], object]


@dataclass
class Contest:
    """One piece of work, done by us and by peers; `goals` are the most our time may be, as multiples of a peer's.

    Where the work is `per` steps, times are of one.
    """

    work: str
    subject: Work
    peers: dict[str, Work | None] = field(default_factory=dict)
    goals: dict[str, float] = field(default_factory=dict)
    per: int = 1


@dataclass
class Row:
    """One line of the table, and one record of the JSON file. Times in milliseconds."""

    work: str
    subject: str
    peer: str
    subject_ms: float
    peer_ms: float
    ratio: float
    goal: float | None
    met: bool | None


def installed(name: str) -> bool:
    """Whether a peer can be imported."""
    return importlib.util.find_spec(name) is not None


def measure(contest: Contest, rounds: int, patience: float = 120.0) -> list[Row]:
    """Time the contenders in turn, `rounds` times, and compare medians; after `patience` seconds 7 are enough."""
    contenders = {"minilvm": contest.subject} | {name: work for name, work in contest.peers.items() if work is not None}
    repeats = {name: _repeats(work) for name, work in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    begun = time.perf_counter()
    for done in range(rounds):
        if done >= 7 and time.perf_counter() - begun > patience:
            break
        for name, work in contenders.items():
            gc.collect()
            time.sleep(0.05)  # the last contender's threads spin on for a while, waiting for work: let them lie down
            start = time.perf_counter()
            for _ in range(repeats[name]):
                work()
            times[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
    medians = {name: statistics.median(samples) / contest.per for name, samples in times.items()}
    ours = medians.pop("minilvm")
    rows = []
    for peer, theirs in medians.items():
        goal = contest.goals.get(peer)
        ratio = ours / theirs
        met = None if goal is None else ratio <= goal
        rows.append(Row(contest.work, "minilvm", peer, ours, theirs, ratio, goal, met))
    return rows


def _repeats(work: Work, least: float = 5e-2) -> int:
    """How often to do `work` for a reading of at least 50 ms, so that what the contender before left cold is warm."""
    work()
    start = time.perf_counter()
    work()
    return max(1, int(least / max(time.perf_counter() - start, 1e-9)))


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| work | peer | ours, ms | peer, ms | ratio | goal | met |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        goal = "" if row.goal is None else f"≤ {row.goal:g}"
        met = "" if row.met is None else ("yes" if row.met else "**no**")
        lines.append(
            f"| {row.work} | {row.peer} | {row.subject_ms:.3g} | {row.peer_ms:.3g} | {row.ratio:.2f} | {goal} | {met} |"
        )
    return "\n".join(lines)


def machine() -> str:
    """Name the machine and the libraries: a ratio belongs to them."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = f"{len(names)} × {names[0].partition(':')[2].strip()}" if names else processor
    versions = [f"Python {platform.python_version()}", f"NumPy {numpy.__version__}"]
    for name, title in [("torch", "PyTorch"), ("jax", "JAX"), ("sklearn", "scikit-learn")]:
        if name in sys.modules:
            versions.append(f"{title} {sys.modules[name].__version__}")
    return f"{processor}; {', '.join(versions)}"


def command_line(doc: str, quick: str) -> argparse.ArgumentParser:
    """Return what every benchmark is asked by: `[--quick] [--json FILE]`."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON too")
    return parser


def main(contests: Callable[..., Iterable[Contest]], doc: str) -> list[Row]:
    """Run a benchmark's contests as its command line asks."""
    arguments = command_line(doc, "few rounds: does it run, not how fast").parse_args()
    rows: list[Row] = []
    for contest in contests(quick=arguments.quick):
        for name, work in contest.peers.items():
            if work is None:
                print(f"{contest.work}: {name} is not installed, left out", file=sys.stderr)
        rows += measure(contest, rounds=3 if arguments.quick else 30)
        print(f"{contest.work}: done", file=sys.stderr)
    print(f"\n{machine()}\n\n{table(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(row) for row in rows], indent=1))
    return rows
