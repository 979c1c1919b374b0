import copy
import pickle

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilvm import tree
from minilvm.inference import SGD, Adam, optim
from tests.testing.helpers import assert_allclose, assert_array_equal, moved


def textbook_adam(theta, gradients, lr, betas, eps):
    """Algorithm 1 of arXiv:1412.6980, line by line."""
    m, v = numpy.zeros_like(theta), numpy.zeros_like(theta)
    for t, g in enumerate(gradients, start=1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        theta = theta - lr * (m / (1 - betas[0] ** t)) / (numpy.sqrt(v / (1 - betas[1] ** t)) + eps)
    return theta


def trees(rng, dtype="float64"):
    w, b, a = (rng.standard_normal(shape).astype(dtype) for shape in ((3, 4), 5, ()))
    return tree.map(lambda x: x[()], moved({"w": w, "layers": [b, (a, None)]}))  # of NumPy's arrays () a number


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_adam_is_algorithm_1_on_every_leaf(xp, seed, steps):
    rng = numpy.random.default_rng(seed)
    params = trees(rng)
    gradients = [trees(rng) for _ in range(steps)]
    adam = Adam(lr=0.05, betas=(0.8, 0.95), eps=1e-6)
    found, state = params, adam.init(params)
    for g in gradients:
        found, state = adam.step(found, g, state)
    expected = tree.map(lambda theta, *g: textbook_adam(theta, g, 0.05, (0.8, 0.95), 1e-6), params, *gradients)
    tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-10, atol=1e-12), found, expected)


def test_adam_in_chunks_is_adam(xp, monkeypatch):
    rng = numpy.random.default_rng(0)
    params, g = trees(rng), trees(rng)
    whole, _ = Adam().step(params, g, Adam().init(params))
    monkeypatch.setattr(optim, "_CHUNK", 4)
    parts, _ = Adam().step(params, g, Adam().init(params))
    tree.map(assert_array_equal, whole, parts)


def test_a_step_keeps_dtypes_and_leaves_old_parameters_and_gradients_alone(xp):
    rng = numpy.random.default_rng(0)
    params = {"single": trees(rng, "float32"), "double": trees(rng)}
    gradient, before = tree.map(numpy.copy, params), tree.map(numpy.copy, params)
    for optimizer in (Adam(), SGD(0.1)):
        after, _ = optimizer.step(params, gradient, optimizer.init(params))
        assert [leaf.dtype for leaf in tree.leaves(after)] == [leaf.dtype for leaf in tree.leaves(params)]
        assert all((a != b).all() for a, b in zip(tree.leaves(after), tree.leaves(params), strict=True))
        tree.map(assert_array_equal, params, before)
        tree.map(assert_array_equal, gradient, before)


def test_adam_steps_from_the_parameters_it_is_given_whatever_was_done_to_them_since(xp):
    params, g, adam = {"w": xp.zeros(2)}, {"w": xp.ones(2)}, Adam(lr=0.1)
    state = adam.init(params)
    for start in (5.0, 9.0):  # after init, and after a step
        params["w"] = xp.full(2, start)
        params, state = adam.step(params, g, state)
        assert_allclose(params["w"], start - 0.1, rtol=1e-6)
    params["w"] *= 2.0
    assert_allclose(adam.step(params, g, state)[0]["w"], 17.7, rtol=1e-6)


@pytest.mark.parametrize("kept", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])  # noqa: S301  our own
def test_adam_goes_on_from_a_copy_as_from_the_original(xp, kept):
    g, adam = {"w": xp.ones(2)}, Adam(lr=0.1)
    both = adam.step({"w": xp.zeros(2)}, g, adam.init({"w": xp.zeros(2)}))
    params, state = kept(both)
    params["w"] += 7.0  # in place: what is stepped from are the parameters, not what a buffer remembers of them
    after, state = adam.step(params, g, state)
    expected, original = adam.step(both[0], g, both[1])
    assert_allclose(after["w"], expected["w"] + 7.0, rtol=1e-12)
    assert state.count == original.count == 2


def test_adam_refuses_what_is_no_parameter():
    with pytest.raises(TypeError, match="floating-point"):
        Adam().init([len])
    with pytest.raises(TypeError, match="floating-point"):
        Adam().init([numpy.arange(3)])


def test_sgd_goes_down_the_gradient(xp):
    (after,), _ = SGD(0.1).step([xp.asarray([1.0])], [xp.asarray([2.0])], None)
    assert_allclose(after, 0.8)


def test_a_gradient_of_another_structure_is_refused():
    params = {"w": numpy.ones(2)}
    with pytest.raises(ValueError, match="trees differ"):
        SGD().step(params, {"v": numpy.ones(2)}, None)
    with pytest.raises(ValueError, match=r"grads has a leaf of shape \(3,\)"):
        Adam().step(params, {"w": numpy.ones(3)}, Adam().init(params))


def test_defaults_are_those_of_the_paper():
    assert Adam() == Adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_a_learning_rate_from_a_numpy_sweep_does_not_change_the_precision(xp, make):
    params = [xp.ones(3, "float32")]
    for lr in numpy.logspace(-3, -1, 2):
        optimizer = make(lr)
        assert optimizer.step(params, params, optimizer.init(params))[0][0].dtype == numpy.float32


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)])
def test_what_was_returned_is_nobody_elses(xp, optimizer):
    """A tree of a single leaf needs no gathering: neither may it be written to, nor what an earlier step returned."""
    start, g = [xp.ones(3)], [xp.ones(3)]
    one, state = optimizer.step(start, g, optimizer.init(start))
    kept = one[0].copy()
    two, _ = optimizer.step(one, g, state)
    assert_array_equal(one[0], kept)
    assert_array_equal(start[0], 1.0)
    assert not any(xp.shares_memory(a[0], b[0]) for a, b in [(start, one), (one, two), (g, one), (g, two)])
