"""The chapters, as notebooks and as scripts. That the whole course runs is for .ci/run: ``python examples --quick``."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minilvm import data
from minilvm.inference import fit_em
from minilvm.models import MixtureOfGaussians

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))


def cells(path: Path) -> list[tuple[str, str]]:
    """Return the cells of a script as pairs of kind, "markdown" or "code", and source."""
    head, *rest = re.split(r"^# %%(?: \[(markdown)\])?\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert head == "", f"{path.name} does not begin with a cell"
    return [(kind or "code", source.strip()) for kind, source in zip(rest[::2], rest[1::2], strict=True)]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )


def test_chapters_are_numbered_from_1():
    assert [path.name[:2] for path in CHAPTERS] == [f"{i:02}" for i in range(1, len(CHAPTERS) + 1)]
    assert len(CHAPTERS) >= 5


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_opens_as_a_notebook(self, path):
        for kind, source in cells(path):
            assert source
            if kind == "markdown":
                assert all(line == "#" or line.startswith("# ") for line in source.splitlines()), source
            else:
                ast.parse(source)

    def test_reads_as_a_lesson(self, path):
        kinds, sources = zip(*cells(path), strict=True)
        assert sources[0].startswith(f"# # {int(path.name[:2])}. ")
        assert (kinds[0], kinds[-1]) == ("markdown", "markdown")
        assert sources[-1].startswith("# ## What this simplified\n")
        assert kinds.count("markdown") >= 5
        assert f'course.save(fig, "{path.stem}")' in path.read_text(encoding="utf-8")

    def test_cites_equations_that_exist(self, path):
        cited = set(re.findall(r"\bN\d+\b", path.read_text(encoding="utf-8")))
        known = set(re.findall(r'<a id="(N\d+)">', (ROOT / "docs" / "notes.md").read_text(encoding="utf-8")))
        assert cited
        assert cited <= known

    def test_reads_no_global_randomness(self, path):
        assert not re.search(r"\brandom\.(?!default_rng|Generator)", path.read_text(encoding="utf-8"))


def test_a_chapter_runs_alone_and_draws_its_picture():
    picture = ROOT / "examples" / "output" / "01_mixture_of_gaussians.png"
    picture.unlink(missing_ok=True)
    done = run("examples/01_mixture_of_gaussians.py", "--quick")
    assert done.returncode == 0, done.stderr
    assert "DOES NOT HOLD" not in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_table_survives_a_terminal_that_cannot_print_it():
    """A pipe on Windows has the encoding cp1252, which has no σ and no √."""
    done = subprocess.run(
        [sys.executable, "-c", "import course; course.chapter('1. σ'); course.report('√', '≤ 1')"],
        cwd=ROOT / "examples",
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"1. ?" in done.stdout


def test_the_course_refuses_unknown_options():
    done = run("examples", "--fast")
    assert done.returncode == 2
    assert "unrecognized arguments: --fast" in done.stderr


@pytest.mark.parametrize("seed", range(5))
def test_old_faithful_to_all_digits(seed):
    """Chapter 1's numbers, from several starts; the components come in either order."""
    x = data.load_old_faithful()
    model = fit_em(MixtureOfGaussians.initialise(x, 2, rng=seed), x).model
    order = np.argsort(model.means[:, 0])
    assert f"{model.log_marginal(x).sum():.4f}" == "-1130.2640"
    assert model.means[order].round(3).tolist() == [[2.036, 54.479], [4.29, 79.968]]
    assert model.weights[order].round(4).tolist() == [0.3559, 0.6441]
