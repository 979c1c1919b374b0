"""Gradients of bounds by their exact expectation: over all tuples of discrete draws, by quadrature of normal ones."""

import functools
import itertools

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import grad, jit, stop_gradient, value_and_grad
from minilvm.distributions import (
    AffineTransform,
    Bernoulli,
    Categorical,
    Delta,
    DiscreteUniform,
    Exponential,
    ExpTransform,
    Independent,
    MixtureSameFamily,
    Normal,
    Transformed,
    Uniform,
)
from minilvm.estimators import (
    CONTRACTS,
    dreg,
    elbo,
    expectation,
    iwae,
    log_weights,
    renyi,
    reweighted_wake_sleep,
    sleep_phase,
    sticking_the_landing,
    tvo,
    vimco,
)
from minilvm.estimators.contracts import differential, sound_for
from minilvm.inference import Adam, fit_svi
from minilvm.models import (
    VAE,
    AmortizedGuide,
    LinearGaussian,
    SigmoidBeliefNetwork,
    diagonal_normal,
    factorised_bernoulli,
)
from minilvm.nn import MLP
from minilvm.testing import (
    Quadrature,
    assert_unbiased_gradient,
    expected_bound,
    expected_estimate,
    gradient_moments,
    normal_rule,
    uniform_rule,
)
from tests.estimators.helpers import bits, one_problem, problems
from tests.testing.helpers import assert_allclose, assert_array_equal

OBJECTIVES = {
    "sticking_the_landing": sticking_the_landing,
    "dreg": dreg,
    "vimco": vimco,
    "reweighted_wake_sleep": reweighted_wake_sleep,
}
BOUNDS = {
    "iwae": iwae,
    "elbo": elbo,
    "renyi ½": lambda log_w: renyi(log_w, 0.5),
    "renyi 2": lambda log_w: renyi(log_w, 2.0),
    "tvo": lambda log_w: tvo(log_w, [0.0, 0.3, 1.0]),
}


def law(parameters):
    return bits(parameters["phi"])


def exact(problem, bound, n_samples):
    """E[B], by enumeration: a function of θ and φ."""

    def of_parameters(parameters):
        model, q = parameters["theta"], law(parameters)
        z = q.enumerate_support()
        log_joint = model.log_joint(problem.x, z[:, None])[:, 0]
        return expected_bound(bound, log_joint, q.log_prob(z), n_samples)

    return of_parameters


def estimated(problem, objective, n_samples):
    """The objective, of as many copies of the datum as there are tuples."""

    def estimate(q, parameters):
        x = np.broadcast_to(problem.x, (*q.batch_shape, problem.x.shape[1]))
        return objective(parameters["theta"], q, x, n_samples, rng=0)

    return estimate


def assert_unbiased(problem, objective, bound, n_samples, rtol=1e-9):
    parameters = {"theta": problem.model, "phi": problem.logits}
    assert_unbiased_gradient(
        estimated(problem, objective, n_samples),
        exact(problem, bound, n_samples),
        law,
        parameters,
        n_samples,
        rtol=rtol,
    )


# Discrete latents -----------------------------------------------------------------------------------------------------


@given(problems(), st.integers(2, 3))
@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_vimco_is_unbiased_for_every_bound_in_model_and_guide(xp, bound, problem, n_samples):
    assert_unbiased(problem, functools.partial(vimco, bound=bound), bound, n_samples, rtol=1e-8)


def by_hand(model, q, x, n_samples, *, rng, bound=iwae, without=None, axis=0):
    """VIMCO written out, with places for faults; no `without` is no score term."""
    z = q.sample((n_samples,), rng=rng)
    log_w, log_q = model.log_joint(x, z) - q.log_prob(z), q.log_prob(z)
    value = bound(log_w)
    if without is None:
        return value
    return value + ((stop_gradient(value) - without(stop_gradient(log_w))) * differential(log_q)).sum(axis=0)


def over_the_data(log_w):
    """Σ over the data where it should be over the draws: weights normalised over the wrong axis."""
    return np.logsumexp(log_w, axis=1)[:1] - numpy.log(log_w.shape[1]) + 0.0 * log_w[0]


FAULTS = {
    "no score term, as in Pyro and NumPyro": {},
    "no score term, Rényi": {"bound": BOUNDS["renyi ½"]},
    "a baseline that contains its own draw": {"without": elbo},
    "Σ w̃ log w, not the bound": {
        "bound": lambda log_w: (np.softmax(log_w, axis=0) * log_w).sum(axis=0),
        "without": elbo,
    },
    "softmax over losses": {"bound": lambda log_w: -iwae(-log_w), "without": lambda log_w: 0.0},
    "the wrong axis": {"bound": over_the_data, "without": lambda log_w: 0.0},
    "the wrong sign": {"bound": lambda log_w: -iwae(log_w), "without": lambda log_w: 0.0},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_caught(xp, fault):
    bound = fault.get("bound", iwae) if len(fault) == 1 and "bound" in fault else iwae
    with pytest.raises(AssertionError, match=r"E\[∇ estimate\] is"):
        assert_unbiased(one_problem(xp), functools.partial(by_hand, **fault), bound, 3, rtol=1e-3)


def test_what_is_written_out_is_right_without_the_faults(xp):
    assert_unbiased(one_problem(xp), functools.partial(by_hand, without=lambda log_w: 0.0), iwae, 3)


@pytest.mark.parametrize("bound", ["iwae", "renyi ½"])
def test_left_out_the_score_term_leaves_a_gradient_that_is_zero_or_wrong(xp, bound):
    """At K = 1 the slope of the guide would be E[−∇ log q] = 0 exactly, whatever the bound: nothing is learned."""
    problem = one_problem(xp)
    parameters = {"theta": problem.model, "phi": problem.logits}
    estimate = estimated(problem, functools.partial(by_hand, bound=BOUNDS[bound]), 1)
    mean, _ = gradient_moments(estimate, law, parameters, 1)
    assert_allclose(mean["phi"], xp.zeros(2), atol=1e-12)
    assert abs(grad(exact(problem, iwae, 1))(parameters)["phi"]).max() > 0.05


@pytest.mark.parametrize("bound", [iwae, elbo, lambda log_w: renyi(log_w, 0.5), tvo])
def test_a_bound_of_bits_is_refused_where_autograd_alone_would_be_wrong(bound):
    problem = one_problem()
    with pytest.raises(TypeError, match="vimco"):
        grad(lambda a: bound(log_weights(problem.model, bits(a), problem.x, 3, rng=0)).sum())(problem.logits)


def test_of_the_elbo_vimco_is_the_leave_one_out_baseline(xp):
    problem = one_problem(xp)
    x = np.broadcast_to(problem.x, (4, 3))

    def one(a):
        return vimco(problem.model, bits(a), x, 5, bound=elbo, rng=0).sum()

    def other(a):
        def r(z):
            return problem.model.log_joint(x, z) - bits(a).log_prob(z)

        return expectation(r, bits(a), 5, estimator="score_function", baseline="leave_one_out", rng=0).sum()

    logits = np.broadcast_to(problem.logits, (4, 2))
    assert_allclose(grad(one)(logits), grad(other)(logits), rtol=1e-9, atol=1e-12)


def test_the_others_take_noise_away():
    problem = one_problem()
    parameters = {"theta": problem.model, "phi": problem.logits}

    def noise(objective):
        return gradient_moments(estimated(problem, objective, 3), law, parameters, 3)[1]["phi"].sum()

    assert noise(vimco) < 0.1 * noise(functools.partial(by_hand, without=lambda log_w: 0.0))


def test_a_draw_is_replaced_by_the_geometric_mean_of_the_others(xp):
    """K = 3, one datum: L − L₋ₖ, the learning signal of arXiv:1602.06725, eq. 10, by hand."""
    log_w = numpy.array([0.3, -1.0, 2.0])
    seen = {}

    class Model:
        def log_joint(self, x, z):
            return xp.asarray(log_w)[:, None] + q.log_prob(z)

    q = Bernoulli(logits=xp.asarray([0.3]))

    def value(a):
        law = Bernoulli(logits=a)
        seen["z"] = law.sample((3,), rng=4)
        return vimco(Model(), law, xp.zeros((1, 1)), 3, rng=4).sum()

    found = grad(value)(xp.asarray([0.3]))
    z = backend.to_numpy(seen["z"])[:, 0]
    replaced = [[numpy.delete(log_w, k).mean() if j == k else log_w[j] for j in range(3)] for k in range(3)]
    signal = numpy.array([numpy.logaddexp.reduce(log_w) - numpy.logaddexp.reduce(row) for row in replaced])
    share = numpy.exp(log_w - numpy.logaddexp.reduce(log_w))
    score = z - 1.0 / (1.0 + numpy.exp(-0.3))
    assert_allclose(found, [((signal - share) * score).sum()], rtol=1e-10)


# Differentiable draws -------------------------------------------------------------------------------------------------


def guide(rows):
    return diagonal_normal(rows)


def gaussian_problem(seed=0):
    """One latent dimension, two features, and a q that is not the posterior."""
    model = LinearGaussian.random(1, 2, rng=seed)
    return model, numpy.array([[0.7, -0.4]]), {"theta": model, "phi": numpy.array([0.2, -0.7])}


def of_gaussian(objective, x, n_samples, draws):
    def estimate(q, parameters):
        data = np.broadcast_to(x, (*q.batch_shape, x.shape[1]))
        return objective(parameters["theta"], q, data, n_samples, rng=draws)

    return estimate


def plain(bound):
    return lambda model, q, x, n_samples, *, rng: bound(log_weights(model, q, x, n_samples, rng=rng))


def assert_same_mean(objective, bound, n_samples, nodes=48, rtol=1e-6):
    _, x, parameters = gaussian_problem()
    draws = Quadrature([normal_rule(nodes)] * n_samples)

    def bounded(parameters):
        estimate = of_gaussian(plain(bound), x, n_samples, draws)
        return expected_estimate(lambda q: estimate(q, parameters), guide(parameters["phi"]), draws)

    estimate = of_gaussian(objective, x, n_samples, draws)
    assert_unbiased_gradient(estimate, bounded, lambda p: guide(p["phi"]), parameters, draws, rtol=rtol)


@pytest.mark.parametrize("n_samples", [1, 2])
def test_sticking_the_landing_is_unbiased_for_the_elbo(n_samples):
    assert_same_mean(sticking_the_landing, elbo, n_samples, rtol=1e-10)


@pytest.mark.parametrize(("n_samples", "nodes"), [(1, 48), (2, 100), (3, 48)])
def test_dreg_is_unbiased_for_iwae(n_samples, nodes):
    assert_same_mean(dreg, iwae, n_samples, nodes)


def test_vimco_serves_normals_too():
    assert_same_mean(vimco, iwae, 2, 100)


def sticking_the_landing_of_iwae(model, q, x, n_samples, *, rng):
    """The path alone with w̃, where it should be w̃²: what STL becomes for K > 1."""
    z = q.rsample((n_samples,), rng=rng)
    frozen = tree.map(stop_gradient, q)
    return iwae(model.log_joint(x, z) - frozen.log_prob(z))


def test_the_path_of_iwae_alone_is_biased_and_seen():
    assert_same_mean(sticking_the_landing_of_iwae, elbo, 1, rtol=1e-10)
    with pytest.raises(AssertionError, match=r"parameter\['phi'\].*a ratio of"):
        assert_same_mean(sticking_the_landing_of_iwae, iwae, 2, 100, rtol=1e-3)


def test_at_the_posterior_the_landing_sticks(xp):
    model = LinearGaussian.random(1, 2, rng=0)
    x = xp.asarray([[0.7, -0.4], [2.0, 1.0]])
    posterior = model.posterior(x)
    rows = np.stack([posterior.mean[:, 0], np.log(posterior.stddev[:, 0]) + xp.zeros(2)], axis=1)

    def slope(objective, K):
        return grad(lambda rows: objective(model, guide(rows), x, K, rng=0).sum())(rows)

    for objective, K in [(sticking_the_landing, 1), (sticking_the_landing, 5), (dreg, 5)]:
        assert_allclose(slope(objective, K), xp.zeros((2, 2)), atol=1e-12)
    assert abs(slope(plain(elbo), 5)).max() > 1e-2


def test_the_signal_of_dreg_rises_over_its_noise_with_k_and_that_of_iwae_falls():
    """For a q as wide as the posterior or wider; where it is so narrow that weights have no variance, both fall."""
    model, x, _ = gaussian_problem()
    posterior = model.posterior(x)
    phi = numpy.array([posterior.mean.item() + 0.2, numpy.log(posterior.stddev.item()) + 0.2])

    def signal_to_noise(objective, K):
        draws = Quadrature([normal_rule(8)] * K)
        estimate = of_gaussian(objective, x, K, draws)
        mean, variance = gradient_moments(lambda q, rows: estimate(q, {"theta": model, "phi": rows}), guide, phi, draws)
        return abs(mean) / numpy.sqrt(variance)

    plain_iwae = plain(iwae)
    assert (signal_to_noise(dreg, 3) > 1.2 * signal_to_noise(dreg, 1)).all()
    assert (signal_to_noise(plain_iwae, 3) < 0.8 * signal_to_noise(plain_iwae, 1)).all()
    assert (signal_to_noise(dreg, 3) > 5.0 * signal_to_noise(plain_iwae, 3)).all()


def test_in_the_model_dreg_is_iwae_draw_for_draw(xp):
    rng = backend.default_rng(0)
    model, x = VAE(MLP.create([2, 5, 4], rng=rng), 2), (rng.random((3, 4)) < 0.5).astype(float)
    q = guide(rng.standard_normal((3, 4)))
    one, other = (value_and_grad(lambda model, f=f: f(model, q, x, 4, rng=0).sum())(model) for f in (dreg, plain(iwae)))
    assert_allclose(one[0], other[0], rtol=1e-13)
    for ours, theirs in zip(one[1].decoder.layers, other[1].decoder.layers, strict=True):
        assert_allclose(ours.weight, theirs.weight, rtol=1e-10)


# Reweighted wake-sleep ------------------------------------------------------------------------------------------------


def test_reweighted_wake_sleep_climbs_minus_the_divergence_of_n18_as_k_grows(xp):
    problem = one_problem(xp)
    parameters = {"theta": problem.model, "phi": problem.logits}
    z = bits(problem.logits).enumerate_support()
    log_joint = problem.model.log_joint(problem.x, z[:, None])[:, 0]
    posterior = np.exp(log_joint - np.logsumexp(log_joint))
    target = grad(lambda a: (posterior * bits(a).log_prob(z)).sum())(problem.logits)
    errors = []
    for K in range(1, 7):
        estimate = estimated(problem, reweighted_wake_sleep, K)
        found = grad(lambda p: expected_estimate(lambda q: estimate(q, p), law(p), K))(parameters)  # noqa: B023
        assert_allclose(found["theta"].bias, grad(exact(problem, iwae, K))(parameters)["theta"].bias, rtol=1e-9)
        errors.append(float(abs(found["phi"] - target).max()))
    assert errors[0] == pytest.approx(float(abs(target).max()))  # one weight is all the weight: nothing moves
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_reweighted_wake_sleep_rests_at_the_posterior_on_average(xp):
    """A categorical q that can be the posterior: all weights alike, and E[Σ w̃ ∇ log q] = E[∇ log q] = 0."""
    log_joint = xp.asarray([-1.0, -3.0, 0.5])

    class Model:
        def log_joint(self, x, z):
            return log_joint[z]

    found = grad(
        lambda a: expected_estimate(
            lambda q: reweighted_wake_sleep(Model(), q, xp.zeros((*q.batch_shape, 1)), 3, rng=0),
            Categorical(logits=a),
            3,
        )
    )(log_joint)
    assert_allclose(found, xp.zeros(3), atol=1e-12)


def dreamer(xp):
    """A network, a guide, and all that the network can dream: states (x, z) and their probabilities."""
    model = SigmoidBeliefNetwork.random(2, 3, rng=backend.default_rng(0, like=xp.ones(1)))
    encoder = AmortizedGuide(MLP.create([3, 2], rng=backend.default_rng(1, like=xp.ones(1))), factorised_bernoulli)
    x, z = (xp.asarray(list(itertools.product([0.0, 1.0], repeat=n))) for n in (3, 2))
    return model, encoder, np.repeat(x, 4, axis=0), np.concatenate([z] * 8)


def test_sleep_climbs_minus_the_divergence_of_n18_over_what_the_model_makes(xp):
    model, encoder, x, z = dreamer(xp)
    p = np.exp(model.log_joint(x, z[None])[0])

    class AllDreams:
        def sample(self, n_samples, *, rng):
            return x, z

    def divergence(encoder):
        log_posterior = model.log_joint(x, z[None])[0] - model.log_marginal(x)
        return (p * (log_posterior - encoder(x).log_prob(z))).sum()

    found = grad(lambda encoder: (p * sleep_phase(AllDreams(), encoder, 32, rng=0)).sum())(encoder)
    for ours, exact in zip(tree.leaves(found), tree.leaves(grad(divergence)(encoder)), strict=True):
        assert float(abs(exact).max()) > 0.01
        assert_allclose(ours, -exact, rtol=1e-12, atol=1e-15)


def test_dreams_are_the_models_and_constants(xp):
    model, encoder, _, _ = dreamer(xp)
    x, z = model.sample(5, rng=3)
    assert_array_equal(sleep_phase(model, encoder, 5, rng=3), encoder(x).log_prob(z))
    slope = grad(lambda model: sleep_phase(model, encoder, 5, rng=3).sum())(model)
    assert all(bool((leaf == 0).all()) for leaf in tree.leaves(slope))
    with pytest.raises(TypeError, match="sleep_phase needs a q whose support does not move"):
        grad(lambda a: sleep_phase(model, lambda x: Independent(Uniform(a - x[:, :2], 2.0), 1), 5, rng=3).sum())(1.0)
    with pytest.raises(ValueError, match="n_samples is 0"):
        sleep_phase(model, encoder, 0, rng=3)


# What all of them have in common --------------------------------------------------------------------------------------


def setting(name, dtype="float64"):
    """A model, a guide's rows, a law of rows, data: bits where the estimator can serve them, else normals."""
    rng = backend.default_rng(0)
    x = (rng.random((3, 4)) < 0.5).astype(dtype)
    if name in {"dreg", "sticking_the_landing"}:
        return VAE(MLP.create([2, 5, 4], rng=rng, dtype=dtype), 2), rng.standard_normal((3, 4)).astype(dtype), guide, x
    model = SigmoidBeliefNetwork.random(2, 4, rng=0)
    model = SigmoidBeliefNetwork(*(a.astype(dtype) for a in (model.prior_logits, model.weights, model.bias)))
    return model, rng.standard_normal((3, 2)).astype(dtype), bits, x


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_value_is_the_bound_of_the_draws(xp, name):
    model, rows, law, x = setting(name)
    bound = elbo if name == "sticking_the_landing" else iwae
    expected = bound(log_weights(model, law(rows), x, 4, rng=7))
    assert_allclose(OBJECTIVES[name](model, law(rows), x, 4, rng=7), expected, rtol=1e-13)
    traced = value_and_grad(lambda rows: OBJECTIVES[name](model, law(rows), x, 4, rng=7).sum())(rows)[0]
    assert_allclose(traced, expected.sum(), rtol=1e-13)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_single_precision_stays_single(name):
    model, rows, law, x = setting(name, "float32")
    value, (in_model, in_rows) = value_and_grad(
        lambda both: OBJECTIVES[name](both[0], law(both[1]), x, 4, rng=7).sum()
    )((model, rows))
    assert value.dtype == in_rows.dtype == numpy.float32
    assert all(leaf.dtype == numpy.float32 for leaf in tree.leaves(in_model))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_is_an_objective_of_svi_in_a_line(xp, name):
    rng = backend.default_rng(0)
    continuous = name in {"dreg", "sticking_the_landing"}
    x = (rng.random((40, 1)) < 0.5).astype(float) * xp.ones((1, 6))
    if continuous:
        model, encoder = VAE(MLP.create([1, 6], rng=rng), 1), AmortizedGuide(MLP.create([6, 2], rng=rng))
    else:
        model = SigmoidBeliefNetwork.random(2, 6, scale=0.1, rng=rng)
        encoder = AmortizedGuide(MLP.create([6, 2], rng=rng), factorised_bernoulli)
    objective = functools.partial(OBJECTIVES[name], n_samples=4)
    result = fit_svi(model, encoder, x, n_epochs=40, objective=objective, optimizer=Adam(0.05), rng=0)
    assert result.lower_bounds[-1] > result.lower_bounds[0] + 0.5


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_table_says_whether_the_gradient_is_unbiased(name):
    """Of the three whose gradient is declared unbiased the tests above prove it; the fourth is biased as declared."""
    assert CONTRACTS[name].direction == "lower"
    assert CONTRACTS[name].estimates == "log p(x)"
    if CONTRACTS[name].gradient == "biased":
        with pytest.raises(AssertionError, match=r"parameter\['phi'\].*a ratio of"):
            assert_unbiased(one_problem(), OBJECTIVES[name], iwae, 3, rtol=1e-3)
    else:
        assert name in {"sticking_the_landing", "dreg", "vimco"}


def test_unsound_requests_are_refused_with_the_way_out():
    problem = one_problem()
    for objective in (sticking_the_landing, dreg):
        with pytest.raises(TypeError, match=r"q is Independent\(Bernoulli\)\. Unbiased for it: 'vimco'"):
            objective(problem.model, bits(problem.logits), problem.x, 3, rng=0)
    with pytest.raises(ValueError, match="n_samples is 1; expected at least 2"):
        vimco(problem.model, bits(problem.logits), problem.x, 1, rng=0)
    with pytest.raises(ValueError, match="n_samples is 0"):
        reweighted_wake_sleep(problem.model, bits(problem.logits), problem.x, 0, rng=0)
    with pytest.raises(ValueError, match=r"q has batch shape \(2,\); expected \(1,\)"):
        vimco(problem.model, bits(numpy.zeros((2, 2))), problem.x, 3, rng=0)
    assert sound_for(Normal(0.0, 1.0), "log p(x)") == ["iwae", "sticking_the_landing", "dreg", "vimco"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_guide_that_misses_what_the_model_can_do_or_is_of_another_shape_is_refused(name):
    model, x = LinearGaussian.random(2, 3, rng=0), numpy.zeros((1, 3))
    positive = Independent(Exponential(numpy.ones((1, 2))), 1)
    with pytest.raises(ValueError, match="q of datum 0 never draws z = "):
        OBJECTIVES[name](model, positive, x, 3, rng=0)
    with pytest.raises(ValueError, match=r"q has draws of shape \(3,\); expected \(2,\)"):
        OBJECTIVES[name](model, guide(numpy.zeros((1, 6))), x, 3, rng=0)
    with pytest.raises(TypeError, match="which is no law of z, but gives one"):
        OBJECTIVES[name](model, guide, x, 3, rng=0)


def test_a_joint_of_another_shape_is_refused():
    class Model:
        def log_joint(self, x, z):
            return z.sum(axis=-1, keepdims=True)

    for objective, q in [(vimco, bits(numpy.zeros((1, 2)))), (sticking_the_landing, guide(numpy.zeros((1, 4))))]:
        with pytest.raises(ValueError, match=r"log_joint\(x, z\) has shape \(3, 1, 1\); expected \(K, N\) = \(3, 1\)"):
            objective(Model(), q, numpy.zeros((1, 2)), 3, rng=0)


def test_a_joint_that_does_not_move_with_z_is_refused():
    class Model:
        def log_joint(self, x, z):
            return np.greater(z, 0.0).astype(float).sum(axis=-1)

    with pytest.raises(TypeError, match=r"not differentiable in z.*vimco"):
        grad(lambda rows: sticking_the_landing(Model(), guide(rows), numpy.zeros((1, 2)), 3, rng=0).sum())(
            numpy.zeros((1, 4))
        )


MOVING = {
    "uniform": lambda a: Uniform(0.0, a),
    "delta": Delta,
    "uniform integers": lambda a: DiscreteUniform(0, a),
    "a uniform, mapped": lambda a: Transformed(Uniform(0.0, a), ExpTransform()),
    "an exponential, shifted": lambda a: Transformed(Exponential(1.0), AffineTransform(a, 1.0)),
    "a mixture of uniforms": lambda a: MixtureSameFamily(
        Categorical(probs=numpy.ones(2) / 2), Uniform(0.0, np.stack([a, 2.0 * a]))
    ),
}


@pytest.mark.parametrize("q", MOVING.values(), ids=MOVING)
def test_a_law_whose_support_moves_has_no_score(q):
    """The score of Uniform(0, φ) is −1/φ everywhere inside, and its mean is not 0 (docs/notes.md, 5.2)."""
    with pytest.raises(TypeError, match="needs a q whose support does not move"):
        grad(lambda a: expectation(lambda z: z, q(a), 2, estimator="score_function", rng=0))(numpy.array(2.0))


class Parabola:
    """log p(x, z) = −z², so that under Uniform(0, φ) the ELBO is log φ − φ²/3."""

    def log_joint(self, x, z):
        return -(z**2) + 0.0 * x[:, 0]


def test_what_leaves_the_score_out_is_refused_where_its_mean_is_not_zero():
    """The path alone has the slope −2φ/3, and 1/φ is missing; the slope of `elbo(log_weights(...))` is right."""
    draws = Quadrature([uniform_rule(4)])
    x = numpy.zeros((len(draws.probability), 1))

    def slope(objective, n_samples):
        def mean(phi):
            return expected_estimate(
                lambda q: objective(Parabola(), q, x, n_samples, rng=draws), Uniform(0.0, phi), draws
            )

        return grad(mean)(1.5)

    def whole(model, q, x, n_samples, *, rng):
        return elbo(log_weights(model, q, x, n_samples, rng=rng))

    def path_alone(model, q, x, n_samples, *, rng):
        z = q.rsample((n_samples,), rng=rng)
        return elbo(model.log_joint(x, z) - tree.map(stop_gradient, q).log_prob(z))

    assert_allclose(slope(whole, 1), 1.0 / 1.5 - 1.0, rtol=1e-12)
    assert_allclose(slope(path_alone, 1), -1.0, rtol=1e-12)
    for objective in (sticking_the_landing, dreg):
        with pytest.raises(TypeError, match=r"support does not move.*q is Uniform\. Unbiased for it: 'iwae'"):
            slope(objective, 1)


def test_a_law_whose_support_could_move_and_does_not_is_welcome():
    def mean(c):
        return expectation(lambda z: c * z, Uniform(0.0, 2.0), 2, estimator="score_function", rng=0)

    assert grad(mean)(1.0) == mean(1.0)
    logit_normal = grad(
        lambda a: expectation(
            lambda z: z, Transformed(Normal(0.0, 1.0), AffineTransform(a, 1.0)), 2, estimator="score_function", rng=0
        )
    )
    assert np.isfinite(logit_normal(1.0))


class Impossible:
    """p(x, z) > 0 only at z = 1, and for the datum 0 nowhere."""

    def log_joint(self, x, z):
        return np.where((z[..., 0] > 0) & (x[:, 0] > 0), 0.0 * z[..., 0], -np.inf)


@pytest.mark.parametrize("objective", [vimco, reweighted_wake_sleep], ids=lambda objective: objective.__name__)
def test_weights_of_zero_have_no_slope_and_raise_no_storm(xp, objective):
    x = xp.asarray([[0.0], [1.0], [1.0]])

    def value(rows):
        return objective(Impossible(), bits(rows), x, 3, rng=0)

    rows = xp.asarray([[0.0], [0.0], [-30.0]])  # the third never draws a 1
    assert_allclose(np.isinf(value(rows)).astype(float), xp.asarray([1.0, 0.0, 1.0]))
    slope = grad(lambda rows: np.where(np.isinf(value(rows)), 0.0, value(rows)).sum())(rows)
    assert np.isfinite(slope).all()
    assert_array_equal(grad(lambda rows: value(rows)[0])(rows), 0.0)


def test_a_weight_that_is_no_number_is_named():
    class Broken:
        def log_joint(self, x, z):
            return np.where((z[..., 0] > 0) & (x[:, 0] > 0), numpy.nan, 0.0)

    x, q = numpy.array([[0.0], [1.0]]), bits(numpy.array([[0.0], [40.0]]))
    with pytest.raises(ValueError, match="log weight of sample 0, datum 1 is nan"):
        vimco(Broken(), q, x, 3, rng=0)


@pytest.mark.parametrize("objective", [sticking_the_landing, dreg, reweighted_wake_sleep, vimco, iwae])
def test_a_recorded_step_is_the_step(objective):
    model = LinearGaussian.random(2, 3, rng=0)
    x, _ = model.sample(4, rng=1)

    def loss(a, rng):
        q = diagonal_normal(a)
        if objective is iwae:
            return iwae(log_weights(model, q, x, 3, rng=rng)).sum()
        return objective(model, q, x, 3, rng=rng).sum()

    a, slope, recorded = numpy.zeros((4, 4)), grad(loss), jit(grad(loss))
    for seed in range(3):
        found = recorded(a, numpy.random.default_rng(seed))
        assert_array_equal(found, slope(a, numpy.random.default_rng(seed)))
