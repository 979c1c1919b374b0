"""How many components: what each candidate costs, by the textbook, and which is preferred."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
from numpy.testing import assert_allclose

from minilvm.data import load_old_faithful
from minilvm.mixture import select

ARGUMENTS = {"tol": 1e-6, "max_iter": 1000, "random_state": 0}


def n_parameters(kind, C, D):
    of_covariances = {"full": C * D * (D + 1) / 2, "tied": D * (D + 1) / 2, "diag": C * D, "spherical": C}
    return of_covariances[kind] + C * D + C - 1


def test_a_single_number_is_refused():
    with pytest.raises(TypeError, match=r"n_components is 3; expected several, such as range\(1, 10\)"):
        select(load_old_faithful(), 3)


def test_candidates_cost_what_the_criteria_say():
    x, kinds = load_old_faithful(), ["full", "tied", "diag", "spherical"]
    found = select(x, (n for n in (1, 3)), covariance_type=(kind for kind in kinds), **ARGUMENTS)  # read but once
    assert [(c.n_components, c.covariance_type) for c in found.candidates] == [(n, k) for k in kinds for n in (1, 3)]
    for c in found.candidates:
        log_p, q = c.mixture.score_samples(x), c.mixture.predict_proba(x)
        P = n_parameters(c.covariance_type, c.n_components, 2)
        assert_allclose(c.log_likelihood, log_p.sum())
        assert_allclose(c.aic, -2 * log_p.sum() + 2 * P)
        assert_allclose(c.bic, -2 * log_p.sum() + P * numpy.log(272))
        assert_allclose(c.icl, c.bic - 2 * scipy.special.xlogy(q, q).sum())


def test_a_weight_is_a_number_of_copies():
    x, copies = load_old_faithful(), numpy.arange(272) % 3
    weighted = select(x, [1, 2], sample_weight=copies, **ARGUMENTS)
    repeated = select(numpy.repeat(x, copies, axis=0), [1, 2], **ARGUMENTS)
    for one, two in zip(weighted.candidates, repeated.candidates, strict=True):
        for name in ("log_likelihood", "aic", "bic", "icl"):
            assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-6, err_msg=name)


def test_each_criterion_has_its_best():
    x = load_old_faithful()
    for criterion, C in {"aic": 3, "bic": 2, "icl": 2}.items():
        found = select(x, [1, 2, 3], criterion=criterion, **ARGUMENTS)
        least = min(found.candidates, key=lambda c, name=criterion: getattr(c, name))
        assert found.best is least.mixture
        assert len(found.best.weights_) == C


def test_curves_are_drawn_for_each_type_and_a_ring_around_the_best():
    figure = pytest.importorskip("matplotlib.figure", reason="needs matplotlib")
    ax = figure.Figure().subplots()
    found = select(load_old_faithful(), [1, 2], covariance_type=["full", "diag"], criterion="icl", **ARGUMENTS)
    found.plot(ax)
    full, diag, ring = ax.lines
    assert [line.get_label() for line in (full, diag)] == ["full", "diag"]
    assert_allclose(full.get_xydata(), [(c.n_components, c.icl) for c in found.candidates[:2]])
    assert_allclose(diag.get_xydata(), [(c.n_components, c.icl) for c in found.candidates[2:]])
    assert_allclose(ring.get_xydata(), [[2, min(c.icl for c in found.candidates)]])
    assert ax.get_ylabel() == "ICL, lower is better"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "mdl"}, "criterion is 'mdl'; expected one of 'aic', 'bic', 'icl'"),
        ({"n_components": []}, "nothing to select from"),
        ({"covariance_type": []}, "nothing to select from"),
    ],
)
def test_what_cannot_be_selected_from_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        select(load_old_faithful(), **arguments)
