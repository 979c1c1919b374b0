"""Tools to check the bounds of your own estimators: exact oracles, laws as assertions, and Hypothesis strategies.

Needs Hypothesis: `python -m pip install "minilvm[test]"`.
"""

from minilvm.testing.laws import assert_lower_bound, assert_per_draw_order, assert_unbiased
from minilvm.testing.oracles import AllTuples, all_tuples, expected_bound, expected_estimate
from minilvm.testing.strategies import gaussian_mixtures, log_tables, log_weight_arrays, sigmoid_belief_networks

__all__ = [
    "AllTuples",
    "all_tuples",
    "assert_lower_bound",
    "assert_per_draw_order",
    "assert_unbiased",
    "expected_bound",
    "expected_estimate",
    "gaussian_mixtures",
    "log_tables",
    "log_weight_arrays",
    "sigmoid_belief_networks",
]
