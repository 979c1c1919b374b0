"""Looking inside: the graph as it was recorded, and the place where a NaN was born."""

import shutil
import subprocess

import numpy
import pytest

import minilvm.numpy as np
from minilvm.autograd import checkpoint, detect_anomaly, grad, trace, value_and_grad
from minilvm.nn import MLP


def body(x, w):
    return np.mean(np.sin(x)[1:] * x[0] @ w)


def test_the_graph_as_text():
    text = str(trace(body)(numpy.ones(3), numpy.ones((2, 2), "float32")))
    assert text.split("\n") == [
        "%0: float64[3] = input",
        "%1: float32[2, 2] = input",
        "%2: float64[3] = sin(%0)",
        "%3: float64[2] = getitem(%2)",
        "%4: float64[] = getitem(%0)",
        "%5: float64[2] = multiply(%3, %4)",
        "%6: float64[2] = matmul(%5, %1)",
        "%7: float64[] = mean(%6)",
        "return %7",
    ]


def test_the_graph_in_dot():
    graph = trace(body)(numpy.ones(3), numpy.ones((2, 2)))
    dot = graph.to_dot()
    assert dot.startswith("digraph tape {")
    assert dot.count("->") == sum(len(node.operands) for node in graph.nodes) == 8
    assert '[label="%2 sin\\nfloat64[3]"]' in dot
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=dot.encode(), check=True, capture_output=True)  # noqa: S607 (whichever dot is on the path)


def test_inputs_are_the_leaves_of_the_arguments_and_composites_are_named():
    graph = trace(lambda f, x: np.sum(f(x)))(MLP.create([2, 3, 1], rng=0), numpy.ones((5, 2)))
    assert [node.operation for node in graph.nodes] == ["input"] * 5 + ["linear", "tanh", "linear", "sum"]
    assert str(trace(checkpoint(np.sin))(2.0)).count("sin") == 0


def test_a_result_that_does_not_depend_on_the_arguments_is_no_output():
    assert trace(lambda x: 3.0)(numpy.ones(2)).outputs == ()


def test_the_operation_and_the_line_that_made_a_nan_are_named():
    message = r"^log gave nan at .*test_inspection.py:\d+: return np.log\(x - 2"
    with pytest.raises(FloatingPointError, match=message), detect_anomaly():
        grad(lambda x: np.sum(blows_up(x) * 2.0))(numpy.ones(3))


def blows_up(x):
    return np.log(x - 2.0)


def test_a_derivative_is_blamed_where_the_value_was_fine():
    message = r"^the derivative of sqrt gave inf at .*: return np.sqrt\(x \* x\)"
    with pytest.raises(FloatingPointError, match=message), detect_anomaly():
        grad(root)(0.0)


def root(x):
    return np.sqrt(x * x)


def test_reads_of_parts_are_inspected_too():
    with pytest.raises(FloatingPointError, match="derivative of sqrt"), detect_anomaly():
        grad(lambda x: np.sqrt(x[0]) + x[1])(numpy.array([0.0, 1.0]))


def test_an_infinity_among_the_inputs_may_be_passed_on():
    with detect_anomaly():
        value, slope = value_and_grad(np.logsumexp)(numpy.array([-numpy.inf, 0.0]))
    assert (value, slope.tolist()) == (0.0, [0.0, 1.0])


def test_sound_functions_give_what_they_gave_and_the_watch_ends_with_the_block():
    x = numpy.array([0.5, 2.0])
    with detect_anomaly():
        watched = grad(lambda x: np.sum(np.log(x)))(x)
    numpy.testing.assert_array_equal(watched, 1.0 / x)
    with numpy.errstate(all="ignore"):
        assert numpy.isnan(grad(lambda x: np.sum(np.sqrt(x - 1.0)))(x)[0])
