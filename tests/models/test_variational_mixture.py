"""The mixture whose parameters are latent: against exact evidence, by every way to label the data."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minilvm.backend import to_numpy
from minilvm.inference import em_pass, fit_em
from minilvm.models import ConjugatePrior, GaussianStatistics
from minilvm.models.variational_mixture import VariationalMixture

TYPES = ("full", "tied", "diag", "spherical")
each_type = pytest.mark.parametrize("kind", TYPES)
each_law_of_weights = pytest.mark.parametrize("sticks", [False, True])


def prior_of(kind, D):
    scale = {"full": numpy.eye(D) + 0.3, "tied": numpy.eye(D) + 0.3, "diag": numpy.linspace(1, 2, D), "spherical": 1.5}
    return ConjugatePrior(numpy.linspace(-0.5, 0.5, D), 0.7, D + 1.5, numpy.asarray(scale[kind]))


def variational(x, responsibilities, kind, sticks, concentration=0.8):
    C, D = responsibilities.shape[1], x.shape[1]
    second = {"full": (C, D, D), "tied": (D, D), "diag": (C, D), "spherical": (C,)}[kind]
    zero = GaussianStatistics(numpy.zeros(C), numpy.zeros((C, D)), numpy.zeros(second), numpy.zeros((C, D)), kind)
    q = VariationalMixture.from_statistics(zero, prior_of(kind, D), concentration, sticks=sticks)  # the prior itself
    return q.m_step(q.statistics(x, responsibilities))


def random_case(seed, kind, sticks, N, C, D=2):
    rng = numpy.random.default_rng(seed)
    x = rng.standard_normal((N, D)) + 2.0 * rng.integers(0, 2, (N, 1))
    return x, variational(x, rng.dirichlet(numpy.ones(C), N), kind, sticks)


def log_evidence_of_parts(x, parts, kind):
    """log p(X | labels), by the chain rule: each point under Student's law given those before it of its part."""
    D, prior = x.shape[1], prior_of(kind, x.shape[1])
    if kind == "tied":
        return tied_evidence(x, parts, prior)
    total = 0.0
    for part in parts:
        beta, m, nu, S = prior.mean_precision, prior.mean, prior.degrees_of_freedom, prior.scale
        for n in part:
            d = x[n] - m
            spread = 1 + 1 / beta
            if kind == "full":
                df = nu + 1 - D
                total += scipy.stats.multivariate_t(m, spread * S / df, df).logpdf(x[n])
                S, nu = S + beta / (beta + 1) * numpy.outer(d, d), nu + 1
            elif kind == "diag":
                total += scipy.stats.t(nu, m, numpy.sqrt(spread * S / nu)).logpdf(x[n]).sum()
                S, nu = S + beta / (beta + 1) * d**2, nu + 1
            else:
                total += scipy.stats.multivariate_t(m, spread * S / nu * numpy.eye(D), nu).logpdf(x[n])
                S, nu = S + beta / (beta + 1) * (d @ d), nu + D
            m, beta = (beta * m + x[n]) / (beta + 1), beta + 1
    return total


def tied_evidence(x, parts, prior):
    """The same, with one precision matrix that all parts teach."""
    D, total, nu, S = x.shape[1], 0.0, prior.degrees_of_freedom, prior.scale
    for part in parts:
        beta, m = prior.mean_precision, prior.mean
        for n in part:
            d, df = x[n] - m, nu + 1 - D
            total += scipy.stats.multivariate_t(m, (1 + 1 / beta) * S / df, df).logpdf(x[n])
            S, nu = S + beta / (beta + 1) * numpy.outer(d, d), nu + 1
            m, beta = (beta * m + x[n]) / (beta + 1), beta + 1
    return total


def log_evidence(x, C, kind, sticks, concentration=0.8):
    """log p(X): over all labels with C components, or over all partitions for a Dirichlet process."""
    terms = []
    for labels in itertools.product(range(C if not sticks else len(x)), repeat=len(x)):
        used = list(dict.fromkeys(labels))
        parts = [[n for n, c in enumerate(labels) if c == k] for k in used]
        sizes = [len(part) for part in parts]
        if sticks:
            if used != list(range(len(used))):  # each partition once
                continue
            log_p = len(parts) * math.log(concentration) + sum(math.lgamma(size) for size in sizes)
            log_p += math.lgamma(concentration) - math.lgamma(concentration + len(x))
        else:
            log_p = math.lgamma(C * concentration) - math.lgamma(C * concentration + len(x))
            log_p += sum(math.lgamma(concentration + size) - math.lgamma(concentration) for size in sizes)
        terms.append(log_p + log_evidence_of_parts(x, parts, kind))
    return scipy.special.logsumexp(terms)


def elbo(q, x):
    return em_pass(q, x)[0] + float(q.log_parameter_prior())


@each_type
def test_one_component_is_conjugate_and_its_bound_tight(kind):
    x, q = random_case(0, kind, False, 7, 1)
    assert_allclose(elbo(q, x), log_evidence(x, 1, kind, False), rtol=1e-12)


@each_law_of_weights
@each_type
def test_the_bound_lies_below_the_evidence(kind, sticks):
    for seed in range(3):
        x, q = random_case(seed, kind, sticks, 5, 2)
        exact = log_evidence(x, 2, kind, sticks)
        found = fit_em(q, x, max_iter=200)
        assert elbo(q, x) < exact
        assert found.lower_bounds[-1] < exact
        assert found.lower_bounds[-1] > exact - 3.0  # and is about it


@given(st.integers(0, 1000), st.sampled_from(TYPES), st.booleans(), st.integers(1, 4))
def test_the_bound_rises(seed, kind, sticks, C):
    x, q = random_case(seed, kind, sticks, 30, C, D=3)
    bounds = fit_em(q, x, max_iter=30).lower_bounds
    assert min(numpy.diff(bounds), default=0.0) > -1e-10


@each_law_of_weights
@each_type
def test_where_labels_are_known_the_bound_is_exact(kind, sticks):
    """For q(z) on one labelling, and its q(θ), the bound is log p(X, z): every term of it, component by component."""
    rng = numpy.random.default_rng(1)
    x, labels = rng.standard_normal((9, 2)), numpy.array([0, 1, 1, 2, 0, 1, 2, 2, 2])
    q = variational(x, numpy.eye(3)[labels], kind, sticks)
    bound = q.component_log_joint(x)[numpy.arange(9), labels].sum() + q.log_parameter_prior()
    counts, a = numpy.bincount(labels), 0.8
    if sticks:
        betaln, later = scipy.special.betaln, counts.sum() - numpy.cumsum(counts)
        log_p = (betaln(1 + counts, a + later) - betaln(1, a)).sum()
    else:
        gammaln = scipy.special.gammaln
        log_p = (gammaln(a + counts) - gammaln(a)).sum() + gammaln(3 * a) - gammaln(3 * a + 9)
    parts = [numpy.flatnonzero(labels == c) for c in range(3)]
    assert_allclose(bound, log_p + log_evidence_of_parts(x, parts, kind), rtol=1e-12)


@each_type
def test_prediction_is_students_law(kind):
    """With one component, p(x | X) = p(X, x) / p(X)."""
    x, q = random_case(2, kind, False, 6, 1)
    new = numpy.random.default_rng(5).standard_normal((4, 2))
    expected = [
        log_evidence(numpy.concatenate([x, point[None]]), 1, kind, False) - log_evidence(x, 1, kind, False)
        for point in new
    ]
    assert_allclose(q.log_predictive(new), expected, rtol=1e-11)


@each_law_of_weights
@each_type
def test_predictions_of_components_are_mixed_however_many_features_and_far_away(kind, sticks):
    """Of a narrow law in a wide one, and three far away: Student's tails are heavy, so that nothing is negligible."""
    D, C, nu = 24, 5, 40.0
    widths = numpy.array([1e4, 1.0, 1.0, 1.0, 1.0]) if kind != "tied" else numpy.ones(C)
    scale = {
        "full": nu * widths[:, None, None] * numpy.eye(D),
        "tied": nu * numpy.eye(D),
        "diag": nu * widths[:, None] * numpy.ones(D),
        "spherical": nu * widths,
    }[kind]
    means = numpy.zeros((C, D))
    means[2:] = 1e5 * numpy.arange(1.0, 4.0)[:, None]
    concentration = numpy.arange(1.0, 2 * C + 1).reshape(C, 2) if sticks else numpy.arange(1.0, C + 1)
    df = nu if kind == "tied" else numpy.full(C, nu)
    beta = numpy.arange(1.0, C + 1)
    q = VariationalMixture(concentration, beta, means, numpy.asarray(df), scale, prior_of(kind, D), 1.0, kind)
    x = numpy.zeros((4, D))
    x[1:, 0] = 70.0, 150.0, 1e5
    rows = D if kind in {"full", "tied"} else 1
    log_p = numpy.log(q.weights) + numpy.zeros((4, C))
    for c in range(C):
        shape = (1.0 + 1.0 / beta[c]) * nu * widths[c] / (nu + 1.0 - rows)
        law = scipy.stats.multivariate_t(means[c], shape * numpy.eye(D), nu + 1.0 - rows)
        one = scipy.stats.t(nu, means[c], numpy.sqrt(shape))
        log_p[:, c] += one.logpdf(x).sum(axis=1) if kind == "diag" else law.logpdf(x)
    assert_allclose(q.log_predictive(x), scipy.special.logsumexp(log_p, axis=1), rtol=1e-9)


@each_type
def test_expected_weights(kind):
    _, q = random_case(3, kind, False, 20, 3)
    assert_allclose(q.weights, q.concentration / q.concentration.sum())
    _, q = random_case(3, kind, True, 20, 3)
    v = q.concentration[:, 0] / q.concentration.sum(axis=1)
    shares = numpy.array([v[0], (1 - v[0]) * v[1], (1 - v[0]) * (1 - v[1]) * v[2]])
    assert_allclose(q.weights, shares / shares.sum())


@each_law_of_weights
@each_type
def test_every_backend(xp, kind, sticks):
    x, q = random_case(4, kind, sticks, 10, 2)
    prior = q.prior
    moved_prior = ConjugatePrior(
        xp.asarray(prior.mean), prior.mean_precision, prior.degrees_of_freedom, xp.asarray(prior.scale)
    )
    moved = VariationalMixture(
        *(xp.asarray(a) for a in (q.concentration, q.mean_precision, q.means, q.degrees_of_freedom, q.scale)),
        moved_prior, q.concentration_prior, kind,
    )  # fmt: skip
    ours, theirs = fit_em(moved, xp.asarray(x), max_iter=3), fit_em(q, x, max_iter=3)
    assert_allclose(ours.lower_bounds, theirs.lower_bounds, rtol=1e-10)
    assert_allclose(to_numpy(ours.model.log_predictive(xp.asarray(x))), theirs.model.log_predictive(x), rtol=1e-10)
