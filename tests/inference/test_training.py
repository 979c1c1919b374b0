import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilvm.inference import minibatches


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32))
def test_every_datum_is_seen_once(xp, n, batch_size, seed):
    batches = list(minibatches(xp.zeros((n, 2)), batch_size, rng=seed))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(n))
    assert all(len(batch) == batch_size for batch in batches[:-1])


def test_order_depends_on_the_seed_alone(xp):
    x = xp.zeros((50, 1))
    first, again, other = (list(minibatches(x, 7, rng=seed)) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(minibatches(numpy.zeros((3, 1)), 0, rng=0))
