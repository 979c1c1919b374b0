"""scikit-learn's conventions, without it: parameters, tables, weights, seeds, and where a warning points."""

from __future__ import annotations

import warnings

import numpy
import pandas
import pytest
from numpy.testing import assert_array_equal

from minilvm.data import load_old_faithful
from minilvm.mixture import BayesianGaussianMixture, GaussianMixture
from minilvm.mixture.conventions import as_table, generator_of

SEEDS = [0, numpy.int64(0), numpy.random.default_rng(0), numpy.random.SeedSequence(0)]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: type(seed).__name__)
def test_a_seed_may_be_given_in_many_ways(seed):
    assert_array_equal(generator_of(seed, numpy.zeros(1)).random(3), numpy.random.default_rng(0).random(3))


def test_an_old_generator_is_a_source_of_seeds():
    one, two = (generator_of(numpy.random.RandomState(0), numpy.zeros(1)) for _ in range(2))
    assert_array_equal(one.random(3), two.random(3))
    old = numpy.random.RandomState(0)
    draws = [generator_of(old, numpy.zeros(1)).random() for _ in range(2)]
    assert draws[0] != draws[1]


def test_no_seed_is_another_each_time():
    draws = [generator_of(None, numpy.zeros(1)).random() for _ in range(2)]
    assert draws[0] != draws[1]


@pytest.mark.parametrize("seed", ["0", -1, 1.5, numpy.random])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"random_state is .*; expected a seed \(an int, at least 0\)"):
        GaussianMixture(2, random_state=seed).fit(load_old_faithful())


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint64", "bool", "object", ">f8", "longdouble"])
def test_numbers_of_any_kind_become_doubles(dtype):
    table = as_table(numpy.arange(6).reshape(3, 2).astype(dtype), "Law")
    assert table.dtype == numpy.float64
    assert_array_equal(table, numpy.arange(6).reshape(3, 2) > 0 if dtype == "bool" else [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_single_and_double_stay_what_they_are_and_where_they_are(dtype):
    x = numpy.ones((3, 2), dtype)
    assert as_table(x, "Law") is x


def layouts(x):
    """The same numbers in memory in other ways."""
    read_only = x.copy()
    read_only.setflags(write=False)
    yield from (numpy.asfortranarray(x), numpy.repeat(x, 2, axis=0)[::2], x[::-1][::-1], read_only, x.tolist())


@pytest.mark.parametrize("missing", [None, "marginalize"])
def test_the_layout_in_memory_has_no_say(missing):
    x = load_old_faithful()
    arguments = {"missing": missing, "random_state": 0}
    expected = GaussianMixture(2, **arguments).fit(x)
    for data in layouts(x):
        before = numpy.array(data)
        found = GaussianMixture(2, **arguments).fit(data, sample_weight=numpy.broadcast_to(1.0, 272))
        numpy.testing.assert_allclose(found.means_, expected.means_, rtol=1e-12)
        assert_array_equal(found.predict(data), expected.predict(x))
        assert_array_equal(numpy.array(data), before)


def test_what_is_masked_is_missing():
    x = load_old_faithful()
    holes = numpy.where(x > 90.0, numpy.nan, x)
    masked = numpy.ma.masked_greater(x, 90.0)
    with pytest.raises(ValueError, match="contains NaN"):
        GaussianMixture(2).fit(masked)
    one, two = (GaussianMixture(2, missing="marginalize", random_state=0).fit(data) for data in (masked, holes))
    assert_array_equal(one.means_, two.means_)


def test_what_is_not_available_in_a_frame_is_missing():
    x = load_old_faithful()
    frame = pandas.DataFrame(x, columns=["minutes", "waiting"]).astype("Float64")
    frame = frame.mask(frame > 90.0)  # with pandas.NA, which no float is made of
    found = GaussianMixture(2, missing="marginalize", random_state=0).fit(frame)
    holes = numpy.where(x > 90.0, numpy.nan, x)
    assert_array_equal(found.means_, GaussianMixture(2, missing="marginalize", random_state=0).fit(holes).means_)
    assert found.feature_names_in_.tolist() == ["minutes", "waiting"]
    with pytest.raises(ValueError, match="contains NaN"):
        GaussianMixture(2).fit(frame)


@pytest.mark.parametrize("dtypes", [["float32", "float32"], ["float64", "int64"], ["Float64", "Int64"]])
def test_a_frame_is_its_numbers(dtypes):
    x = load_old_faithful().round()
    frame = pandas.DataFrame({f"column {d}": pandas.array(x[:, d], dtype=dtypes[d]) for d in range(2)})
    weight = pandas.Series(1.0 + numpy.arange(len(x)) % 2)
    expected = GaussianMixture(2, random_state=0).fit(x.astype(dtypes[0].lower()), sample_weight=weight.to_numpy())
    found = GaussianMixture(2, random_state=0).fit(frame, sample_weight=weight)
    assert_array_equal(found.means_, expected.means_)
    assert_array_equal(found.predict(frame), expected.predict(x))
    assert found.means_.dtype == expected.means_.dtype


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ("a", "could not convert string to float"),
        (pandas.Timestamp("2026-01-01"), "X has times in column 'third'; expected numbers"),
        (pandas.Timedelta("1h"), "X has times in column 'third'"),
        (1j, "Complex data not supported"),
    ],
)
def test_a_frame_with_a_column_of_no_numbers_is_refused(column, what):
    frame = pandas.DataFrame(load_old_faithful(), columns=["minutes", "waiting"]).assign(third=column)
    with pytest.raises(ValueError, match=what):
        GaussianMixture(2).fit(frame)


@pytest.mark.parametrize("bad", [numpy.inf, -numpy.inf])
def test_infinity_is_no_missing_number(bad):
    with pytest.raises(ValueError, match="contains infinity"):
        GaussianMixture(2, missing="marginalize").fit([[0.0, numpy.nan], [bad, 1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"reg_covar": numpy.inf}, r"'reg_covar' parameter of GaussianMixture must be a float in the range \[0, inf\)"),
        ({"tol": numpy.nan}, "'tol'"),
        ({"n_components": True}, "'n_components' parameter of GaussianMixture must be an int in the range"),
        ({"max_iter": 1.0}, "'max_iter'"),
        ({"random_state": 0, "n_init": numpy.inf}, "'n_init'"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        GaussianMixture(**arguments).fit(load_old_faithful())


def test_numbers_of_any_library_are_numbers():
    arguments = {"n_components": numpy.int8(2), "tol": numpy.float32(1e-3), "reg_covar": 0, "random_state": 0}
    assert GaussianMixture(**arguments).fit(load_old_faithful()).means_.shape == (2, 2)
    priors = {"mean_precision_prior": numpy.float32(1.0), "degrees_of_freedom_prior": numpy.int64(3)}
    assert BayesianGaussianMixture(n_components=2, **priors).fit(load_old_faithful()).means_.shape == (2, 2)


def test_parameters_are_read_and_set_by_name_and_shown_where_they_are_not_the_defaults():
    mixture = GaussianMixture(3, tol=0.1)
    assert mixture.get_params()["n_components"] == 3
    assert repr(mixture.set_params(reg_covar=0.0)) == "GaussianMixture(n_components=3, tol=0.1, reg_covar=0.0)"
    with pytest.raises(ValueError, match=r"Invalid parameter 'components' for estimator GaussianMixture. Valid"):
        mixture.set_params(components=2)


@pytest.mark.parametrize("method", ["fit", "fit_predict"])
@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
def test_a_warning_points_at_the_line_that_called(estimator, method):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(estimator(n_components=2, max_iter=1, random_state=0), method)(load_old_faithful())
    assert [(w.filename, str(w.message)[:12]) for w in caught] == [(__file__, "Best perform")]
