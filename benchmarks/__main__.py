"""Run every benchmark: `python benchmarks [--quick]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    for script in sorted(HERE.glob("[a-z]*.py")):
        if script.stem != "harness":
            print(f"\n## {script.stem}\n", flush=True)
            subprocess.run([sys.executable, str(script), *sys.argv[1:]], check=True)
