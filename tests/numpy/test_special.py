"""Special functions: values as SciPy's, derivatives as difference quotients say, and neither lost in the tails."""

from __future__ import annotations

import subprocess
import sys

import mpmath
import numpy
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, mutually_broadcastable_shapes
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, vjp
from minilvm.numpy import special

INF = numpy.inf

ONE = {  # functions of one array: between which bounds they are smooth and not yet flat
    "digamma": (0.3, 8.0),
    "entr": (0.1, 4.0),
    "erf": (-2.5, 2.5),
    "erfc": (-2.5, 2.5),
    "erfinv": (-0.9, 0.9),
    "expit": (-8.0, 8.0),
    "gammaln": (0.2, 8.0),
    "i0e": (0.1, 8.0),
    "i1e": (0.1, 8.0),
    "log_expit": (-8.0, 8.0),
    "log_ndtr": (-30.0, 4.0),
    "logit": (0.05, 0.95),
    "ndtr": (-4.0, 4.0),
    "softplus": (-8.0, 8.0),
}
TWO = {"betaln": 0.2, "xlog1py": -0.8, "xlogy": 0.2}  # of two: the lower bound of the second
LOG_SPACE = {"log_softmax", "logsumexp", "softmax"}  # tested with the reductions

scipy.special.softplus = lambda x: numpy.logaddexp(x, numpy.zeros_like(x))


def slope(f, x):
    return grad(lambda x: f(x).sum())(x)


def curvature(f, x):
    return slope(lambda x: slope(f, x), x)


def between(low, high, shape=None):
    elements = st.floats(low + 0.01, high - 0.01)
    return arrays(numpy.float64, array_shapes(max_dims=2, max_side=3) if shape is None else shape, elements=elements)


@st.composite
def pairs(draw, low):
    """Two arrays that broadcast against each other, the first positive, the second above `low`."""
    shapes = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3)).input_shapes
    return draw(between(0.2, 4.0, shapes[0])), draw(between(low, 4.0, shapes[1]))


def test_every_function_is_tested_here():
    assert {*ONE, *TWO, *LOG_SPACE, "polygamma"} == set(special.__all__)


@pytest.mark.parametrize("name", ONE)
@given(data=st.data())
def test_functions_of_one_array(name, data):
    x = data.draw(between(*ONE[name]))
    f = getattr(np.special, name)
    assert_allclose(f(x), getattr(scipy.special, name)(x), rtol=1e-14)
    check_grads(f, [x], rtol=1e-5)


@pytest.mark.parametrize("name", TWO)
@given(data=st.data())
def test_functions_of_two_arrays_broadcast(name, data):
    a, b = data.draw(pairs(TWO[name]))
    f = getattr(np.special, name)
    assert_allclose(f(a, b), getattr(scipy.special, name)(a, b), rtol=1e-14)
    check_grads(f, [a, b], rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma(n):
    x = numpy.array([[0.4, 1.0], [2.5, 30.0]])
    assert_allclose(np.special.polygamma(n, x), scipy.special.polygamma(n, x), rtol=1e-14)
    check_grads(lambda x: np.special.polygamma(n, x), [x], rtol=1e-5)


@given(n=st.integers(1, 6), e=st.floats(-40.0, 12.0))
def test_polygamma_to_the_last_digits(n, e):
    x = 10.0**e
    assert_allclose(np.special.polygamma(n, x), float(mpmath.polygamma(n, mpmath.mpf(x))), rtol=1e-14)


def test_polygamma_of_next_to_nothing_is_an_infinity_and_no_accident():
    assert np.special.polygamma(2, numpy.array(1e-200)) == -numpy.inf


def test_gammaln_and_its_derivatives_left_of_zero():
    x = numpy.array([-0.5, -3.3])
    assert_allclose(np.special.gammaln(x), scipy.special.gammaln(x))
    check_grads(np.special.gammaln, [x], order=1)


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_float32_stays_float32(name):
    f = getattr(np.special, name)
    arguments = [numpy.array([0.25, 0.5], numpy.float32)] * (2 if name in TWO else 1)
    y, pullback = vjp(f, *arguments)
    assert y.dtype == numpy.float32
    assert all(g.dtype == numpy.float32 for g in pullback(numpy.ones_like(y)))
    assert_allclose(y, f(*(a.astype(numpy.float64) for a in arguments)), rtol=1e-6)
    second, _ = vjp(lambda *xs: vjp(f, *xs)[1](numpy.ones_like(y)), *arguments)
    assert all(g.dtype == numpy.float32 for g in second)
    if name in TWO:
        assert f(2.0, arguments[0]).dtype == f(arguments[0], 2.0).dtype == numpy.float32
    assert np.special.polygamma(2, arguments[0]).dtype == numpy.float32


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_every_library_agrees(name, xp):
    f = getattr(np.special, name)
    arguments = [numpy.array([0.25, 0.5])] * (2 if name in TWO else 1)
    y, pullback = vjp(f, *arguments)
    of_theirs, pullback_of_theirs = vjp(f, *map(xp.asarray, arguments))
    assert_allclose(backend.to_numpy(of_theirs), y)
    for ours, theirs in zip(pullback(y), pullback_of_theirs(xp.asarray(y)), strict=True):
        assert isinstance(theirs, xp.ndarray)
        assert_allclose(backend.to_numpy(theirs), ours)
    assert_allclose(backend.to_numpy(np.special.polygamma(1, xp.asarray(y))), np.special.polygamma(1, y))


@pytest.mark.parametrize("name", [*ONE])
def test_numbers_are_arguments_too(name):
    assert_allclose(getattr(np.special, name)(0.5), getattr(scipy.special, name)(0.5))


def test_importing_the_namespace_does_not_import_scipy():
    program = "import sys, minilvm.numpy; assert not any(name.startswith('scipy') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# Tails and edges: warnings are errors, so none of these may overflow on the way

both_precisions = pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64])


@both_precisions
@pytest.mark.parametrize(
    ("f", "x", "value", "slopes", "curvatures"),
    [
        (np.special.softplus, [-INF, -1e4, 1e4, INF], [0, 0, 1e4, INF], [0, 0, 1, 1], [0, 0, 0, 0]),
        (np.special.log_expit, [-INF, -1e4, 1e4, INF], [-INF, -1e4, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]),
        (np.special.expit, [-INF, -1e4, 1e4, INF], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]),
        (np.special.ndtr, [-1e4, 1e4], [0, 1], [0, 0], [0, 0]),
        (np.special.erf, [-1e4, 0, 1e4], [-1, 0, 1], [0, 2 / numpy.sqrt(numpy.pi), 0], [0, 0, 0]),
        (np.special.erfc, [-1e4, 1e4], [2, 0], [0, 0], [0, 0]),
        (np.special.i0e, [0.0], [1], [0], [0.5]),
        (np.special.i1e, [0.0], [0], [0.5], [0]),
    ],
)
def test_saturated_functions(f, x, value, slopes, curvatures, dtype):
    x = numpy.array(x, dtype)
    assert_allclose(f(x), value)
    assert_allclose(slope(f, x), slopes, rtol=1e-6)
    assert_allclose(curvature(f, x), curvatures, rtol=1e-6)


@both_precisions
def test_small_values_keep_their_digits(dtype):
    x = numpy.linspace(-85.0, -1.0, 1000).astype(dtype)
    few = 4.0 * numpy.finfo(dtype).eps
    exact = numpy.exp(x.astype(numpy.longdouble)) / (1 + numpy.exp(x.astype(numpy.longdouble)))
    assert_allclose(np.special.expit(x), exact, rtol=few)
    assert_allclose(np.special.softplus(x), numpy.log1p(numpy.exp(x.astype(numpy.longdouble))), rtol=few)
    assert_allclose(slope(np.special.expit, x), exact * (1 - exact), rtol=2 * few)
    assert_allclose(slope(np.special.expit, -x), exact * (1 - exact), rtol=2 * few)
    assert_allclose(slope(np.special.log_expit, -x), exact, rtol=few)


def test_expit_down_to_the_smallest_normal_number():
    x = numpy.array([-700.0, -708.0])
    assert_allclose(np.special.expit(x), scipy.special.expit(x), rtol=1e-15)
    assert_array_equal(np.special.expit(numpy.array([-800.0])), [0.0])


@both_precisions
def test_log_ndtr_far_to_the_left(dtype):
    x = numpy.array([-20.0, -1e3, -1e4, -1e6], dtype)
    t = -x.astype(numpy.float64)
    mills = 1 / t - 1 / t**3 + 3 / t**5 - 15 / t**7  # (1 − Φ(t)) / φ(t), asymptotically
    eps = numpy.finfo(dtype).eps
    assert_allclose(
        np.special.log_ndtr(x), -(t**2) / 2 + numpy.log(mills / numpy.sqrt(2 * numpy.pi)), rtol=max(4 * eps, 1e-9)
    )
    assert_allclose(slope(np.special.log_ndtr, x), 1 / mills, rtol=max(8 * eps, 1e-8))
    second = curvature(np.special.log_ndtr, x)
    assert ((second >= -1) & (second <= 0)).all()
    assert_allclose(second[0], -1 + 1 / t[0] ** 2, rtol=0.02)


@pytest.mark.parametrize(("f", "pole"), [(np.special.xlogy, 0.0), (np.special.xlog1py, -1.0)], ids=["xlogy", "xlog1py"])
def test_nothing_times_the_logarithm_of_nothing_is_nothing_with_all_its_derivatives(f, pole):
    point = (numpy.array(0.0), numpy.array(pole))
    assert f(*point) == 0.0
    assert grad(f, (0, 1))(*point) == (0.0, 0.0)
    for i in (0, 1):
        assert grad(lambda a, b, i=i: grad(f, i)(a, b), (0, 1))(*point) == (0.0, 0.0)


def test_nothing_times_a_logarithm_has_the_logarithm_for_slope():
    point = (numpy.array(0.0), numpy.array(numpy.e))
    assert np.special.xlogy(*point) == 0.0
    assert_allclose(grad(np.special.xlogy, (0, 1))(*point), (1.0, 0.0))


@pytest.mark.parametrize(
    ("f", "x", "value"),
    [
        (np.special.logit, [0.0, 1.0], [-INF, INF]),
        (np.special.erfinv, [-1.0, 1.0], [-INF, INF]),
        (np.special.entr, [0.0], [0.0]),
    ],
    ids=["logit", "erfinv", "entr"],
)
def test_ends_of_a_domain_have_infinite_slope(f, x, value):
    x = numpy.array(x)
    assert_array_equal(f(x), value)
    with numpy.errstate(divide="ignore"):
        assert_array_equal(vjp(f, x)[1](numpy.ones_like(x))[0], numpy.full_like(x, INF))


def test_logit_inverts_expit():
    x = numpy.linspace(-30.0, 15.0, 50)
    assert_allclose(np.special.logit(np.special.expit(x)), x, rtol=1e-8)


def test_entr_is_minus_infinity_outside_its_domain():
    assert np.special.entr(numpy.array([-1.0])) == -INF
