import numpy
from hypothesis import given
from hypothesis import strategies as st

from minilvm import tree
from minilvm.models import GaussianStatistics
from tests.models.gaussians import TYPES, of_type, scatters
from tests.testing.helpers import assert_allclose, host, moved


def statistics(x, responsibilities, centres, covariance_type):
    """The definition, on the active backend."""
    return moved(
        GaussianStatistics(
            responsibilities.sum(axis=0),
            numpy.einsum("nc,ncd->cd", responsibilities, x[:, None, :] - centres),
            of_type(scatters(x, responsibilities, centres), covariance_type),
            centres,
            covariance_type,
        )
    )


def assert_same(found, expected):
    assert found.covariance_type == expected.covariance_type
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@st.composite
def problems(draw):
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    C, D = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    x, centres = rng.standard_normal((12, D)), rng.standard_normal((2, C, D))
    return x, rng.gamma(1.0, size=(12, C)), centres, draw(st.sampled_from(TYPES))


@given(problems())
def test_statistics_about_one_centre_are_those_about_another(xp, problem):
    x, r, (here, there), covariance_type = problem
    moved_there = statistics(x, r, here, covariance_type).around(xp.asarray(there))
    assert_same(moved_there, statistics(x, r, there, covariance_type))


@given(problems(), st.integers(0, 12))
def test_statistics_of_parts_add_up_wherever_their_centres_are(xp, problem, cut):
    x, r, (here, there), covariance_type = problem
    a, b = statistics(x[:cut], r[:cut], here, covariance_type), statistics(x[cut:], r[cut:], there, covariance_type)
    whole = statistics(x, r, here, covariance_type)
    assert_same(a + b, whole)
    assert_same((b + a).around(a.centres), whole)


@given(problems())
def test_a_number_times_statistics_is_so_many_of_each_point(xp, problem):
    x, r, (here, _), covariance_type = problem
    assert_same(0.25 * statistics(x, r, here, covariance_type), statistics(x, 0.25 * r, here, covariance_type))


@given(problems())
def test_the_scatter_is_about_the_weighted_means(xp, problem):
    x, r, (here, _), covariance_type = problem
    means = (r.T @ x) / r.sum(axis=0)[:, None]
    expected = of_type(scatters(x, r, means), covariance_type)
    assert_allclose(statistics(x, r, here, covariance_type).scatter, expected, rtol=1e-9, atol=1e-9)
    assert host(statistics(x, r, here, covariance_type)).covariance_type == covariance_type
