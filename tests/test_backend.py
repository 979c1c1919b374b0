"""Which library computes: chosen for new arrays, followed for old ones; and CuPy's absence, explained."""

from __future__ import annotations

import importlib.machinery
import os
import platform
import subprocess
import sys
import threading
import types

import numpy
import pytest
from numpy.testing import assert_array_equal

from minilvm import backend
from minilvm.autograd import grad
from minilvm.backend import BackendError


@pytest.fixture
def unchosen(monkeypatch):
    """A context in which no backend has been chosen yet."""
    token = backend._active.set(None)
    monkeypatch.delenv("MINILVM_BACKEND", raising=False)
    yield monkeypatch
    backend._active.reset(token)


def fake_cupy(monkeypatch, count):
    """Install a CuPy whose count of devices is a number, or raises."""

    class CUDARuntimeError(RuntimeError):
        pass

    def get_device_count():
        if count is None:
            raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return count

    cupy = types.ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    runtime = types.SimpleNamespace(getDeviceCount=get_device_count, CUDARuntimeError=CUDARuntimeError)
    cupy.cuda = types.SimpleNamespace(runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", cupy)


class TestChoosing:
    def test_numpy_unless_told_otherwise(self, unchosen):
        assert backend.active() == "numpy"

    def test_by_the_environment(self, unchosen):
        unchosen.setenv("MINILVM_BACKEND", "strict_cupy")
        assert backend.active() == "strict_cupy"

    def test_by_the_environment_wrongly(self, unchosen):
        unchosen.setenv("MINILVM_BACKEND", "numpi")
        with pytest.raises(ValueError, match=r"no backend 'numpi'; choose one of 'numpy', 'cupy'"):
            backend.active()

    def test_by_use(self, unchosen):
        backend.use("strict_cupy")
        assert backend.active() == "strict_cupy"
        backend.use("numpy")
        assert backend.active() == "numpy"

    def test_using_ends_with_its_block(self, unchosen):
        with backend.using("strict_cupy"):
            with backend.using("numpy"):
                assert backend.active() == "numpy"
            assert backend.active() == "strict_cupy"
        assert backend.active() == "numpy"

    def test_using_ends_when_its_block_raises(self, unchosen):
        with pytest.raises(KeyError), backend.using("strict_cupy"):
            raise KeyError
        assert backend.active() == "numpy"

    def test_a_thread_chooses_for_itself(self, unchosen):
        with backend.using("strict_cupy"):
            seen: list[str] = []
            thread = threading.Thread(target=lambda: seen.append(backend.active()))
            thread.start()
            thread.join()
        assert seen == ["numpy"]

    def test_one_that_does_not_exist(self):
        for choose in (backend.use, backend.is_available, lambda name: backend.using(name).__enter__()):
            with pytest.raises(ValueError, match="no backend 'jax'"):
                choose("jax")

    def test_info_names_library_version_and_device(self):
        with backend.using("numpy"):
            assert backend.info() == {"name": "numpy", "version": numpy.__version__, "device": "cpu"}

    @pytest.mark.gpu
    def test_info_names_the_gpu(self):
        with backend.using("cupy"):
            assert backend.info()["device"].startswith("cuda: ")


class TestWithoutCupy:
    def test_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy", None)
        with pytest.raises(BackendError, match=r'(?s)not installed.*pip install "minilvm\[cuda12\]"') as caught:
            backend.use("cupy")
        assert "GPU" not in str(caught.value)
        assert not backend.is_available("cupy")

    def test_installed_without_a_driver(self, monkeypatch):
        fake_cupy(monkeypatch, None)
        with pytest.raises(BackendError, match=r"installed, but finds no GPU \(cudaErrorNoDevice.*nvidia-smi"):
            backend.use("cupy")
        assert not backend.is_available("cupy")

    def test_installed_without_a_device(self, monkeypatch):
        fake_cupy(monkeypatch, 0)
        with pytest.raises(BackendError, match=r"shows it no GPU.*nvidia-smi"):
            backend.use("cupy")

    def test_installed_with_a_device(self, monkeypatch):
        fake_cupy(monkeypatch, 1)
        assert backend.is_available("cupy")

    def test_importing_minilvm_imports_neither_cupy_nor_scipy(self):
        code = (
            "import sys, minilvm, minilvm.backend, minilvm.numpy, minilvm.autograd\n"
            "assert not {'cupy', 'cupyx', 'scipy', 'matplotlib'} & sys.modules.keys()"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestNamespace:
    def test_follows_the_data(self, xp):
        with backend.using("numpy"):
            assert backend.namespace(xp.ones(2)) is xp
            assert backend.namespace(1.0, xp.ones(2), numpy.float64(2.0), None) is xp

    def test_follows_a_traced_value(self, xp):
        def f(x):
            seen.append(backend.namespace(x, 2.0))
            return (grad(lambda y: [seen.append(backend.namespace(y, x)), (y * x).sum()][1])(x) * x).sum()

        seen: list[types.ModuleType] = []
        grad(f)(xp.ones(2))
        assert seen == [xp, xp]

    def test_without_an_array_is_the_active_backends(self, xp):
        assert backend.namespace() is backend.namespace(1.0, None, "a") is xp

    def test_of_numpys_numbers_alone_is_numpys(self):
        with backend.using("strict_cupy"):
            assert backend.namespace(numpy.float64(1.0)) is numpy

    def test_of_two_libraries_names_both(self, xp):
        if xp is not numpy:
            with pytest.raises(TypeError, match=rf"numpy and {xp.__name__}|{xp.__name__} and numpy"):
                backend.namespace(xp.ones(2), numpy.ones(2))

    def test_of_scipy(self, xp):
        with backend.using("numpy"):
            erf = backend.scipy_namespace("special", xp.ones(2)).erf
            assert isinstance(erf(xp.ones(2)), xp.ndarray)


class TestMoving:
    def test_asarray_moves_to_the_active_backend(self, xp):
        for given in ([1.0, 2.0], numpy.array([1.0, 2.0]), xp.asarray([1.0, 2.0])):
            found = backend.asarray(given)
            assert isinstance(found, xp.ndarray)
            assert found.tolist() == [1.0, 2.0]
        assert backend.asarray([1, 2], dtype="float32").dtype == "float32"

    def test_asarray_moves_back(self, xp):
        x = xp.ones(2)
        with backend.using("numpy"):
            assert isinstance(backend.asarray(x), numpy.ndarray)

    def test_to_numpy(self, xp):
        assert_array_equal(backend.to_numpy(xp.asarray([1.0, 2.0])), [1.0, 2.0])
        assert isinstance(backend.to_numpy(xp.ones(2)), numpy.ndarray)
        assert backend.to_numpy([1, 2.5]).tolist() == [1.0, 2.5]
        assert backend.to_numpy({"a": 1}).shape == ()

    def test_to_numpy_refuses_a_traced_value(self, xp):
        with pytest.raises(TypeError, match="stop_gradient"):
            grad(lambda x: [backend.to_numpy(x), 0.0][1])(xp.ones(2))


class TestRandom:
    def test_a_seed_makes_the_same_numbers(self, xp):
        draws = [backend.default_rng(seed).standard_normal(5).tolist() for seed in (0, 0, 1)]
        assert draws[0] == draws[1] != draws[2]

    def test_numbers_are_on_the_active_backend_or_with_the_array(self, xp):
        assert isinstance(backend.default_rng(0).random(3), xp.ndarray)
        with backend.using("numpy"):
            assert isinstance(backend.default_rng(0, like=xp.ones(1)).random(3, dtype="float32"), xp.ndarray)

    def test_a_generator_is_returned_as_it_is(self, xp):
        rng = backend.default_rng(0)
        assert backend.default_rng(rng) is rng

    def test_the_module_of_a_generator_is_known_by_its_type(self, xp):
        assert backend.random_module(type(backend.default_rng(0))) is xp.random
        assert backend.random_module(float) is None

    def test_no_global_state_is_read_or_written(self, xp):
        before = numpy.random.get_state()[1].tolist()  # noqa: NPY002
        backend.default_rng(None).random(3)
        assert numpy.random.get_state()[1].tolist() == before  # noqa: NPY002
        assert backend.default_rng(None).random(3).tolist() != backend.default_rng(None).random(3).tolist()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that hands freed memory back at once")
def test_memory_that_was_freed_is_used_again_without_asking_the_system():
    def pages_per_round(code):
        loop = (
            "import numpy, resource\n"
            "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
            "def work(): [numpy.full(2**19, float(i)) + 1.0 for i in range(2)]\n"
            "work(); before = faults()\n"
            "for _ in range(20): work()\n"
            "print((faults() - before) / 20)"
        )
        # Dask sets MALLOC_TRIM_THRESHOLD_ for its workers, in this process too; then glibc keeps to what it is told.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\n{loop}"], check=True, capture_output=True, text=True, env=environment
        )
        return float(done.stdout)

    assert pages_per_round("import minilvm.backend") <= 0.1 * pages_per_round("")  # 0 and about 1,000 (4 KB each)
