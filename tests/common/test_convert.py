"""Where converted files go."""

from pathlib import Path

import pytest

from emovc.common.convert import places_of
from emovc.common.errors import UserError


def test_results_do_not_replace_each_other() -> None:
    out = Path("out")
    assert places_of([Path("a/x.wav")], Path("y.wav")) == [Path("y.wav")]
    assert places_of([Path("a/x.flac"), Path("a/y.wav")], out) == [out / "x.wav", out / "y.wav"]
    with pytest.raises(UserError, match="b/x.wav: has the same name as a/x.wav"):
        places_of([Path("a/x.wav"), Path("b/x.wav")], out)
