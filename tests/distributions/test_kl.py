"""Every divergence in the table: against quadrature and sums, between equals and near equals, in both precisions."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, grad, hessian
from minilvm.backend import to_numpy
from minilvm.distributions import (
    AffineTransform,
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Dirichlet,
    DiscreteUniform,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    Transformed,
    Uniform,
    kl_divergence,
    register_kl,
)
from minilvm.distributions.base import unchecked
from minilvm.distributions.divergences.supports import covered
from minilvm.distributions.kl import TABLE
from tests.distributions.helpers import Nodes, assert_dtype, assert_of, real_arrays
from tests.distributions.quadrature import expectation

BATCH = (3,)
real = real_arrays(BATCH)
positive = real_arrays(BATCH, -1.0, 1.0).map(numpy.exp)


@st.composite
def uniforms(draw):
    """Within 0 and 1 as often as not, where the beta law is."""
    ends = numpy.sort(
        draw(real_arrays((2, *BATCH), draw(st.sampled_from([0.0, -1.0])), draw(st.sampled_from([1.0, 2.0]))))
    )
    low, high = numpy.sort(ends, axis=0)
    return Uniform(low, high + 0.01)


@st.composite
def factors(draw, D):
    below = numpy.tril(draw(real_arrays((*BATCH, D, D))), -1)
    return below + numpy.eye(D) * 2.0 ** draw(real_arrays((*BATCH, D, 1), -2.0, 2.0))


def counts(low, high):
    return arrays(float, BATCH, elements=st.integers(low, high))


def of_outcomes(law, shape):
    logits, probs = real_arrays(shape, -20.0, 20.0), real_arrays(shape, 0.0, 1.0)
    if len(shape) > len(BATCH):
        probs = probs.map(lambda p: p + 0.1 * (p.sum(axis=-1, keepdims=True) == 0))
    return st.one_of(st.builds(law, logits=logits), st.builds(law, probs=probs))


LAWS = {
    Bernoulli: of_outcomes(Bernoulli, BATCH),
    Beta: st.builds(Beta, real_arrays(BATCH, 0.5, 5.0), real_arrays(BATCH, 1.0, 5.0)),
    Binomial: st.builds(Binomial, counts(0, 5), real_arrays(BATCH, 0.0, 1.0)),
    Categorical: of_outcomes(Categorical, (*BATCH, 3)),
    Dirichlet: st.builds(Dirichlet, real_arrays((*BATCH, 3), 1.0, 5.0)),
    DiscreteUniform: st.builds(lambda low, n: DiscreteUniform(low, low + n), counts(-2, 2), st.integers(0, 4)),
    Exponential: st.builds(Exponential, positive),
    Gamma: st.builds(Gamma, real_arrays(BATCH, 0.5, 5.0), positive),
    Gumbel: st.builds(Gumbel, real, positive),
    Independent: st.builds(
        Independent, st.builds(Normal, real_arrays((*BATCH, 2)), real_arrays((2,), 0.5, 2.0)), st.just(1)
    ),
    Laplace: st.builds(Laplace, real, positive),
    LogNormal: st.builds(LogNormal, real, real_arrays(BATCH, 0.25, 1.0)),
    LowRankMultivariateNormal: st.builds(
        LowRankMultivariateNormal,
        real_arrays((*BATCH, 3)),
        real_arrays((*BATCH, 3, 1)),
        real_arrays((3,), -1.0, 1.0).map(numpy.exp),
    ),
    MultivariateNormal: st.builds(
        lambda loc, L: MultivariateNormal(loc, scale_tril=L), real_arrays((*BATCH, 3)), factors(3)
    ),
    Normal: st.builds(Normal, real, positive),
    OneHotCategorical: of_outcomes(OneHotCategorical, (*BATCH, 3)),
    Poisson: st.builds(Poisson, real_arrays(BATCH, 0.0, 3.0).map(lambda rate: rate * (rate > 1e-6))),
    Transformed: st.builds(
        lambda base: Transformed(base, AffineTransform(1.0, numpy.array([2.0, -3.0, 0.5]))),
        st.builds(Laplace, real, positive),
    ),
    Uniform: uniforms(),
}
PAIRS = sorted((pair for pair in TABLE if Distribution not in pair), key=lambda pair: [kind.__name__ for kind in pair])
FEW = settings(max_examples=settings.default.max_examples // 10)  # each example is of three laws, and pairs are many
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}")
OUTCOMES = (Bernoulli, Binomial, Categorical, DiscreteUniform, OneHotCategorical, Poisson)
VECTORS = (Independent, LowRankMultivariateNormal, MultivariateNormal)


def drawn(data, pair):
    return [data.draw(LAWS[kind], label) for kind, label in zip(pair, "pq", strict=True)]


def integral(p, q):
    """E_p[log p − log q], exactly: a sum, a Gauss-Hermite rule for normal vectors, or quadrature."""
    if isinstance(p, OUTCOMES):
        x = outcomes_of(p)
        log_p, log_q = unchecked(p).log_prob(x), numpy.where(allowed(q, x), unchecked(q).log_prob(x), -numpy.inf)
        possible = numpy.exp(log_p) > 0
        difference = numpy.where(possible, log_p, 0.0) - numpy.where(possible, log_q, 0.0)
        lost = (log_p > -numpy.inf) & (log_q == -numpy.inf)
        return numpy.where(lost.any(axis=0), numpy.inf, (numpy.exp(log_p) * difference).sum(axis=0))
    if isinstance(p, VECTORS):
        D = p.event_shape[-1]
        nodes, L = Nodes(3, D), numpy.linalg.cholesky(full_covariance(p))
        z = p.mean + numpy.einsum("...ij,kj->k...i", L, nodes.nodes)
        return numpy.tensordot(nodes.weights, p.log_prob(z) - q.log_prob(z), 1)
    if isinstance(p, Transformed):
        line = p.transforms[0]
        return expectation(p.base, lambda x, _: p.log_prob(line(x)) - q.log_prob(line(x)), [p.base.loc, q.base.loc])
    if isinstance(p, Dirichlet):
        return of_dirichlet(p, q)
    kinks = [law.loc for law in (p, q) if isinstance(law, Laplace | Gumbel | Normal)]
    kinks += [law.loc - n * law.scale for law, n in ((p, 4.0), (q, 30.0)) if isinstance(law, Gumbel)]
    return expectation(p, lambda x, log_p: log_p - q.log_prob(x), kinks)


def of_dirichlet(p, q):
    """log p − log q is a constant, read off at one point, and a sum of logarithms of weights, each of a beta law."""
    difference = p.concentration - q.concentration
    middle = numpy.full(3, 1 / 3)
    constant = p.log_prob(middle) - q.log_prob(middle) - difference.sum(axis=-1) * numpy.log(1 / 3)
    weight = Beta(p.concentration, p.concentration.sum(axis=-1, keepdims=True) - p.concentration)
    return constant + (difference * expectation(weight, lambda x, _: numpy.log(x))).sum(axis=-1)


def outcomes_of(p):
    """All that p can produce, or nearly: of Poisson's law of a rate up to 3, the first 60 counts."""
    if isinstance(p, Binomial | DiscreteUniform | Poisson):
        return numpy.arange(-10.0, 60.0)[:, None] + numpy.zeros(BATCH)
    return p.enumerate_support()


def allowed(q, x):
    inside = q.support.check(x)
    return inside.all(axis=-1) if inside.ndim == x.ndim and q.event_shape else inside


def full_covariance(p):
    return p.variance[..., None] * numpy.eye(p.event_shape[-1]) if isinstance(p, Independent) else p.covariance_matrix


def assert_is_the_divergence(divergence, p, q):
    """And +inf for those laws of the batch whose supports say so."""
    inside = covered(p, q)
    if isinstance(inside, numpy.ndarray):
        assert_array_equal(divergence(p, q)[~inside], numpy.inf)
        p, q = tree.map(lambda a: a[inside], (p, q))
    assert_allclose(divergence(p, q), integral(p, q), rtol=1e-8, atol=1e-9)


@each_pair
@FEW
@given(data=st.data())
def test_it_is_the_integral(pair, data):
    assert_is_the_divergence(kl_divergence, *drawn(data, pair))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda p, q: kl_divergence(q, p),
        lambda p, q: 0.5 * kl_divergence(p, q),
        lambda p, q: kl_divergence(p, q).mean() + numpy.zeros(BATCH),
        lambda p, q: kl_divergence(p, q) + p.entropy(),
    ],
)
@pytest.mark.parametrize(
    ("p", "q"),
    [
        (Normal([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]), Normal([1.0, -1.0, 0.0], [0.5, 3.0, 1.0])),
        (Bernoulli(probs=[0.1, 0.7, 0.5]), Bernoulli(probs=[0.5, 0.2, 0.4])),
        (Laplace([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]), Laplace([1.0, -1.0, 0.0], [0.5, 3.0, 1.0])),
    ],
)
def test_a_wrong_divergence_is_caught(wrong, p, q):
    with pytest.raises(AssertionError):
        assert_is_the_divergence(wrong, p, q)


SUBTRACT = {Beta, Dirichlet, LowRankMultivariateNormal}  # a term from the others


@each_pair
@FEW
@given(data=st.data())
def test_it_is_never_negative_and_zero_between_equals(pair, data):
    p, q = drawn(data, pair)
    rounding = 0.0 if pair[0] is pair[1] and pair[0] not in SUBTRACT else 1e-12
    assert (kl_divergence(p, q) >= -rounding).all()
    if pair[0] is pair[1]:
        assert_allclose(kl_divergence(p, p), 0.0, atol=1e-13)


def moved(law, by):
    """The law with `by` added to its parameters, those that may be moved; it is called with the path of each."""
    constant = (
        {".total_count", ".low", ".high"}
        if isinstance(law, OUTCOMES)
        else {".transforms[0].loc", ".transforms[0].scale"}
    )
    leaves = zip(tree.paths(law), tree.leaves(law), strict=True)
    return tree.unflatten(law, [leaf if path in constant else leaf + by(leaf) for path, leaf in leaves])


def assert_right_between_near_equals(divergence, p, h=1e-7):
    """KL(p ‖ q) = ½ h² vᵀ F v + O(h³) for a q that is h v from p, with Fisher's information F for its Hessian."""

    def along(t):
        by = lambda leaf: t * numpy.where(numpy.arange(leaf.size).reshape(leaf.shape) % 2, 1.0, -0.5)  # noqa: E731
        return divergence(p, moved(p, by)).sum()

    fisher = hessian(along)(numpy.array(0.0))
    assert_allclose(along(h), 0.5 * h**2 * fisher, rtol=1e-4)


NEVER = {DiscreteUniform, LowRankMultivariateNormal, Uniform}  # smooth, or exact to the last digits


@pytest.mark.parametrize("kind", [p for p, q in PAIRS if p is q and p not in NEVER], ids=lambda kind: kind.__name__)
@FEW
@given(data=st.data())
def test_between_near_equals_it_has_its_digits(kind, data):
    p = data.draw(LAWS[kind])
    if kind is Binomial:
        p = Binomial(p.total_count + 1.0, numpy.clip(p.probs, 0.01, 0.99))
    elif kind is Poisson:
        p = Poisson(p.rate + 0.01)
    elif kind in OUTCOMES:
        p = kind(logits=numpy.clip(numpy.nan_to_num(p.logits), -5.0, 5.0))
    assert_right_between_near_equals(kl_divergence, p)


def test_the_cancellation_in_a_textbooks_formula_is_caught():
    def of_exponentials(p, q):
        return np.log(p.rate) - np.log(q.rate) + q.rate / p.rate - 1.0

    with pytest.raises(AssertionError):
        assert_right_between_near_equals(of_exponentials, Exponential([0.3, 0.7]))


# Derivatives, precision, backends -------------------------------------------------------------------------------------


SMOOTH = {  # p, which can do less than q, and q
    Bernoulli: (Bernoulli(probs=[0.3, 0.9]), Bernoulli(logits=[[0.5], [-1.0]])),
    Beta: (Beta([0.7, 3.0], 2.0), Beta([[1.5], [0.6]], [1.2, 4.0])),
    Binomial: (Binomial(1, [0.3, 0.9]), Binomial([[3], [1]], logits=[0.5, -1.0])),
    Categorical: (Categorical(logits=[0.5, -1.0, 0.0]), Categorical(probs=[[0.2, 0.7, 0.1]])),
    Dirichlet: (Dirichlet([[0.7, 3.0, 1.0]]), Dirichlet([[1.2, 0.6, 2.0], [1.0, 1.0, 1.0]])),
    DiscreteUniform: (DiscreteUniform(0, 1), DiscreteUniform(-1, [2, 3])),
    Exponential: (Exponential([0.7, 2.0]), Exponential([[1.0], [0.3]])),
    Gamma: (Gamma([0.7, 3.0], 2.0), Gamma([[1.5], [0.6]], [1.2, 4.0])),
    Gumbel: (Gumbel([0.5, -1.0], [0.7, 1.5]), Gumbel(0.2, 0.9)),
    Independent: (Independent(Normal(numpy.zeros((2, 3)), 2.0), 1), Independent(Normal(numpy.zeros(3), 1.0), 1)),
    Laplace: (Laplace([0.5, -1.0], [0.7, 1.5]), Laplace(0.2, 0.9)),
    LogNormal: (LogNormal([0.5, -1.0], [0.7, 0.5]), LogNormal(0.2, 0.9)),
    LowRankMultivariateNormal: (
        LowRankMultivariateNormal([0.5, -1.0], [[1.0], [2.0]], [0.5, 0.7]),
        LowRankMultivariateNormal([[0.1, 0.2], [0.3, 0.4]], [[1.0], [-0.5]], [0.9, 0.6]),
    ),
    MultivariateNormal: (
        MultivariateNormal([0.5, -1.0], scale_tril=[[1.0, 0.0], [0.5, 2.0]]),
        MultivariateNormal([[0.1, 0.2], [0.3, 0.4]], scale_tril=[[1.5, 0.0], [-0.5, 0.7]]),
    ),
    Normal: (Normal([0.5, -1.0], [0.7, 1.5]), Normal(0.2, [[0.9], [1.2]])),
    OneHotCategorical: (OneHotCategorical(logits=[0.5, -1.0, 0.0]), OneHotCategorical(probs=[[0.2, 0.7, 0.1]])),
    Poisson: (Poisson([0.5, 2.0]), Poisson([[1.0], [0.3]])),
    Transformed: (
        Transformed(Normal([0.5, -1.0], 0.7), AffineTransform(1.0, 2.0)),
        Transformed(Normal(0.2, 0.9), AffineTransform(1.0, 2.0)),
    ),
    Uniform: (Uniform(0.2, [0.5, 0.9]), Uniform(-1.0, [[2.0], [1.5]])),
}


@each_pair
def test_it_is_differentiable_in_both(pair):
    p, q = SMOOTH[pair[0]][0], SMOOTH[pair[1]][1]
    steps = [tree.map(numpy.zeros_like, law) for law in (p, q)]

    def between(*steps):
        by = [
            dict(zip(map(id, tree.leaves(law)), tree.leaves(step), strict=True))
            for law, step in zip((p, q), steps, strict=True)
        ]
        return kl_divergence(
            *(moved(law, lambda leaf, by=by: by[id(leaf)]) for law, by in zip((p, q), by, strict=True))
        )

    if numpy.isinf(kl_divergence(p, q)).all():
        assert not any(leaf.any() for leaf in tree.leaves(grad(lambda steps: between(*steps).sum())(steps)))
    else:
        check_grads(between, steps)


@each_pair
@FEW
@given(data=st.data())
def test_batches_broadcast(pair, data):
    p, q = drawn(data, pair)
    many = kl_divergence(p.expand((4, 1, *BATCH)), q.expand((2, *BATCH)))
    assert_allclose(many, numpy.broadcast_to(kl_divergence(p, q), (4, 2, *BATCH)), rtol=1e-9, atol=1e-12)


@each_pair
@FEW
@given(data=st.data())
def test_float32_stays_float32(pair, data):
    p, q = drawn(data, pair)
    p32, q32 = (tree.map(lambda a: a.astype("float32"), law) for law in (p, q))
    expected = kl_divergence(*(tree.map(lambda a: a.astype("float64"), law) for law in (p32, q32)))
    assert_dtype(kl_divergence(p32, q32), "float32")
    assert_allclose(kl_divergence(p32, q32), expected, rtol=1e-2, atol=1e-3)
    if (expected < numpy.inf).all():
        for leaf in tree.leaves(grad(lambda both: kl_divergence(*both).sum())((p32, q32))):
            assert_dtype(leaf, "float32")
            assert numpy.isfinite(leaf).all()


@each_pair
@FEW
@given(data=st.data())
def test_every_backend(xp, pair, data):
    p, q = drawn(data, pair)
    ours = kl_divergence(*tree.map(xp.asarray, (p, q)))
    assert_of(xp, ours)
    assert_allclose(to_numpy(ours), kl_divergence(p, q), rtol=1e-9, atol=1e-9)


# The table ------------------------------------------------------------------------------------------------------------

PYTORCH = [
    "Bernoulli-Bernoulli",
    "Categorical-Categorical",
    "Exponential-Exponential",
    "Gumbel-Gumbel",
    "Independent-Independent",
    "Laplace-Laplace",
    "LowRankMultivariateNormal-LowRankMultivariateNormal",
    "LowRankMultivariateNormal-MultivariateNormal",
    "MultivariateNormal-LowRankMultivariateNormal",
    "MultivariateNormal-MultivariateNormal",
    "Normal-Normal",
    "Uniform-Uniform",
    "Exponential-Uniform",
    "Exponential-Gumbel",
    "Exponential-Normal",
    "Gumbel-Exponential",
    "Gumbel-Uniform",
    "Gumbel-Normal",
    "Laplace-Exponential",
    "Laplace-Uniform",
    "Laplace-Normal",
    "Normal-Exponential",
    "Normal-Uniform",
    "Normal-Gumbel",
    "Normal-Laplace",
    "Uniform-Exponential",
    "Uniform-Gumbel",
    "Uniform-Normal",
]


@pytest.mark.parametrize("pair", PYTORCH)
@FEW
@given(data=st.data())
def test_whatever_pytorch_answers_is_answered(pair, data):
    kinds = {kind.__name__: kind for kind in LAWS}
    p, q = drawn(data, [kinds[name] for name in pair.split("-")])
    assert kl_divergence(p, q).shape == BATCH


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
    assert kl_divergence(p, Exponential(1.0)) == numpy.inf
    try:
        register_kl(Special, Normal)(lambda p, q: "special")
        assert kl_divergence(p, q) == kl_divergence(p, p) == "special"
        assert kl_divergence(q, p) == 0.5
    finally:
        del TABLE[Special, Normal]


def test_events_must_agree():
    with pytest.raises(ValueError, match=r"events of p have shape \(3,\), those of q \(4,\)"):
        kl_divergence(*(Independent(Normal(numpy.zeros(n), 1.0), 1) for n in (3, 4)))
