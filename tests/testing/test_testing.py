import subprocess
import sys

import pytest

import minilvm.testing


def test_laws_need_no_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; from minilvm.testing import assert_lower_bound, AllTuples"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there_and_no_other():
    assert all(hasattr(minilvm.testing, name) for name in minilvm.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'miracles'"):
        minilvm.testing.miracles  # noqa: B018
