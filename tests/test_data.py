"""The data sets are the published ones, to the bit; the readers refuse anything else."""

from __future__ import annotations

import gzip
import hashlib
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from minilvm import data

IDX_CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}

idx_arrays = st.sampled_from(sorted(IDX_CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
seeds = st.integers(0, 2**32 - 1)


def idx_bytes(array: NDArray[Any]) -> bytes:
    """Write the IDX format: the inverse of `read_idx`."""
    header = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim])
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return header + sides + array.astype(array.dtype.newbyteorder(">")).tobytes()


def sha256(array: NDArray[Any]) -> str:
    """Sum an array's values, in little-endian order on any machine."""
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name a file that one Hypothesis example after another may write over."""
    return tmp_path_factory.mktemp("idx") / "array"


class TestOldFaithful:
    def test_is_the_published_data(self) -> None:
        x = data.load_old_faithful()
        assert x.shape == (272, 2)
        assert x.dtype == np.float64
        assert sha256(x) == "c1528a01fabb3e454c6e9a895d099e20295b2606b76cf1c69986b3f929578705"

    def test_has_the_published_summary(self) -> None:
        """What R prints for summary(faithful) and sapply(faithful, sd)."""
        x = data.load_old_faithful()
        assert_array_equal(x.min(0), [1.6, 43.0])
        assert_array_equal(np.median(x, 0), [4.0, 76.0])
        assert_array_equal(x.max(0), [5.1, 96.0])
        assert_array_equal(x.mean(0).round(6), [3.487783, 70.897059])
        assert_array_equal(x.std(0, ddof=1).round(6), [1.141371, 13.594974])


class TestDigits:
    def test_are_the_published_data(self) -> None:
        images, labels = data.load_digits()
        assert (images.shape, images.dtype) == ((1797, 8, 8), np.uint8)
        assert (labels.shape, labels.dtype) == ((1797,), np.int64)
        assert sha256(images) == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
        assert sha256(labels.astype(np.uint8)) == "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"

    def test_have_the_published_summary(self) -> None:
        """Class sizes and range as in the description of optdigits.tes."""
        images, labels = data.load_digits()
        assert_array_equal(np.bincount(labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
        assert_array_equal(np.unique(images), np.arange(17))


@pytest.mark.parametrize("load", [data.load_old_faithful, lambda: data.load_digits().images])
def test_loaders_return_fresh_writable_arrays(load: Any) -> None:
    first = load()
    first[:] = 0
    assert load().any()


class TestReadIdx:
    @given(array=idx_arrays, zipped=st.booleans())
    def test_reads_back_what_was_written(self, scratch: Path, array: NDArray[Any], zipped: bool) -> None:
        raw = idx_bytes(array)
        scratch.write_bytes(gzip.compress(raw) if zipped else raw)
        back = data.read_idx(scratch)
        assert back.dtype == array.dtype
        assert back.dtype.isnative
        assert back.flags.writeable
        assert back.flags.owndata
        assert_array_equal(back, array, strict=True)

    @given(array=idx_arrays, at=st.floats(0, 1, exclude_max=True), zipped=st.booleans())
    def test_refuses_a_file_cut_anywhere(self, scratch: Path, array: NDArray[Any], at: float, zipped: bool) -> None:
        raw = idx_bytes(array)
        raw = raw[: math.floor(at * len(raw))]
        scratch.write_bytes(gzip.compress(raw) if zipped else raw)
        with pytest.raises(ValueError, match=r"cut short|first four bytes"):
            data.read_idx(scratch)

    @given(array=idx_arrays, extra=st.binary(min_size=1, max_size=9), zipped=st.booleans())
    def test_refuses_trailing_bytes(self, scratch: Path, array: NDArray[Any], extra: bytes, zipped: bool) -> None:
        raw = idx_bytes(array) + extra
        scratch.write_bytes(gzip.compress(raw) if zipped else raw)
        with pytest.raises(ValueError, match="goes on after its last value"):
            data.read_idx(scratch)

    @given(array=idx_arrays, at=st.floats(0, 1, exclude_max=True))
    def test_refuses_a_gzip_file_cut_anywhere(self, scratch: Path, array: NDArray[Any], at: float) -> None:
        zipped = gzip.compress(idx_bytes(array))
        scratch.write_bytes(zipped[: math.floor(at * len(zipped))])
        with pytest.raises(ValueError, match=r"cannot be unzipped|not an IDX file"):
            data.read_idx(scratch)

    @given(array=idx_arrays, at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_a_flipped_bit_in_a_gzip_file_changes_nothing_or_is_refused(
        self, scratch: Path, array: NDArray[Any], at: float, bit: int
    ) -> None:
        """Bits of a gzip header that carry no data (a time, an operating system) may flip; no value ever does."""
        zipped = bytearray(gzip.compress(idx_bytes(array)))
        zipped[math.floor(at * len(zipped))] ^= 1 << bit
        scratch.write_bytes(zipped)
        try:
            back = data.read_idx(scratch)
        except ValueError:
            return
        assert_array_equal(back, array, strict=True)

    @given(raw=st.binary(max_size=64))
    def test_of_any_bytes_is_an_array_or_a_value_error(self, scratch: Path, raw: bytes) -> None:
        scratch.write_bytes(raw)
        try:
            back = data.read_idx(scratch)
        except ValueError:
            return
        assert idx_bytes(back) == raw

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (b"", r"its first four bytes are missing; expected 00 00"),
            (b"\0\1\x08\1\0\0\0\1\7", r"its first four bytes are 00 01 08 01"),
            (b"\0\0\x0a\1\0\0\0\1\7", r"its first four bytes are 00 00 0a 01; .*0x08 for uint8, .*0x0e for float64"),
            (b"\0\0\x08\2\0\0\0\1", r"cut short in its header: 8 bytes; 2 dimensions need 12"),
            (b"\0\0\x0c\1\0\0\0\2\0\0\0\7", r"cut short: 12 bytes unzipped; shape \(2,\) of int32 needs 16"),
            (
                b"\0\0\x08\1\0\0\0\1\7\7",
                r"goes on after its last value: 10 bytes unzipped; shape \(1,\) of uint8 needs 9",
            ),
            (b"\0\0\x0e\4" + b"\xff" * 16, r"cut short: 20 bytes unzipped; shape \(4294967295, "),
        ],
    )
    def test_says_what_is_wrong_with_which_file(self, tmp_path: Path, raw: bytes, message: str) -> None:
        path = tmp_path / "broken-idx3-ubyte"
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=message) as caught:
            data.read_idx(path)
        assert str(path) in str(caught.value)

    def test_of_a_missing_file_is_the_usual_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            data.read_idx(tmp_path / "nothing")


class TestBinarize:
    def test_thresholds_strictly_above_half(self) -> None:
        images = np.arange(17, dtype=np.uint8).reshape(1, 17)
        binary = data.binarize(images, maximum=16)
        assert binary.dtype == np.float64
        assert_array_equal(binary, [[0.0] * 9 + [1.0] * 8])

    @given(
        images=hnp.arrays(np.float32, hnp.array_shapes(), elements=st.floats(0, 1, width=32)),
        seed=st.none() | seeds,
    )
    def test_keeps_shape_dtype_and_certainty(self, images: NDArray[np.float32], seed: int | None) -> None:
        binary = data.binarize(images, maximum=1, rng=None if seed is None else np.random.default_rng(seed))
        assert binary.shape == images.shape
        assert binary.dtype == np.float32
        assert np.isin(binary, [0, 1]).all()
        assert not binary[images == 0].any()
        assert binary[images == 1].all()

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
    def test_draws_a_pixel_where_its_uniform_is_below_its_intensity(self, dtype: Any) -> None:
        """P(u < p) = p is what makes the draw Bernoulli(p): checked against the uniforms, not against a frequency."""
        images = np.tile(np.arange(256, dtype=dtype), (50, 1))
        precision = np.float32 if dtype == np.float32 else np.float64
        uniforms = np.random.default_rng(7).random(images.shape, dtype=precision)
        binary = data.binarize(images, maximum=255, rng=np.random.default_rng(7))
        assert_array_equal(binary, uniforms < images / precision(255))

    def test_draws_afresh_from_one_generator(self) -> None:
        rng = np.random.default_rng(0)
        grey = np.full((20, 20), 0.5)
        assert (data.binarize(grey, maximum=1, rng=rng) != data.binarize(grey, maximum=1, rng=rng)).any()

    def test_takes_flags_and_nothing(self) -> None:
        assert_array_equal(data.binarize(np.array([True, False]), maximum=1), [1.0, 0.0])
        assert data.binarize(np.empty((0, 8, 8), np.uint8), maximum=16).shape == (0, 8, 8)

    @pytest.mark.parametrize("maximum", [0, -1.0, math.nan, math.inf])
    def test_refuses_a_maximum_that_is_none(self, maximum: float) -> None:
        with pytest.raises(ValueError, match="expected the positive intensity"):
            data.binarize(np.zeros(3), maximum=maximum)

    @pytest.mark.parametrize("wrong", [-1.0, 17.0, math.nan, math.inf])
    def test_refuses_intensities_outside_the_range(self, wrong: float) -> None:
        with pytest.raises(ValueError, match=r"expected them in \[0, 16\], with no NaN"):
            data.binarize(np.array([0.0, wrong]), maximum=16)


class TestTrainTestSplit:
    @given(n=st.integers(2, 60), fraction=st.floats(0.01, 0.99), seed=seeds)
    def test_partitions_the_rows_and_keeps_them_together(self, n: int, fraction: float, seed: int) -> None:
        n_test = round(fraction * n)
        x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
        y = np.arange(n)
        if not 0 < n_test < n:
            with pytest.raises(ValueError, match="expected at least one of each"):
                data.train_test_split(x, y, test_fraction=fraction, rng=np.random.default_rng(seed))
            return
        x_train, x_test, y_train, y_test = data.train_test_split(
            x, y, test_fraction=fraction, rng=np.random.default_rng(seed)
        )
        assert len(y_test) == n_test
        assert_array_equal(np.sort(np.concatenate([y_train, y_test])), y)
        assert_array_equal(x_train, x[y_train], strict=True)
        assert_array_equal(x_test, x[y_test], strict=True)

    @given(seed=seeds)
    def test_is_decided_by_the_generator_alone(self, seed: int) -> None:
        x = np.arange(30)
        first, second = (
            data.train_test_split(x, test_fraction=0.3, rng=np.random.default_rng(seed))[1] for _ in range(2)
        )
        assert_array_equal(first, second)

    def test_shuffles(self) -> None:
        train, test = data.train_test_split(np.arange(100), test_fraction=0.5, rng=np.random.default_rng(0))
        assert (np.diff(train) < 0).any()
        assert (np.diff(test) < 0).any()

    def test_returns_copies(self) -> None:
        x = np.zeros(10)
        for part in data.train_test_split(x, test_fraction=0.5, rng=np.random.default_rng(0)):
            part[:] = 1
        assert not x.any()

    def test_refuses_what_it_cannot_split(self) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(ValueError, match="no array"):
            data.train_test_split(test_fraction=0.5, rng=rng)
        with pytest.raises(ValueError, match=r"lengths \[3, 4\]"):
            data.train_test_split(np.zeros(3), np.zeros(4), test_fraction=0.5, rng=rng)
        for fraction in (0.0, 1.0, -0.5, math.nan):
            with pytest.raises(ValueError, match="test_fraction is"):
                data.train_test_split(np.zeros(3), test_fraction=fraction, rng=rng)


class TestMnist:
    """On eight tiny images: the real ones need a network."""

    ARRAYS = {
        "train-images-idx3-ubyte.gz": np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3),
        "train-labels-idx1-ubyte.gz": np.arange(5, dtype=np.uint8),
        "t10k-images-idx3-ubyte.gz": np.arange(100, 100 + 3 * 6, dtype=np.uint8).reshape(3, 2, 3),
        "t10k-labels-idx1-ubyte.gz": np.array([7, 8, 9], dtype=np.uint8),
    }

    def write(self, folder: Path, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(gzip.compress(idx_bytes(self.ARRAYS[name]), compresslevel=1))
        return path

    def check(self, train: data.LabelledImages, test: data.LabelledImages) -> None:
        for part, stem in ((train, "train"), (test, "t10k")):
            assert_array_equal(part.images, self.ARRAYS[f"{stem}-images-idx3-ubyte.gz"], strict=True)
            assert_array_equal(part.labels, self.ARRAYS[f"{stem}-labels-idx1-ubyte.gz"].astype(np.int64), strict=True)
            assert part.images.flags.writeable

    @pytest.fixture
    def requests(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
        """Stand in for pooch: note what is asked of it, and write a tiny file where the real one would have gone."""
        requests: list[dict[str, Any]] = []

        def retrieve(**request: Any) -> str:
            requests.append(request)
            return str(self.write(Path(request["path"]), request["fname"]))

        fake = types.SimpleNamespace(retrieve=retrieve, os_cache=lambda project: tmp_path / "cache" / project)
        monkeypatch.setitem(sys.modules, "pooch", fake)
        return requests

    def test_fetches_four_verified_files(self, requests: list[dict[str, Any]], tmp_path: Path) -> None:
        self.check(*data.load_mnist(tmp_path))
        assert [request["fname"] for request in requests] == list(self.ARRAYS)
        for request in requests:
            assert request["url"] == "https://ossci-datasets.s3.amazonaws.com/mnist/" + request["fname"]
            assert request["path"] == tmp_path
        assert [request["known_hash"] for request in requests] == [
            "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ]

    def test_goes_to_the_user_cache_by_default(self, requests: list[dict[str, Any]], tmp_path: Path) -> None:
        self.check(*data.load_mnist())
        assert {request["path"] for request in requests} == {tmp_path / "cache" / "minilvm" / "mnist"}

    def test_does_not_trust_a_file_of_the_right_name(self, requests: list[dict[str, Any]], tmp_path: Path) -> None:
        """Wrong contents, or not gzip at all: both are fetched anew."""
        self.write(tmp_path, "train-images-idx3-ubyte.gz")
        (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>404</html>")
        data.load_mnist(tmp_path)
        assert len(requests) == 4

    def test_uses_the_right_contents_however_compressed(
        self, monkeypatch: pytest.MonkeyPatch, requests: list[dict[str, Any]], tmp_path: Path
    ) -> None:
        files = [
            file._replace(sha256_unzipped=hashlib.sha256(idx_bytes(self.ARRAYS[file.name])).hexdigest())
            for file in data._MNIST_FILES
        ]
        monkeypatch.setattr(data, "_MNIST_FILES", files)
        for name in self.ARRAYS:
            self.write(tmp_path, name)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        self.check(*data.load_mnist("~"))
        assert requests == []

    def test_without_pooch_says_how_to_install_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setitem(sys.modules, "pooch", None)
        with pytest.raises(ImportError, match=r'python -m pip install "minilvm\[mnist\]"'):
            data.load_mnist(tmp_path)


def test_every_public_name_exists() -> None:
    assert all(hasattr(data, name) for name in data.__all__)


@given(seed=seeds)
def test_a_seed_is_as_good_as_its_generator(seed: int) -> None:
    grey = np.linspace(0, 1, 50)
    for draw in (
        lambda rng: (data.binarize(grey, maximum=1, rng=rng),),
        lambda rng: data.train_test_split(grey, test_fraction=0.4, rng=rng),
    ):
        for given_seed, given_generator in zip(draw(seed), draw(np.random.default_rng(seed)), strict=True):
            assert_array_equal(given_seed, given_generator)
    assert 0 < data.binarize(np.full(50, 0.5), maximum=1, rng=0).sum() < 50  # 0 is a seed, and not None
