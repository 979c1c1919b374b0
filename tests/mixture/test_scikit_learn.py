"""scikit-learn as the judge: its checks of estimators, its own tests of its mixtures, and its tools around ours."""

from __future__ import annotations

import inspect
import warnings

import numpy
import pytest
from numpy.testing import assert_allclose

from minilvm.data import load_old_faithful
from minilvm.mixture import BayesianGaussianMixture, GaussianMixture

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn import mixture  # noqa: E402 - where there is one
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.mixture.tests import test_bayesian_mixture as their_bayesian_tests  # noqa: E402
from sklearn.mixture.tests import test_gaussian_mixture as their_tests  # noqa: E402
from sklearn.mixture.tests import test_mixture as their_other_tests  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

PRIVATE = "tests a private function of scikit-learn"
NOT_OURS = {
    "test_check_weights": "asks for a message that calls the least weight the greatest",
    "test_suffstat_sk_full": PRIVATE,
    "test_suffstat_sk_tied": PRIVATE,
    "test_suffstat_sk_diag": PRIVATE,
    "test_gaussian_suffstat_sk_spherical": PRIVATE,
    "test_compute_log_det_cholesky": PRIVATE,
    "test_gaussian_mixture_log_probabilities": PRIVATE,
    "test_gaussian_mixture_estimate_log_prob_resp": PRIVATE,
    "test_gaussian_mixture_precisions_init": PRIVATE,
    "test_gaussian_mixture_precisions_init_diag": "compares with the start of scikit-learn's own k-means",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": "counts calls of a private function",
    "test_log_dirichlet_norm": PRIVATE,
    "test_log_wishart_norm": PRIVATE,
    "test_compare_covar_type": PRIVATE,
    "test_bayesian_mixture_precisions_prior_initialisation": "asks for a default prior without reg_covar in it",
    "test_gaussian_mixture_array_api_compliance": "is about the array API of scikit-learn",
    "test_gaussian_mixture_raises_where_array_api_not_implemented": "is about the array API of scikit-learn",
}
THEIRS = {
    (module.__name__.rpartition(".")[2], name): test
    for module in (their_tests, their_bayesian_tests, their_other_tests)
    for name, test in vars(module).items()
    if name.startswith("test_")
}


def test_every_check_of_estimators():
    for estimator in (GaussianMixture(), GaussianMixture(missing="marginalize")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of checks that scikit-learn itself skips
            results = check_estimator(estimator, on_fail=None)
        failed = [(r["check_name"], repr(r["exception"])) for r in results if r["status"] not in {"passed", "skipped"}]
        assert failed == []
        assert len(results) > 40


@pytest.mark.filterwarnings("ignore")  # their tests say themselves which warnings they mind
@pytest.mark.parametrize(("module", "name"), sorted(key for key in THEIRS if key[1] not in NOT_OURS))
def test_their_own_tests(module, name, monkeypatch):
    monkeypatch.setattr(their_tests, "GaussianMixture", GaussianMixture)
    monkeypatch.setattr(their_bayesian_tests, "BayesianGaussianMixture", BayesianGaussianMixture)
    test = THEIRS[module, name]
    marks = {m.args[0]: m.args[1] for m in getattr(test, "pytestmark", []) if m.name == "parametrize"}
    fixtures = {"global_dtype": [numpy.float64, numpy.float32], "global_random_seed": [0, 1]}
    wanted = inspect.signature(test).parameters
    cases = [{}]
    for names, values in [*marks.items(), *((f, v) for f, v in fixtures.items() if f in wanted)]:
        keys = [key.strip() for key in names.split(",")]
        rows = [value if len(keys) > 1 else (value,) for value in values]
        cases = [case | dict(zip(keys, row, strict=True)) for case in cases for row in rows]
    for case in cases:
        if "estimator" not in case:
            test(**case)
        else:
            test({"G": GaussianMixture, "B": BayesianGaussianMixture}[type(case["estimator"]).__name__[0]]())


def test_what_is_left_out_is_there_to_leave_out():
    assert set(NOT_OURS) <= {name for _, name in THEIRS}


def test_the_same_fit_from_the_same_start():
    """Parameters to rounding, after as many steps; the bound is theirs one step later, for ours never lags."""
    x = load_old_faithful()
    start = {
        "weights_init": [0.5, 0.5],
        "means_init": [[2.0, 55.0], [4.0, 80.0]],
    }
    inverse = {
        "full": [numpy.eye(2)] * 2,
        "tied": numpy.eye(2),
        "diag": numpy.ones((2, 2)),
        "spherical": numpy.ones(2),
    }
    for kind, precisions in inverse.items():
        arguments = {"covariance_type": kind, "precisions_init": precisions, "tol": 0.0, "max_iter": 7, **start}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # neither has converged
            theirs = mixture.GaussianMixture(2, **arguments).fit(x)
            ours = GaussianMixture(2, **arguments).fit(x)
        for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
            assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-9, err_msg=f"{kind} {name}")
        assert_allclose(ours.lower_bounds_[:-1], theirs.lower_bounds_, rtol=1e-12)
        for method in ("score_samples", "predict", "predict_proba", "score", "aic", "bic"):
            ours_say, theirs_say = getattr(ours, method)(x), getattr(theirs, method)(x)
            assert_allclose(ours_say, theirs_say, rtol=1e-9, atol=1e-9, err_msg=f"{kind} {method}")


def test_in_a_pipeline_and_a_grid_search():
    x = load_old_faithful()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GaussianMixture(random_state=0)), {"gaussianmixture__n_components": [1, 2]}
    )
    assert search.fit(x).best_params_ == {"gaussianmixture__n_components": 2}


def test_clones_are_unfitted_and_errors_are_theirs():
    fitted = GaussianMixture(2, tol=1e-4, parameter_prior="fraley_raftery", random_state=0).fit(load_old_faithful())
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        copy.predict(load_old_faithful())
