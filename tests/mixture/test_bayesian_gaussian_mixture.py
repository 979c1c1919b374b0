"""Variational Bayes as an estimator: its bound, its prior, what it drops, and how it differs from scikit-learn's."""

from __future__ import annotations

import copy
import warnings

import numpy
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from minilvm.backend import to_numpy
from minilvm.data import load_old_faithful
from minilvm.mixture import BayesianGaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
each_type = pytest.mark.parametrize("kind", TYPES)
WEIGHTS = ("dirichlet_process", "dirichlet_distribution")
each_law_of_weights = pytest.mark.parametrize("weights", WEIGHTS)


def fit(x, C=4, sample_weight=None, **arguments):
    arguments = {"random_state": 0, "max_iter": 2000, "tol": 1e-6, **arguments}
    return BayesianGaussianMixture(n_components=C, **arguments).fit(x, sample_weight=sample_weight)


@each_law_of_weights
@each_type
def test_the_bound_rises_and_ends_where_it_says(kind, weights):
    x = load_old_faithful()
    mixture = fit(x, covariance_type=kind, weight_concentration_prior_type=weights)
    assert mixture.converged_
    assert min(numpy.diff(mixture.lower_bounds_)) > -1e-12
    assert mixture.n_iter_ == len(mixture.lower_bounds_) - 1
    assert_allclose(mixture.weights_.sum(), 1.0)
    again = copy.deepcopy(mixture).set_params(max_iter=0, warm_start=True).fit(x)
    assert_allclose(again.lower_bound_, mixture.lower_bound_, rtol=1e-14)  # of these parameters, not of those before


@pytest.mark.parametrize("concentration", [1e-12, 1e-16, 1e-300])
def test_a_process_that_expects_a_single_component_is_still_a_law(concentration):
    """The counts of all later components are added up, for of a difference of large numbers nothing would be left."""
    x = numpy.concatenate([numpy.random.default_rng(0).normal(m, 1.0, (1000, 2)) for m in (0.0, 6.0)])
    mixture = fit(x, 10, weight_concentration_prior=concentration)
    assert (mixture.weight_concentration_[1] >= concentration).all()
    assert min(numpy.diff(mixture.lower_bounds_)) > -1e-9 * abs(mixture.lower_bound_)


def test_a_covariance_prior_that_is_no_covariance_is_refused():
    x = load_old_faithful()
    with pytest.raises(ValueError, match="symmetric"):
        fit(x, 2, covariance_prior=[[1.0, 0.9], [0.0, 1.0]])


@each_law_of_weights
@each_type
def test_the_predictive_density_integrates_to_one(kind, weights):
    x = load_old_faithful()[:, :1]
    mixture = fit(x, 3, covariance_type=kind, weight_concentration_prior_type=weights, degrees_of_freedom_prior=9.0)
    grid = numpy.linspace(-100.0, 100.0, 200_001)[:, None]
    assert_allclose(numpy.exp(mixture.score_samples(grid)).sum() * 1e-3, 1.0, rtol=1e-6)


def test_one_component_is_the_conjugate_posterior():
    """Murphy, Machine Learning (2012), eqs. 4.210 to 4.214."""
    x, m0, S0 = load_old_faithful(), numpy.array([3.0, 60.0]), numpy.diag([1.0, 100.0])
    prior = {"mean_prior": m0, "covariance_prior": S0, "mean_precision_prior": 2.0, "degrees_of_freedom_prior": 5.0}
    mixture = fit(x, 1, weight_concentration_prior_type="dirichlet_distribution", **prior)
    N, mean = len(x), x.mean(axis=0)
    scatter = (x - mean).T @ (x - mean)
    S = S0 + scatter + 2 * N / (2 + N) * numpy.outer(mean - m0, mean - m0)
    assert_allclose(mixture.means_[0], (2 * m0 + N * mean) / (2 + N))
    assert_allclose(mixture.degrees_of_freedom_, [5 + N])
    assert_allclose(mixture.covariances_[0], S / (5 + N))
    half_log_det = 0.5 * (5 * numpy.linalg.slogdet(S0)[1] - (5 + N) * numpy.linalg.slogdet(S)[1])
    log_evidence = (
        -N * numpy.log(numpy.pi)
        + scipy.special.multigammaln((5 + N) / 2, 2)
        - scipy.special.multigammaln(5 / 2, 2)
        + half_log_det
        + numpy.log(2 / (2 + N))
    )
    assert_allclose(mixture.lower_bound_, log_evidence, rtol=1e-12)


@each_law_of_weights
def test_components_that_nobody_needs_are_dropped(weights):
    x = load_old_faithful()
    mixture = fit(x, 8, weight_concentration_prior=1e-3, weight_concentration_prior_type=weights)
    assert (mixture.weights_ > 0.01).sum() == 2
    assert_allclose(numpy.sort(mixture.weights_)[-2:], [0.3559, 0.6441], atol=0.005)


@each_law_of_weights
@each_type
def test_a_weight_is_a_number_of_copies(kind, weights):
    x = load_old_faithful()[:80]
    copies = numpy.arange(80) % 4
    arguments = {"covariance_type": kind, "weight_concentration_prior_type": weights, "C": 2}
    weighted = fit(x, sample_weight=copies, **arguments)
    repeated = fit(numpy.repeat(x, copies, axis=0), **arguments)
    assert_allclose(weighted.covariance_prior_, repeated.covariance_prior_, rtol=1e-9)
    assert_allclose(weighted.mean_prior_, repeated.mean_prior_, rtol=1e-12)
    assert_allclose(weighted.means_, repeated.means_, rtol=1e-5)
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-9)


@each_type
def test_weights_may_be_less_than_one(kind):
    x = load_old_faithful()
    assert numpy.isfinite(fit(x, 2, covariance_type=kind, sample_weight=numpy.full(272, 1e-9)).score(x))


@each_law_of_weights
def test_a_start_from_chance_is_no_place_to_stop(weights):
    """There all components are nearly alike, and a step gains little for each sample, but not for all of them."""
    x = load_old_faithful()
    law = {"weight_concentration_prior_type": weights, "weight_concentration_prior": 0.1}
    mixture = fit(x, 6, init_params="random", reg_covar=0.0, tol=1e-3, **law)
    assert mixture.converged_
    assert abs(mixture.lower_bounds_[-1] - mixture.lower_bounds_[-2]) < 1e-3
    assert (mixture.weights_ > 0.05).sum() == 2


def test_defaults_are_scikit_learns_prior():
    sklearn = pytest.importorskip("sklearn.mixture", reason="needs scikit-learn")
    x = load_old_faithful()
    for kind in TYPES:
        theirs = sklearn.BayesianGaussianMixture(n_components=2, covariance_type=kind, random_state=0).fit(x)
        ours = fit(x, 2, covariance_type=kind, reg_covar=0.0)
        for name in (
            "weight_concentration_prior_", "mean_precision_prior_", "mean_prior_", "degrees_of_freedom_prior_",
            "covariance_prior_",
        ):  # fmt: skip
            assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12, err_msg=f"{kind} {name}")


@each_law_of_weights
def test_the_same_posterior_as_scikit_learns_where_theirs_is_exact(weights):
    sklearn = pytest.importorskip("sklearn.mixture", reason="needs scikit-learn")
    x = load_old_faithful()
    arguments = {"weight_concentration_prior_type": weights, "max_iter": 3000, "tol": 1e-10, "reg_covar": 0.0}
    theirs = sklearn.BayesianGaussianMixture(n_components=2, **arguments, random_state=1).fit(x)
    ours = fit(x, 2, **arguments)
    order, their_order = ours.means_[:, 0].argsort(), theirs.means_[:, 0].argsort()
    same_order = bool((order == their_order).all())  # which stick is broken first is part of a Dirichlet process
    for name in ("weights_", "means_", "covariances_", "precisions_", "mean_precision_", "degrees_of_freedom_"):
        ours_in_order, theirs_in_order = getattr(ours, name)[order], getattr(theirs, name)[their_order]
        rtol = 1e-4 if weights == "dirichlet_distribution" or same_order else 1e-2
        assert_allclose(ours_in_order, theirs_in_order, rtol=rtol, atol=1e-6, err_msg=name)


def test_every_check_of_estimators():
    checks = pytest.importorskip("sklearn.utils.estimator_checks", reason="needs scikit-learn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checks that scikit-learn itself skips
        results = checks.check_estimator(BayesianGaussianMixture(), on_fail=None)
    failed = [(r["check_name"], repr(r["exception"])) for r in results if r["status"] not in {"passed", "skipped"}]
    assert failed == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_concentration_prior_type": "beta"}, "'weight_concentration_prior_type'"),
        ({"weight_concentration_prior": 0.0}, "'weight_concentration_prior' should be greater than 0, but got 0.000"),
        ({"mean_precision_prior": -1.0}, "'mean_precision_prior'"),
        ({"degrees_of_freedom_prior": 1.0}, "'degrees_of_freedom_prior' should be greater than 1, but got 1.000"),
        ({"mean_precision_prior": "weak"}, "should be greater than 0, but got 'weak'"),
        ({"mean_prior": [0.0]}, r"'mean_prior' should have the shape of \(2,\), but got \(1,\)"),
        ({"mean_prior": [0.0, numpy.nan]}, "'mean_prior' should be finite"),
        ({"covariance_prior": [[1.0, 0.0], [0.0, -1.0]]}, "covariance_prior must be positive definite"),
        ({"covariance_prior": [1.0, 1.0]}, r"'covariance_prior' should have the shape of \(2, 2\)"),
    ],
)
def test_impossible_priors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BayesianGaussianMixture(n_components=2, **arguments).fit(load_old_faithful())


@each_type
def test_degenerate_data_have_a_posterior_too(kind):
    constant = numpy.column_stack([numpy.linspace(0, 1, 50), numpy.full(50, 3.0)])
    assert numpy.isfinite(fit(constant, 3, covariance_type=kind).score(constant))


@each_law_of_weights
@each_type
def test_every_backend(xp, kind, weights):
    x = load_old_faithful()
    mixture = BayesianGaussianMixture(
        n_components=2, covariance_type=kind, weight_concentration_prior_type=weights, random_state=0, tol=1e-2
    ).fit(xp.asarray(x))
    assert isinstance(mixture.means_, type(xp.ones(1)))
    assert to_numpy(mixture.score_samples(xp.asarray(x))).shape == (272,)
    assert to_numpy(mixture.sample(5)[0]).shape == (5, 2)
