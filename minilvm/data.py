"""Data sets: two that travel with the package, one that is downloaded, and what is done to them before a fit.

============  ===============  ===============================================================
data set      shape            good for
============  ===============  ===============================================================
Old Faithful  (272, 2)         a mixture of two Gaussians, with every step of EM in sight (N3)
digits        (1797, 8, 8)     a VAE that trains in seconds (N14)
MNIST         (70000, 28, 28)  comparison with the literature; 11 MB to download
============  ===============  ===============================================================

Every loader returns fresh arrays: writing to them changes nothing that a later call returns. They are NumPy arrays, in
the host's memory; compute follows the data, so it takes `minilvm.backend.asarray` to fit a model to them on a GPU.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from importlib import resources
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LabelledImages",
    "binarize",
    "load_digits",
    "load_mnist",
    "load_old_faithful",
    "read_idx",
    "train_test_split",
]


Seed = int | np.random.Generator  # 0 is a seed like any other


class LabelledImages(NamedTuple):
    """Images of things of a known class; unpacks as ``images, labels``.

    Attributes
    ----------
    images
        Shape (N, height, width), dtype uint8: intensities, 0 for the background. Convert before doing arithmetic, which
        in uint8 wraps at 256.
    labels
        Shape (N,), dtype int64: the class of each image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load_old_faithful() -> NDArray[np.float64]:
    """Load the eruptions of the Old Faithful geyser, Yellowstone, August 1985: two clusters that anyone can see.

    Returns
    -------
    Array of shape (272, 2), dtype float64, in minutes: column 0 is how long an eruption lasted, column 1 the wait until
    the next one. The rows are in the order of R's ``faithful``.

    References
    ----------
    Azzalini, A. and Bowman, A. W. (1990). A look at some data on the Old Faithful geyser. Applied Statistics 39,
    357-365. This is the version of Härdle, W. (1991), Smoothing Techniques with Implementation in S, with 272 rows.

    Examples
    --------
    >>> x = load_old_faithful()
    >>> x.shape
    (272, 2)
    >>> x[:3].tolist()
    [[3.6, 79.0], [1.8, 54.0], [3.333, 74.0]]
    """
    with _open_bundled("old_faithful.csv") as stream:
        return np.loadtxt(stream, delimiter=",", skiprows=1, dtype=np.float64)


def load_digits() -> LabelledImages:
    """Load 1,797 handwritten digits on a grid of 8 x 8 pixels: MNIST for the impatient.

    Returns
    -------
    LabelledImages with images of shape (1797, 8, 8), whole intensities 0 to 16 (how many of the 4 x 4 pixels of the
    original bitmap that fell into a cell were on), and labels of shape (1797,), 0 to 9.

    References
    ----------
    Alpaydin, E. and Kaynak, C. (1998). Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    doi:10.24432/C50P49, CC BY 4.0. Its test set, which is what scikit-learn's ``load_digits`` returns as well.

    Examples
    --------
    >>> images, labels = load_digits()
    >>> images.shape, int(images.max()), labels[:10].tolist()
    ((1797, 8, 8), 16, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    >>> for row in images[0]:
    ...     print("".join(" .-+#"[level // 4] for level in row).rstrip())
      .+-
      ++-+.
      +  --
     .+  --
     .-  --
     .-  +.
      +.-+
      .+-
    """
    with _open_bundled("digits.npz") as stream, np.load(stream, allow_pickle=False) as archive:
        return LabelledImages(images=archive["images"], labels=archive["labels"].astype(np.int64))


def load_mnist(cache_dir: str | Path | None = None) -> tuple[LabelledImages, LabelledImages]:
    """Load MNIST: 60,000 handwritten digits to train on and 10,000 to test on, downloaded the first time (11 MB).

    Nothing unverified is returned: each file is checked against a SHA-256 that is written in this module. Files of the
    right contents that `cache_dir` already holds are used as they are, whoever put them there and however they were
    compressed, so a machine without a network needs neither a download nor pooch.

    Parameters
    ----------
    cache_dir
        Folder that holds the four files, or will. By default the user's cache folder, where pooch puts it.

    Returns
    -------
    ``train, test``: LabelledImages with images of shape (60000, 28, 28) and (10000, 28, 28), intensities 0 to 255, and
    labels of shape (60000,) and (10000,), 0 to 9.

    Raises
    ------
    ImportError
        When something must be downloaded and pooch is not installed: ``python -m pip install "minilvm[mnist]"``.
    ValueError
        From pooch, when what was downloaded is not what was expected.

    References
    ----------
    LeCun, Y., Bottou, L., Bengio, Y. and Haffner, P. (1998). Gradient-based learning applied to document recognition.
    Proceedings of the IEEE 86, 2278-2324.
    """
    folder = None if cache_dir is None else Path(cache_dir).expanduser()
    train_images, train_labels, test_images, test_labels = (
        read_idx(_mnist_path(file, folder)) for file in _MNIST_FILES
    )
    return (
        LabelledImages(train_images, train_labels.astype(np.int64)),
        LabelledImages(test_images, test_labels.astype(np.int64)),
    )


def read_idx(path: str | Path) -> NDArray[Any]:
    r"""Read an array from a file in the IDX format, gzipped or not: the format of MNIST and its many imitators.

    The format is four bytes, 0, 0, a code for the dtype and the number of dimensions; then each dimension as a
    big-endian 32-bit unsigned integer; then the values, big-endian, last axis fastest; then nothing.

    Parameters
    ----------
    path
        The file. It is unzipped if it begins as gzip does, whatever its name.

    Returns
    -------
    Fresh array of the shape and dtype that the file states (uint8, int8, int16, int32, float32 or float64), in the byte
    order of this machine.

    Raises
    ------
    ValueError
        When the file is not IDX, is cut short, or goes on after its last value.

    References
    ----------
    "The IDX file format", at the foot of LeCun, Cortes and Burges, The MNIST database of handwritten digits.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     size = path.write_bytes(b"\0\0\x08\x01" + b"\0\0\0\x03" + b"\x05\0\x04")
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    raw = Path(path).read_bytes()
    if raw.startswith(_GZIP_MAGIC):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is a gzip file that cannot be unzipped ({error}); is it complete?") from error

    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_DTYPES:
        codes = ", ".join(f"{code:#04x} for {dtype.newbyteorder('=')}" for code, dtype in _IDX_DTYPES.items())
        raise ValueError(
            f"{path} is not an IDX file: its first four bytes are {raw[:4].hex(' ') or 'missing'}; "
            f"expected 00 00, a dtype code ({codes}) and a number of dimensions"
        )
    dtype, ndim = _IDX_DTYPES[raw[2]], raw[3]

    header_length = 4 + 4 * ndim
    if len(raw) < header_length:
        raise ValueError(f"{path} is cut short in its header: {len(raw)} bytes; {ndim} dimensions need {header_length}")
    shape = tuple(int.from_bytes(raw[start : start + 4], "big") for start in range(4, header_length, 4))

    expected = header_length + math.prod(shape) * dtype.itemsize
    if len(raw) != expected:
        fault = "is cut short" if len(raw) < expected else "goes on after its last value"
        raise ValueError(
            f"{path} {fault}: {len(raw)} bytes unzipped; shape {shape} of {dtype.newbyteorder('=')} needs {expected}"
        )
    return np.ndarray(shape, dtype, buffer=raw, offset=header_length).astype(dtype.newbyteorder("="))


def binarize(images: NDArray[Any], *, maximum: float, rng: Seed | None = None) -> NDArray[Any]:
    """Turn intensities into zeros and ones, for a model whose `p(x | z)` is Bernoulli.

    With `p = images / maximum`, a pixel becomes 1 where `p > 1/2`; or, given `rng`, becomes 1 with probability `p`.
    Drawing afresh at every pass over the data is *dynamic* binarisation: each pass sees new data, so a model over-fits
    less, and likelihoods do not compare with those of images that were binarised once.

    Parameters
    ----------
    images
        Intensities in [0, `maximum`], of any shape.
    maximum
        The intensity of a pixel that is fully on: 16 for `load_digits`, 255 for `load_mnist`.
    rng
        Seed or generator of the draws; None for the threshold, which draws nothing.

    Returns
    -------
    Fresh array of zeros and ones, the shape of `images`: float32 if `images` are float32, otherwise float64.

    Raises
    ------
    ValueError
        When `maximum` is not a positive number, or an intensity is outside [0, `maximum`] or NaN.

    References
    ----------
    Salakhutdinov, R. and Murray, I. (2008). On the quantitative analysis of deep belief networks. ICML.

    Examples
    --------
    >>> intensities = np.array([0, 64, 128, 255], dtype=np.uint8)
    >>> binarize(intensities, maximum=255)
    array([0., 0., 1., 1.])
    >>> binarize(intensities, maximum=255, rng=np.random.default_rng(0))
    array([0., 0., 1., 1.])
    """
    if not 0 < maximum < math.inf:
        raise ValueError(
            f"maximum is {maximum}; expected the positive intensity of a pixel that is fully on, such as 255"
        )
    if images.size and not (images.min() >= 0 and images.max() <= maximum):
        raise ValueError(
            f"images have intensities from {images.min()} to {images.max()}; "
            f"expected them in [0, {maximum}], with no NaN: is maximum right for these images?"
        )
    dtype = np.float32 if images.dtype == np.float32 else np.float64
    probability = np.divide(images, maximum, dtype=dtype)
    threshold = 0.5 if rng is None else np.random.default_rng(rng).random(images.shape, dtype=dtype)
    on: NDArray[np.bool_] = threshold < probability
    return on.astype(dtype)


def train_test_split(*arrays: NDArray[Any], test_fraction: float, rng: Seed) -> tuple[NDArray[Any], ...]:
    """Split arrays of N rows into a part to train on and a part to test on, by one random permutation of the rows.

    Parameters
    ----------
    *arrays
        One or more arrays of the same length N, such as images and their labels. Rows stay together.
    test_fraction
        Share of the rows to test on, in (0, 1); ``round(test_fraction * N)`` rows.
    rng
        Seed or generator of the permutation: the same makes the same split.

    Returns
    -------
    ``train, test`` for one array; ``a_train, a_test, b_train, b_test, …`` for more. Fresh arrays of the dtypes given.

    Raises
    ------
    ValueError
        When there is no array, their lengths differ, `test_fraction` is outside (0, 1), or a part would be empty.

    Examples
    --------
    >>> x, y = np.arange(5), np.arange(5) * 10
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_fraction=0.4, rng=np.random.default_rng(0))
    >>> len(x_train), len(x_test), (y_train == 10 * x_train).all()
    (3, 2, np.True_)
    """
    if not arrays:
        raise ValueError("train_test_split was given no array; expected at least one")
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"arrays have lengths {lengths}; expected one length, rows that belong together")
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; expected a share of the rows, between 0 and 1")
    n_rows = lengths[0]
    n_test = round(test_fraction * n_rows)
    if not 0 < n_test < n_rows:
        raise ValueError(
            f"test_fraction {test_fraction} of {n_rows} rows is {n_rows - n_test} to train on and {n_test} to test on; "
            "expected at least one of each"
        )
    order = np.random.default_rng(rng).permutation(n_rows)
    test, train = order[:n_test], order[n_test:]
    return tuple(array[rows] for array in arrays for rows in (train, test))


_GZIP_MAGIC = b"\x1f\x8b"

_IDX_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}

_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the mirror torchvision uses; the original site is gone


class _MnistFile(NamedTuple):
    """A file of MNIST and how to know it: two sums, since mirrors compress the same contents differently."""

    name: str
    sha256: str  # of the file that _MNIST_URL serves
    sha256_unzipped: str  # of its contents


_MNIST_FILES = (
    _MnistFile(
        "train-images-idx3-ubyte.gz",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    _MnistFile(
        "train-labels-idx1-ubyte.gz",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    _MnistFile(
        "t10k-images-idx3-ubyte.gz",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    _MnistFile(
        "t10k-labels-idx1-ubyte.gz",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def _mnist_path(file: _MnistFile, folder: Path | None) -> Path:
    """Find a file of MNIST in `folder` (None: pooch's default), downloading it unless the right contents are there."""
    if folder is not None and _has_contents(folder / file.name, file.sha256_unzipped):
        return folder / file.name
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            'load_mnist needs pooch to download MNIST; install it with: python -m pip install "minilvm[mnist]"'
        ) from error
    return Path(
        pooch.retrieve(
            url=_MNIST_URL + file.name,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder if folder is not None else Path(pooch.os_cache("minilvm")) / "mnist",
        )
    )


def _has_contents(path: Path, sha256: str) -> bool:
    """Whether `path` is a gzip file that unzips to contents with this sum; False for one that is missing or damaged."""
    try:
        return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() == sha256
    except (EOFError, OSError, zlib.error):
        return False


def _open_bundled(name: str) -> IO[bytes]:
    """Open a file that travels with the package; see _data/README.md for where each came from."""
    return resources.files("minilvm").joinpath("_data", name).open("rb")
