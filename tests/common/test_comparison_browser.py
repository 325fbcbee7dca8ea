"""The listening page in a real browser: every row and column, and a sound that plays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import BEYOND, PLAY, opened_page
from tests.common.evaluations import EMOTIONS, pair, write_evaluation

from emovc.common.compare import compare

COLUMNS = ["source", "target", "copy-synthesis", "first", "second"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that ``emovc compare`` wrote."""
    folder = tmp_path_factory.mktemp("compared")
    two = [write_evaluation(folder / n, f"runs/{n}", n_pairs=6) for n in ("first", "second")]
    compare(two, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def opened(out: Path) -> Iterator[tuple[Any, list[str]]]:
    """The page, and what the browser complains of."""
    with opened_page(out / "index.html") as found:
        yield found


def test_every_row_and_column_is_there(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    head = page.locator(".listening thead th").all_inner_texts()
    assert head == ["sentence", *COLUMNS]
    rows = page.locator(".listening tbody tr")
    assert rows.count() == 6
    for number in range(6):
        row = page.locator(f'tr[data-pair="{pair(number)}"]')
        assert row.locator("audio").count() == len(COLUMNS)
        text = row.locator("th").inner_text()
        assert f"Sentence {number} <says> & so on" in text
        assert EMOTIONS[number % 3] in text
    scores = page.locator("#scores tr th:first-child").all_inner_texts()
    assert scores[1:] == COLUMNS


def test_sounds_of_every_column_play(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    for column in COLUMNS:
        player = page.locator(f'td[data-column="{column}"] audio').first
        place, ready, duration = player.evaluate(PLAY)
        assert place > 0
        assert ready >= 2
        assert duration == pytest.approx(0.5, abs=0.05)


def test_pictures_load_and_nothing_is_cut_off(opened: tuple[Any, list[str]]) -> None:
    page, complaints = opened
    widths = page.locator(".plots img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(widths) == 5
    assert min(widths) > 300
    assert page.evaluate(BEYOND) <= 0
    assert complaints == []


def test_text_can_be_read(opened: tuple[Any, list[str]]) -> None:
    """Contrast of text with what is behind it, at least 4.5 (WCAG 2.2, 1.4.3)."""
    page, _ = opened
    for selector, behind in ((".caption", 1.0), (".words", 1.0), (".listening small", 1.0)):
        colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).color")
        parts = [int(v) / 255 for v in colour.removeprefix("rgb(").rstrip(")").split(",")]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert (behind + 0.05) / (luminance + 0.05) >= 4.5, selector
