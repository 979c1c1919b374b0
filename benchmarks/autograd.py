"""The engine against PyTorch, JAX and HIPS autograd: the cost of a tape entry, and of the steps that models take."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator

import numpy
from harness import Contest, Work, installed, main

import minilvm.numpy as np
from minilvm.autograd import grad, jit, value_and_grad
from minilvm.estimators import elbo_kl_form
from minilvm.inference import Adam
from minilvm.models import VAE, AmortizedGuide
from minilvm.nn import MLP

TORCH, JAX, HIPS = installed("torch"), installed("jax"), installed("autograd")


def chain(*, replayed: bool = False) -> Contest:
    """1,000 small operations one after another: the arithmetic is nothing, the tape is everything."""
    x = numpy.linspace(0.0, 1.0, 10)

    def body(sin, x):
        for _ in range(250):
            x = x * 1.0001 + 0.1
            x = sin(x)
            x = x * x
        return x.sum()

    peers: dict[str, Work | None] = {"torch": None, "autograd": None}
    if TORCH:
        import torch

        def with_torch() -> object:
            leaf = torch.tensor(x, requires_grad=True)
            body(torch.sin, leaf).backward()
            return leaf.grad

        peers["torch"] = with_torch
    if HIPS:
        import autograd
        import autograd.numpy as anp

        hips = autograd.grad(lambda x: body(anp.sin, x))
        peers["autograd"] = lambda: hips(x)
    ours = (jit if replayed else lambda f: f)(grad(lambda x: body(np.sin, x)))
    name = f"chain of 1,000 operations, shape (10,){', replayed' if replayed else ''}"
    return Contest(name, lambda: ours(x), peers, {"torch": 0.40, "autograd": 0.12})


def slices() -> Contest:
    """4,000 reads of one array: each adds into one gradient, none may make an array of zeros of its own."""
    x = numpy.random.default_rng(0).standard_normal((4000, 50))

    def body(x):
        total = x[0]
        for t in range(1, 4000):
            total = total + x[t]
        return total.sum()

    peers: dict[str, Work | None] = {"torch": None}
    if TORCH:
        import torch

        def with_torch() -> object:
            leaf = torch.tensor(x, requires_grad=True)
            body(leaf).backward()
            return leaf.grad

        peers["torch"] = with_torch
    ours = grad(body)
    return Contest("4,000 slices x[t] of one array", lambda: ours(x), peers, {"torch": 0.2})


def mlp() -> Contest:
    """Gradient of a deep, narrow network."""
    rng = numpy.random.default_rng(0)
    weights = [rng.standard_normal((32, 32)) / 6.0 for _ in range(20)]
    x = rng.standard_normal((32, 32))

    def body(tanh, weights, x):
        for w in weights:
            x = tanh(x @ w)
        return (x * x).sum()

    peers: dict[str, Work | None] = {"torch": None}
    if TORCH:
        import torch

        leaves = [torch.tensor(w, requires_grad=True) for w in weights]
        data = torch.tensor(x)
        peers["torch"] = lambda: torch.autograd.grad(body(torch.tanh, leaves, data), leaves)
    ours = grad(lambda weights: body(np.tanh, weights, x))
    return Contest("20-layer tanh MLP, width 32, batch 32", lambda: ours(weights), peers, {"torch": 1.1})


def vae_step(widths: list[int], batch: int, goals: dict[str, float], name: str, *, replayed: bool = False) -> Contest:
    """One training step of a VAE, value and gradient and Adam, in single precision."""
    d, *hidden, n_latents = widths
    x = (numpy.random.default_rng(0).random((batch, d)) < 0.3).astype(numpy.float32)
    peers = {"torch": torch_vae(d, hidden, n_latents, x) if TORCH else None}
    if "autograd" in goals:
        peers["autograd"] = _hips_vae(d, hidden, n_latents, x) if HIPS else None
    peers["jax jit"] = _jax_vae(d, hidden, n_latents, x) if JAX else None
    ours = our_vae(d, hidden, n_latents, x, replayed=replayed)
    return Contest(name + (", replayed" if replayed else ""), ours, peers, goals)


def our_vae(d: int, hidden: list[int], n_latents: int, x: numpy.ndarray, *, replayed: bool = False) -> Work:
    """Return a training step of this library, which keeps its parameters and moves them."""
    rng = numpy.random.default_rng(0)
    model = VAE(MLP.create([n_latents, *hidden, d], rng=rng, dtype="float32"), n_latents)
    guide = AmortizedGuide(MLP.create([d, *hidden, 2 * n_latents], rng=rng, dtype="float32"))
    adam = Adam(1e-3)

    def loss(parameters, x, rng):
        model, guide = parameters
        return -elbo_kl_form(model, guide(x), x, rng=rng).mean()

    loss_and_gradient = (jit if replayed else lambda f: f)(value_and_grad(loss))
    parameters = (model, guide)
    state = adam.init(parameters)

    def step() -> object:
        nonlocal parameters, state
        value, gradient = loss_and_gradient(parameters, x, rng)
        parameters, state = adam.step(parameters, gradient, state)
        return value

    return step


def torch_vae(d: int, hidden: list[int], n_latents: int, x: numpy.ndarray) -> Work:
    """Return the same step, by PyTorch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    def network(widths: list[int]) -> torch.nn.Module:
        layers: list[torch.nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
        return torch.nn.Sequential(*layers[:-1])

    encoder, decoder = network([d, *hidden, 2 * n_latents]), network([n_latents, *hidden, d])
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    data = torch.tensor(x)

    def step() -> object:
        adam.zero_grad()
        loc, log_scale = encoder(data).chunk(2, dim=1)
        scale = log_scale.exp()
        logits = decoder(loc + scale * torch.randn_like(loc))
        reconstruction = -binary_cross_entropy_with_logits(logits, data, reduction="sum")
        kl = (0.5 * (loc * loc + scale * scale - 1.0) - log_scale).sum()
        loss = (kl - reconstruction) / len(data)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def _functional_vae(xp, softplus, parameters, x, noise):
    """The same loss for libraries that are NumPy by another name; `parameters` is a flat list of weights and biases."""
    half = len(parameters) // 2

    def network(layers, h):
        for i in range(0, len(layers), 2):
            h = h @ layers[i] + layers[i + 1]
            h = h if i == len(layers) - 2 else xp.tanh(h)
        return h

    rows = network(parameters[:half], x)
    n = rows.shape[1] // 2
    loc, log_scale = rows[:, :n], rows[:, n:]
    scale = xp.exp(log_scale)
    logits = network(parameters[half:], loc + scale * noise)
    reconstruction = xp.sum(x * logits - softplus(logits))
    kl = xp.sum(0.5 * (loc**2 + scale**2 - 1.0) - log_scale)
    return (kl - reconstruction) / x.shape[0]


def _weights(d: int, hidden: list[int], n_latents: int) -> list[numpy.ndarray]:
    rng = numpy.random.default_rng(0)
    flat = []
    for widths in ([d, *hidden, 2 * n_latents], [n_latents, *hidden, d]):
        for layer in MLP.create(widths, rng=rng, dtype="float32").layers:
            flat += [layer.weight, layer.bias]
    return flat


def _adam(xp, theta, g, m, v, t):
    m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
    v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
    scale, root = 1e-3 / (1.0 - 0.9**t), (1.0 - 0.999**t) ** 0.5
    theta = [p - scale * a / (xp.sqrt(b) / root + 1e-8) for p, a, b in zip(theta, m, v, strict=True)]
    return theta, m, v


def _hips_vae(d: int, hidden: list[int], n_latents: int, x: numpy.ndarray) -> Work:
    import autograd
    import autograd.numpy as anp

    def softplus(a):
        return anp.maximum(a, 0.0) + anp.log1p(anp.exp(-anp.abs(a)))

    loss_and_gradient = autograd.value_and_grad(lambda p, noise: _functional_vae(anp, softplus, p, x, noise))
    rng = numpy.random.default_rng(0)
    theta = _weights(d, hidden, n_latents)
    m, v, t = [numpy.zeros_like(p) for p in theta], [numpy.zeros_like(p) for p in theta], 0

    def step() -> object:
        nonlocal theta, m, v, t
        t += 1
        value, g = loss_and_gradient(theta, rng.standard_normal((len(x), n_latents), dtype=numpy.float32))
        theta, m, v = _adam(numpy, theta, g, m, v, t)
        return value

    return step


def _jax_vae(d: int, hidden: list[int], n_latents: int, x: numpy.ndarray) -> Work:
    import jax
    import jax.numpy as jnp

    data = jnp.asarray(x)

    @jax.jit
    def update(theta, m, v, t, key):
        key, use = jax.random.split(key)
        noise = jax.random.normal(use, (data.shape[0], n_latents))
        value, g = jax.value_and_grad(lambda p: _functional_vae(jnp, jax.nn.softplus, p, data, noise))(theta)
        return value, *_adam(jnp, theta, g, m, v, t), t + 1.0, key

    theta = [jnp.asarray(p) for p in _weights(d, hidden, n_latents)]
    zeros = [jnp.zeros_like(p) for p in theta]
    state = (theta, zeros, zeros, 1.0, jax.random.key(0))

    def step() -> object:
        nonlocal state
        value, *state = update(*state)
        return float(value)

    return step


def importing() -> Contest:
    """`import` in a new process, less what an empty Python takes."""

    def process(code: str) -> Work:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    peers: dict[str, Work | None] = {"numpy": process("import numpy")}
    peers["torch"] = process("import torch") if TORCH else None
    ours = process("import minilvm, minilvm.autograd, minilvm.numpy")
    return Contest("import, in a new process", ours, peers, {"numpy": 1.6})


def contests(*, quick: bool) -> Iterator[Contest]:
    """Yield every comparison; the large step only where there is time."""
    yield chain()
    yield chain(replayed=True)
    yield slices()
    yield mlp()
    net = [784, 200, 200, 50]
    for replayed in (False, True):
        goals = {"torch": 1.05, "autograd": 0.45}
        yield vae_step(net, 100, goals, "VAE step 784-200-200-50, batch 100", replayed=replayed)
    if not quick:
        yield vae_step(net, 1000, {"torch": 1.25}, "VAE step 784-200-200-50, batch 1000")
    for replayed in (False, True):
        yield vae_step([20, 16, 16, 2], 16, {"torch": 0.4}, "VAE step 20-16-16-2, batch 16", replayed=replayed)
    yield importing()


if __name__ == "__main__":
    main(contests, __doc__)
