"""What both mixtures do as estimators: they are their attributes, wherever those are from, and say what these mean."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
import scipy.stats
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.data import load_old_faithful
from minilvm.inference import e_step
from minilvm.mixture import BayesianGaussianMixture, GaussianMixture
from minilvm.mixture.conventions import NotFittedError
from minilvm.models import MixtureOfGaussians
from tests.models.gaussians import TYPES, matrices
from tests.statistics import FALSE_ALARM_RATE, assert_drawn_from, assert_frequencies

BOTH = (GaussianMixture, BayesianGaussianMixture)
each_type = pytest.mark.parametrize("kind", TYPES)
each_estimator = pytest.mark.parametrize("estimator", BOTH)


def fit(estimator, x, C=2, **arguments):
    return estimator(n_components=C, **{"random_state": 0, "max_iter": 500, **arguments}).fit(x)


@each_type
def test_a_mixture_made_by_hand_predicts_scores_and_samples(kind):
    found = fit(GaussianMixture, load_old_faithful(), covariance_type=kind)
    by_hand = GaussianMixture(2, covariance_type=kind, random_state=0)
    for name in ("weights_", "means_", "covariances_"):
        setattr(by_hand, name, getattr(found, name))
    x = load_old_faithful()
    assert_array_equal(by_hand.predict_proba(x), found.predict_proba(x))
    assert_array_equal(by_hand.sample(5)[0], found.sample(5)[0])
    assert by_hand.set_params(warm_start=True).fit(x).lower_bounds_[0] == found.lower_bound_
    single = GaussianMixture(2, covariance_type=kind)
    for name in ("weights_", "means_", "covariances_"):
        setattr(single, name, getattr(found, name).astype("float32"))
    assert_allclose(single.score_samples(x), found.score_samples(x), rtol=1e-3)


@each_estimator
@each_type
def test_components_may_be_put_in_another_order(estimator, kind):
    """By hand, in all that is theirs: predictions follow."""
    x = load_old_faithful()
    law = {"weight_concentration_prior_type": "dirichlet_distribution"} if estimator is BayesianGaussianMixture else {}
    found = fit(estimator, x, covariance_type=kind, **law)
    turned = copy.deepcopy(found)
    names = {"weights_", "means_", "weight_concentration_", "mean_precision_"}
    if kind != "tied":
        names |= {"covariances_", "precisions_", "precisions_cholesky_", "degrees_of_freedom_"}
    for name in names & set(vars(found)):
        setattr(turned, name, getattr(found, name)[::-1])
    assert_allclose(turned.predict_proba(x), found.predict_proba(x)[:, ::-1], rtol=1e-12, atol=1e-300)
    assert_allclose(turned.score_samples(x), found.score_samples(x), rtol=1e-12)
    assert_array_equal(turned.predict(x), 1 - found.predict(x))


@each_type
def test_what_it_says_is_what_the_engine_says(kind):
    x = load_old_faithful()
    found = fit(GaussianMixture, x, 3, covariance_type=kind)
    model = MixtureOfGaussians(found.weights_, found.means_, found.covariances_, kind)
    q, log_p = e_step(model, x)
    assert_allclose(found.predict_proba(x), q, rtol=1e-9, atol=1e-15)
    assert_allclose(found.score_samples(x), log_p, rtol=1e-12)
    assert_array_equal(found.predict(x), q.argmax(axis=1))


@each_estimator
@pytest.mark.parametrize(("n_positive", "message"), [(1, r"1 sample\(s\)"), (3, "n_components = 4, n_samples = 3")])
def test_samples_that_count_for_nothing_are_not_enough(estimator, n_positive, message):
    weights = numpy.repeat([1.0, 0.0], [n_positive, 272 - n_positive])
    with pytest.raises(ValueError, match=message):
        estimator(n_components=4).fit(load_old_faithful(), sample_weight=weights)


@each_estimator
def test_a_fit_that_failed_is_no_fit(estimator):
    mixture = estimator(n_components=5)
    with pytest.raises(ValueError, match="n_samples >= n_components"):
        mixture.fit(load_old_faithful()[:3])
    with pytest.raises((NotFittedError, ValueError), match="not fitted yet"):
        mixture.predict(load_old_faithful())


@each_estimator
def test_a_warm_start_goes_on_with_what_is_asked_for_now(estimator):
    x = load_old_faithful()
    warm = fit(estimator, x, tol=1e-9, warm_start=True)
    assert warm.fit(x).n_iter_ <= 2
    stiff = {"reg_covar": 100.0, "tol": 1e-9}
    assert_allclose(warm.set_params(**stiff).fit(x).covariances_, fit(estimator, x, **stiff).covariances_, rtol=1e-4)
    with pytest.raises(ValueError, match="there are 2 components to go on from, and n_components is 3"):
        warm.set_params(n_components=3).fit(x)


def test_a_fit_of_another_type_is_not_mistaken_for_one_of_this():
    found = fit(GaussianMixture, load_old_faithful(), 3).set_params(covariance_type="spherical")
    with pytest.raises(ValueError, match=r"covariances_ has shape \(3, 2, 2\); expected \(3,\), .* 'spherical': fit"):
        found.sample()


def test_a_component_that_is_switched_off_has_no_samples():
    found = fit(GaussianMixture, load_old_faithful())
    found.weights_ = numpy.array([0.0, 1.0])
    assert_array_equal(found.predict_proba(load_old_faithful()), [[0.0, 1.0]] * 272)
    assert_array_equal(found.sample(10)[1], 1)


@each_estimator
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_single_precision_keeps_what_nearly_cancels(estimator, kind):
    """Two features that differ by 1e-4 of their spread: in single precision the covariance itself is indefinite."""
    rng = numpy.random.default_rng(0)
    x = rng.standard_normal((300, 2)) + 5.0 * rng.integers(0, 2, (300, 1))
    x = numpy.column_stack([x[:, 0], 2.0 * x[:, 0] + 1e-4 * x[:, 1]]).astype(numpy.float32)
    single, double = (fit(estimator, data, covariance_type=kind, reg_covar=0.0) for data in (x, x.astype(float)))
    assert single.covariances_.dtype == single.score_samples(x).dtype == single.predict_proba(x).dtype == numpy.float32
    assert single.sample(3)[0].dtype == numpy.float32
    assert_allclose(single.score_samples(x), double.score_samples(x.astype(float)), atol=0.05)
    assert numpy.mean(single.predict(x) == double.predict(x)) > 0.99


@each_estimator
def test_what_is_too_far_away_is_named(estimator):
    x = numpy.tile(load_old_faithful(), (40, 1))
    mixture = fit(estimator, x[:272])
    x[10_000, 0] = 1e200
    for say in (mixture.predict, mixture.predict_proba, mixture.score_samples):
        with pytest.raises(ValueError, match=r"X\[10000\] is so far from every component"):
            say(x)


@each_type
def test_samples_are_draws_from_the_mixture_in_the_order_of_components(kind):
    mixture = fit(GaussianMixture, load_old_faithful(), 3, covariance_type=kind)
    x, z = mixture.sample(20_000)
    assert (numpy.diff(z) >= 0).all()
    assert_frequencies(numpy.bincount(z, minlength=3), mixture.weights_)
    full = matrices(mixture.covariances_, kind, 3, 2)
    for c in range(3):
        centred = numpy.linalg.solve(numpy.linalg.cholesky(full[c]), (x[z == c] - mixture.means_[c]).T)
        for projection in (centred[0], centred[1], (centred[0] + centred[1]) / numpy.sqrt(2.0)):
            assert_drawn_from(projection, scipy.stats.norm.cdf, FALSE_ALARM_RATE / 9)


def test_impossible_numbers_of_samples_are_refused():
    with pytest.raises(ValueError, match="Invalid value for 'n_samples': 0"):
        fit(GaussianMixture, load_old_faithful()).sample(0)


@each_estimator
@each_type
@pytest.mark.parametrize(("scale", "shift"), [(1e-100, 0.0), (-1e100, 0.0), (1.0, 1e8), (1e-8, 1.0)])
def test_units_and_where_zero_is_have_no_say(estimator, kind, scale, shift):
    """A fit of a x + b is the fit of x, carried over; and what it says of samples differs by log |a|."""
    x = load_old_faithful()
    arguments = {"covariance_type": kind, "reg_covar": 0.0, "tol": 1e-9}
    one, two = fit(estimator, x, **arguments), fit(estimator, scale * x + shift, **arguments)
    assert_allclose(two.weights_, one.weights_, rtol=1e-6)
    assert_allclose((two.means_ - shift) / scale, one.means_, rtol=1e-5)
    assert_allclose(two.covariances_ / scale**2, one.covariances_, rtol=1e-5)
    log_p = two.score_samples(scale * x + shift) + 2.0 * numpy.log(abs(scale))
    assert_allclose(log_p, one.score_samples(x), rtol=1e-5)


@each_estimator
@each_type
def test_the_order_of_features_has_no_say(estimator, kind):
    x = load_old_faithful()
    one, two = fit(estimator, x, covariance_type=kind), fit(estimator, x[:, ::-1], covariance_type=kind)
    assert_allclose(two.means_[:, ::-1], one.means_, rtol=1e-9)
    assert_allclose(two.score_samples(x[:, ::-1]), one.score_samples(x), rtol=1e-9)


class Counting(ThreadPoolExecutor):
    """Threads, and how often they were asked to work."""

    n_tasks = 0

    def submit(self, *task):
        self.n_tasks += 1
        return super().submit(*task)


@each_estimator
def test_who_works_has_no_say_in_what_is_found(estimator):
    x = numpy.tile(load_old_faithful(), (50, 1))
    alone = fit(estimator, x)
    with Counting(2) as executor:
        helped = estimator(n_components=2, random_state=0, max_iter=500).fit(x, executor=executor)
        assert executor.n_tasks > helped.n_iter_
        assert_array_equal(helped.means_, alone.means_)
        before = executor.n_tasks
        assert_array_equal(alone.fit_predict(x, executor=executor), helped.predict(x))
        assert executor.n_tasks > before
