"""What the tests of all that stands on the distributions share: to move arrays to a library, and compare them."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy

from minilvm import backend, tree

T = TypeVar("T")


def moved(arrays: T) -> T:
    """The same tree, with its arrays on the active backend."""
    return tree.map(backend.asarray, arrays)


def host(arrays: T) -> T:
    """The same tree, with its arrays as NumPy's."""
    return tree.map(backend.to_numpy, arrays)


def assert_allclose(found: Any, expected: Any, **tolerance: float) -> None:
    """Assert that an array of the active backend is close to another, wherever that one is."""
    assert backend.namespace(found).__name__ == backend.active()
    numpy.testing.assert_allclose(backend.to_numpy(found), backend.to_numpy(expected), **tolerance)


def assert_array_equal(found: Any, expected: Any) -> None:
    """Assert that an array of the active backend is equal to another, wherever that one is."""
    assert_allclose(found, expected, rtol=0)
