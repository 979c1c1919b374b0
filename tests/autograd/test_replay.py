"""A jitted function is the function, bit for bit, on every call; and what it cannot be, it refuses to be."""

from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from cases import CASES, CONSTANT, Case, one
from hypothesis import given, settings
from hypothesis import strategies as st
from test_namespace import moved, of_parameters

import minilvm.numpy
import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import (
    checkpoint,
    detect_anomaly,
    grad,
    hessian,
    jit,
    primitive,
    stop_gradient,
    trace,
    value_and_grad,
    vjp,
)
from minilvm.distributions import Bernoulli, Gumbel, Independent, Laplace, LogNormal, Normal, RelaxedBernoulli
from minilvm.estimators import elbo_kl_form, iwae, log_weights
from minilvm.inference import Adam
from minilvm.models import VAE, AmortizedGuide
from minilvm.nn import MLP

FEW = settings(max_examples=max(4, settings.default.max_examples // 20))

LAWS = [Normal, Laplace, Gumbel, LogNormal, RelaxedBernoulli]


def assert_same_bits(found, expected):
    """Equal trees, down to the types and the bits of the leaves."""
    assert tree.outline(found)[1] == tree.outline(expected)[1]
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert type(a) is type(b)
        assert (numpy.shape(a), numpy.asarray(bits(a)).dtype) == (numpy.shape(b), numpy.asarray(bits(b)).dtype)
        assert bits(a).tobytes() == bits(b).tobytes()


def bits(x):
    return backend.to_numpy(x)


def assert_replays(f, *calls):
    """One recording of `f`, made on the first call, gives on each what `f` gives."""
    jitted = jit(f)
    for args in calls:
        assert_same_bits(jitted(*args), f(*args))


def pulled_back(f):
    """The value of `f` and the cotangents of its arguments, as a function of both."""

    def both(*args):
        *primals, u = args
        y, pullback = vjp(f, *primals)
        return y, pullback(u)

    return both


def twice(arguments):
    """Two calls that differ in their numbers alone, and stay where the functions are defined."""
    return arguments, [x * 0.9375 for x in arguments]


class TestEveryFunction:
    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    @FEW
    @given(data=st.data())
    def test_replays(self, case, xp, data):
        f, parameters = of_parameters(case, minilvm.numpy, moved(xp, data.draw(case.arguments)))
        assert_replays(f, *twice(parameters))

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    @FEW
    @given(data=st.data())
    def test_replays_its_derivative(self, case, xp, data):
        f, parameters = of_parameters(case, minilvm.numpy, moved(xp, data.draw(case.arguments)))
        u = tree.map(xp.ones_like, f(*parameters))
        assert_replays(pulled_back(f), *([*args, u] for args in twice(parameters)))

    @pytest.mark.parametrize("name", CONSTANT)
    @FEW
    @given(data=st.data())
    def test_replays_what_is_constant_to_grad_and_does_not_freeze_it(self, name, xp, data):
        f, arguments = CONSTANT[name]
        g, parameters = of_parameters(Case(name, f, one()), minilvm.numpy, moved(xp, data.draw(arguments)))
        assert_replays(g, *twice(parameters))


class TestTransforms:
    @given(st.integers(0, 2**32))
    def test_gradients_of_any_order_inside_a_jit(self, seed):
        rng = numpy.random.default_rng(seed)
        calls = [({"w": rng.standard_normal((3, 2)), "b": [rng.standard_normal(2)]}, rng.random((4, 3))) for _ in "ab"]

        def loss(p, x):
            y = np.tanh(x @ p["w"] + p["b"][0])
            return np.sum(np.logsumexp(y, axis=1) * y[:, 0]) / len(x)

        assert_replays(value_and_grad(loss, (0, 1)), *calls)
        assert_replays(grad(checkpoint(loss)), *calls)
        assert_replays(hessian(lambda w: loss({"w": w, "b": [numpy.zeros(2)]}, numpy.ones((2, 3)))), [calls[0][0]["w"]])

    def test_gradients_and_jits_of_a_jit_are_those_of_the_function(self):
        f = jit(lambda x: np.sum(np.sin(x) ** 3))
        x = numpy.linspace(0.1, 1.0, 4)
        assert_same_bits(grad(f)(x), grad(lambda x: np.sum(np.sin(x) ** 3))(x))
        assert_replays(lambda x: f(x) * grad(f)(x), [x], [x + 1.0])

    def test_a_gradient_of_a_number_is_a_number(self):
        assert_replays(grad(lambda x: x**2 * np.exp(x)), [numpy.float64(3.0)], [numpy.float64(-1.0)])

    def test_parts_read_in_a_loop_add_into_one_buffer_on_every_call(self):
        def body(x):
            return sum(np.sum(x[t] * x[t, 0]) for t in range(len(x)))

        assert_replays(grad(body), *([numpy.random.default_rng(i).random((6, 3))] for i in range(3)))

    def test_what_stop_gradient_holds_back_is_not_a_constant(self):
        assert_replays(grad(lambda x: np.sum(x * stop_gradient(np.exp(x)))), [numpy.ones(2)], [numpy.zeros(2)])

    def test_plain_numpy_by_its_own_names(self):
        def f(x):
            values, vectors = numpy.linalg.eigh(x @ x.T)
            sign, logdet = numpy.linalg.slogdet(x)
            y = numpy.where(x > 0.5, x, -x)[1:, ::-1] ** 2 % 0.3
            return values, vectors, sign * logdet, y.reshape(2, -1).sum(axis=0), 2.0**x, x.T @ x, numpy.float64(2.0) - x

        assert_replays(f, *([numpy.random.default_rng(i).random((3, 3))] for i in range(3)))

    def test_integers_are_arguments_like_others(self):
        x = numpy.random.default_rng(0).random((5, 3))
        assert_replays(grad(lambda x, i: np.sum(x[i] ** 2)), [x, numpy.array([0, 0, 4])], [x, numpy.array([3, 1, 1])])


class TestModels:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_training_an_autoencoder_takes_the_same_steps(self, dtype):
        def losses(wrap):
            rng = numpy.random.default_rng(0)
            data = (rng.random((30, 20)) < 0.4).astype(dtype)
            model = VAE(MLP.create([2, 8, 20], rng=rng, dtype=dtype), 2)
            guide = AmortizedGuide(MLP.create([20, 8, 4], rng=rng, dtype=dtype))
            step = wrap(value_and_grad(lambda p, x, rng: -elbo_kl_form(p[0], p[1](x), x, rng=rng).mean()))
            importance = wrap(
                value_and_grad(lambda p, x, rng: -iwae(log_weights(p[0], p[1](x), x, n_samples=3, rng=rng)).mean())
            )
            adam, parameters = Adam(1e-2), (model, guide)
            state, values = adam.init(parameters), []
            for i in range(6):
                value, slope = (step if i % 2 else importance)(parameters, data[5 * i :][:7], rng)
                parameters, state = adam.step(parameters, slope, state)
                values.append(value)
            return values, parameters, rng.random()

        assert_same_bits(losses(jit), losses(lambda f: f))

    @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
    def test_densities_and_draws_of_laws(self, law, xp):
        def f(a, b, x, rng):
            made = law(a, b)
            return made.log_prob(x), made.sample((2,), rng=rng)

        def slope(a, b, x):
            return grad(lambda a, b, x: np.sum(law(a, b).log_prob(x)), (0, 1, 2))(a, b, x)

        def call(seed):
            rng = numpy.random.default_rng(seed)
            a, b, x = (xp.asarray(rng.uniform(0.2, 0.8, shape)) for shape in [(3,), (3,), (4, 3)])
            return a, b, x

        assert_replays(slope, call(0), call(1))
        jitted, theirs, ours = jit(f), xp.random.default_rng(3), xp.random.default_rng(3)
        for seed in range(3):
            assert_same_bits(jitted(*call(seed), ours), f(*call(seed), theirs))

    def test_a_law_refuses_on_every_call_what_it_refuses_without(self):
        density = jit(lambda scale: Normal(0.0, scale).log_prob(1.0))
        density(numpy.ones(2))
        with pytest.raises(ValueError, match=r"scale must be positive; scale\[1\] is -1.0"):
            density(numpy.array([1.0, -1.0]))

    def test_kernels_that_look_at_their_arrays_see_the_same(self):
        """Some go through large arrays in pieces, or lay them out anew: other paths, other bits."""
        rng = numpy.random.default_rng(0)
        logits, x = rng.standard_normal((2, 3, 50, 784)).astype("float32")
        x = (x > 0).astype("float32")

        def pixels(logits, x):
            return Independent(Bernoulli(logits=logits, validate_args=False), 1).log_prob(x)

        for f in (pixels, grad(lambda logits, x: np.sum(pixels(logits, x)))):
            assert_replays(f, [logits, x], [x, x])
        rows = logits.reshape(-1, 56)
        for f in (np.softmax, lambda x: np.logsumexp(x, axis=-1), grad(lambda x: np.sum(np.softmax(x) ** 2))):
            assert_replays(f, [rows], [rows.astype("float64")], [-rows])


class TestSignatures:
    def test_new_shapes_dtypes_structures_and_numbers_are_traced_anew_and_old_ones_are_not(self):
        traced = []

        def f(x, n=2.0, *, scale=1):
            traced.append(None)
            return tree.map(lambda leaf: leaf.sum() * n / len(leaf) * scale, x)

        jitted, x = jit(f), numpy.arange(6.0)
        calls = [((x,), {}), ((x[:3],), {}), ((x.astype("float32"),), {}), (({"a": x},), {}), (([x, x],), {})]
        calls += [((x, -0.0), {}), ((x, 0.0), {}), ((x, 0), {}), ((x, False), {}), ((x,), {"scale": 3})]
        for args, kwargs in 2 * calls:
            before = len(traced)
            found = jitted(*args, **kwargs)
            assert len(traced) - before in (0, 2)
            assert_same_bits(found, f(*args, **kwargs))
            traced.pop()
        assert len(traced) == 2 * len(calls)

    def test_static_fields_are_part_of_the_key(self):
        rng = numpy.random.default_rng(0)
        network = jit(lambda f, x: f(x))
        for activation in (np.tanh, np.exp, np.tanh):
            f = MLP.create([2, 3, 1], rng=rng, activation=activation)
            assert_same_bits(network(f, numpy.ones((4, 2))), f(numpy.ones((4, 2))))

    @pytest.mark.parametrize("leaf", [numpy.random.RandomState(0), object(), {1.0}])
    def test_what_may_change_unseen_is_no_argument(self, leaf):
        with pytest.raises(TypeError, match="expected arrays, generators"):
            jit(lambda x, _: x)(numpy.ones(2), leaf)


class TestNothingIsFrozen:
    @pytest.mark.parametrize(
        "f",
        [
            lambda x: x if x.sum() > 0 else -x,
            lambda x: x * float(x[0]),
            lambda x: x[: int(x[0])],
            lambda x: x * x[0].item(),
            lambda x: x[x > 0],
            lambda x: numpy.zeros(2)[x],
            lambda x: numpy.asarray(x) * 2,
            lambda x: numpy.array([x[0], 1.0]),
            lambda x: [1.0, 2.0].index(x[0]),
            lambda x: max(x[0], x[1]),
            lambda x: range(x[0]),
            lambda x: np.repeat(numpy.arange(2.0), np.floor(x)),
            lambda x: {x[0]: x},
            lambda x: sum(1.0 for y in x if y > 0),
            lambda x: 0.0 * x.tolist()[0],
            lambda x: numpy.flatnonzero(x) * 1.0,
            lambda x: numpy.allclose(x, x),
            lambda x: numpy.add.at(numpy.zeros(2), [0], x[0]),
            lambda x: numpy.add(x, 1.0, out=numpy.zeros(2)),
            lambda x: numpy.copyto(numpy.zeros(2), x),
            lambda x: numpy.cumsum(x, 0, None, numpy.zeros(2)),
            lambda x: numpy.dot(x, x[:, None], numpy.zeros(1)),
        ],
    )
    @pytest.mark.parametrize("inside", [lambda f: f, lambda f: lambda x: vjp(lambda _: f(x), x)[0]])
    def test_what_depends_on_numbers_is_refused(self, f, inside):
        with pytest.raises((TypeError, AttributeError), match=r"recorded array|unhashable|slice indices"):
            jit(inside(f))(numpy.ones(2))

    def test_branches_inside_a_gradient_are_refused_too(self):
        with pytest.raises(TypeError, match=r"not yet a number.*np\.where"):
            jit(grad(lambda x: x * x if x > 0 else -x))(numpy.float64(1.0))

    def test_a_shape_that_an_index_decides_is_held_to(self):
        jitted = jit(lambda x, n: numpy.repeat(x, n) * 1.0)
        x = numpy.array([1.0, 2.0])
        assert jitted(x, numpy.array([1, 2])).tolist() == [1.0, 2.0, 2.0]
        assert jitted(x, numpy.array([3, 0])).tolist() == [1.0, 1.0, 1.0]
        with pytest.raises(TypeError, match=r"of shape \(3,\) when it was recorded and is now of shape \(4,\)"):
            jitted(x, numpy.array([2, 2]))

    @pytest.mark.parametrize(
        "write", ["x[0] = 1.0", "x += 1.0", "x *= x", "np.exp(x, out=x)", "x.fill(0.0)", "x.sort()"]
    )
    def test_writing_in_place_is_refused(self, write):
        def f(x):
            exec(write, {"np": numpy, "x": x})  # noqa: S102 (a statement a test case)
            return x

        x = numpy.zeros(2)
        with pytest.raises((TypeError, AttributeError), match="recorded array"):
            jit(f)(x)
        assert x.tolist() == [0.0, 0.0]

    def test_draws_are_drawn_again_and_what_is_not_used_too(self):
        def f(x, rng):
            rng.random(3)
            return (
                x * rng.standard_normal(2)
                + rng.integers(5)
                + np.sum(rng.permutation(x))
                + Normal(x, 1.0).sample(rng=rng)
            )

        jitted, ours, theirs = jit(f), numpy.random.default_rng(1), numpy.random.default_rng(1)
        for i in range(4):
            assert_same_bits(jitted(numpy.ones(2) * i, ours), f(numpy.ones(2) * i, theirs))
        assert ours.random() == theirs.random()

    def test_another_generator_of_the_same_kind_is_the_one_that_is_drawn_from(self):
        jitted = jit(lambda rng: rng.random(2))
        assert jitted(numpy.random.default_rng(1)).tolist() == numpy.random.default_rng(1).random(2).tolist()
        assert jitted(numpy.random.default_rng(2)).tolist() == numpy.random.default_rng(2).random(2).tolist()

    @pytest.mark.parametrize("seed", [0, None, numpy.random.default_rng(0)])
    def test_a_draw_from_elsewhere_is_refused(self, seed):
        with pytest.raises(TypeError, match=r"no generator among its arguments.*Pass rng="):
            jit(lambda x: Normal(x, 1.0).sample(rng=seed))(numpy.ones(2))

    def test_a_frozen_draw_is_found_by_tracing_twice(self):
        captured, count = numpy.random.default_rng(0), iter(range(100))
        for f in (lambda x: x + captured.random(2), lambda x: x + next(count), lambda x: (x, captured.random())):
            with pytest.raises(RuntimeError, match="did not do the same a second time"):
                jit(f)(numpy.ones(2))

    def test_arrays_from_around_are_constants_as_they_were(self):
        scale, buffer = numpy.ones(2), numpy.zeros(2)

        def f(x):
            for i in range(2):
                buffer[:] = i + 1
                x = x * buffer
            return x * scale, scale

        jitted = jit(f)
        first = jitted(numpy.ones(2))
        scale[:] = 5.0
        assert_same_bits(jitted(numpy.ones(2)), first)

    def test_a_traced_value_from_around_is_refused_not_lost(self):
        with pytest.raises(TypeError, match="not of its arguments"):
            grad(lambda w: np.sum(jit(lambda x: x * w)(numpy.ones(2))))(numpy.ones(2))

    def test_what_escapes_is_of_no_use(self):
        kept = []
        jit(lambda x: kept.append(x) or x * 2.0)(numpy.ones(2))
        with pytest.raises(RuntimeError, match="after the jitted function had returned"):
            kept[0] + 1.0
        with pytest.raises((RuntimeError, TypeError)):
            jit(lambda x: x + kept[0])(numpy.ones(2))

    def test_a_primitive_that_knows_a_recorded_array_is_looked_into(self):
        def f(x, scale):
            scaled = primitive(lambda x: numpy.exp(x) * scale, x=lambda g, y: g * y)
            return grad(lambda x: np.sum(scaled(x)))(x)

        x = numpy.linspace(0.0, 1.0, 3)
        assert_replays(f, [x, numpy.ones(3)], [x, 2.0 * x])
        assert_replays(
            lambda x, w: grad(lambda w: np.sum(checkpoint(lambda w: x * w * w)(w)))(w), [x, x + 1], [x + 2, x]
        )

    def test_floating_point_errors_are_ignored_where_they_were(self):
        def f(x):
            with numpy.errstate(divide="ignore"):
                return np.log(x)

        assert_replays(f, [numpy.zeros(2)], [numpy.array([0.0, 1.0])])
        jitted = jit(np.log)
        jitted(numpy.ones(2))
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            jitted(numpy.zeros(2))


class TestResultsAreNobodyElses:
    def test_results_share_no_memory_with_anything(self):
        constant = numpy.arange(3.0)

        def f(x):
            y = x * 2.0
            return x, x, x[1:], x.reshape(3, 1), y, y, y[:2], constant, constant, grad(np.sum)(x)

        x = numpy.ones(3)
        jitted = jit(f)
        first, second = jitted(x), jitted(x)
        everything = [x, constant, *first, *second]
        for i, a in enumerate(everything):
            assert a.flags.writeable
            assert not any(numpy.may_share_memory(a, b) for b in everything[i + 1 :])
        assert_same_bits(first, f(x))
        for a in first:
            a[:] = 7.0
        assert_same_bits(jitted(x), second)
        assert [numpy.may_share_memory(x, y) for y in (f(x)[0], f(x)[2])] == [True, True]  # as without jit

    def test_recording_leaves_the_arguments_to_the_call(self):
        add_one = primitive(lambda x: numpy.add(x, 1.0, out=x), x=lambda g: g)
        x, y = numpy.zeros((2, 3))
        assert_same_bits((jit(add_one)(x), x), (add_one(y), y))

    def test_threads_run_one_recording_at_once(self):
        jitted = jit(value_and_grad(lambda w, x: np.sum(np.tanh(x @ w) ** 2)))
        calls = [numpy.random.default_rng(i).random((2, 20, 20)) for i in range(8)]
        expected = [jitted(*call) for call in calls]
        with ThreadPoolExecutor(4) as pool:
            for found, wanted in zip(pool.map(lambda call: jitted(*call), 10 * calls), 10 * expected, strict=True):
                assert_same_bits(found, wanted)

    def test_whoever_looks_on_sees_the_function(self):
        f = jit(lambda x: np.sum(np.log(x - 1.0)))
        x = numpy.full(2, 2.0)
        f(x)
        assert "log" in str(trace(f)(x))
        jitted = jit(grad(f))
        jitted(x)
        with pytest.raises(FloatingPointError, match="log gave nan"), detect_anomaly():
            jitted(numpy.zeros(2))

    def test_an_error_leaves_nothing_behind(self):
        with pytest.raises(TypeError, match="recorded array"):
            jit(float)(numpy.float64(1.0))
        assert backend.default_rng(0).random() == numpy.random.default_rng(0).random()
        assert_same_bits(np.sum(numpy.ones(3)), numpy.float64(3.0))
