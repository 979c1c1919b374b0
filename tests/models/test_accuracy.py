"""One step of EM against the textbook in extended precision: clusters from wide to a ten-millionth of the data's range.

`numpy.longdouble` has 64 bits of mantissa on x86, 11 more than a double: its own error is below what is asked for here.
"""

import warnings

import numpy
import pytest

from minilvm.inference import em_pass
from minilvm.models import MixtureOfGaussians
from tests.models.gaussians import TYPES, of_type

Real = numpy.longdouble
HALF_LOG_TWO_PI = numpy.log(8 * numpy.arctan(Real(1))) / 2

pytestmark = pytest.mark.skipif(
    numpy.finfo(Real).eps > 1e-18, reason="needs a long double that is longer than a double"
)


def cholesky(matrix):
    """LAPACK has no long doubles."""
    L = numpy.zeros_like(matrix)
    for i in range(len(matrix)):
        for j in range(i + 1):
            rest = matrix[i, j] - (L[i, :j] * L[j, :j]).sum()
            L[i, j] = numpy.sqrt(rest) if i == j else rest / L[j, j]
    return L


def step(x, weights, means, matrices, covariance_type):
    """Return log p(x | θ), and what an M-step makes of θ: the textbook, with covariances about the new means."""
    x, weights, means, matrices = (numpy.asarray(a, Real) for a in (x, weights, means, matrices))
    D = x.shape[1]
    log_joint = []
    for weight, mean, matrix in zip(weights, means, matrices, strict=True):
        L, y = cholesky(matrix), (x - mean).T.copy()
        for i in range(D):
            y[i] = (y[i] - (L[i, :i, None] * y[:i]).sum(axis=0)) / L[i, i]
        log_joint.append(
            numpy.log(weight) - numpy.log(L.diagonal()).sum() - D * HALF_LOG_TWO_PI - (y * y).sum(axis=0) / 2
        )
    log_joint = numpy.array(log_joint)
    log_p = numpy.logaddexp.reduce(log_joint)
    r = numpy.exp(log_joint - log_p)
    counts = r.sum(axis=1)
    means = r @ x / counts[:, None]
    scatters = numpy.array([((x - mean).T * row) @ (x - mean) for mean, row in zip(means, r, strict=True)])
    mass = {"full": counts[:, None, None], "tied": len(x), "diag": counts[:, None], "spherical": D * counts}
    return log_p.sum(), counts / len(x), means, of_type(scatters, covariance_type) / mass[covariance_type]


def problem(sd, condition, covariance_type, D=3, C=4, n=2000):
    """Four clusters in a cube of side 1, of deviation `sd` at the widest; parameters that are a little off."""
    rng = numpy.random.default_rng(0)
    means, widths = rng.uniform(-0.5, 0.5, (C, D)), sd * numpy.geomspace(1.0, condition**-0.5, D)
    turns = [numpy.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(C)]
    if covariance_type != "full":
        turns = [turns[0] if covariance_type == "tied" else numpy.eye(D)] * C
    x = numpy.concatenate(
        [m + rng.standard_normal((n // C, D)) * widths @ Q.T for m, Q in zip(means, turns, strict=True)]
    )
    matrices = 1.2 * numpy.array([Q * widths**2 @ Q.T for Q in turns])
    if covariance_type == "spherical":
        matrices = numpy.array([numpy.eye(D) * matrix.trace() / D for matrix in matrices])
    covariances = {"full": matrices, "tied": matrices[0], "spherical": matrices[:, 0, 0]}
    covariances["diag"] = numpy.diagonal(matrices, axis1=1, axis2=2)
    shifted = means + 0.3 * widths.min() * rng.standard_normal((C, D))
    return x, matrices, MixtureOfGaussians(numpy.full(C, 1 / C), shifted, covariances[covariance_type], covariance_type)


def errors(found, expected, sd):
    """Of the log-likelihood, relative; of the means, in deviations; of the covariances, relative to their largest."""
    of_likelihood = abs((found[0] - expected[0]) / expected[0])
    of_means = abs(found[2] - expected[2]).max() / sd
    of_covariances = abs(found[3] - expected[3]).max() / abs(expected[3]).max()
    return numpy.array([of_likelihood, of_means, of_covariances], float)


def ours(x, model):
    log_likelihood, statistics = em_pass(model, x)
    fitted = model.m_step(statistics)
    return log_likelihood, fitted.weights, fitted.means, fitted.covariances


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("condition", [1.0, 1e2])
@pytest.mark.parametrize("sd", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
def test_ten_digits_at_every_width(sd, condition, covariance_type):
    x, matrices, model = problem(sd, condition, covariance_type)
    expected = step(x, model.weights, model.means, matrices, covariance_type)
    of_likelihood, of_means, of_covariances = errors(ours(x, model), expected, sd)
    assert of_likelihood < 1e-11
    assert of_means < max(1e-11, 4e-16 / sd)  # a mean is a double: what it can hold of a deviation
    assert of_covariances < 1e-10


@pytest.mark.parametrize("condition", [1.0, 1e2])
@pytest.mark.parametrize("sd", [1e-3, 1e-5, 1e-7])
def test_no_worse_than_scikit_learn_where_it_is_hard(sd, condition):
    mixture = pytest.importorskip("sklearn.mixture")
    x, matrices, model = problem(sd, condition, "full")
    expected = step(x, model.weights, model.means, matrices, "full")
    precisions = numpy.linalg.inv(model.covariances)
    precisions = 0.5 * (precisions + precisions.swapaxes(1, 2))
    start = {"weights_init": model.weights, "means_init": model.means, "precisions_init": precisions}
    theirs = mixture.GaussianMixture(len(model.weights), reg_covar=0.0, max_iter=1, **start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one step is not enough
        theirs.fit(x)
    found = theirs.lower_bound_ * len(x), theirs.weights_, theirs.means_, theirs.covariances_
    assert (errors(ours(x, model), expected, sd) <= 2.0 * errors(found, expected, sd) + 1e-15).all()


def test_a_kernel_by_features_alone_would_be_caught(monkeypatch):
    from minilvm.models import gaussian_kernels, kernels

    monkeypatch.setattr(gaussian_kernels, "MOST_AMPLIFICATION", numpy.inf)
    monkeypatch.setattr(kernels.GaussianKernel, "again", lambda *_: None)
    x, matrices, model = problem(1e-5, 1.0, "full")
    expected = step(x, model.weights, model.means, matrices, "full")
    assert errors(ours(x, model), expected, 1e-5)[2] > 1e-8
