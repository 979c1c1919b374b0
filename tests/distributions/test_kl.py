"""Divergences against quadrature and sums, where they must be 0, and where they must be infinite."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
    register_kl,
)
from minilvm.distributions.kl import TABLE, normal_divergence
from minilvm.rules import primitive
from tests.distributions.helpers import Nodes, assert_dtype, assert_of, assert_same_to_second_order, real_arrays


def normals(shape=(3,)):
    return st.builds(Normal, real_arrays(shape), real_arrays(shape, -2.0, 2.0).map(numpy.exp))


def bernoullis(shape=(3,)):
    a = real_arrays(shape, -20.0, 20.0)
    return st.one_of(st.builds(Bernoulli, logits=a), st.builds(Bernoulli, probs=real_arrays(shape, 0.0, 1.0)))


def categoricals(shape=(2, 3)):
    a = real_arrays(shape, -20.0, 20.0)
    return st.one_of(st.builds(Categorical, logits=a), st.builds(Categorical, probs=a.map(scipy.special.softmax)))


@st.composite
def vectors(draw, shape=(2,)):
    D = shape[-1]
    below = numpy.tril(draw(real_arrays((*shape, D))), -1)
    factor = below + numpy.eye(D) * 2.0 ** draw(real_arrays((*shape, 1), -2.0, 2.0))
    return MultivariateNormal(draw(real_arrays(shape)), scale_tril=factor)


def independents():
    return st.builds(Independent, st.one_of(normals((2, 3)), normals((3,))), st.just(1))


def by_quadrature(p, q):
    """E_p[log p − log q] with Gauss-Hermite nodes, exact because the integrand is a quadratic."""
    nodes = Nodes(3, D=(p.event_shape or (1,))[-1])
    z = p.rsample(len(nodes.weights), rng=nodes) if p.event_shape else p.loc + p.scale * nodes.nodes
    return numpy.tensordot(nodes.weights, p.log_prob(z) - q.log_prob(z), 1)


def by_enumeration(p, q):
    """Σ_z p(z) (log p(z) − log q(z)), with 0 log 0 = 0."""
    z = p.enumerate_support()
    log_p, log_q = p.log_prob(z), q.log_prob(z)
    possible = log_p > -numpy.inf
    difference = numpy.where(possible, log_p, 0.0) - numpy.where(possible, log_q, 0.0)
    return (numpy.exp(log_p) * difference).sum(axis=0)


def assert_is_the_divergence(divergence, p, q, expected):
    assert_allclose(divergence(p, q), expected(p, q), rtol=1e-9, atol=1e-9)


@given(normals(), normals())
def test_normal_against_quadrature(p, q):
    assert_is_the_divergence(kl_divergence, p, q, by_quadrature)


@given(vectors(), vectors())
def test_multivariate_normal_against_quadrature(p, q):
    assert_is_the_divergence(kl_divergence, p, q, by_quadrature)


@given(st.one_of(st.tuples(bernoullis(), bernoullis()), st.tuples(categoricals(), categoricals())))
def test_finite_laws_against_enumeration(pair):
    p, q = pair
    assert_is_the_divergence(kl_divergence, p, q, by_enumeration)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, q: kl_divergence(q, p),
        lambda p, q: 0.5 * kl_divergence(p, q),
        lambda p, q: kl_divergence(p, q).mean(),
        lambda p, q: kl_divergence(p, q) + p.entropy(),
    ],
)
def test_a_wrong_divergence_is_caught(wrong):
    p, q = Normal([0.0, 1.0], [1.0, 2.0]), Normal([1.0, -1.0], [0.5, 3.0])
    with pytest.raises(AssertionError):
        assert_is_the_divergence(wrong, p, q, by_quadrature)
    p, q = Bernoulli(probs=[0.1, 0.7]), Bernoulli(probs=[0.5, 0.2])
    with pytest.raises(AssertionError):
        assert_is_the_divergence(wrong, p, q, by_enumeration)


families = st.sampled_from([normals, vectors, bernoullis, categoricals, independents])


@given(st.data(), families)
def test_it_is_never_negative_and_zero_only_between_equals(data, family):
    p, q = data.draw(family()), data.draw(family())
    assert (kl_divergence(p, q) >= -1e-12).all()
    assert_allclose(kl_divergence(p, p), 0.0, atol=1e-12)


def test_between_different_laws_it_is_positive():
    for p, q in [
        (Normal(0.0, 1.0), Normal(1e-3, 1.0)),
        (Normal(0.0, 1.0), Normal(0.0, 1.001)),
        (Bernoulli(probs=0.5), Bernoulli(probs=0.501)),
        (Bernoulli(logits=-40.0), Bernoulli(logits=-41.0)),
        (Categorical(probs=[0.5, 0.5]), Categorical(probs=[0.501, 0.499])),
    ]:
        assert kl_divergence(p, q) > 0
        assert kl_divergence(q, p) > 0


def test_what_p_can_produce_and_q_cannot_is_infinite_and_the_reverse_is_not():
    ends, middle = Bernoulli(probs=[0.0, 1.0, 0.5]), Bernoulli(probs=0.5)
    assert_allclose(kl_divergence(ends, middle), [numpy.log(2.0), numpy.log(2.0), 0.0])
    assert_array_equal(kl_divergence(middle, ends), [numpy.inf, numpy.inf, 0.0])
    assert_array_equal(kl_divergence(ends, ends), [0.0, 0.0, 0.0])
    for some, all_ in [
        (Categorical(probs=[0.5, 0.5, 0.0]), Categorical(probs=[1.0, 1.0, 1.0])),
        (Categorical(logits=[0.0, 0.0, -numpy.inf]), Categorical(logits=[0.0, 0.0, 0.0])),
    ]:
        assert_allclose(kl_divergence(some, all_), numpy.log(1.5))
        assert kl_divergence(all_, some) == numpy.inf
        assert kl_divergence(some, some) == 0.0
        assert all(numpy.isfinite(grad(kl_divergence, argnums=i)(some, all_).parameter).all() for i in (0, 1))


# Derivatives ----------------------------------------------------------------------------------------------------------


def composite(m, s, n, t):
    """log t/s + (s² + (m − n)²) / 2t² − ½."""
    return np.log(t) - np.log(s) + (s**2 + (m - n) ** 2) / (2.0 * t**2) - 0.5


@given(real_arrays((2, 3)), real_arrays((3,), -1.0, 1.0), real_arrays((3,)), real_arrays((), -1.0, 1.0))
def test_fused_divergence_is_the_composite_to_second_order(m, log_s, n, log_t):
    assert_same_to_second_order(normal_divergence, composite, [m, numpy.exp(log_s), n, numpy.exp(log_t)])


def test_a_wrong_rule_is_caught():
    twin = primitive(s=lambda g, s: -g / s)(composite)  # the variance's own term is forgotten
    with pytest.raises(AssertionError, match="order 1"):
        assert_same_to_second_order(
            lambda s: twin(1.0, s, 0.0, 2.0), lambda s: composite(1.0, s, 0.0, 2.0), [numpy.array([0.5, 3.0])]
        )


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (Normal([0.5, -1.0], [0.7, 1.5]), Normal(0.2, 0.9)),
        (Normal(0.2, 0.9), Normal([0.5, -1.0], [[0.7], [1.5]])),
        (Bernoulli(logits=[0.5, -1.0]), Bernoulli(logits=2.0)),
        (Bernoulli(probs=[0.5, 0.9]), Bernoulli(logits=[[2.0], [-1.0]])),
        (Categorical(logits=[0.5, -1.0, 0.0]), Categorical(probs=[[0.2, 0.7, 0.1]])),
        (
            MultivariateNormal([0.5, -1.0], scale_tril=[[1.0, 0.0], [0.5, 2.0]]),
            MultivariateNormal([[0.1, 0.2], [0.3, 0.4]], scale_tril=[[1.5, 0.0], [-0.5, 0.7]]),
        ),
        (Independent(Normal(numpy.zeros((2, 3)), 2.0), 1), Independent(Normal(numpy.zeros(3), 1.0), 1)),
    ],
)
def test_it_is_differentiable_in_both(p, q):
    check_grads(kl_divergence, [p, q])
    assert kl_divergence(p, q).shape == numpy.broadcast_shapes(p.batch_shape, q.batch_shape)


@given(vectors((4, 1, 2)), vectors((3, 2)))
def test_batches_broadcast(p, q):
    together = kl_divergence(p, q)
    assert together.shape == (4, 3)
    for i, j in numpy.ndindex(4, 3):
        one = [MultivariateNormal(law.loc[k], scale_tril=law.scale_tril[k]) for law, k in ((p, (i, 0)), (q, j))]
        assert_allclose(together[i, j], kl_divergence(*one), rtol=1e-9, atol=1e-9)


@given(normals((2, 3)), normals((3,)))
def test_a_diagonal_covariance_is_independent_elements(p, q):
    as_vectors = [MultivariateNormal(law.loc, scale_tril=law.scale[..., None] * numpy.eye(3)) for law in (p, q)]
    expected = kl_divergence(Independent(p, 1), Independent(q, 1))
    assert_allclose(kl_divergence(*as_vectors), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(expected, kl_divergence(p, q).sum(axis=-1), rtol=1e-12)


# The table ------------------------------------------------------------------------------------------------------------


def test_a_missing_pair_offers_monte_carlo():
    with pytest.raises(TypeError, match=r"KL\(Normal ‖ Bernoulli\).*Monte Carlo.*p.log_prob\(z\) - q.log_prob\(z\)"):
        kl_divergence(Normal(0.0, 1.0), Bernoulli(probs=0.5))
    with pytest.raises(TypeError, match=r"KL\(Bernoulli ‖ Normal\)"):
        kl_divergence(Independent(Bernoulli(probs=[0.5]), 1), Independent(Normal([0.5], 1.0), 1))


def test_subclasses_fall_back_to_the_nearest_registered_pair():
    class Special(Normal): ...

    class MoreSpecial(Special): ...

    p, q = MoreSpecial(0.0, 1.0), Normal(1.0, 1.0)
    assert kl_divergence(p, q) == kl_divergence(q, p) == 0.5
    try:
        register_kl(Special, Normal)(lambda p, q: "special")
        assert kl_divergence(p, q) == kl_divergence(p, p) == "special"
        assert kl_divergence(q, p) == 0.5
    finally:
        del TABLE[Special, Normal]


def test_events_must_agree():
    with pytest.raises(ValueError, match=r"events of p have shape \(3,\), those of q \(4,\)"):
        kl_divergence(*(Independent(Normal(numpy.zeros(n), 1.0), 1) for n in (3, 4)))
    with pytest.raises(ValueError, match="p has 2 categories and q has 3"):
        kl_divergence(*(Categorical(logits=numpy.zeros(n)) for n in (2, 3)))
    base = Normal(numpy.zeros((2, 3)), 1.0)
    with pytest.raises(TypeError, match="p reads 2 batch axes of its base as the event and q 1"):
        kl_divergence(Independent(base, 2), Independent(Independent(base, 1), 1))


# Precision and backends -----------------------------------------------------------------------------------------------


@given(st.data(), families)
def test_float32_stays_float32(data, family):
    p, q = data.draw(family()), data.draw(family())
    expected = kl_divergence(p, q)
    assume((expected < 1e3).all())
    p32, q32 = (tree.map(lambda a: a.astype("float32"), law) for law in (p, q))
    assert_dtype(kl_divergence(p32, q32), "float32")
    assert_allclose(kl_divergence(p32, q32), expected, rtol=1e-2, atol=1e-3)
    gradient = grad(lambda p: kl_divergence(p, q32).sum())(p32)
    tree.map(lambda a: assert_dtype(a, "float32"), gradient)


@given(st.data(), families)
def test_every_backend(xp, data, family):
    p, q = data.draw(family()), data.draw(family())
    ours = kl_divergence(tree.map(xp.asarray, p), tree.map(xp.asarray, q))
    assert_of(xp, ours)
    assert_allclose(to_numpy(ours), kl_divergence(p, q), rtol=1e-9, atol=1e-9)
