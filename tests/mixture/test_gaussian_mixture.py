"""What our mixture does beyond scikit-learn's: weights, missing values, streams, priors, collapse, bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import re
import warnings

import numpy
import pandas
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.backend import to_numpy
from minilvm.data import load_old_faithful
from minilvm.inference import em_pass
from minilvm.mixture import GaussianMixture
from minilvm.mixture.conventions import NotFittedError
from minilvm.models import ConjugatePrior

TYPES = ("full", "tied", "diag", "spherical")
each_type = pytest.mark.parametrize("kind", TYPES)


def blobs(n=150, D=2, seed=0):
    """Three clusters of different sizes and shapes."""
    rng = numpy.random.default_rng(seed)
    centres = 6.0 * rng.standard_normal((3, D))
    return numpy.concatenate(
        [centres[c] + rng.standard_normal((n // (c + 1), D)) @ rng.standard_normal((D, D)) for c in range(3)]
    )


def log_density(mixture, x):
    """Σ_c π_c N(x; μ_c, Σ_c) by SciPy."""
    D = mixture.means_.shape[1]
    covariances = {
        "full": lambda c: mixture.covariances_[c],
        "tied": lambda c: mixture.covariances_,
        "diag": lambda c: numpy.diag(mixture.covariances_[c]),
        "spherical": lambda c: mixture.covariances_[c] * numpy.eye(D),
    }[mixture.covariance_type]
    laws = [scipy.stats.multivariate_normal(m, covariances(c)) for c, m in enumerate(mixture.means_)]
    return numpy.log(sum(w * law.pdf(x) for w, law in zip(mixture.weights_, laws, strict=True)))


@each_type
def test_a_fit_scores_predicts_and_counts_as_it_says(kind):
    x = blobs()
    mixture = GaussianMixture(3, covariance_type=kind, tol=1e-8, max_iter=1000, random_state=0).fit(x)
    log_p = log_density(mixture, x)
    assert_allclose(mixture.score_samples(x), log_p, rtol=1e-9)
    assert_allclose(mixture.score(x), log_p.mean(), rtol=1e-12)
    assert_allclose(mixture.lower_bound_, mixture.score(x), rtol=1e-12)  # never a step behind
    assert mixture.n_iter_ == len(mixture.lower_bounds_) - 1
    q = mixture.predict_proba(x)
    assert_allclose(q.sum(axis=1), 1.0)
    assert_array_equal(mixture.predict(x), q.argmax(axis=1))
    D, C = 2, 3
    free = {"full": C * D * (D + 1) / 2, "tied": D * (D + 1) / 2, "diag": C * D, "spherical": C}[kind] + C * D + C - 1
    assert_allclose(mixture.aic(x), 2 * free - 2 * log_p.sum())
    assert_allclose(mixture.bic(x), free * numpy.log(len(x)) - 2 * log_p.sum())
    entropy = -scipy.special.xlogy(q, q).sum()
    assert_allclose(mixture.icl(x), mixture.bic(x) + 2 * entropy)


@each_type
def test_precisions_are_inverses(kind):
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(blobs())
    if kind in {"full", "tied"}:
        product = mixture.covariances_ @ mixture.precisions_
        assert_allclose(product, numpy.broadcast_to(numpy.eye(2), product.shape), atol=1e-12)
        factor = mixture.precisions_cholesky_
        assert_allclose(factor @ numpy.swapaxes(factor, -1, -2), mixture.precisions_, rtol=1e-12)
        assert_allclose(numpy.tril(factor, -1), 0.0)
    else:
        assert_allclose(mixture.covariances_ * mixture.precisions_, 1.0)
        assert_allclose(mixture.precisions_cholesky_**2, mixture.precisions_)


@given(st.integers(0, 100), st.sampled_from(TYPES))
def test_a_weight_is_a_number_of_copies(seed, kind):
    rng = numpy.random.default_rng(seed)
    x = blobs(n=40, seed=seed)
    copies = rng.integers(0, 4, len(x))
    arguments = {"covariance_type": kind, "random_state": seed, "max_iter": 20, "tol": 0.0}
    with pytest.warns(UserWarning, match="did not converge"):
        weighted = GaussianMixture(2, **arguments).fit(x, sample_weight=copies)
    with pytest.warns(UserWarning, match="did not converge"):
        repeated = GaussianMixture(2, **arguments).fit(numpy.repeat(x, copies, axis=0))
    assert_allclose(weighted.means_, repeated.means_, rtol=1e-6, atol=1e-6)
    assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-6, atol=1e-6)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-8)
    assert_allclose(weighted.score(x, sample_weight=copies), repeated.lower_bound_, rtol=1e-8)


@each_type
def test_the_bound_rises_with_the_prior_that_regularises(kind):
    x = blobs(n=30)
    mixture = GaussianMixture(
        6, covariance_type=kind, parameter_prior="fraley_raftery", tol=1e-9, max_iter=500, random_state=1
    ).fit(x)
    assert min(numpy.diff(mixture.lower_bounds_)) > -1e-12
    assert len(mixture.lower_bounds_) > 5
    theta = mixture.weights_, mixture.means_, mixture.covariances_
    log_posterior = log_density(mixture, x).sum() + mixture.parameter_prior_.log_density(*theta, kind)
    assert_allclose(mixture.lower_bound_ * len(x), log_posterior, rtol=1e-9)
    means = mixture.means_
    assert_array_equal(mixture.set_params(reg_covar=100.0).fit(x).means_, means)  # whose place it takes
    degenerate = numpy.repeat([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]], 10, axis=0)
    found = GaussianMixture(3, covariance_type=kind, parameter_prior="fraley_raftery", random_state=0).fit(degenerate)
    assert numpy.isfinite(found.score(degenerate))


@given(st.integers(0, 100), st.sampled_from(TYPES))
def test_a_weight_is_a_number_of_copies_to_the_prior_too(seed, kind):
    x = blobs(n=40, seed=seed)
    x[::7, 1] = numpy.nan
    copies = numpy.random.default_rng(seed).integers(0, 4, len(x))
    arguments = {"covariance_type": kind, "random_state": seed, "parameter_prior": "fraley_raftery", "max_iter": 500}
    weighted = GaussianMixture(2, missing="marginalize", **arguments).fit(x, sample_weight=copies)
    repeated = GaussianMixture(2, missing="marginalize", **arguments).fit(numpy.repeat(x, copies, axis=0))
    assert_allclose(weighted.parameter_prior_.scale, repeated.parameter_prior_.scale, rtol=1e-9)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-6)
    for criterion in ("aic", "bic", "icl"):
        of_weighted = getattr(weighted, criterion)(x, copies)
        assert_allclose(of_weighted, getattr(repeated, criterion)(numpy.repeat(x, copies, axis=0)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("missing", [None, "marginalize"])
@each_type
def test_a_prior_keeps_a_component_that_has_no_points(kind, missing, dtype):
    arguments = {"parameter_prior": "fraley_raftery", "missing": missing, "random_state": 0}
    far = {"means_init": [[2.0, 54.0], [4.0, 80.0], [5e4, 5e4]]}
    x = load_old_faithful().astype(dtype)
    mixture = GaussianMixture(3, covariance_type=kind, **arguments, **far).fit(x)
    assert mixture.converged_
    assert numpy.isfinite(mixture.lower_bounds_).all()
    assert mixture.weights_[2] < 1e-30
    assert numpy.isfinite(mixture.score(x))


@each_type
def test_missing_numbers_are_marginalised(kind):
    """A sample without any number says nothing; others say what they have: the score is SciPy's on what is there."""
    x = blobs()
    mixture = GaussianMixture(3, covariance_type=kind, missing="marginalize", random_state=0, tol=1e-6, max_iter=500)
    whole = GaussianMixture(3, covariance_type=kind, random_state=0, tol=1e-6, max_iter=500).fit(x)
    mixture.fit(x)
    assert_allclose(mixture.means_, whole.means_, rtol=1e-8)  # with nothing missing, the same fit
    holes = x.copy()
    holes[::5, 1] = numpy.nan
    assert_allclose(mixture.score_samples(holes)[1], mixture.score_samples(x)[1])
    first = scipy.stats.norm(mixture.means_[:, 0], numpy.sqrt(_first_variance(mixture)))
    expected = numpy.log((mixture.weights_ * first.pdf(x[::5, :1])).sum(axis=1))
    assert_allclose(mixture.score_samples(holes)[::5], expected, rtol=1e-10)
    refitted = mixture.fit(holes)
    assert min(numpy.diff(refitted.lower_bounds_)) > -1e-6  # reg_covar is on
    assert refitted.predict(holes).shape == (len(x),)
    with pytest.raises(ValueError, match=r'X contains NaN: GaussianMixture refuses it unless missing="marginalize"'):
        GaussianMixture(3).fit(holes)


def _first_variance(mixture):
    c = mixture.covariances_
    return {
        "full": lambda: c[:, 0, 0],
        "tied": lambda: numpy.full(3, c[0, 0]),
        "diag": lambda: c[:, 0],
        "spherical": lambda: c,
    }[mixture.covariance_type]()


def test_a_column_without_a_number_is_refused():
    x = blobs()
    x[:, 1] = numpy.nan
    with pytest.raises(ValueError, match=r"X\[:, 1\] has no number"):
        GaussianMixture(2, missing="marginalize").fit(x)


def test_a_stream_is_learnt_from_one_batch_after_another():
    rng = numpy.random.default_rng(0)
    x = rng.permutation(blobs(n=6000))
    stream = GaussianMixture(3, random_state=0)
    for batch in numpy.array_split(x, 60):
        stream.partial_fit(batch)
    whole = GaussianMixture(3, random_state=0, tol=1e-8, max_iter=1000).fit(x)
    assert stream.score(x) > whole.score(x) - 0.02
    order, theirs = stream.weights_.argsort(), whole.weights_.argsort()
    assert_allclose(stream.means_[order], whole.means_[theirs], atol=0.3)


def test_one_batch_of_everything_is_one_step_of_em():
    x = load_old_faithful()
    streamed = GaussianMixture(2, random_state=0).partial_fit(x)
    with pytest.warns(UserWarning, match="did not converge"):
        stepped = GaussianMixture(2, random_state=0, max_iter=1).fit(x)
    assert_allclose(streamed.means_, stepped.means_, rtol=1e-10)
    assert_allclose(streamed.covariances_, stepped.covariances_, rtol=1e-10)


@given(st.integers(0, 1000), st.sampled_from(TYPES), st.booleans())
def test_a_step_on_a_batch_is_the_one_of_the_paper(seed, kind, prior):
    """s ← (1 − ρ) s + ρ ŝ and θ the M-step of so many samples, with ρ by how many batches of this size went before."""
    rng = numpy.random.default_rng(seed)
    x, w = blobs(n=60, seed=seed), rng.uniform(0.5, 2.0, 110)
    arguments = {"covariance_type": kind, "parameter_prior": "fraley_raftery" if prior else None, "random_state": 0}
    stream = GaussianMixture(2, **arguments)
    s, seen = None, 0.0
    for batch in (slice(0, 60), slice(60, 70), slice(70, 110)):
        model = stream._last() if s else stream_start(x[batch], w[batch], arguments)
        stream.partial_fit(x[batch], sample_weight=w[batch])
        model = dataclasses.replace(model, **stream._objective())
        new, size = em_pass(model, x[batch], sample_weight=w[batch])[1], w[batch].sum()
        rho = (2.0 + seen / size) ** -0.6
        s = (1.0 / size) * new if s is None else (1.0 - rho) * s + (rho / size) * new
        seen += size
        expected = model.m_step(seen * s)
        assert_allclose(stream.n_samples_seen_, seen)
        for name in ("weights", "means", "covariances"):
            assert_allclose(getattr(stream, f"{name}_"), getattr(expected, name), rtol=1e-9, atol=1e-12)


def stream_start(x, w, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step is taken
        return GaussianMixture(2, max_iter=0, **arguments).fit(x, sample_weight=w)._model()


@each_type
def test_a_stream_that_says_the_same_again_and_again_leads_to_the_optimum(kind):
    x = blobs()
    whole = GaussianMixture(3, covariance_type=kind, random_state=0, tol=1e-12, max_iter=5000).fit(x)
    stream = GaussianMixture(3, covariance_type=kind, random_state=0)
    below = []
    for _ in range(4):
        for _ in range(100):
            stream.partial_fit(x)
        below.append(whole.score(x) - stream.score(x))
    assert below[3] < 1e-4
    assert max(numpy.diff(below)) < 1e-9


def test_a_stream_from_parameters_set_by_hand_has_seen_what_it_was_given():
    x = blobs()
    donor, mixture = GaussianMixture(3, random_state=0).fit(x), GaussianMixture(3)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(mixture, name, getattr(donor, name))
    assert mixture.partial_fit(x[:50]).n_samples_seen_ == 50
    assert mixture.partial_fit(x[50:80]).n_samples_seen_ == 80


@each_type
def test_after_a_fit_the_stream_goes_on_from_there(kind):
    x = blobs()
    arguments = {"covariance_type": kind, "reg_covar": 0.5, "random_state": 0, "tol": 1e-12, "max_iter": 5000}
    mixture = GaussianMixture(3, **arguments).fit(x)
    assert mixture.n_samples_seen_ == len(x)
    at_its_end = {name: getattr(mixture, name) for name in ("weights_", "means_", "covariances_")}
    mixture.partial_fit(x)
    for name, value in at_its_end.items():  # the data say again what it knows
        assert_allclose(getattr(mixture, name), value, rtol=1e-4, atol=1e-6)
    mixture.partial_fit(x[:1])  # and one sample among many moves it a little
    assert 0.0 < abs(mixture.means_ - at_its_end["means_"]).max() < 1.0
    assert mixture.n_samples_seen_ == 2 * len(x) + 1
    fitted_again = mixture.fit(x).means_
    assert_array_equal(fitted_again, GaussianMixture(**mixture.get_params()).fit(x).means_)  # a stream leaves no trace
    mixture.partial_fit(x)
    assert_allclose(mixture.means_, fitted_again, rtol=1e-4, atol=1e-4)


def test_a_batch_that_cannot_be_learnt_from_leaves_no_trace():
    mixture = GaussianMixture(2, reg_covar=0.0, random_state=0)
    with pytest.warns(UserWarning, match="has collapsed"), pytest.raises(ValueError, match="collapsed"):
        mixture.partial_fit(numpy.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0))
    x = load_old_faithful()
    assert_array_equal(mixture.partial_fit(x).means_, GaussianMixture(**mixture.get_params()).partial_fit(x).means_)


@each_type
def test_a_lost_component_starts_again_and_the_user_is_told(kind):
    """Once, and at points that count: those of weight 0 are as if they were not there."""
    x = numpy.concatenate([blobs(), numpy.full((300, 2), 500.0)])
    weights = numpy.repeat([1.0, 0.0], [len(x) - 300, 300])
    start = {"means_init": [[0.0, 0.0], [1.0, 1.0], [500.0, 500.0]]}  # where nothing is
    mixture = GaussianMixture(3, covariance_type=kind, reg_covar=0.0, random_state=0, max_iter=300, **start)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mixture.fit(x, sample_weight=weights)
    (message,) = (str(warning.message) for warning in caught)
    assert re.match(r"component 2 has collapsed: it holds .*: restarted from points drawn at random", message)
    assert mixture.weights_.min() > 0.01
    assert mixture.means_.max() < 100.0


@each_type
def test_float32_in_correct_variances_out(kind):
    """E[x²] − μ² in float32 has no digit left here."""
    rng = numpy.random.default_rng(0)
    x = (1000.0 + 0.01 * rng.standard_normal((4000, 2))).astype("float32")
    mixture = GaussianMixture(1, covariance_type=kind, reg_covar=0.0).fit(x)
    assert mixture.means_.dtype == mixture.covariances_.dtype == numpy.float32
    exact = numpy.cov(x.astype(float).T, bias=True)
    expected = {"full": exact[None], "tied": exact, "diag": numpy.diag(exact)[None]}
    assert_allclose(mixture.covariances_, expected.get(kind, [numpy.trace(exact) / 2]), rtol=1e-4)


def test_the_same_seed_gives_the_same_bits():
    x = blobs()
    one, two = (GaussianMixture(3, random_state=5, n_init=2).fit(x) for _ in range(2))
    assert_array_equal(one.means_, two.means_)
    assert_array_equal(one.sample(10)[0], two.sample(10)[0])


def test_starts_are_tried_and_the_best_kept():
    x = blobs(n=60, seed=3)
    arguments = {"init_params": "random_from_data", "tol": 1e-8, "max_iter": 1000}
    ends = [GaussianMixture(5, random_state=seed, **arguments).fit(x).lower_bound_ for seed in range(6)]
    best = GaussianMixture(5, n_init=20, random_state=0, **arguments).fit(x).lower_bound_
    assert best >= max(ends) - 0.05
    assert best > min(ends)
    seen = []
    arguments |= {"n_init": 6, "callback": lambda step, model, bound: seen.append((step, bound / len(x)))}
    for seed in range(3):
        seen.clear()
        mixture = GaussianMixture(5, random_state=seed, **arguments).fit(x)
        assert [step for step, _ in seen].count(0) == 6
        assert_allclose(mixture.lower_bound_, max(bound for _, bound in seen), rtol=1e-6)


def test_split_and_merge_leaves_the_optima_that_k_means_leads_to():
    x = load_old_faithful()
    arguments = {"tol": 1e-6, "max_iter": 2000}
    for seed in range(3):
        stuck = GaussianMixture(4, random_state=seed, **arguments).fit(x).lower_bound_ * 272
        moved = GaussianMixture(4, random_state=seed, split_and_merge=True, **arguments).fit(x).lower_bound_ * 272
        assert stuck < -1110.0
        assert moved > -1093.1


def test_split_and_merge_has_nothing_to_do_for_two():
    x = load_old_faithful()
    one, two = (GaussianMixture(2, random_state=0, split_and_merge=on).fit(x) for on in (False, True))
    assert_array_equal(one.means_, two.means_)


def test_leaps_end_where_steps_do():
    x = blobs(n=400)
    start = {"means_init": x[:4], "tol": 1e-9, "max_iter": 5000}
    steps = GaussianMixture(4, random_state=0, **start).fit(x)
    leaps = GaussianMixture(4, random_state=0, accelerate="squarem", **start).fit(x)
    assert leaps.lower_bound_ >= steps.lower_bound_ - 1e-7
    assert leaps.n_iter_ < steps.n_iter_


def test_fitted_mixtures_can_be_pickled():
    mixture = GaussianMixture(2, random_state=0).fit(load_old_faithful())
    copy = pickle.loads(pickle.dumps(mixture))  # noqa: S301 - our own bytes
    assert_array_equal(copy.predict(load_old_faithful()), mixture.predict(load_old_faithful()))


def test_steps_can_be_watched():
    seen = []
    mixture = GaussianMixture(2, random_state=0, callback=lambda step, model, bound: seen.append((step, bound)))
    mixture.fit(load_old_faithful())
    assert [step for step, _ in seen] == list(range(mixture.n_iter_ + 1))
    assert_allclose([bound / 272 for _, bound in seen], mixture.lower_bounds_)


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (numpy.zeros((0, 2)), ValueError, r"0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 1"),
        (numpy.zeros((3, 0)), ValueError, r"0 feature\(s\)"),
        (numpy.zeros((1, 2)), ValueError, r"1 sample\(s\) .*minimum of 2"),
        (numpy.zeros(3), ValueError, "Expected 2D array, got 1D array"),
        (numpy.zeros((2, 3, 4)), ValueError, "Expected 2D array, got 3D array"),
        (numpy.zeros((3, 2)) * 1j, ValueError, "Complex data not supported"),
        ([["a", "b"], ["c", "d"]], ValueError, "expected numbers"),
        ([[0.0, numpy.nan]] * 3, ValueError, "contains NaN"),
        ([[0.0, numpy.inf]] * 3, ValueError, "contains infinity"),
        ([[0.0, -numpy.inf]] * 3, ValueError, "contains infinity"),
        (scipy.sparse.csr_matrix(numpy.eye(3)), TypeError, "Sparse data"),
    ],
)
def test_what_is_no_table_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        GaussianMixture(2).fit(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "'n_components' parameter of GaussianMixture must be an int in the range"),
        ({"n_components": 2.5}, "'n_components'"),
        ({"tol": -1.0}, "'tol'"),
        ({"reg_covar": -1.0}, "'reg_covar'"),
        ({"reg_covar": "auto"}, "'reg_covar'"),
        ({"max_iter": -1}, "'max_iter'"),
        ({"n_init": 0}, "'n_init'"),
        ({"covariance_type": "round"}, "'covariance_type' .* must be one of {'full', 'tied', 'diag', 'spherical'}"),
        ({"init_params": "k"}, "'init_params'"),
        ({"missing": "drop"}, "'missing'"),
        ({"accelerate": "warp"}, "'accelerate'"),
        ({"parameter_prior": "jeffreys"}, "'parameter_prior'"),
        ({"n_components": 1000}, "Expected n_samples >= n_components but got n_components = 1000, n_samples = 272"),
        ({"n_components": 2, "weights_init": [0.5, 0.6]}, r"'weights' should be normalized, .* = 1.1"),
        (
            {"n_components": 2, "weights_init": [-0.5, 1.5]},
            "'weights' should be in the range .*max value 1.5",
        ),
        ({"n_components": 2, "weights_init": [1.0]}, r"'weights' should have the shape of \(2,\), but got \(1,\)"),
        ({"n_components": 2, "means_init": [[numpy.nan, 1.0], [0.0, 0.0]]}, "'means' should be finite"),
    ],
)
def test_impossible_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**arguments).fit(load_old_faithful())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"sample_weight.shape == \(1,\), expected \(272,\)"),
        ([-1.0] * 272, r"sample_weight\[0\] is -1.0"),
        ([1.0] * 271 + [numpy.nan], r"sample_weight\[271\] is nan"),
        ([0.0] * 272, "weights are all zero"),
    ],
)
def test_impossible_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2).fit(load_old_faithful(), sample_weight=weights)


@each_type
def test_degenerate_data_are_fitted_with_a_regulariser_and_refused_without(kind):
    constant = numpy.column_stack([numpy.linspace(0, 1, 50), numpy.full(50, 3.0)])
    duplicates = numpy.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    for x in (constant, duplicates):
        mixture = GaussianMixture(2, covariance_type=kind, random_state=0).fit(x)
        for name in ("weights_", "means_", "covariances_", "precisions_"):
            assert numpy.isfinite(getattr(mixture, name)).all()
    more_than_differ = GaussianMixture(3, covariance_type=kind, random_state=0).fit(duplicates)  # without a warning
    assert_allclose(more_than_differ.weights_.sum(), 1.0)
    unregularised = GaussianMixture(2, covariance_type=kind, reg_covar=0.0, random_state=0)
    with pytest.warns(UserWarning, match="has collapsed"), may_refuse(kind):
        assert numpy.isfinite(unregularised.fit(duplicates).score(duplicates))


def may_refuse(kind):
    """Two points lie on a line, which no ellipse fits; circles may hold both of them."""
    refused = pytest.raises(ValueError, match="ill-defined empirical covariance")
    return refused if kind in {"full", "tied"} else contextlib.nullcontext()


def test_one_feature():
    x = load_old_faithful()[:, :1]
    assert GaussianMixture(2, random_state=0).fit(x).means_.shape == (2, 1)


def test_asked_before_it_is_fitted():
    with pytest.raises((NotFittedError, ValueError), match="This GaussianMixture instance is not fitted yet"):
        GaussianMixture().predict(numpy.zeros((2, 2)))


def test_more_features_than_it_was_fitted_to():
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 2 features as input"):
        GaussianMixture(2, random_state=0).fit(load_old_faithful()).predict(numpy.zeros((2, 3)))


def test_columns_keep_their_names_and_their_order():
    x = load_old_faithful()
    mixture = GaussianMixture(2, random_state=0).fit(pandas.DataFrame(x, columns=["minutes", "waiting"]))
    assert mixture.feature_names_in_.tolist() == ["minutes", "waiting"]
    with pytest.raises(ValueError, match=r"feature names should match.*\n.*same order"):
        mixture.predict(pandas.DataFrame(x, columns=["waiting", "minutes"]))
    with pytest.raises(ValueError, match="unseen at fit time:\n- depth"):
        mixture.predict(pandas.DataFrame(x, columns=["minutes", "depth"]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        mixture.predict(x)
    with pytest.raises(TypeError, match="string names"):
        mixture.fit(pandas.DataFrame(x, columns=["minutes", 1]))
    mixture.fit(x)
    assert not hasattr(mixture, "feature_names_in_")
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        mixture.predict(pandas.DataFrame(x, columns=["minutes", "waiting"]))


@each_type
def test_every_backend(xp, kind):
    x = blobs()
    theirs = GaussianMixture(3, covariance_type=kind, random_state=0, means_init=x[:3]).fit(x)
    ours = GaussianMixture(3, covariance_type=kind, random_state=0, means_init=x[:3]).fit(xp.asarray(x))
    for name in ("weights_", "means_", "covariances_"):
        assert isinstance(getattr(ours, name), type(xp.ones(1)))
        assert to_numpy(getattr(ours, name)).shape == getattr(theirs, name).shape
    assert to_numpy(ours.predict(xp.asarray(x))).shape == (len(x),)
    assert to_numpy(ours.sample(5)[0]).shape == (5, 2)


def test_a_prior_of_ones_own():
    x = load_old_faithful()
    prior = ConjugatePrior(x.mean(axis=0), 1e6, 4.0, numpy.eye(2))  # very sure of the mean
    mixture = GaussianMixture(2, parameter_prior=prior, random_state=0, max_iter=1000).fit(x)
    assert_allclose(mixture.means_, [x.mean(axis=0)] * 2, rtol=0.01)


def test_a_step_on_a_batch_takes_back_what_fit_said_of_its_data():
    x = blobs()
    mixture = GaussianMixture(3, random_state=0).fit(x)
    mixture.partial_fit(3.0 * x[:60])
    assert [name for name in ("converged_", "n_iter_", "lower_bound_", "lower_bounds_") if hasattr(mixture, name)] == []


def test_a_fit_that_cannot_go_on_leaves_the_mixture_as_it_was():
    x = blobs()
    mixture = GaussianMixture(3, random_state=0, warm_start=True).fit(x)
    before = mixture.predict(x)
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 2"):
        mixture.fit(numpy.concatenate([x, x[:, :1]], axis=1))
    assert_array_equal(mixture.predict(x), before)


@each_type
def test_covariances_that_are_set_by_hand_after_a_fit_in_single_precision_count(kind):
    """And those that were not are known in double precision, for single may not be definite."""
    x = blobs().astype("float32")
    fitted = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    assert_allclose(fitted.score(x), fitted.lower_bound_, rtol=1e-6)
    for mixture in (pickle.loads(pickle.dumps(fitted)), fitted):  # noqa: S301
        before = mixture.score(x)
        mixture.covariances_ *= numpy.float32(1e4)
        assert mixture.score(x) < before - 1.0
        assert_allclose(mixture.score(x), log_density(mixture, x).mean(), rtol=1e-5)
