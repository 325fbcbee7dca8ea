"""The quickstart, small, and the page it ends with."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from emovc.common.errors import UserError
from emovc.common.quickstart import quickstart

ROOT = Path(__file__).parents[2]


def test_quickstart_ends_with_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ROOT / "configs" / "speechflow_toy.yaml"
    quickstart(config, tmp_path, steps=2, sentences=3, pairs=2)
    page = tmp_path / "report" / "index.html"
    assert f"done: open {page}" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    files = [unquote(name) for name in re.findall(r'src="([^"]+)"', text)]
    assert len(files) == 2 * 4 + 2 * 2  # players and pictures
    assert all((page.parent / name).stat().st_size > 1000 for name in files)
    assert "copy-synthesis" in text and "MCD" in text
    quickstart(config, tmp_path, steps=2, sentences=3, pairs=2)  # again: trains anew


def test_it_says_where_it_must_be_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run emovc quickstart in the checkout"):
        quickstart(tmp_path / "none.yaml", tmp_path)
    assert not list(tmp_path.iterdir())
