import importlib
import pickle

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import check_grads, grad, vjp
from minilvm.nn import MLP, Linear, linear
from tests.testing.helpers import assert_allclose

linear_module = importlib.import_module("minilvm.nn.linear")  # by that name the package has the function
shapes = st.lists(st.integers(1, 3), min_size=0, max_size=2).map(tuple)


def composite(x, weight, bias):
    return np.matmul(x, weight) + bias


@given(shapes, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32))
def test_the_fused_layer_is_its_composite_to_second_order(xp, batch, n_in, n_out, seed):
    rng = backend.default_rng(seed)
    args = [rng.standard_normal(shape) for shape in ((*batch, n_in), (n_in, n_out), (n_out,))]
    assert_allclose(linear(*args), composite(*args), rtol=1e-12, atol=1e-12)
    for i in range(3):
        fused, plain = (grad(lambda *a, f=f: np.sum(np.tanh(f(*a)) ** 2), i)(*args) for f in (linear, composite))
        assert_allclose(fused, plain, rtol=1e-9, atol=1e-12)
    check_grads(linear, args)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.74, 0.76, 1.0])
def test_rows_of_zero_are_left_out_of_the_products_and_nothing_changes(monkeypatch, share):
    """As they are behind a sample whose importance weight is 0."""
    monkeypatch.setattr(linear_module, "_LARGE", 1)
    rng = numpy.random.default_rng(0)
    x, weight, bias = rng.standard_normal((2, 50, 3)), rng.standard_normal((3, 9)), rng.standard_normal(9)
    g = rng.standard_normal((2, 50, 9)) * (rng.permutation(100).reshape(2, 50, 1) < 100 * share)
    g[0, 0] = numpy.eye(9)[1]  # of which every second element is looked at first
    _, pullback = vjp(linear, x, weight, bias)
    for found, expected in zip(pullback(g), vjp(composite, x, weight, bias)[1](g), strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    live = linear_module._live(g.reshape(100, 9), weight)
    assert (live is None) == (share > 0.75)
    check_grads(lambda x, weight: (linear(x, weight, bias) * g).sum(), [x, weight], order=2)


def test_rows_that_are_not_zero_cannot_be_left_out(monkeypatch):
    """The twin: rows picked by their first element alone."""
    monkeypatch.setattr(linear_module, "_live", lambda g, other: numpy.flatnonzero(g[:, 0]))
    x, weight, bias = numpy.ones((2, 3)), numpy.ones((3, 2)), numpy.zeros(2)
    g = numpy.array([[0.0, 1.0], [1.0, 0.0]])
    _, pullback = vjp(linear, x, weight, bias)
    with pytest.raises(AssertionError):
        assert_allclose(pullback(g)[0], g @ weight.T, rtol=1e-12)


def test_check_grads_would_catch_a_transposed_weight_rule():
    from minilvm.autograd import primitive

    wrong = primitive(lambda x, w: x @ w, x=lambda g, w: g @ w, w=lambda g, x: x.T @ g)
    rng = numpy.random.default_rng(0)
    with pytest.raises(AssertionError, match="order 1"):
        check_grads(wrong, [rng.standard_normal((3, 3)), rng.standard_normal((3, 3))])


def test_a_network_is_a_tree_and_keeps_its_activation(xp):
    network = MLP.create([3, 5, 2], rng=0, activation=np.sin)
    x = xp.ones((4, 3))
    by_hand = np.sin(x @ network.layers[0].weight) @ network.layers[1].weight
    assert_allclose(network(x), by_hand, rtol=1e-12)
    gradient = grad(lambda f: np.sum(f(x)))(network)
    assert isinstance(gradient, MLP)
    assert gradient.activation is np.sin
    assert [leaf.shape for leaf in tree.leaves(gradient)] == [(3, 5), (5,), (5, 2), (2,)]


def test_weights_start_within_the_glorot_limit_and_fill_it(xp):
    weight = Linear.create(100, 200, rng=0).weight
    limit = numpy.sqrt(6 / 300)
    assert abs(weight).max() <= limit
    assert abs(weight).max() > 0.999 * limit
    assert_allclose(weight.var(), 2 / 300, rtol=0.05)
    assert Linear.create(3, 2, rng=0, dtype="float32").weight.dtype == numpy.float32


def test_input_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match=r"x has shape \(4, 2\); expected \(…, 3\)"):
        Linear.create(3, 5, rng=0)(numpy.zeros((4, 2)))


def test_a_network_of_no_layers_is_refused():
    with pytest.raises(ValueError, match=r"widths is \[3\]; expected at least two"):
        MLP.create([3], rng=0)


def test_one_seed_gives_each_layer_weights_of_its_own(xp):
    first, second = MLP.create([4, 4, 4], rng=0).layers
    assert (first.weight != second.weight).all()
    assert MLP.create([4, 4], rng=0).activation is np.tanh


def test_networks_survive_pickling_and_compare_by_identity():
    network = MLP.create([2, 3, 1], rng=0)
    again = pickle.loads(pickle.dumps(network))  # noqa: S301 (our own bytes)
    assert again.activation is np.tanh
    tree.map(numpy.testing.assert_array_equal, network, again)
    assert network == network  # noqa: PLR0124
    assert network != again
    assert {network: 1}[network] == 1
