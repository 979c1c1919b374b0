"""Trees of arrays: nested dicts, lists, tuples and dataclasses, seen as one flat list of leaves and back.

A network, a distribution, a model, a gradient and an optimiser's state are all trees, so one `map` serves them all.
A leaf is whatever is not a container; None is an empty container. A dataclass field declared with `static()` belongs to
the structure: it is carried along and never mapped over. Rebuilding a dataclass does not call its `__init__`, because
the gradient of a scale may be negative though no scale may.

>>> map(lambda x: 2 * x, {"w": 1.0, "b": [2.0, 3.0]})
{'w': 2.0, 'b': [4.0, 6.0]}
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

__all__ = ["flatten", "is_leaf", "leaves", "map", "outline", "paths", "static", "unflatten"]

T = TypeVar("T")
Key = str | int


def static(**options: Any) -> Any:
    """Declare a dataclass field that is structure and not data: a size, a name, a function.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Layer:
    ...     weight: float
    ...     activation: str = static(default="tanh")
    >>> map(lambda x: 10 * x, Layer(2.0))
    Layer(weight=20.0, activation='tanh')
    """
    return dataclasses.field(metadata={"static": True}, **options)


def map(f: Callable[..., Any], tree: T, *rest: Any) -> T:
    """Return the tree of `f(leaf, *leaves_of_rest)`, in the structure of `tree`.

    Raises
    ------
    ValueError
        A tree of `rest` has another structure; the message says where.
    """
    mapped: T
    if rest:
        columns = zip(leaves(tree), *[_aligned(tree, other, ()) for other in rest], strict=True)
        following = iter([f(*column) for column in columns])
        mapped = _map(lambda _: next(following), tree)
    else:
        mapped = _map(f, tree)
    return mapped


def leaves(tree: Any) -> list[Any]:
    """Return the leaves, in order.

    >>> leaves({"w": 1.0, "b": (2.0, None)})
    [1.0, 2.0]
    """
    found: list[Any] = []
    _collect((tree,), found)
    return found


def flatten(tree: T) -> tuple[list[Any], T]:
    """Return the leaves and the structure, which is the tree itself; `unflatten(structure, leaves)` is the inverse."""
    return leaves(tree), tree


def unflatten(structure: T, leaves: Iterable[Any]) -> T:
    """Return the tree of this structure with these leaves, in order.

    >>> unflatten({"w": 0.0, "b": [0.0]}, [1.0, 2.0])
    {'w': 1.0, 'b': [2.0]}
    """
    supply = list(leaves)
    following = iter(supply)
    try:
        tree = map(lambda _: next(following), structure)
        fits = next(following, following) is following
    except StopIteration:
        fits = False
    if not fits:
        raise ValueError(f"{len(supply)} leaves for a tree of {len(flatten(structure)[0])}")
    return tree


def paths(tree: Any) -> list[str]:
    """Return where each leaf stands, as one would write it: "['layers'][0].weight".

    >>> paths({"w": 1.0, "b": [2.0]})
    ["['w']", "['b'][0]"]
    """
    return list(_walk(tree, ""))


def is_leaf(tree: Any) -> bool:
    """Whether `tree` is a leaf, and no container.

    >>> is_leaf(1.0), is_leaf([1.0]), is_leaf(None)
    (True, False, False)
    """
    return _container(tree.__class__) is None


def outline(tree: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """Return the leaves, and all the rest as a key: equal for trees that differ in their leaves alone.

    Raises
    ------
    TypeError
        A static field is not hashable; when the key is used.

    >>> (a, key), (b, other) = outline({"w": 1.0}), outline({"w": 2.0})
    >>> a, b, key == other, key == outline([1.0])[1]
    ([1.0], [2.0], True, False)
    """
    found: list[Any] = []
    parts: list[Any] = []
    _trace_outline(tree, found, parts)
    return found, tuple(parts)


class _Container(NamedTuple):
    """How to take one type of container apart, and how to map its children into another like it."""

    keys: Callable[[Any], Iterable[Key]]
    children: Callable[[Any], Iterable[Any]]
    map: Callable[[Callable[[Any], Any], Any], Any]
    spelling: str = "[{!r}]"
    rest: Callable[[Any], Any] = lambda _: ()  # of what it is, besides its type and its children's values


def _described(kind: type) -> _Container | None:
    """The container that a type is, or None for the type of a leaf."""
    if issubclass(kind, dict):
        return _Container(
            dict.keys, dict.values, lambda f, tree: {key: _map(f, child) for key, child in tree.items()}, rest=tuple
        )
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _Container(
            lambda tree: tree._fields, iter, lambda f, tree: kind(*[_map(f, child) for child in tree]), ".{}"
        )
    if issubclass(kind, tuple | list):
        plain = tuple if issubclass(kind, tuple) else list
        return _Container(
            lambda tree: range(len(tree)), iter, lambda f, tree: plain([_map(f, child) for child in tree]), rest=len
        )
    if issubclass(kind, type(None)):
        return _Container(lambda _: (), lambda _: (), lambda *_: None)
    return _dataclass(kind) if dataclasses.is_dataclass(kind) else None


def _dataclass(kind: type) -> _Container:
    fields = dataclasses.fields(kind)
    carried = [field.name for field in fields if field.metadata.get("static")]
    data = [field.name for field in fields if not field.metadata.get("static")]
    put = object.__setattr__  # the class's own refuses, if it is frozen

    def mapped(f: Callable[[Any], Any], tree: Any) -> Any:
        copy: Any = object.__new__(kind)
        for name in carried:
            put(copy, name, getattr(tree, name))
        for name in data:
            put(copy, name, _map(f, getattr(tree, name)))
        return copy

    children = operator.attrgetter(*data) if len(data) > 1 else lambda tree: [getattr(tree, name) for name in data]
    rest = lambda tree: tuple([(type(v), v) for v in [getattr(tree, name) for name in carried]])  # noqa: E731 (as above)
    return _Container(lambda _: data, children, mapped, ".{}", rest)


_container: Callable[[type], _Container | None] = functools.cache(_described)


def _map(f: Callable[[Any], Any], tree: Any) -> Any:
    container = _container(type(tree))
    return f(tree) if container is None else container.map(f, tree)


def _collect(children: Iterable[Any], found: list[Any]) -> None:
    for child in children:
        container = _container(child.__class__)
        if container is None:
            found.append(child)
        else:
            _collect(container.children(child), found)


def _trace_outline(tree: Any, found: list[Any], parts: list[Any]) -> None:
    kind = tree.__class__
    container = _container(kind)
    parts.append(kind if container is not None else None)
    if container is None:
        found.append(tree)
        return
    parts.append(container.rest(tree))
    for child in container.children(tree):
        _trace_outline(child, found, parts)


def _aligned(tree: Any, other: Any, path: tuple[Key, ...]) -> list[Any]:
    """The leaves of `other`, in the order of those of `tree`, which must have the same structure."""
    container, other_container = _container(type(tree)), _container(type(other))
    if container is None:
        return [other]
    keys = list(container.keys(tree))
    found: dict[Key, Any] = {}
    if other_container is not None:
        found = dict(zip(other_container.keys(other), other_container.children(other), strict=True))
    if type(other) is not type(tree) or found.keys() != set(keys):
        raise ValueError(
            f"trees differ at {'/'.join(str(key) for key in path) or 'the root'}: "
            f"{_outline(tree)} in the first, {_outline(other)} in another"
        )
    children = zip(keys, container.children(tree), strict=True)
    return [leaf for key, child in children for leaf in _aligned(child, found[key], (*path, key))]


def _outline(tree: Any) -> str:
    container = _container(tree.__class__)
    kind = type(tree).__name__
    return f"leaf {kind}" if container is None else f"{kind} of {list(container.keys(tree))}"


def _walk(tree: Any, spelling: str) -> Iterator[str]:
    container = _container(tree.__class__)
    if container is None:
        yield spelling
        return
    for key, child in zip(container.keys(tree), container.children(tree), strict=True):
        yield from _walk(child, spelling + container.spelling.format(key))
