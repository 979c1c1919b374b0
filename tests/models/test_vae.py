import numpy
import scipy.stats

import minilvm.numpy as np
from minilvm import backend
from minilvm.models import VAE
from minilvm.nn import MLP
from tests.testing.helpers import assert_allclose, host


def test_log_joint_is_standard_normal_and_bernoulli(xp):
    rng = backend.default_rng(0)
    model = VAE(MLP.create([2, 5, 3], rng=rng), 2)
    x, z = (rng.random((4, 3)) < 0.5).astype(float), rng.standard_normal((6, 4, 2))
    p = host(1.0 / (1.0 + np.exp(-model.decoder(z))))
    expected = scipy.stats.norm.logpdf(host(z)).sum(axis=2) + scipy.stats.bernoulli.logpmf(host(x), p).sum(axis=2)
    assert_allclose(model.log_joint(x, z), expected, rtol=1e-10)


def test_single_precision_stays_single(xp):
    rng = backend.default_rng(0)
    model = VAE(MLP.create([2, 5, 3], rng=rng, dtype="float32"), 2)
    x, z = xp.ones((4, 3), "float32"), xp.zeros((6, 4, 2), "float32")
    assert model.log_joint(x, z).dtype == numpy.float32


def test_the_prior_lives_where_the_decoder_does(xp):
    decoder = MLP.create([2, 3], rng=0)
    with backend.using("numpy"):  # compute follows the data, whichever backend new arrays go to
        model = VAE(decoder, 2)
        assert model.log_joint(xp.ones((4, 3)), xp.zeros((6, 4, 2))).shape == (6, 4)
        assert all(isinstance(drawn, xp.ndarray) for drawn in model.sample(4, rng=0))
