"""The course, from the first chapter to the last: ``python examples``, or ``python examples --quick`` at small size."""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from pathlib import Path

import course


def main() -> int:
    """Run every chapter and print the numbers; 1 if one of them is not what it should be."""
    parser = argparse.ArgumentParser(prog="python examples", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same course at small size")
    parser.parse_args()
    start = time.perf_counter()
    chapters = sorted(Path(__file__).resolve().parent.glob("[0-9][0-9]_*.py"))
    timings = []
    for path in chapters:
        begun = time.perf_counter()
        runpy.run_path(str(path), run_name="__main__")
        timings.append(f"{path.name[:2]}: {time.perf_counter() - begun:.1f} s")
    print(f"\n{course.table()}\n")
    print(f"{len(chapters)} chapters in {time.perf_counter() - start:.1f} s ({', '.join(timings)})")
    print(f"Pictures: {', '.join(sorted(path.name for path in course.OUTPUT.glob('*.png')))} in {course.OUTPUT.name}/")
    if not course.all_hold():
        print("Some numbers are not what they should be: look for <-- in the table", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
