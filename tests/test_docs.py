"""The pages of the laws: each is there, with its picture, and what the index says of a law the law says of itself.

And the notes: the tests that they name are there.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from minilvm import distributions
from minilvm.distributions import Distribution
from minilvm.distributions.kl import TABLE
from tests.distributions.test_base import LAWS

PAGES = Path(__file__).parent.parent / "docs" / "distributions"
EXPORTED = [getattr(distributions, name) for name in distributions.__all__]
KINDS = [
    kind for kind in EXPORTED if isinstance(kind, type) and issubclass(kind, Distribution) and kind is not Distribution
]
each_law = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def stem(kind):
    """The name of a law's page, picture and source: OneHotCategorical is at one_hot_categorical."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def row(kind):
    """What the index says of a law, column by column."""
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^\| \[{kind.__name__}\]\({stem(kind)}\.md\) \|(.*)\|$", index, flags=re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


@each_law
def test_each_law_has_a_page_with_an_equation_a_picture_and_its_source(kind):
    page = (PAGES / f"{stem(kind)}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {kind.__name__}\n\n    ")
    assert f"](pictures/{stem(kind)}.png)" in page
    assert f"](../../minilvm/distributions/{stem(kind)}.py)" in page
    assert "**Draws.**" in page or "**Draws" in page
    assert ">>> " in page
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (PAGES / link).exists(), link
    assert (PAGES / "pictures" / f"{stem(kind)}.png").stat().st_size <= 25_000


@each_law
def test_the_index_says_which_draws_are_differentiable(kind):
    if isinstance(kind.reparameterized, bool):
        assert (row(kind)[1] != "–") == kind.reparameterized


@each_law
def test_the_index_says_what_a_law_knows_of_itself(kind):
    rows = [r.lacks for name, r in LAWS.items() if re.match(rf"{kind.__name__}(?![A-Za-z])", name)]
    lacks = min(rows, key=len)  # of vectors a law may know less
    has = [what for what in ("mean", "variance", "mode", "entropy", "cdf", "icdf") if what not in lacks.split()]
    assert row(kind)[2] == (" ".join(has) or "–")


@each_law
def test_the_index_says_which_divergences_there_are(kind):
    there = {q.__name__ for p, q in TABLE if p is kind}
    assert set(row(kind)[3].replace("–", "").split(", ")) - {""} == there


def test_every_name_that_stands_for_one_of_pytorchs_exists():
    index = (PAGES / "index.md").read_text(encoding="utf-8")
    table = index.partition("## From `torch.distributions`")[2]
    names = re.findall(r"^\| `\w+` \| `(\w+)", table, flags=re.MULTILINE)
    assert len(names) > 20
    assert [name for name in names if not hasattr(distributions, name)] == []


def test_the_pictures_can_be_drawn(tmp_path):
    spec = importlib.util.spec_from_file_location("draw", PAGES / "draw.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert set(draw.DRAWINGS) == set(map(stem, KINDS))
    for name in draw.DRAWINGS:
        assert draw.draw(name, tmp_path, n=2).stat().st_size > 1000


def test_the_notes_name_tests_that_exist():
    """The table of planted faults (10.6) would rot without a word: a test that is renamed is caught here."""
    notes = (PAGES.parent / "notes.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:\w+/)?test_\w+\.py)::(\w+)`", notes)
    assert len(named) > 30
    for path, name in named:
        tree = ast.parse((Path(__file__).parent / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
