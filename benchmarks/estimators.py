"""Bounds and their gradients against PyTorch and JAX: IWAE steps, log p(x) by IWAE, and REINFORCE with bits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy
from harness import Contest, Work, installed, main

from minilvm.autograd import value_and_grad
from minilvm.data import load_digits
from minilvm.estimators import elbo, iwae, log_weights, vimco
from minilvm.inference import Adam
from minilvm.models import VAE, AmortizedGuide, SigmoidBeliefNetwork, factorised_bernoulli
from minilvm.nn import MLP

TORCH, JAX = installed("torch"), installed("jax")
NET = [784, 200, 200, 50]


def pixels(n: int) -> numpy.ndarray:
    """Binary images of 28 × 28: the bundled digits, enlarged, each grey level the probability of a 1."""
    images = load_digits().images[:n].reshape(n, 8, 8) / 16.0
    large = numpy.kron(images, numpy.ones((1, 4, 4)))[:, 2:30, 2:30].reshape(n, NET[0])
    return (numpy.random.default_rng(0).random(large.shape) < large).astype(numpy.float32)


def after(steps: int, step: Work) -> Work:
    """Return the step once it has been taken some times: weights differ as they do in training, not as at its start."""
    for _ in range(steps):
        step()
    return step


def vae() -> tuple[VAE, AmortizedGuide]:
    """The decoder and the encoder, in single precision."""
    rng = numpy.random.default_rng(0)
    d, *hidden, n_latents = NET
    model = VAE(MLP.create([n_latents, *hidden, d], rng=rng, dtype="float32"), n_latents)
    return model, AmortizedGuide(MLP.create([d, *hidden, 2 * n_latents], rng=rng, dtype="float32"))


def training(loss, parameters) -> Work:
    """Return a step of Adam on `loss(parameters)`, which keeps the parameters and moves them."""
    adam, loss_and_gradient = Adam(1e-3), value_and_grad(loss)
    state = adam.init(parameters)

    def step() -> object:
        nonlocal parameters, state
        value, gradient = loss_and_gradient(parameters)
        parameters, state = adam.step(parameters, gradient, state)
        return value

    return step


def iwae_step(batch: int, goals: dict[str, float], warm_up: int, K: int = 50) -> Contest:
    """One training step on the bound of K samples (N17), value and gradient and Adam."""
    x, rng = pixels(batch), numpy.random.default_rng(0)
    ours = after(warm_up, training(lambda p: -iwae(log_weights(p[0], p[1](x), x, K, rng=rng)).mean(), vae()))
    peers: dict[str, Work | None] = {"torch": None, "torch, denormals flushed": None, "jax jit": None}
    if TORCH:
        peers["torch"] = after(warm_up, torch_iwae(x, K, flush=False))
        peers["torch, denormals flushed"] = after(warm_up, torch_iwae(x, K, flush=True))
    if JAX:
        peers["jax jit"] = after(warm_up, jax_iwae(x, K))
    return Contest(f"IWAE step, K = {K}, 784-200-200-50, batch {batch}", ours, peers, goals)


def torch_network(widths: list[int]):
    """Return an MLP with tanh between its layers, by PyTorch."""
    import torch

    layers: list[torch.nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def torch_log_weights(encoder, decoder, data, K: int):
    """Return log w (K, N), by PyTorch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    loc, log_scale = encoder(data).chunk(2, dim=1)
    noise = torch.randn(K, *loc.shape)
    z = loc + log_scale.exp() * noise
    logits = decoder(z)
    log_likelihood = -binary_cross_entropy_with_logits(logits, data.expand_as(logits), reduction="none").sum(-1)
    return log_likelihood + (0.5 * (noise * noise - z * z) + log_scale).sum(-1)


def torch_iwae(x: numpy.ndarray, K: int, *, flush: bool) -> Work:
    """Return the same step, by PyTorch."""
    import torch

    d, *hidden, n_latents = NET
    encoder, decoder = torch_network([d, *hidden, 2 * n_latents]), torch_network([n_latents, *hidden, d])
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    data = torch.tensor(x)

    def step() -> object:
        torch.set_flush_denormal(flush)
        adam.zero_grad()
        log_w = torch_log_weights(encoder, decoder, data, K)
        loss = -(torch.logsumexp(log_w, dim=0) - math.log(K)).mean()
        loss.backward()
        adam.step()
        torch.set_flush_denormal(False)
        return loss.item()

    return step


def jax_network(parameters, h):
    """Apply a flat list of weights and biases as an MLP with tanh between its layers, by JAX."""
    import jax.numpy as jnp

    for i in range(0, len(parameters), 2):
        h = h @ parameters[i] + parameters[i + 1]
        h = h if i == len(parameters) - 2 else jnp.tanh(h)
    return h


def jax_log_weights(theta, x, noise):
    """Return log w (K, N), by JAX."""
    import jax
    import jax.numpy as jnp

    half = len(theta) // 2
    loc, log_scale = jnp.split(jax_network(theta[:half], x), 2, axis=1)
    z = loc + jnp.exp(log_scale) * noise
    logits = jax_network(theta[half:], z)
    log_likelihood = (x * logits - jax.nn.softplus(logits)).sum(-1)
    return log_likelihood + (0.5 * (noise**2 - z**2) + log_scale).sum(-1)


def jax_adam(theta, g, m, v, t):
    """Return parameters and moments after a step of Adam, by JAX."""
    import jax.numpy as jnp

    m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
    v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
    scale, root = 1e-3 / (1.0 - 0.9**t), (1.0 - 0.999**t) ** 0.5
    theta = [p - scale * a / (jnp.sqrt(b) / root + 1e-8) for p, a, b in zip(theta, m, v, strict=True)]
    return theta, m, v


def jax_training(loss, theta) -> Work:
    """Return a compiled step of Adam on `loss(theta, key)`, by JAX."""
    import jax
    import jax.numpy as jnp

    @jax.jit
    def update(theta, m, v, t, key):
        key, use = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(theta, use)
        return value, *jax_adam(theta, g, m, v, t), t + 1.0, key

    theta = [jnp.asarray(p) for p in theta]
    zeros = [jnp.zeros_like(p) for p in theta]
    state = (theta, zeros, zeros, 1.0, jax.random.key(0))

    def step() -> object:
        nonlocal state
        value, *state = update(*state)
        return float(value)

    return step


def flat_weights() -> list[numpy.ndarray]:
    """The weights and biases of encoder and decoder, as one list."""
    model, guide = vae()
    return [
        array
        for network in (guide.network, model.decoder)
        for layer in network.layers
        for array in (layer.weight, layer.bias)
    ]


def jax_iwae(x: numpy.ndarray, K: int) -> Work:
    """Return the same step, by JAX."""
    import jax
    import jax.numpy as jnp

    data = jnp.asarray(x)

    def loss(theta, key):
        log_w = jax_log_weights(theta, data, jax.random.normal(key, (K, len(x), NET[-1])))
        return -(jax.scipy.special.logsumexp(log_w, axis=0) - math.log(K)).mean()

    return jax_training(loss, flat_weights())


def evaluation(goals: dict[str, float], K: int, n: int = 100) -> Contest:
    """log p(x) of n images by IWAE, in tiles of samples; the peers' tiles are of 500, as ours were found best."""
    x, tile = pixels(n), 500
    model, guide = vae()

    def ours() -> object:
        return iwae(log_weights(model, guide(x), x, K, rng=0))

    peers: dict[str, Work | None] = {"torch": None, "jax jit": None}
    if TORCH:
        import torch

        d, *hidden, n_latents = NET
        encoder, decoder = torch_network([d, *hidden, 2 * n_latents]), torch_network([n_latents, *hidden, d])
        data = torch.tensor(x)

        def with_torch() -> object:
            with torch.no_grad():
                tiles = [torch_log_weights(encoder, decoder, data, min(tile, K)) for _ in range(max(1, K // tile))]
                return torch.logsumexp(torch.cat(tiles), dim=0) - math.log(K)

        peers["torch"] = with_torch
    if JAX:
        import jax
        import jax.numpy as jnp

        images, theta = jnp.asarray(x), [jnp.asarray(p) for p in flat_weights()]

        @jax.jit
        def of_tile(theta, x, key):
            return jax_log_weights(theta, x, jax.random.normal(key, (min(tile, K), len(x), NET[-1])))

        def with_jax() -> object:
            keys = jax.random.split(jax.random.key(0), max(1, K // tile))
            log_w = jnp.concatenate([of_tile(theta, images, key) for key in keys])
            return (jax.scipy.special.logsumexp(log_w, axis=0) - math.log(K)).block_until_ready()

        peers["jax jit"] = with_jax
    return Contest(f"log p(x) of {n} images, IWAE-{K}", ours, peers, goals)


def reinforce(K: int, goals: dict[str, float], batch: int = 100, n_latents: int = 200) -> Contest:
    """One step of a sigmoid belief network, 200 bits to 784 pixels: the ELBO by leave-one-out REINFORCE (N12)."""
    x, rng = pixels(batch), numpy.random.default_rng(0)
    d = NET[0]
    linear = MLP.create([n_latents, d], rng=rng, dtype="float32").layers[0]
    model = SigmoidBeliefNetwork(numpy.zeros(n_latents, dtype=numpy.float32), linear.weight, linear.bias)
    guide = AmortizedGuide(MLP.create([d, n_latents], rng=rng, dtype="float32"), factorised_bernoulli)

    def loss(parameters):
        model, guide = parameters
        return -vimco(model, guide(x), x, K, bound=elbo, rng=rng).mean()  # which is the leave-one-out baseline

    peers = {"torch": torch_reinforce(x, K, n_latents) if TORCH else None}
    peers["jax jit"] = jax_reinforce(x, K, model, guide) if JAX else None
    return Contest(
        f"REINFORCE step, {n_latents} bits, K = {K}, batch {batch}", training(loss, (model, guide)), peers, goals
    )


def torch_reinforce(x: numpy.ndarray, K: int, n_latents: int) -> Work:
    """Return the same step, by PyTorch."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    def log_prob(logits, bits):
        return -binary_cross_entropy_with_logits(logits, bits, reduction="none").sum(-1)

    encoder, decoder = torch.nn.Linear(x.shape[1], n_latents), torch.nn.Linear(n_latents, x.shape[1])
    prior = torch.zeros(n_latents, requires_grad=True)
    adam = torch.optim.Adam([prior, *encoder.parameters(), *decoder.parameters()], lr=1e-3)
    data = torch.tensor(x)

    def step() -> object:
        adam.zero_grad()
        a = encoder(data)
        z = (torch.rand(K, *a.shape) < torch.sigmoid(a)).to(a.dtype).detach()
        logits = decoder(z)
        log_q = log_prob(a.expand_as(z), z)
        value = log_prob(prior.expand_as(z), z) + log_prob(logits, data.expand_as(logits)) - log_q
        cost = value.detach()
        cost = cost - (cost.sum(0) - cost) / (K - 1)
        loss = -(value + cost * (log_q - log_q.detach())).mean()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def jax_reinforce(x: numpy.ndarray, K: int, model: SigmoidBeliefNetwork, guide: AmortizedGuide) -> Work:
    """Return the same step, by JAX."""
    import jax
    import jax.numpy as jnp

    data = jnp.asarray(x)
    layer = guide.network.layers[0]

    def log_prob(logits, bits):
        return (bits * logits - jax.nn.softplus(logits)).sum(-1)

    def loss(theta, key):
        prior, W, b, V, c = theta
        a = data @ V + c
        z = jax.lax.stop_gradient((jax.random.uniform(key, (K, *a.shape)) < jax.nn.sigmoid(a)).astype(a.dtype))
        log_q = log_prob(a, z)
        value = log_prob(prior, z) + log_prob(z @ W + b, data) - log_q
        cost = jax.lax.stop_gradient(value)
        cost = cost - (cost.sum(0) - cost) / (K - 1)
        return -(value + cost * (log_q - jax.lax.stop_gradient(log_q))).mean()

    return jax_training(loss, [model.prior_logits, model.weights, model.bias, layer.weight, layer.bias])


def contests(*, quick: bool) -> Iterator[Contest]:
    """Yield every comparison; the long evaluation only where there is time."""
    goals = {"torch": 0.6, "torch, denormals flushed": 1.0, "jax jit": 1.0}
    yield iwae_step(20, goals, warm_up=10 if quick else 200)
    if not quick:
        yield iwae_step(100, goals, warm_up=100)
    yield evaluation({"torch": 0.65, "jax jit": 0.75}, K=500 if quick else 5000)
    for K in (2, 10):
        yield reinforce(K, {"torch": 0.85, "jax jit": 0.85})


if __name__ == "__main__":
    main(contests, __doc__)
