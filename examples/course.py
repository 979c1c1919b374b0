"""What the chapters share: how big to run, how pictures look and where they go, and the table of numbers at the end."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

try:
    import matplotlib as mpl
    import matplotlib.pyplot as plt
except ImportError as error:
    raise SystemExit(
        f'The chapters draw with matplotlib ({error}): python -m pip install "minilvm[examples]"'
    ) from error

OUTPUT = Path(__file__).resolve().parent / "output"

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#8C8C8C"

# The matrices here are small: threads would cost more than they save, much more where other programs want the processor
# too, and adding up in another order would change last digits.
threadpool_limits(1)

if isinstance(sys.stdout, TextIOWrapper):  # where σ cannot be printed (a pipe on Windows) a ? is better than an end
    sys.stdout.reconfigure(errors="replace")

if "MPLBACKEND" not in os.environ:  # a notebook sets it, to show pictures in the page; a script only writes files
    mpl.use("agg")
plt.rcParams.update(
    {
        "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 12,
        "axes.labelsize": 11,
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.wspace": 0.06,
        "figure.dpi": 80,
        "font.size": 10.5,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "savefig.dpi": 150,
    }
)


@dataclass(frozen=True)
class Row:
    """A number of the table: what it is, what came out, what it should be, and whether it is."""

    quantity: str
    value: str
    expected: str
    holds: bool

    def __str__(self) -> str:
        line = f"  {self.quantity:<46}  {self.value:>17}  {self.expected}".rstrip()
        return line if self.holds else f"{line}  <-- DOES NOT HOLD"


TABLE: dict[str, list[Row]] = {}  # the rows of each chapter, under its title


def quick() -> bool:
    """Whether to run at small size: the script was called with ``--quick``."""
    return "--quick" in sys.argv[1:]


def chapter(title: str) -> None:
    """Begin a chapter: its numbers go under this title."""
    TABLE[title] = []
    print(f"\n{title}")


def report(quantity: str, value: str, expected: str = "", *, holds: bool = True) -> None:
    """Print a number, with what it should be, and keep it for the table. `holds` says whether the two agree."""
    row = Row(quantity, value, expected, holds)
    next(reversed(TABLE.values())).append(row)
    print(row)


def save(fig: Any, name: str) -> None:
    """Write a picture to ``examples/output/<name>.png``."""
    OUTPUT.mkdir(exist_ok=True)
    fig.savefig(OUTPUT / f"{name}.png")
    if plt.get_backend().lower() == "agg":  # in a notebook it stays open, to be shown
        plt.close(fig)


def table() -> str:
    """Return the numbers of all chapters so far as one table."""
    return "\n".join(line for title, rows in TABLE.items() for line in (title, *map(str, rows)))


def all_hold() -> bool:
    """Whether every number so far is what it should be."""
    return all(row.holds for rows in TABLE.values() for row in rows)
