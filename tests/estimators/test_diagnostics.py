"""Diagnostics: against their definitions, and the tail index against ArviZ's numbers."""

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minilvm.numpy as np
from minilvm.autograd import check_grads
from minilvm.distributions import MultivariateNormal
from minilvm.estimators import effective_sample_size, elbo, gap_ledger, iwae, log_weights, pareto_k
from minilvm.estimators.diagnostics import fit_generalised_pareto
from minilvm.models import LinearGaussian
from minilvm.testing import expected_bound, log_tables, log_weight_arrays
from tests.statistics import assert_mean
from tests.testing.helpers import assert_allclose, assert_array_equal, host

# Effective sample size ------------------------------------------------------------------------------------------------


@given(log_weight_arrays(limit=700.0), st.data())
def test_it_is_the_square_of_the_sum_over_the_sum_of_squares_and_between_one_and_k(xp, log_w, data):
    log_w = np.where(xp.asarray(data.draw(hnp.arrays(bool, log_w.shape))), -numpy.inf, log_w)
    found = effective_sample_size(log_w)
    with numpy.errstate(invalid="ignore"):
        w = numpy.exp(host(log_w - log_w.max(axis=0)))
        expected = numpy.nan_to_num(w.sum(axis=0) ** 2 / numpy.square(w).sum(axis=0))
    assert_allclose(found, expected, rtol=1e-9)
    possible = (log_w > -numpy.inf).any(axis=0)
    assert ((found >= possible * (1 - 1e-9)) & (found <= possible * len(log_w) * (1 + 1e-9))).all()


def test_equal_weights_are_all_worth_one_and_one_weight_alone_is_worth_one(xp):
    log_w = xp.asarray([[3.0, 0.0, -numpy.inf], [3.0, -900.0, -numpy.inf]])
    assert_allclose(effective_sample_size(log_w), [2.0, 1.0, 0.0], rtol=1e-15)
    check_grads(effective_sample_size, [xp.asarray([[0.3], [1.0], [-0.2]])])


# The tail -------------------------------------------------------------------------------------------------------------

# arviz.stats.psislw of ArviZ 0.23.4: k of the log of the quantiles at (i + ½)/K of a generalised Pareto law of this
# shape, or of a log-normal law of this deviation.
ARVIZ = [
    ("pareto", 25, -0.3, 0.29953018175724694),
    ("pareto", 25, 0.2, 0.4258574191814224),
    ("pareto", 25, 0.7, 0.5532443137866411),
    ("pareto", 25, 1.2, 0.68050300937895),
    ("lognormal", 25, 0.3, 0.35056513705170944),
    ("lognormal", 25, 1.0, 0.4501548211848337),
    ("lognormal", 25, 3.0, 0.7338127879256156),
    ("pareto", 100, -0.3, 0.02499624520439448),
    ("pareto", 100, 0.2, 0.3196208843338412),
    ("pareto", 100, 0.7, 0.6062891118970046),
    ("pareto", 100, 1.2, 0.8923632152333719),
    ("lognormal", 100, 0.3, 0.16223976380497318),
    ("lognormal", 100, 1.0, 0.3681400557995296),
    ("lognormal", 100, 3.0, 0.9651885908460256),
    ("pareto", 1000, -0.3, -0.19976370775668595),
    ("pareto", 1000, 0.2, 0.236787735857503),
    ("pareto", 1000, 0.7, 0.6706577683143574),
    ("pareto", 1000, 1.2, 1.1046739292502497),
    ("lognormal", 1000, 0.3, 0.03612660289069477),
    ("lognormal", 1000, 1.0, 0.290753024475596),
    ("lognormal", 1000, 3.0, 1.0524199736573676),
    ("pareto", 5000, -0.3, -0.2518494492576379),
    ("pareto", 5000, 0.2, 0.21752652764954),
    ("pareto", 5000, 0.7, 0.6862534578637056),
    ("pareto", 5000, 1.2, 1.1548441872152995),
    ("lognormal", 5000, 0.3, 0.01750272064342124),
    ("lognormal", 5000, 1.0, 0.26037134891188624),
    ("lognormal", 5000, 3.0, 0.982925677964021),
]


def quantiles(kind, n_samples, parameter):
    p = (numpy.arange(n_samples) + 0.5) / n_samples
    if kind == "pareto":
        return numpy.log(scipy.stats.genpareto.ppf(p, parameter))
    return parameter * scipy.stats.norm.ppf(p)


@pytest.mark.parametrize(("kind", "n_samples", "parameter", "expected"), ARVIZ)
def test_the_tail_index_is_arviz_s_whatever_the_order_and_the_scale(kind, n_samples, parameter, expected):
    log_w = numpy.random.default_rng(0).permutation(quantiles(kind, n_samples, parameter))
    columns = numpy.stack([log_w, log_w[::-1] - 800.0, log_w + 600.0], axis=1)
    numpy.testing.assert_allclose(pareto_k(columns), expected, rtol=1e-9, atol=1e-9)


def zhang_stephens(x):
    """The fit again, number by number, as the paper's section 3 goes: θ_j, its likelihood, its weight, its mean."""
    n = len(x)
    m = 30 + int(n**0.5)
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = [1 / x[-1] + (1 - (m / (j - 0.5)) ** 0.5) / (3 * quartile) for j in range(1, m + 1)]

    def shape(t):
        return sum(numpy.log1p(-t * value) for value in x) / n

    likelihood = [n * (numpy.log(-t / shape(t)) - shape(t) - 1) for t in theta]
    weights = [1 / sum(numpy.exp(other - own) for other in likelihood) for own in likelihood]
    mean = sum(t * w for t, w in zip(theta, weights, strict=True))
    return (n * shape(mean) + 5) / (n + 10), -shape(mean) / mean


@pytest.mark.parametrize("k", [-0.4, 0.0, 0.5, 1.5])
def test_the_fit_is_the_papers_and_finds_the_shape_and_scale_of_long_tails(k):
    x = 3.0 * scipy.stats.genpareto.ppf((numpy.arange(4000) + 0.5) / 4000, k)
    assert fit_generalised_pareto(x[::40]) == pytest.approx(zhang_stephens(x[::40].tolist()), rel=1e-9)
    assert fit_generalised_pareto(x) == pytest.approx((k, 3.0), abs=0.03)


def test_tails_that_cannot_be_fitted(xp):
    few = xp.asarray(numpy.random.default_rng(0).standard_normal((20, 1)))
    assert pareto_k(few) == numpy.inf  # a fifth of them is four
    assert pareto_k(xp.full((100, 1), -numpy.inf)) == numpy.inf
    mostly_zero = xp.full((100, 1), -numpy.inf)
    mostly_zero[:4] = xp.asarray([[0.0], [1.0], [2.0], [3.0]])
    assert pareto_k(mostly_zero) == numpy.inf


def test_at_the_posterior_there_is_no_tail(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x, _ = model.sample(2, rng=1)
    log_w = log_weights(model, model.posterior(x), x, 400, rng=2)
    assert (log_w != log_w[0]).any()  # equal to rounding only
    assert (pareto_k(log_w) == -numpy.inf).all()
    wide = log_weights(model, model.prior, x, 400, rng=2)
    assert np.isfinite(pareto_k(wide)).all()
    assert pareto_k(wide.astype("float32")).dtype == numpy.float32


# The ledger -----------------------------------------------------------------------------------------------------------


def terms(ledger):
    return ledger.amortisation, ledger.approximation, ledger.sampling


@given(log_weight_arrays(limit=300.0), log_weight_arrays(max_data=1, limit=300.0))
def test_the_terms_sum_to_the_gap_and_approximation_is_never_negative(xp, log_w, other):
    best = np.broadcast_to(other, (len(other), log_w.shape[1]))
    log_p = xp.full(log_w.shape[1:], 7.0)
    ledger = gap_ledger(log_p, best, log_w)
    assert_array_equal(ledger.bound, elbo(log_w))
    assert_allclose(sum(terms(ledger)), ledger.gap, rtol=1e-12, atol=1e-10)
    assert (ledger.approximation >= -1e-10).all()


@given(log_tables(max_states=3), st.integers(1, 4))
def test_each_term_is_at_least_zero_in_expectation_where_q_is_the_best_of_its_family(xp, tables, n_samples):
    """The family: the law at hand, the posterior, and what lies between, of which the best is known."""
    log_joint, log_q = tables
    log_p = np.logsumexp(log_joint)
    family = [
        np.logsumexp(np.stack([log_q + np.log(1 - t), log_joint - log_p + np.log(t)]), axis=0) for t in (0.25, 0.5)
    ]
    best = max(family, key=lambda law: float(expected_bound(elbo, log_joint, law, 1)))

    def of(name, law, other):
        def term(log_w):
            worse = np.full_like(log_w, float(expected_bound(elbo, log_joint, other, 1)))
            return getattr(gap_ledger(log_p * np.ones_like(log_w[0]), log_w, worse), name)

        return float(expected_bound(term, log_joint, law, n_samples))

    slack = 1e-10 * (1 + float(abs(log_joint).max() + abs(log_q).max()))
    found = [of(name, best, family[0]) for name in ("amortisation", "approximation", "sampling")]
    assert min(found) >= -slack
    assert sum(found) == pytest.approx(float(log_p - expected_bound(elbo, log_joint, family[0], 1)), abs=10 * slack)


def test_the_ledger_of_a_linear_gaussian_is_the_closed_form_of_the_notes():
    """Chapter 9: for q* with the conditional variances, and a q that is off by δ in the mean and ρ in the variances."""
    model = LinearGaussian.random(2, 4, noise=1.0, rng=0)
    x, _ = model.sample(1, rng=1)
    posterior = model.posterior(x)
    precision = posterior.precision_matrix[0]
    delta, rho, n = numpy.array([0.4, -0.3]), 1.7, 20_000

    def draws(delta, rho, rng):
        """Weights under q = N(m + δ, S), and their exact deviation: log w is a quadratic form in ε ~ N(0, I)."""
        scale = numpy.diag(numpy.sqrt(rho / numpy.diagonal(precision)))
        form, slope = numpy.eye(2) - scale @ precision @ scale, scale @ precision @ delta
        q = MultivariateNormal(posterior.mean + delta, scale_tril=scale)
        return log_weights(model, q, x, n, rng=rng), numpy.sqrt(0.5 * (form**2).sum() + slope @ slope)

    (log_w_best, deviation_best), (log_w, deviation) = draws(0.0 * delta, 1.0, 2), draws(delta, rho, 3)
    ledger = gap_ledger(model.log_marginal(x), log_w_best, log_w)
    approximation = 0.5 * (numpy.log(numpy.diagonal(precision)).sum() - numpy.linalg.slogdet(precision)[1])
    amortisation = 0.5 * delta @ precision @ delta + (rho - 1.0 - numpy.log(rho))
    assert_mean(log_w_best, ledger.log_p[0] - approximation, deviation_best)
    assert_mean(log_w, ledger.log_p[0] - approximation - amortisation, deviation)
    numpy.testing.assert_allclose(log_w.std(), deviation, rtol=0.1)
    numpy.testing.assert_allclose(ledger.approximation + ledger.sampling, ledger.log_p - elbo(log_w_best), rtol=1e-12)
    numpy.testing.assert_allclose(ledger.sampling, ledger.log_p - iwae(log_w_best), rtol=1e-12)


def test_data_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\), log_w_best \(5, 2\) and log_w \(5, 3\); expected \(N,\)"):
        gap_ledger(numpy.zeros(3), numpy.zeros((5, 2)), numpy.zeros((5, 3)))


def test_weights_that_are_none_are_refused(xp):
    log_w = xp.zeros((30, 2))
    log_w[7, 1] = numpy.nan
    with pytest.raises(ValueError, match="sample 7, datum 1 is nan"):
        pareto_k(log_w)
    for diagnosis in (pareto_k, effective_sample_size):
        with pytest.raises(ValueError, match=r"shape \(0, 2\); expected \(K, N\), at least one sample"):
            diagnosis(log_w[:0])
