"""SVI against a truth that quadrature knows: a VAE with one latent dimension."""

import numpy
import pytest

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import value_and_grad
from minilvm.estimators import elbo, elbo_kl_form, iwae, log_weights
from minilvm.inference import SGD, Adam, fit_svi, minibatches
from minilvm.models import VAE, AmortizedGuide, PerDatapointGuide
from minilvm.nn import MLP
from tests.testing.helpers import assert_allclose, assert_array_equal


def log_marginal_by_quadrature(model, x):
    """∫ p(x | z) N(z; 0, 1) dz by the trapezium rule on [−9, 9]: its error falls faster than any power of the step."""
    z = np.linspace(-9.0, 9.0, 2001)
    log_f = model.log_joint(x, z[:, None, None])
    return np.logsumexp(log_f, axis=0) + np.log(z[1] - z[0])


def problem(seed=0):
    rng = backend.default_rng(seed)
    z = rng.standard_normal((60, 1))
    x = (rng.random((60, 6)) < np.special.expit(3.0 * z * np.array([1, 1, 1, -1, -1, -1]))).astype(float)
    return VAE(MLP.create([1, 8, 6], rng=rng), 1), x, rng


def guides(x, rng):
    return [PerDatapointGuide(np.zeros((len(x), 2))), AmortizedGuide(MLP.create([6, 16, 2], rng=rng))]


@pytest.mark.parametrize("kind", [0, 1])
def test_the_bound_rises_and_stays_below_log_p(xp, kind):
    model, x, rng = problem()
    guide = guides(x, rng)[kind]
    result = fit_svi(model, guide, x, n_epochs=150, batch_size=20, optimizer=Adam(0.02), rng=0)
    log_p = log_marginal_by_quadrature(result.model, x).mean()
    assert log_p > log_marginal_by_quadrature(model, x).mean() + 0.5
    log_w = log_weights(result.model, result.guide(x), x, 4000, rng=1)
    error = elbo(log_w).mean() - log_p
    spread = np.sqrt((log_w.var(axis=0) / len(log_w)).sum()) / len(x)
    assert -0.3 < error < 6.5 * spread
    assert len(result.lower_bounds) == 150
    assert numpy.mean(result.lower_bounds[-10:]) > numpy.mean(result.lower_bounds[:10]) + 0.5


def test_a_small_step_on_all_the_data_is_the_gradient_of_the_mean_bound(xp):
    """One epoch of SGD, one batch: Δθ = lr ∇ mean_i L_i, the scale of the minibatch included."""
    from minilvm.autograd import grad

    model, x, rng = problem()
    guide = guides(x, rng)[1]

    def objective(model, q, x, *, rng):
        return elbo(log_weights(model, q, x, 1, rng=7))

    result = fit_svi(model, guide, x, n_epochs=1, batch_size=60, objective=objective, optimizer=SGD(1e-3), rng=0)
    order = []
    fit_svi(
        model,
        guide,
        xp.arange(60.0)[:, None] + xp.zeros((60, 6)),
        n_epochs=1,
        batch_size=60,
        objective=lambda model, q, x, *, rng: (
            order.append(x[:, 0].astype(int)) or objective(model, q, x * 0.0, rng=rng)
        ),
        optimizer=SGD(1e-3),
        rng=0,
    )
    shuffled = x[order[-1]]  # order[0] is that of the rehearsal
    gradient = grad(lambda both: objective(both[0], both[1](shuffled), shuffled, rng=None).mean())((model, guide))
    tree.map(
        lambda new, old, g: assert_allclose(new, old + 1e-3 * g, rtol=1e-10, atol=1e-14),
        (result.model, result.guide),
        (model, guide),
        gradient,
    )


def test_a_per_datapoint_guide_moves_only_the_rows_of_the_batch(xp):
    model, x, rng = problem()
    guide = guides(x, rng)[0]
    seen = []

    def objective(model, q, x, *, rng):
        seen.append(len(x))
        return elbo(log_weights(model, q, x, 1, rng=rng))

    first_batch_only = fit_svi(
        model, PerDatapointGuide(guide.table[:7]), x[:7], n_epochs=1, batch_size=7, objective=objective, rng=0
    )
    assert set(seen) == {7}
    assert (first_batch_only.guide.table != 0.0).all()


def test_other_objectives_serve_as_well(xp):
    model, x, rng = problem()

    def objective(model, q, x, *, rng):
        return iwae(log_weights(model, q, x, 5, rng=rng))

    result = fit_svi(model, guides(x, rng)[1], x, n_epochs=20, objective=objective, optimizer=Adam(0.02), rng=0)
    assert result.lower_bounds[-1] > result.lower_bounds[0]


def test_the_same_seed_gives_the_same_bits(xp):
    model, x, rng = problem()
    guide = guides(x, rng)[1]
    one, two = (fit_svi(model, guide, x, n_epochs=2, rng=5) for _ in range(2))
    tree.map(assert_array_equal, (one.model, one.guide), (two.model, two.guide))


def test_callback_sees_every_epoch():
    model, x, rng = problem()
    seen = []
    result = fit_svi(model, guides(x, rng)[1], x, n_epochs=3, rng=0, callback=lambda *args: seen.append(args))
    assert [args[0] for args in seen] == [0, 1, 2]
    assert [args[3] for args in seen] == result.lower_bounds


def test_refusals(xp):
    model, x, rng = problem()
    guide = guides(x, rng)[1]
    broken = x.copy()
    broken[2, 1] = numpy.inf
    with pytest.raises(ValueError, match=r"x\[2, 1\] is inf"):
        fit_svi(model, guide, broken, n_epochs=1, rng=0)
    with pytest.raises(ValueError, match="60 data and the guide 7 rows"):
        PerDatapointGuide(xp.zeros((7, 2)))(x)
    for objective in (lambda *_, rng: np.zeros(()), lambda *_, rng: np.zeros((2, 60))):
        with pytest.raises(ValueError, match=r"expected \(60,\), one number per datum"):
            fit_svi(model, guide, x, n_epochs=1, objective=objective, rng=0)
    with pytest.raises(FloatingPointError, match="lower the learning rate"), numpy.errstate(all="ignore"):
        fit_svi(model, guide, x, n_epochs=5, optimizer=SGD(1e200), rng=0)


@pytest.mark.parametrize("kind", [0, 1])
def test_it_is_the_plain_loop_to_the_bit(xp, kind):
    model, x, rng = problem()
    guide = guides(x, rng)[kind]
    seen = []
    result = fit_svi(
        model,
        guide,
        x,
        n_epochs=3,
        batch_size=25,  # and a last batch of 10, which weighs less in the average
        optimizer=Adam(0.05),
        rng=backend.default_rng(3),
        callback=lambda *args: seen.append(args),
    )
    generator, adam, parameters = backend.default_rng(3), Adam(0.05), (model, guide)
    state = adam.init(parameters)
    for epoch in range(3):
        total = 0.0
        for index in minibatches(x, 25, rng=generator):

            def loss(parameters, index=index):
                q = parameters[1](x[index], index)
                return -elbo_kl_form(parameters[0], q, x[index], rng=generator).mean()

            value, gradient = value_and_grad(loss)(parameters)
            parameters, state = adam.step(parameters, gradient, state)
            total -= value * len(index)
        assert seen[epoch][0] == epoch
        tree.map(assert_array_equal, seen[epoch][1:3], parameters)
        assert_allclose(total / 60, seen[epoch][3], rtol=1e-14)
    tree.map(assert_array_equal, (result.model, result.guide), parameters)


@pytest.mark.parametrize("value", [0.3, 16.0, -1.0])
def test_a_binary_model_is_not_fitted_to_other_numbers(value):
    """Traced, a law looks at shapes alone: grey levels would climb a bound that is none, without end above 1."""
    model, x, rng = problem()
    guide, x[59, 0] = guides(x, rng)[1], value
    with pytest.raises(ValueError, match=rf"must be 0 or 1; value\[\d+, 0\] is {value}"):
        fit_svi(model, guide, x, n_epochs=1, batch_size=20, rng=0)


def test_an_objective_may_make_bits_of_grey_levels_anew_each_time(xp):
    model, x, rng = problem()

    def objective(model, q, x, *, rng):
        return elbo_kl_form(model, q, (rng.random(x.shape) < x).astype(float), rng=rng)

    result = fit_svi(model, guides(x, rng)[1], 0.5 * x, n_epochs=1, objective=objective, rng=0)
    assert numpy.isfinite(result.lower_bounds).all()


def test_the_last_step_cannot_leave_broken_parameters_behind():
    model, x, rng = problem()
    guide, seen = guides(x, rng)[1], []
    with pytest.raises(FloatingPointError, match="a parameter became infinite or NaN in epoch 0"):
        fit_svi(model, guide, x, n_epochs=1, optimizer=SGD(numpy.inf), rng=0, callback=lambda *args: seen.append(args))
    assert not seen


def test_a_bound_of_minus_infinity_is_refused():
    model, x, rng = problem()
    with pytest.raises(FloatingPointError, match="the bound became -inf in epoch 0"):
        fit_svi(model, guides(x, rng)[1], x, n_epochs=1, objective=lambda *_, rng: numpy.full(60, -numpy.inf), rng=0)
