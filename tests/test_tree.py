"""Trees: what `map` does to the leaves it does to nothing else, and a path is what one would write to get there."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilvm import tree


@dataclasses.dataclass(frozen=True)
class Scale:
    value: Any
    unit: str = tree.static(default="nat")

    def __post_init__(self):
        if isinstance(self.value, float) and self.value < 0.0:
            raise ValueError("a scale is positive")


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    first: Any
    second: Any = None
    made: Any = dataclasses.field(init=False, default=0.5)


class Pair(NamedTuple):
    a: Any
    b: Any


leaves = st.floats(0.0, 100.0)
trees = st.recursive(
    leaves | st.none(),
    lambda child: st.one_of(
        st.lists(child, max_size=3),
        st.tuples(child, child),
        st.dictionaries(st.text("abc", min_size=1) | st.integers(0, 3), child, max_size=3),
        st.builds(Scale, child),
        st.builds(Box, child, child),
        st.builds(Pair, child, child),
    ),
    max_leaves=8,
)


class TestMap:
    @given(t=trees)
    def test_of_the_identity_is_the_identity(self, t):
        assert tree.map(lambda x: x, t) == t

    @given(t=trees)
    def test_of_one_function_after_another_is_of_both(self, t):
        def f(x):
            return x + 1.0

        def g(x):
            return 2.0 * x

        assert tree.map(g, tree.map(f, t)) == tree.map(lambda x: g(f(x)), t)

    @given(t=trees)
    def test_walks_trees_of_one_structure_together(self, t):
        assert tree.map(lambda a, b, c: a - b + c, t, t, t) == t

    @given(t=trees)
    def test_leaves_the_tree_alone(self, t):
        before = repr(t)
        tree.map(lambda x: -x, t)
        assert repr(t) == before

    def test_carries_static_fields_along(self):
        assert tree.map(lambda x: 2.0 * x, Scale(1.0, "bit")) == Scale(2.0, "bit")

    def test_does_not_call_the_constructor(self):
        """The gradient of a scale may be negative, though no scale may."""
        with pytest.raises(ValueError, match="positive"):
            Scale(-1.0)
        assert tree.map(lambda x: -x, Scale(1.0)).value == -1.0

    def test_knows_arrays_and_functions_as_leaves(self):
        x = numpy.ones(2)
        assert tree.leaves({"x": x, "f": abs, "class": Scale}) == [x, abs, Scale]


class TestFlatten:
    @given(t=trees)
    def test_unflatten_is_its_inverse(self, t):
        flat, structure = tree.flatten(t)
        assert tree.unflatten(structure, flat) == t

    @given(t=trees)
    def test_leaves_come_in_the_order_in_which_map_visits_them(self, t):
        visited: list[float] = []
        tree.map(visited.append, t)
        assert visited == tree.leaves(t)

    @given(t=trees)
    def test_new_leaves_take_the_places_of_the_old(self, t):
        n = len(tree.leaves(t))
        assert tree.leaves(tree.unflatten(t, range(n))) == list(range(n))

    @given(t=trees, extra=st.sampled_from([-1, 1]))
    def test_another_number_of_leaves_is_refused(self, t, extra):
        n = len(tree.leaves(t))
        if n + extra >= 0:
            with pytest.raises(ValueError, match=f"{n + extra} leaves for a tree of {n}"):
                tree.unflatten(t, [0.0] * (n + extra))

    def test_nothing_has_no_leaves(self):
        for empty in (None, {}, [], (), Scale(None)):
            assert tree.leaves(empty) == []
            assert tree.unflatten(empty, []) == empty


class TestPaths:
    @given(t=trees)
    def test_are_what_one_would_write(self, t):
        assert [eval(f"t{path}", {"t": t}) for path in tree.paths(t)] == tree.leaves(t)  # noqa: S307

    def test_of_a_leaf_is_empty(self):
        assert tree.paths(1.0) == [""]


class TestMismatch:
    @pytest.mark.parametrize(
        ("a", "b", "place"),
        [
            ({"a": 1.0}, {"b": 1.0}, r"the root: dict of \['a'\] .* dict of \['b'\]"),
            ({"a": {"b": [1.0]}}, {"a": {"b": [1.0, 2.0]}}, r"a/b: list of \[0\] .* list of \[0, 1\]"),
            ([(1.0,)], [[1.0]], r"0: tuple of \[0\] .* list of \[0\]"),
            (Scale([1.0]), Scale(1.0), r"value: list of \[0\] .* leaf float"),
            ((1.0, None), (1.0, [2.0]), r"1: NoneType of \[\] .* list"),
            (Scale(1.0), Box(1.0), r"the root: Scale of \['value'\] .* Box"),
        ],
    )
    def test_says_where_and_what(self, a, b, place):
        with pytest.raises(ValueError, match=f"trees differ at {place}"):
            tree.map(lambda x, y: x, a, b)

    def test_the_order_of_keys_does_not_matter(self):
        assert tree.map(lambda x, y: x - y, {"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}) == {"a": 0.0, "b": 0.0}


class TestOutline:
    @given(t=trees)
    def test_is_the_leaves_and_a_key_of_all_the_rest(self, t):
        leaves, key = tree.outline(t)
        assert leaves == tree.leaves(t)
        other = tree.outline(tree.map(lambda _: "other", t))[1]
        assert (key, hash(key)) == (other, hash(other))

    def test_tells_everything_but_leaves_apart(self):
        different = [
            1.0,
            [1.0],
            (1.0,),
            [1.0, 1.0],
            [[1.0], 1.0],
            [[1.0, 1.0]],
            {"a": 1.0},
            {"b": 1.0},
            None,
            [None],
            [],
        ]
        different += [Scale(1.0), Scale(1.0, "bit"), Scale([1.0]), Pair(1.0, 1.0)]
        assert len({tree.outline(t)[1] for t in different}) == len(different)


def test_is_leaf():
    assert [tree.is_leaf(x) for x in (1.0, "a", numpy.ones(2), Scale, None, [], {}, Scale(1.0), Pair(1.0, 2.0))] == [
        *[True] * 4,
        *[False] * 5,
    ]
