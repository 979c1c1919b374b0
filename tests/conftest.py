"""What every test shares: the Hypothesis profiles, the array libraries, and the `gpu` marker.

``HYPOTHESIS_PROFILE=dev`` is for the inner loop, ``ci`` the default and reproducible, ``thorough`` for a night.

A property that should hold whatever computes takes the fixture `xp`: it then runs on NumPy, on the stand-in for CuPy in
``strict_cupy.py``, and, where there is one, on a GPU (``-m gpu`` for these alone).
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Matrices are small here: threads of their library only get into the way of each other, and of the other workers'.
# Said before it is loaded, and to be inherited by processes.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from hypothesis import HealthCheck, settings  # noqa: E402

from minilvm import backend  # noqa: E402

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE / "numpy")]  # for strict_cupy.py and cases.py

EVERYWHERE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # `xp` has no state
settings.register_profile("dev", EVERYWHERE, max_examples=20)
settings.register_profile("ci", EVERYWHERE, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile("thorough", EVERYWHERE, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@functools.cache
def why_no_gpu() -> str | None:
    """Say why CuPy cannot compute here, or None where it can."""
    try:
        with warnings.catch_warnings():  # CuPy warns when it finds no CUDA: here that is an answer, not an error
            warnings.simplefilter("ignore")
            import cupy
    except ImportError as error:
        return f"needs CuPy ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"needs a CUDA device ({error})"
    return None if count else "needs a CUDA device (none found)"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `gpu` where there is none, and say why; nothing imports CuPy until such a test is run."""
    if item.get_closest_marker("gpu") is not None and (reason := why_no_gpu()) is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _strict_backend() -> Iterator[None]:
    """Make the stand-in a backend like the others; minilvm does not know it."""
    backend.BACKENDS["strict_cupy"] = backend.Backend("strict_cupy", "strict_cupy.scipy")
    yield
    del backend.BACKENDS["strict_cupy"]


@pytest.fixture(params=["numpy", "strict_cupy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Give each array library in turn; it is the active backend while the test runs."""
    with backend.using(request.param):
        yield backend.namespace()
