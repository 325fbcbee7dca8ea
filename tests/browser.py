"""Pages in a real browser, where there is one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PLAY = """async player => {
    player.muted = true;
    await player.play();
    const start = performance.now();
    while (player.currentTime === 0 && performance.now() - start < 5000)
        await new Promise(done => setTimeout(done, 20));
    return [player.currentTime, player.readyState, player.duration];
}"""  # time played in s, state, and length in s of a player
BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def opened_page(path: Path) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what the browser complains of; the test is skipped without a browser."""
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
        page.goto(path.as_uri())
        yield page, complaints
        browser.close()
