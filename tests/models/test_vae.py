import numpy
import scipy.stats

from minilvm import backend
from minilvm.models import VAE
from minilvm.nn import MLP


def test_log_joint_is_standard_normal_and_bernoulli():
    rng = numpy.random.default_rng(0)
    model = VAE(MLP.create([2, 5, 3], rng=rng), 2)
    x, z = (rng.random((4, 3)) < 0.5).astype(float), rng.standard_normal((6, 4, 2))
    p = 1.0 / (1.0 + numpy.exp(-model.decoder(z)))
    expected = scipy.stats.norm.logpdf(z).sum(axis=2) + scipy.stats.bernoulli.logpmf(x, p).sum(axis=2)
    numpy.testing.assert_allclose(model.log_joint(x, z), expected, rtol=1e-10)


def test_single_precision_stays_single():
    rng = numpy.random.default_rng(0)
    model = VAE(MLP.create([2, 5, 3], rng=rng, dtype="float32"), 2)
    x, z = numpy.ones((4, 3), "float32"), numpy.zeros((6, 4, 2), "float32")
    assert model.log_joint(x, z).dtype == numpy.float32


def test_the_prior_lives_where_the_decoder_does(xp):
    decoder = MLP.create([2, 3], rng=0)
    with backend.using("numpy"):  # compute follows the data, whichever backend new arrays go to
        model = VAE(decoder, 2)
        assert model.log_joint(xp.ones((4, 3)), xp.zeros((6, 4, 2))).shape == (6, 4)
        assert all(isinstance(drawn, xp.ndarray) for drawn in model.sample(4, rng=0))
