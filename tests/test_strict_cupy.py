"""The stand-in is as strict as CuPy; and its list of names is CuPy's own, checked where CuPy is installed."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import strict_cupy
from numpy.testing import assert_array_equal


def describe(cupy: Any) -> Iterator[str]:
    """List what CuPy offers, a line a name: "cupy.exp ufunc", "cupy.sum(a, axis=, …)", "cupy.pi"."""
    from cupyx.scipy import special

    for prefix, home in [
        ("cupy", cupy),
        ("cupy.linalg", cupy.linalg),
        ("cupy.ndarray", cupy.ndarray),
        ("cupy.random.Generator", cupy.random.Generator),
        ("cupyx.scipy.special", special),
    ]:
        for name in sorted(vars(home) if inspect.ismodule(home) else dir(home)):
            thing = getattr(home, name)
            if not name.startswith("_") and not inspect.ismodule(thing) and type(thing).__name__ != "_Feature":
                yield f"{prefix}.{name}{calling(thing)}"
    # cupyx.scipy.linalg cannot be imported without CUDA's libraries: its source says what it exports
    source = Path(importlib.util.find_spec("cupyx.scipy.linalg").origin).read_text(encoding="utf-8")
    imports = (node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom))
    yield from sorted(
        f"cupyx.scipy.linalg.{alias.name}(*args, **kwargs)"
        for node in imports
        for alias in node.names
        if not alias.name.startswith("_")
    )


def calling(thing: Any) -> str:
    """How to call it: " ufunc", "(a, axis=)", or nothing where it is no function."""
    kind = type(thing).__name__
    if kind in {"ufunc", "_GUFunc"}:
        return " ufunc"
    if not callable(thing) or isinstance(thing, type):
        return ""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:  # compiled: its docstring begins with its signature, as Cython writes it
        found = re.match(r"[\w.]*\((.*?)\)(?= ->|\n|$)", thing.__doc__ or "")
        listed = re.sub(r"(?<=[(, ])(?:int|bool|Py_ssize_t|_ndarray_base) (?=\w)", "", f" {found[1]}")[1:]
        listed = re.sub(r"=[^,]*", "=", listed.removeprefix("self").removeprefix(", "))
        return f"({listed})"
    words: list[str] = []
    parameters = [p for p in parameters if p.name != "self"]
    for p, following in zip(parameters, [*parameters, None][1:], strict=True):
        if p.kind is p.KEYWORD_ONLY and "*" not in words and not any(w.startswith("*") for w in words):
            words.append("*")
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        words.append(stars + p.name + ("" if p.default is p.empty else "="))
        if p.kind is p.POSITIONAL_ONLY and (following is None or following.kind is not p.POSITIONAL_ONLY):
            words.append("/")
    return f"({', '.join(words)})"


# What it refuses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def x() -> strict_cupy.ndarray:
    return strict_cupy.asarray([[1.0, 2.0], [3.0, 4.0]])


class TestStrictness:
    @pytest.mark.parametrize(
        "convert",
        [
            numpy.asarray,
            numpy.array,
            lambda x: numpy.array([x, x]),
            lambda x: numpy.ones(2)[x[0, 0]],
            lambda x: numpy.testing.assert_array_equal(x, x),
            lambda x: numpy.zeros(2).__setitem__(0, x),
        ],
    )
    def test_never_becomes_a_numpy_array_by_itself(self, convert, x):
        with pytest.raises((TypeError, ValueError)) as caught:
            convert(x)
        said = f"{caught.value} {caught.value.__cause__}"
        assert re.search("Implicit conversion to a NumPy array is not allowed|only integers|setting an array", said)

    @pytest.mark.parametrize(
        "mix",
        [
            lambda x, host: x + host,
            lambda x, host: host + x,
            lambda x, host: x @ host,
            lambda x, host: host @ x,
            lambda x, host: x > host,
            lambda x, host: numpy.maximum(host, x),
            lambda x, host: numpy.concatenate([x, host]),
            lambda x, host: numpy.where(x > 0, x, host),
            lambda x, host: x.__iadd__(host),
            lambda x, host: x.__setitem__(0, host[0]),
            lambda x, host: strict_cupy.exp(host),
            lambda x, host: strict_cupy.sum(host),
            lambda x, host: strict_cupy.linalg.inv(host),
            lambda x, host: strict_cupy.scipy.special.erf(host),
        ],
    )
    def test_a_numpy_array_is_no_operand(self, mix, x):
        with pytest.raises(TypeError):
            mix(x, numpy.ones((2, 2)))

    def test_numbers_are_operands(self, x):
        for number in (2, 2.0, True, numpy.float64(2.0), numpy.int32(2)):
            for y in (x * number, number * x, number - x, numpy.maximum(x, number), x**number):
                assert isinstance(y, strict_cupy.ndarray)

    def test_a_reduction_is_an_array(self, x):
        for y in (x.sum(), x.max(axis=0)[0], numpy.sum(x), x[0, 0], strict_cupy.mean(x), numpy.linalg.norm(x)):
            assert isinstance(y, strict_cupy.ndarray)
            assert y.shape == ()

    def test_a_number_is_fetched_when_asked_for(self, x):
        total = x.sum()
        assert (float(total), int(total), total.item(), bool(total > 3.0)) == (10.0, 10, 10.0, True)
        assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert_array_equal(x.get(), [[1.0, 2.0], [3.0, 4.0]])
        with pytest.raises(TypeError, match="integer"):
            range(x.sum())

    @pytest.mark.parametrize("name", ["vecdot", "errstate", "unstack", "linalg.multi_dot", "scipy.special.softplus"])
    def test_has_no_name_that_cupy_has_not(self, name):
        with pytest.raises(AttributeError):
            eval(f"strict_cupy.{name}")  # noqa: S307

    @pytest.mark.parametrize(
        "call",
        [
            lambda x: numpy.vecdot(x, x),
            numpy.add.reduce,
            numpy.linalg.diagonal,
            lambda x: numpy.sum(x, where=x > 0),
            lambda x: x.sum(initial=1.0),
            lambda x: numpy.eye(2, like=x),
            lambda x: numpy.max(x, initial=0.0),
            lambda x: strict_cupy.add.at(x.astype("int64"), 0, 1),
            lambda x: strict_cupy.exp.at(x, 0),
        ],
    )
    def test_no_call_works_that_cupy_refuses(self, call, x):
        with pytest.raises((TypeError, AttributeError)):
            call(x)

    def test_a_condition_is_an_array(self, x):
        with pytest.raises(AttributeError):
            strict_cupy.where(True, x, x)

    @pytest.mark.parametrize("name", ["normal", "choice", "permutation", "shuffle", "spawn", "laplace", "gumbel"])
    def test_the_generator_has_cupys_methods_alone(self, name):
        with pytest.raises(AttributeError, match=name):
            getattr(strict_cupy.random.default_rng(0), name)

    def test_the_generator_draws_arrays(self):
        rng = strict_cupy.random.default_rng(0)
        assert strict_cupy.random.default_rng(rng) is rng
        for y in (rng.random(), rng.standard_normal((2, 3), dtype="float32"), rng.uniform(size=2, dtype="float32")):
            assert isinstance(y, strict_cupy.ndarray)
        with pytest.raises(TypeError):
            strict_cupy.random.default_rng(numpy.random.default_rng(0))

    def test_a_foreign_array_gets_its_turn(self, x):
        class Foreign:
            def __array_ufunc__(self, f, method, *args, **options):
                return f.__name__

            def __array_function__(self, f, kinds, args, options):
                return f.__name__

        assert (x + Foreign(), numpy.subtract(Foreign(), x)) == ("add", "subtract")
        assert numpy.where(x > 0, x, Foreign()) == "where"
        with pytest.raises(TypeError):
            strict_cupy.where(x > 0, x, Foreign())

    def test_views_are_views(self, x):
        x[0][:] = 0.0
        assert x.tolist() == [[0.0, 0.0], [3.0, 4.0]]
        assert not x.T.flags.owndata
        assert x.copy().flags.owndata


def test_the_list_of_names_is_cupys_own():
    cupy = installed_cupy()
    recorded = Path(strict_cupy.__file__).with_name("cupy_api.txt").read_text(encoding="utf-8").splitlines()[1:]
    if cupy.__version__ != strict_cupy.__version__:
        pytest.skip(f"the list is of CuPy {strict_cupy.__version__}, and here is {cupy.__version__}")
    assert list(describe(cupy)) == recorded


def installed_cupy() -> Any:
    with warnings.catch_warnings():  # of a missing GPU: the names are there without one
        warnings.simplefilter("ignore")
        return pytest.importorskip("cupy", reason="CuPy is not installed: its list of names is taken on trust")


if __name__ == "__main__":  # python tests/test_strict_cupy.py > tests/cupy_api.txt, where CuPy is installed
    import cupy

    sys.stdout.write(f"# What CuPy {cupy.__version__} offers; written by test_strict_cupy.py, which checks it.\n")
    sys.stdout.writelines(line + "\n" for line in describe(cupy))
