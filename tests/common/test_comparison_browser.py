"""The listening page in a real browser: every row and column, and a sound that plays."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.common.evaluations import EMOTIONS, pair, write_evaluation

from emovc.common.compare import compare

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLUMNS = ["source", "target", "copy-synthesis", "first", "second"]
PLAY = """async player => {
    player.muted = true;
    await player.play();
    const start = performance.now();
    while (player.currentTime === 0 && performance.now() - start < 5000)
        await new Promise(done => setTimeout(done, 20));
    return [player.currentTime, player.readyState, player.duration];
}"""


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
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    if binary is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    complaints: list[str] = []
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto((out / "index.html").as_uri())
        yield page, complaints
        browser.close()


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
    beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(beyond) <= 0
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
