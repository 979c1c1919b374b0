"""Divergences between laws made of laws: sums of those of their parts."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from minilvm import tree
from minilvm.autograd import grad
from minilvm.distributions import (
    AffineTransform,
    Independent,
    Normal,
    SigmoidTransform,
    TanhTransform,
    Transformed,
    kl_divergence,
)
from tests.distributions.helpers import real_arrays


@given(real_arrays((2, 3)), real_arrays((3,)))
def test_independent_elements_add_up(m, n):
    p, q = Normal(m, 2.0), Normal(n, numpy.array([0.5, 1.0, 2.0]))
    expected = kl_divergence(p, q).sum(axis=-1)
    assert_allclose(kl_divergence(Independent(p, 1), Independent(q, 1)), expected, rtol=1e-12)
    assert_allclose(kl_divergence(Independent(p, 2), Independent(q.expand((2, 3)), 2)), expected.sum(), rtol=1e-12)


def test_events_must_be_made_in_the_same_way():
    base = Normal(numpy.zeros((2, 3)), 1.0)
    with pytest.raises(TypeError, match="p reads 2 batch axes of its base as the event and q 1"):
        kl_divergence(Independent(base, 2), Independent(Independent(base, 1), 1))


SQUASH = [AffineTransform(1.0, [2.0, -3.0]), SigmoidTransform().inv.inv]


def test_a_bijection_of_both_changes_nothing():
    p, q = Normal([0.0, 1.0], 1.0), Normal(0.5, 2.0)
    assert_allclose(kl_divergence(Transformed(p, SQUASH), Transformed(q, list(SQUASH))), kl_divergence(p, q))
    gradient = grad(lambda both: kl_divergence(*both).sum())((Transformed(p, SQUASH), Transformed(q, SQUASH)))
    assert not any(leaf.any() for law in gradient for leaf in tree.leaves(law.transforms))
    assert gradient[0].base.loc.any()


@pytest.mark.parametrize(
    "others",
    [
        SQUASH[:1],
        [SQUASH[0], TanhTransform()],
        [SQUASH[0], SQUASH[1].inv],
        [AffineTransform(1.0, [2.0, -3.1]), SQUASH[1]],
        [AffineTransform(1.0, 2.0), SQUASH[1]],
    ],
)
def test_other_bijections_make_other_laws(others):
    p = Normal([0.0, 1.0], 1.0)
    with pytest.raises(TypeError, match=r"KL\(Transformed ‖ Transformed\)"):
        kl_divergence(Transformed(p, SQUASH), Transformed(p, others))
