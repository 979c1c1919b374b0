"""The pictures, by what they put on the axes."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal

from minilvm import plot


class TestEllipse:
    @given(
        variances=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)),
        correlation=st.floats(-0.99, 0.99),
        n_std=st.lists(st.floats(0.1, 5.0), min_size=1, max_size=3),
    )
    def test_is_where_the_mahalanobis_distance_is_n_std(self, variances, correlation, n_std):
        covariance = np.diag(variances)
        covariance[0, 1] = covariance[1, 0] = correlation * math.sqrt(variances[0] * variances[1])
        mean = np.array([3.0, -2.0])
        lines = plot.ellipse(Figure().add_subplot(), mean, covariance, n_std)
        assert len(lines) == len(n_std)
        for line, s in zip(lines, n_std, strict=True):
            gaps = np.transpose(line.get_data()) - mean
            assert_allclose(np.einsum("ni,ij,nj->n", gaps, np.linalg.inv(covariance), gaps), s**2, rtol=1e-6)

    def test_closes_and_passes_its_style_on(self):
        (line,) = plot.ellipse(Figure().add_subplot(), np.zeros(2), np.eye(2), [1.0], color="red", lw=3)
        x, y = line.get_data()
        assert_allclose([x[0], y[0]], [x[-1], y[-1]], atol=1e-12)
        assert (line.get_color(), line.get_linewidth()) == ("red", 3)

    def test_refuses_other_dimensions(self):
        with pytest.raises(
            ValueError, match=r"mean has shape \(3,\), covariance \(3, 3\); expected \(2,\) and \(2, 2\)"
        ):
            plot.ellipse(Figure().add_subplot(), np.zeros(3), np.eye(3))

    def test_refuses_a_matrix_that_is_no_covariance(self):
        with pytest.raises(np.linalg.LinAlgError):
            plot.ellipse(Figure().add_subplot(), np.zeros(2), -np.eye(2))


class TestImageGrid:
    @given(n=st.integers(1, 12), columns=st.none() | st.integers(1, 12), gap=st.integers(0, 3))
    def test_shows_every_image_once_in_reading_order(self, n, columns, gap):
        images = np.arange(n * 6, dtype=float).reshape(n, 2, 3)
        shown = plot.image_grid(Figure().add_subplot(), images, columns, gap=gap).get_array()
        per_row = math.ceil(math.sqrt(n)) if columns is None else columns
        for i, image in enumerate(images):
            top, left = i // per_row * (2 + gap), i % per_row * (3 + gap)
            assert_array_equal(shown[top : top + 2, left : left + 3], image)
        assert np.ma.count(np.ma.masked_invalid(shown)) == images.size

    def test_hides_the_axes_and_passes_its_style_on(self):
        ax = Figure().add_subplot()
        picture = plot.image_grid(ax, np.ones((4, 2, 2)), cmap="viridis", vmin=0, vmax=1)
        assert not ax.axison
        assert picture.get_cmap().name == "viridis"
        assert picture.get_clim() == (0, 1)

    @pytest.mark.parametrize("shape", [(8, 8), (0, 8, 8), (2, 8, 8, 3)])
    def test_refuses_what_is_no_stack_of_grey_images(self, shape):
        with pytest.raises(ValueError, match=r"expected \(N, height, width\), at least one image"):
            plot.image_grid(Figure().add_subplot(), np.zeros(shape))

    def test_refuses_no_columns(self):
        with pytest.raises(ValueError, match="n_columns is 0; expected at least 1"):
            plot.image_grid(Figure().add_subplot(), np.zeros((1, 2, 2)), 0)


def test_importing_it_needs_no_matplotlib():
    code = "import sys; sys.modules['matplotlib'] = None; import minilvm.plot"
    subprocess.run([sys.executable, "-c", code], check=True)
