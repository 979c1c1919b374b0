"""What holds for every law: shapes, draws that are constants, validation, and being a tree."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import grad, value_and_grad
from minilvm.backend import to_numpy
from minilvm.distributions import (
    AffineTransform,
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Delta,
    Dirichlet,
    DiscreteUniform,
    DiscretizedLogistic,
    Exponential,
    ExpTransform,
    Gamma,
    Gumbel,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    SoftplusTransform,
    StudentT,
    Transformed,
    Uniform,
)
from minilvm.distributions.base import Distribution, unchecked


@dataclasses.dataclass(frozen=True)
class Row:
    """A law of the table: how to make one of a batch shape, with parameters of a library, and what there is to know."""

    make: Callable[[Any, Any], Distribution]
    event: tuple[int, ...] = ()
    lacks: str = ""  # what it must say that it has not, of cdf icdf mean variance mode entropy
    enumerable: bool = False
    integers: bool = False  # draws are
    certain: bool = False  # so are all draws the same


LAWS = {
    "Bernoulli from logits": Row(lambda batch, xp: Bernoulli(logits=xp.zeros(batch)), enumerable=True),
    "Bernoulli from probs": Row(lambda batch, xp: Bernoulli(probs=xp.full(batch, 0.5)), enumerable=True),
    "Beta": Row(lambda batch, xp: Beta(xp.ones(batch), 2.0)),
    "Beta, broadcast": Row(lambda batch, xp: Beta(1.0, xp.ones(batch))),
    "Binomial from logits": Row(lambda batch, xp: Binomial(3, logits=xp.zeros(batch)), lacks="icdf", enumerable=True),
    "Binomial from probs, broadcast": Row(
        lambda batch, xp: Binomial(xp.full(batch, 3.0), probs=0.5), lacks="icdf", enumerable=True
    ),
    "Categorical from logits": Row(
        lambda batch, xp: Categorical(logits=xp.zeros((*batch, 3))),
        lacks="mean variance",
        enumerable=True,
        integers=True,
    ),
    "Categorical from probs": Row(
        lambda batch, xp: Categorical(probs=xp.ones((*batch, 3))),
        lacks="mean variance",
        enumerable=True,
        integers=True,
    ),
    "Delta": Row(lambda batch, xp: Delta(xp.ones(batch)), enumerable=True, certain=True),
    "Delta of vectors": Row(
        lambda batch, xp: Delta(xp.ones((*batch, 2)), event_dim=1),
        event=(2,),
        lacks="cdf icdf",
        enumerable=True,
        certain=True,
    ),
    "Dirichlet": Row(lambda batch, xp: Dirichlet(xp.ones((*batch, 3))), event=(3,), lacks="cdf icdf"),
    "DiscreteUniform": Row(lambda batch, xp: DiscreteUniform(xp.zeros(batch), 3), enumerable=True, integers=True),
    "DiscretizedLogistic": Row(
        lambda batch, xp: DiscretizedLogistic(xp.zeros(batch), 1.0, low=-2, high=3), enumerable=True
    ),
    "Exponential": Row(lambda batch, xp: Exponential(xp.ones(batch))),
    "Gamma": Row(lambda batch, xp: Gamma(xp.ones(batch), 2.0)),
    "Gamma, broadcast": Row(lambda batch, xp: Gamma(1.0, xp.ones(batch))),
    "Gumbel": Row(lambda batch, xp: Gumbel(xp.zeros(batch), 1.0)),
    "Gumbel, broadcast": Row(lambda batch, xp: Gumbel(0.0, xp.ones(batch))),
    "Independent Bernoulli": Row(
        lambda batch, xp: Independent(Bernoulli(logits=xp.zeros((*batch, 4))), 1),
        event=(4,),
        lacks="cdf icdf",
        enumerable=True,
    ),
    "Independent Normal": Row(
        lambda batch, xp: Independent(Normal(xp.zeros((*batch, 2, 3)), 1.0), 2), event=(2, 3), lacks="cdf icdf"
    ),
    "Laplace": Row(lambda batch, xp: Laplace(xp.zeros(batch), 1.0)),
    "Laplace, broadcast": Row(lambda batch, xp: Laplace(0.0, xp.ones(batch))),
    "LogNormal": Row(lambda batch, xp: LogNormal(xp.zeros(batch), 1.0)),
    "LogNormal, broadcast": Row(lambda batch, xp: LogNormal(0.0, xp.ones(batch))),
    "LowRankMultivariateNormal": Row(
        lambda batch, xp: LowRankMultivariateNormal(xp.zeros((*batch, 3)), xp.ones((3, 1)), xp.ones(3)),
        event=(3,),
        lacks="cdf icdf",
    ),
    "LowRankMultivariateNormal, broadcast": Row(
        lambda batch, xp: LowRankMultivariateNormal(xp.zeros(3), xp.ones((3, 1)), xp.ones((*batch, 3))),
        event=(3,),
        lacks="cdf icdf",
    ),
    "MixtureSameFamily": Row(
        lambda batch, xp: MixtureSameFamily(Categorical(logits=xp.zeros(3)), Normal(xp.zeros((*batch, 3)), 1.0)),
        lacks="icdf mode entropy",
    ),
    "MixtureSameFamily of bits, broadcast": Row(
        lambda batch, xp: MixtureSameFamily(
            Categorical(probs=xp.ones((*batch, 3))), Independent(Bernoulli(logits=xp.zeros((3, 2))), 1)
        ),
        event=(2,),
        lacks="cdf icdf mode entropy",
    ),
    "MixtureSameFamily of vectors": Row(
        lambda batch, xp: MixtureSameFamily(
            Categorical(logits=xp.zeros((*batch, 3))), MultivariateNormal(xp.zeros((3, 2)), scale_tril=xp.eye(2))
        ),
        event=(2,),
        lacks="cdf icdf mode entropy",
    ),
    "MultivariateNormal": Row(
        lambda batch, xp: MultivariateNormal(xp.zeros((*batch, 2)), scale_tril=xp.eye(2)), event=(2,), lacks="cdf icdf"
    ),
    "MultivariateNormal, broadcast": Row(
        lambda batch, xp: MultivariateNormal(xp.zeros(2), scale_tril=xp.broadcast_to(xp.eye(2), (*batch, 2, 2))),
        event=(2,),
        lacks="cdf icdf",
    ),
    "Normal": Row(lambda batch, xp: Normal(xp.zeros(batch), 1.0)),
    "Normal, broadcast": Row(lambda batch, xp: Normal(0.0, xp.ones(batch))),
    "OneHotCategorical from logits": Row(
        lambda batch, xp: OneHotCategorical(logits=xp.zeros((*batch, 3))),
        event=(3,),
        lacks="cdf icdf",
        enumerable=True,
    ),
    "OneHotCategorical from probs": Row(
        lambda batch, xp: OneHotCategorical(probs=xp.ones((*batch, 3))), event=(3,), lacks="cdf icdf", enumerable=True
    ),
    "Poisson": Row(lambda batch, xp: Poisson(xp.ones(batch)), lacks="icdf entropy"),
    "RelaxedBernoulli from logits": Row(
        lambda batch, xp: RelaxedBernoulli(0.5, logits=xp.zeros(batch)), lacks="mean variance mode entropy"
    ),
    "RelaxedBernoulli from probs, broadcast": Row(
        lambda batch, xp: RelaxedBernoulli(xp.ones(batch), probs=0.5), lacks="mean variance mode entropy"
    ),
    "RelaxedOneHotCategorical from logits": Row(
        lambda batch, xp: RelaxedOneHotCategorical(0.5, logits=xp.zeros((*batch, 3))),
        event=(3,),
        lacks="cdf icdf mean variance mode entropy",
    ),
    "RelaxedOneHotCategorical from probs, broadcast": Row(
        lambda batch, xp: RelaxedOneHotCategorical(xp.ones(batch), probs=xp.ones(3)),
        event=(3,),
        lacks="cdf icdf mean variance mode entropy",
    ),
    "StudentT": Row(lambda batch, xp: StudentT(xp.full(batch, 3.0))),
    "StudentT, broadcast": Row(lambda batch, xp: StudentT(3.0, xp.zeros(batch), 1.0)),
    "Transformed": Row(
        lambda batch, xp: Transformed(Normal(xp.zeros(batch), 1.0), [SoftplusTransform(), AffineTransform(1.0, -2.0)]),
        lacks="mean variance mode entropy",
    ),
    "Transformed, broadcast": Row(
        lambda batch, xp: Transformed(Exponential(1.0), AffineTransform(xp.zeros(batch), 2.0)),
        lacks="mean variance mode entropy",
    ),
    "Transformed vectors": Row(
        lambda batch, xp: Transformed(Independent(Normal(xp.zeros((*batch, 2)), 1.0), 1), ExpTransform()),
        event=(2,),
        lacks="cdf icdf mean variance mode entropy",
    ),
    "Uniform": Row(lambda batch, xp: Uniform(xp.zeros(batch), 1.0)),
    "Uniform, broadcast": Row(lambda batch, xp: Uniform(0.0, xp.ones(batch))),
}
shapes = st.lists(st.integers(0, 3), max_size=2).map(tuple)
each_law = pytest.mark.parametrize("name", LAWS)


def make(name, batch, xp=numpy):
    return LAWS[name].make(batch, xp)


def assert_shapes(law, sample, batch, event, lacks=""):
    """`sample_shape + batch_shape + event_shape`, everywhere."""
    assert law.batch_shape == batch
    assert law.event_shape == event
    draws = law.sample(sample, rng=0)
    assert draws.shape == sample + batch + event
    assert law.log_prob(draws).shape == sample + batch
    if law.reparameterized:
        assert law.rsample(sample, rng=0).shape == draws.shape
    answers = {
        "cdf": (lambda: law.cdf(draws), sample + batch),
        "icdf": (lambda: law.icdf(0.0 * draws + 0.5), sample + batch),
        "mean": (lambda: law.mean, batch + event),
        "variance": (lambda: law.variance, batch + event),
        "stddev": (lambda: law.stddev, batch + event),
        "mode": (lambda: law.mode, batch + event),
        "entropy": (law.entropy, batch),
    }
    for name, (ask, shape) in answers.items():
        if name.replace("stddev", "variance") in lacks.split():
            with pytest.raises((NotImplementedError, TypeError), match=r" ha(s|ve) no "):
                ask()
        else:
            assert ask().shape == shape, name


@each_law
@settings(max_examples=settings().max_examples // 10)  # for each of many laws, on each library
@given(sample=shapes, batch=shapes)
@example(sample=(), batch=())
@example(sample=(2,), batch=(0,))
@example(sample=(0, 3), batch=(2, 1))
@example(sample=(), batch=(3, 2))
def test_shapes(xp, name, sample, batch):
    law, row = make(name, batch, xp), LAWS[name]
    assert_shapes(law, sample, batch, row.event, row.lacks)
    assert_shapes(law.expand((2, *batch)), sample, (2, *batch), row.event, row.lacks)
    assert_shapes(make(name, (), xp).expand(batch), sample, batch, row.event, row.lacks)
    if row.enumerable:
        z = law.enumerate_support()
        assert z.shape[1:] == batch + row.event
        assert law.log_prob(z).shape == (len(z), *batch)
    else:
        with pytest.raises(NotImplementedError, match="has no finite support"):
            law.enumerate_support()


def test_a_law_that_forgets_to_broadcast_is_caught():
    class Twin(Normal):
        def entropy(self):
            return np.log(self.scale)

    with pytest.raises(AssertionError):
        assert_shapes(Twin(numpy.zeros(3), 1.0), (), (3,), ())


@each_law
def test_a_number_or_a_list_is_a_shape(name):
    law = make(name, (2,))
    for number in (5, numpy.int64(5), [5]):
        assert_array_equal(law.sample(number, rng=0), law.sample((5,), rng=0))
    assert law.expand([3, 2]).batch_shape == (3, 2)
    assert law.expand([3, 2]).sample(4, rng=0).shape == (4, 3, 2, *LAWS[name].event)
    for number in (5, numpy.int64(5), [5]):
        assert make(name, ()).expand(number).batch_shape == (5,)


@each_law
def test_expanding_to_another_shape_is_refused(name):
    law = make(name, (3,))
    for shape in [(), (2,), (3, 2)]:
        with pytest.raises(ValueError, match=r"batch_shape \(3,\) does not broadcast to"):
            law.expand(shape)


@each_law
def test_expanding_changes_no_density(name):
    law = make(name, (3,))
    value = law.sample(rng=0)
    assert_array_equal(law.expand((2, 3)).log_prob(value), numpy.stack([law.log_prob(value)] * 2))


# Draws ----------------------------------------------------------------------------------------------------------------


def floats(law):
    return [leaf for leaf in tree.leaves(law) if leaf.dtype.kind == "f"]


def assert_constant(sample, law):
    """A plain array under a trace, with no way back to the parameters."""
    kinds = []

    def f(law):
        draws = sample(law)
        kinds.append(type(draws))
        return np.sum(draws) + 0.0 * floats(law)[0].sum()

    gradient = grad(f)(law)
    assert kinds == [numpy.ndarray]
    for leaf in tree.leaves(gradient):
        assert_array_equal(leaf, numpy.zeros_like(leaf))


@each_law
def test_samples_are_constants_even_of_traced_parameters(name):
    assert_constant(lambda law: law.sample(3, rng=0), make(name, (2,)))


def test_a_sample_that_leaks_its_gradient_is_caught():
    with pytest.raises(AssertionError):
        assert_constant(lambda law: law.rsample(3, rng=0), Normal(numpy.zeros(2), 1.0))


@each_law
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_in_the_precision_of_the_parameters(name, dtype):
    law = tree.map(lambda a: a.astype(dtype), make(name, (2,)))
    assert law.dtype == dtype
    assert law.sample(3, rng=0).dtype == (int if LAWS[name].integers else dtype)
    assert law.log_prob(law.sample(3, rng=0)).dtype == dtype


@each_law
def test_samples_of_samples_are_constants(name):
    """At every level of nested tracing."""
    law = make(name, (2,))

    def outer(law):
        inner = grad(lambda law: np.sum(law.log_prob(law.sample(rng=0))))(law)
        return sum(np.sum(leaf) for leaf in tree.leaves(inner))

    value, _ = value_and_grad(outer)(law)
    assert numpy.isfinite(value)


@each_law
def test_rsample_is_sample_with_a_gradient_or_an_error(name):
    law = make(name, (2,))
    if law.reparameterized:
        assert_array_equal(law.rsample(3, rng=0), law.sample(3, rng=0))
        gradient = grad(lambda law: np.sum(np.square(law.rsample(3, rng=0))))(law)
        assert any(leaf.any() for leaf in tree.leaves(gradient))
    else:
        relaxation = getattr(law, "base", law).relaxation
        with pytest.raises(TypeError, match=rf'expectation\(\.\.\., estimator="score_function.*or {relaxation}, which'):
            law.rsample(3, rng=0)


@each_law
def test_seeds_reproduce_and_differ_and_generators_advance(name):
    law = make(name, (50,))
    for seed in (0, 1):
        assert_array_equal(law.sample(3, rng=seed), law.sample(3, rng=seed))
        assert_array_equal(law.sample(3, rng=seed), law.sample(3, rng=numpy.random.default_rng(seed)))
    varies = not LAWS[name].certain
    assert (law.sample(3, rng=0) != law.sample(3, rng=1)).any() == varies
    rng = numpy.random.default_rng(0)
    assert (law.sample(3, rng=rng) != law.sample(3, rng=rng)).any() == varies


@each_law
def test_the_generator_has_to_be_given_and_named(name):
    law = make(name, ())
    with pytest.raises(TypeError, match="rng"):
        law.sample(3)
    with pytest.raises(TypeError, match="positional"):
        law.sample(3, 0)


@each_law
def test_no_global_state_is_read_or_written(name):
    law = make(name, (2,))
    before = numpy.random.get_state()  # noqa: NPY002 (the very state that must not be touched)
    draws = law.sample(3, rng=0)
    after = numpy.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    numpy.random.random()  # noqa: NPY002
    assert_array_equal(law.sample(3, rng=0), draws)


# Validation -----------------------------------------------------------------------------------------------------------


@each_law
def test_values_of_another_shape_are_refused_traced_or_not(name):
    law = make(name, (3,))
    event = LAWS[name].event
    with pytest.raises(ValueError, match=r"value has shape .*expected"):
        law.log_prob(numpy.zeros((2, *event)))
    with pytest.raises(ValueError, match=r"value has shape .*expected"):
        grad(lambda law: np.sum(law.log_prob(numpy.zeros((2, *event)))))(law)


@each_law
def test_no_number_is_looked_at_while_traced(name, monkeypatch):
    """No pass over parameters or data inside `grad`."""
    law = make(name, (3,))
    value = law.sample(rng=0)
    looked = []
    for kind in {type(law), type(getattr(law, "base", law))} - {Independent}:
        support = kind.support.fget

        def spied(law, support=support):
            constraint = support(law)
            return dataclasses.replace(constraint, check=lambda x: looked.append(x) or constraint.check(x))

        monkeypatch.setattr(kind, "support", property(spied))

    def looks(score):
        looked.clear()
        score()
        return len(looked)

    n_checked, n_unchecked = (looks(lambda law=law: law.log_prob(value)) for law in (law, unchecked(law)))
    assert n_checked > n_unchecked  # which is not 0 where the support has ends, beyond which it has to answer −inf
    assert looks(lambda: grad(lambda law: np.sum(law.log_prob(value)))(law)) == n_unchecked


def test_traced_parameters_are_taken_as_they_are():
    gradient = grad(lambda scale: np.sum(Normal(0.0, scale).log_prob(numpy.ones(2))))(numpy.array([numpy.inf]))
    assert_array_equal(gradient, [0.0])


def spoiled(name, **options):
    """Make the law, or the one at the bottom of it, with every parameter NaN."""
    law = make(name, (3,))
    while hasattr(law, "base") or hasattr(law, "component_distribution"):
        law = getattr(law, "base", None) or law.component_distribution
    fields = [f for f in dataclasses.fields(law) if f.name in inspect.signature(type(law)).parameters]
    structure = {f.name: getattr(law, f.name) for f in fields if f.metadata.get("static")}
    names = [f.name for f in fields if f.name not in structure]
    names += [law.parameterization] if hasattr(law, "parameterization") else []
    return type(law)(**{**structure, **{n: numpy.full_like(getattr(law, n), numpy.nan) for n in names}, **options})


@each_law
def test_validation_can_be_switched_off(name):
    with pytest.raises(ValueError, match="must be"):
        spoiled(name)
    law = spoiled(name, validate_args=False)
    assert not numpy.isfinite(law.log_prob(numpy.zeros(law.batch_shape + law.event_shape))).any()


@each_law
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_no_number_has_no_place_among_the_others(name, dtype):
    law = tree.map(lambda a: a.astype(dtype), make(name, (3,)))
    ends = numpy.array([-numpy.inf, numpy.nan, numpy.inf], dtype)
    if "cdf" not in LAWS[name].lacks.split():
        assert_array_equal(law.cdf(ends), numpy.array([0.0, numpy.nan, 1.0], dtype), strict=True)
    if "icdf" not in LAWS[name].lacks:
        with pytest.raises(ValueError, match=r"value must be between 0 and 1; value\[1\] is nan"):
            law.icdf(numpy.array([0.5, numpy.nan, 0.5], dtype))


# Trees ----------------------------------------------------------------------------------------------------------------


@each_law
def test_a_law_is_a_frozen_tree_of_its_parameters(name):
    law = make(name, (2,))
    value = law.sample(rng=0)
    again = tree.unflatten(law, tree.leaves(law))
    assert type(again) is type(law)
    assert_array_equal(again.log_prob(value), law.log_prob(value))
    assert all(isinstance(leaf, numpy.ndarray) for leaf in tree.leaves(law))
    with pytest.raises(dataclasses.FrozenInstanceError):
        law.validate_args = False
    assert repr(law).startswith(type(law).__name__)


@each_law
def test_a_gradient_is_a_law_shaped_tree(name):
    law = make(name, (2,))
    gradient = grad(lambda law: np.sum(law.log_prob(law.sample(rng=0))))(law)
    assert tree.paths(gradient) == tree.paths(law)
    assert [leaf.shape for leaf in tree.leaves(gradient)] == [leaf.shape for leaf in tree.leaves(law)]


def test_a_law_needs_its_essentials():
    with pytest.raises(TypeError, match="abstract"):
        Distribution()


def test_what_a_law_lacks_it_says():
    class Minimal(Distribution):
        batch_shape = ()
        support = None
        expand = log_prob = None

    law = Minimal()
    for what in ("mean", "variance", "stddev", "mode"):
        with pytest.raises(NotImplementedError, match="Minimal has no"):
            getattr(law, what)
    for what in ("entropy", "enumerate_support"):
        with pytest.raises(NotImplementedError, match="Minimal has no"):
            getattr(law, what)()


def test_draws_are_on_the_backend_of_the_parameters(xp):
    for name, row in LAWS.items():
        draws = make(name, (2,), xp).sample(3, rng=0)
        assert type(draws) is type(xp.ones(1)), name
        assert to_numpy(draws).shape == (3, 2, *row.event)
