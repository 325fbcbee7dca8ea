"""The listening page as text: rows, columns, files, escapes."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.common.evaluations import judge, pair, write_evaluation

from emovc.common.comparison import Comparison, align, differences
from emovc.common.comparison_page import write_comparison_page
from emovc.common.comparison_reading import read_evaluations


class Tags(HTMLParser):
    """Opened tags, and whether every one was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """Page of two evaluations, one recording of which is missing."""
    folder = tmp_path_factory.mktemp("page")
    judges = [judge("<b>ear", marks=["saw toy & more"])]
    two = [
        write_evaluation(folder / "a", "runs/first", judges=judges, n_pairs=5),
        write_evaluation(folder / "b", "runs/second", judges=judges, n_pairs=5),
    ]
    (two[1] / "audio" / "model" / f"{pair(2)}.wav").unlink()
    comparison = align(read_evaluations(two, None))
    path = folder / "out" / "index.html"
    plot = folder / "out" / "plots" / "metrics.png"
    found = differences(comparison)
    write_comparison_page(path, comparison, comparison.table(), found, [plot])
    return path, comparison


def tags(path: Path) -> Tags:
    parser = Tags()
    parser.feed(path.read_text())
    return parser


def test_html_is_closed_and_needs_no_other_host(page: tuple[Path, Comparison]) -> None:
    parser = tags(page[0])
    assert parser.open == []
    assert "script" not in {tag for tag, _ in parser.seen}
    assert "://" not in page[0].read_text()


def test_each_row_is_a_sentence_and_each_column_a_model(page: tuple[Path, Comparison]) -> None:
    path, comparison = page
    seen = tags(path).seen
    assert [a["data-pair"] for t, a in seen if t == "tr" and "data-pair" in a] == comparison.pairs
    cells = [a["data-column"] for t, a in seen if t == "td" and "data-column" in a]
    for column in comparison.columns:
        assert cells.count(column) == 5 - (column == "second")
    assert path.read_text().count("no recording") == 1


def test_players_find_their_files_where_the_folder_was_moved_to(
    page: tuple[Path, Comparison], tmp_path: Path
) -> None:
    path, comparison = page
    sources = [a["src"] for t, a in tags(path).seen if t == "audio"]
    assert len(set(sources)) == len(sources) == 5 * 5 - 1
    moved = tmp_path / "elsewhere"
    path.parent.rename(moved)
    try:
        for source in sources:
            file = moved / str(source)
            _, column, name = str(source).split("/")
            assert file.read_bytes() == comparison.audio[column][file.stem].read_bytes(), name
    finally:
        moved.rename(path.parent)


def test_words_and_judges_are_shown_and_escaped(page: tuple[Path, Comparison]) -> None:
    text = page[0].read_text()
    assert "Sentence 0 &lt;says&gt; &amp; so on" in text
    assert "&lt;b&gt;ear: angry" in text
    assert "first: saw toy &amp; more" in text
    assert "<b>" not in text
    assert "second: no audio of 1 sentences" in text
    assert re.search(r"first − second", text)
    assert 'src="plots/metrics.png"' in text
