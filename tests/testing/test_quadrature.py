import numpy
import pytest

from minilvm.distributions import Bernoulli, Independent, Normal
from minilvm.estimators import expectation
from minilvm.testing import Quadrature, expected_estimate, exponential_rule, normal_rule, uniform_rule


@pytest.mark.parametrize(
    ("rule", "moments"),
    [
        (uniform_rule(3), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        (uniform_rule(3, cuts=[0.1, 0.7]), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]),
        (normal_rule(3), [1, 0, 1, 0, 3, 0]),
        (exponential_rule(3), [1, 1, 2, 6, 24, 120]),
    ],
)
def test_a_rule_of_three_nodes_is_exact_to_degree_five(rule, moments):
    nodes, weights = rule
    found = [(weights * nodes**degree).sum() for degree in range(6)]
    numpy.testing.assert_allclose(found, moments, rtol=1e-13, atol=1e-13)


def test_a_cut_makes_a_step_exact():
    nodes, weights = uniform_rule(1, cuts=[0.3])
    assert (weights * (nodes < 0.3)).sum() == pytest.approx(0.3, rel=1e-15)


def test_draws_come_in_the_order_of_the_calls_with_the_batch_on_the_second_axis():
    """Two calls: K = 2 draws of one number, then one of a pair. The product runs over all four."""
    first, second = (numpy.array([0.1, 0.9]), numpy.array([0.4, 0.6])), (numpy.array([0.5]), numpy.array([1.0]))
    grid = Quadrature([first, second, second, first])
    assert grid.probability.tolist() == pytest.approx([0.16, 0.24, 0.24, 0.36])
    assert grid.random((2, 4), dtype=float).tolist() == [[0.1, 0.1, 0.9, 0.9], [0.5, 0.5, 0.5, 0.5]]
    pair = grid.standard_normal((1, 4, 2), dtype=numpy.float32)
    assert pair.dtype == numpy.float32
    assert pair[0, :, 0].tolist() == [0.5] * 4
    assert pair[0, :, 1].tolist() == pytest.approx([0.1, 0.9, 0.1, 0.9])


def test_all_nodes_are_all_tuples():
    q = Independent(Bernoulli(probs=numpy.array([0.3, 0.9])), 1)
    grid = Quadrature([uniform_rule(1, cuts=[0.3]), uniform_rule(1, cuts=[0.9])] * 2)

    def estimator(rng):
        return lambda law: numpy.prod(law.sample((2,), rng=rng), axis=(0, 2))

    assert expected_estimate(estimator(grid), q, grid) == pytest.approx(0.3**2 * 0.9**2, rel=1e-14)
    assert expected_estimate(estimator(0), q, 2) == pytest.approx(0.3**2 * 0.9**2, rel=1e-14)


def test_a_continuous_law_is_averaged_over_its_noise():
    grid = Quadrature([normal_rule(5)])
    mean = expected_estimate(lambda q: expectation(lambda z: z**4, q, rng=grid), Normal(1.0, 2.0), grid)
    assert mean == pytest.approx(1.0 + 6.0 * 4.0 + 3.0 * 16.0, rel=1e-13)


def test_refusals():
    grid = Quadrature([uniform_rule(2)])
    with pytest.raises(ValueError, match="2 numbers were drawn, and there are rules for 1"):
        grid.random((1, 2, 2))
    for size in (None, (2,), (1, 3)):
        with pytest.raises(ValueError, match=r"expected \(K, 2, \.\.\.\)"):
            grid.random(size)
    with pytest.raises(ValueError, match="the product of 21 rules has 2097152 nodes"):
        Quadrature([uniform_rule(2)] * 21)
