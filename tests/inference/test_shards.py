import pickle

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilvm.inference.shards import MOST_SHARDS, Shard, shards, slices, stream


def sent(shard: Shard) -> tuple[Shard, int]:
    """The shard as another process has it, and how many bytes it took."""
    message = pickle.dumps(shard)
    return pickle.loads(message), len(message)  # noqa: S301 (our own)


@given(st.integers(0, 50), st.integers(1, 60))
def test_slices_make_up_the_range(n, size):
    assert [i for rows in slices(n, size) for i in range(n)[rows]] == list(range(n))


@given(st.integers(1, 5000), st.integers(1, 200), st.booleans())
def test_shards_make_up_the_data(n, least, weighted):
    x, weight = numpy.arange(2.0 * n).reshape(n, 2), numpy.arange(1.0 * n) if weighted else None
    found = shards(x, weight, least)
    assert len(found) <= MOST_SHARDS
    numpy.testing.assert_array_equal(numpy.concatenate([shard.x for shard in found]), x)
    assert all(shard.x[0, 0] == 2 * shard.start for shard in found)
    for shard in found:
        assert shard.weight is None if weight is None else (shard.weight == shard.x[:, 0] / 2).all()


@pytest.mark.parametrize("n", [100, 1000, 8000, 64_000])
def test_many_shards_are_as_many_as_workers_can_share(n):
    sizes = [len(shard.x) for shard in shards(numpy.zeros((n, 1)), None, 100)]
    assert len(sizes) == 1 if n == 100 else len(sizes) % 8 == 0
    assert max(sizes) - min(sizes) <= len(sizes)


def test_of_a_memory_map_the_address_is_sent_and_of_an_array_its_numbers(tmp_path):
    x = numpy.random.default_rng(0).standard_normal((10_000, 3))
    with (tmp_path / "x").open("wb") as file:
        file.write(b"a header of its own")
        x.tofile(file)
    mapped = numpy.memmap(tmp_path / "x", float, "r", 19, x.shape)
    for data, most in ((mapped, 1000), (x, numpy.inf), (mapped[1:], numpy.inf), (mapped.T[:, :3], numpy.inf)):
        for weight in (None, mapped[:, 0] if data is mapped else None):
            for shard in shards(data, weight, 1000):
                arrived, size = sent(shard)
                numpy.testing.assert_array_equal(arrived.x, shard.x)
                numpy.testing.assert_array_equal(arrived.weight, shard.weight)
                assert arrived.start == shard.start
                assert weight is not None or size < most


def test_a_point_of_a_stream_has_its_place_among_all():
    chunks = [numpy.zeros((n, 2)) for n in (3, 5, 2)]
    assert [shard.start for shard in stream(chunks, lambda _: None)] == [0, 3, 8]


@pytest.mark.parametrize(
    ("weight", "what"),
    [
        ([1.0, -1.0, 1.0], "finite and at least 0"),
        ([1.0, numpy.nan, 1.0], "finite and at least 0"),
        ([1.0, 1.0], r"has shape \(2,\); expected \(3,\)"),
    ],
)
def test_weights_in_a_stream_are_checked_as_others_are(weight, what):
    chunks = [numpy.zeros((3, 2)), (numpy.zeros((3, 2)), numpy.array(weight))]
    with pytest.raises(ValueError, match=what):
        list(stream(chunks, lambda _: None))
