import json
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.phones import Phone, find_phones, read_lablaut, read_textgrid
from emovc.common.wav import read_wav

PHONES = [
    Phone("sil", 0.0, 0.25),
    Phone("AH0", 0.25, 0.5),
    Phone('a "b"', 0.5, 0.625),
    Phone("sil", 0.625, 1.0),
]


def utterance(path: Path, seconds: float = 1.0) -> Utterance:
    """An utterance of which nothing but name, path and length matters."""
    return Utterance(
        f"esd/{path.parent.name}/{path.stem}", path, "0", 16_000, int(seconds * 16_000), "s", "esd"
    )


def long_textgrid(phones: list[Phone]) -> str:
    """Praat's long text format, with a tier of points before that of the phones."""
    lines = [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 1",
        "tiers? <exists>", "size = 2", "item []:", "    item [1]:",
        '        class = "TextTier"', '        name = "marks 7"', "        xmin = 0",
        "        xmax = 1", "        points: size = 1", "        points [1]:",
        "            number = 0.5", '            mark = "12 13"',
        "    item [2]:", '        class = "IntervalTier"', '        name = "phones"',
        "        xmin = 0", "        xmax = 1", f"        intervals: size = {len(phones)}",
    ]  # fmt: skip
    for i, (label, start_s, end_s) in enumerate(phones, 1):
        text = "" if label == "sil" else label.replace('"', '""')
        lines += [
            f"        intervals [{i}]:",
            f"            xmin = {start_s} ",
            f"            xmax = {end_s} ",
            f'            text = "{text}" ',
        ]
    return "\n".join(lines) + "\n"


def short_textgrid(phones: list[Phone]) -> str:
    """Praat's short text format."""
    lines = ['File type = "ooTextFile short"'.replace(" short", ""), '"TextGrid"', "", "0", "1"]
    lines += ["<exists>", "1", '"IntervalTier"', '"phones"', "0", "1", str(len(phones))]
    for label, start_s, end_s in phones:
        lines += [str(start_s), str(end_s), '"{}"'.format(label.replace('"', '""'))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("write", [long_textgrid, short_textgrid])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_textgrid_comes_back(tmp_path: Path, write, encoding: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.TextGrid"
    path.write_text(write(PHONES), encoding=encoding)
    assert read_textgrid(path) == PHONES


def test_a_textgrid_without_the_tier_or_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(long_textgrid(PHONES))
    with pytest.raises(UserError, match="no tier 'words' of intervals, but phones"):
        read_textgrid(path, "words")
    for text in ("", "hello", long_textgrid(PHONES)[:-60], short_textgrid(PHONES)[:40]):
        path.write_text(text)
        with pytest.raises(UserError, match="a.TextGrid: is no TextGrid"):
            read_textgrid(path)


@pytest.mark.parametrize("place", ["0011/a.TextGrid", "a.TextGrid"])
def test_textgrids_are_found_by_speaker_or_by_name(tmp_path: Path, place: str) -> None:
    path = tmp_path / "aligned" / place
    path.parent.mkdir(parents=True)
    path.write_text(short_textgrid(PHONES))
    row = utterance(tmp_path / "0011" / "a.wav")
    assert find_phones(row, "textgrid", tmp_path / "aligned") == PHONES
    assert find_phones(row, "textgrid", tmp_path) is None
    with pytest.raises(UserError, match="--folder"):
        find_phones(row, "textgrid")


@pytest.mark.parametrize(
    ("phones", "complaint"),
    [
        ([Phone("a", 0.0, 0.5), Phone("b", 0.4, 0.6)], "'b' from 0.400 to 0.600 s begins before"),
        ([Phone("a", 0.0, 0.5), Phone("b", 0.5, 0.5)], "'b' from 0.500 to 0.500 s has no duration"),
        ([Phone("a", 0.0, 1.5)], "'a' from 0.000 to 1.500 s ends after the audio, which has 1.000"),
        ([Phone("a", -0.2, 0.5)], "'a' from -0.200 to 0.500 s begins before 0.000"),
    ],
)
def test_phones_that_do_not_fit_are_named(
    tmp_path: Path, phones: list[Phone], complaint: str
) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(short_textgrid(phones))
    with pytest.raises(UserError, match=complaint) as error:
        find_phones(utterance(tmp_path / "wav" / "a.wav"), "textgrid", tmp_path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_hand_labels_lose_their_remarks_and_are_joined(tmp_path: Path) -> None:
    rows = ["    0.080000   -1 \t+beh", "    0.100000   -1 _t", "    0.200000   -1 !t\t+asp"]
    rows += ["    0.300000   -1 a\t+lar\t1", "    0.400000   -1 \t-lar", "    0.500000   -1 -hoe"]
    rows += ["    0.600000   -1 I+nas", "    0.620000   -1\t-tie", "    0.700000   -1 . -eng]"]
    path = tmp_path / "03a01Faxx.lablaut"
    path.write_text("signal x\nnfields 1\n#\n" + "\n".join(rows) + "\n")
    assert read_lablaut(path, 0.9) == [
        ("_t", 0.1, 0.2),
        ("!t", 0.2, 0.3),
        ("a", 0.3, 0.6),
        ("I", 0.6, 0.7),
        (".", 0.7, 0.9),
    ]
    path.write_text("signal x\n#\nnonsense\n")
    with pytest.raises(UserError, match="03a01Faxx.lablaut: row 'nonsense' is no label"):
        read_lablaut(path, 0.9)


def test_all_of_emodb_but_two_files_is_labelled(shared: Path) -> None:
    root = shared / "data" / "emodb"
    audio = sorted((root / "wav").glob("*.flac"))
    found = {p.stem: find_phones(utterance(p, 99.0), "emodb") for p in audio}
    assert [stem for stem, phones in found.items() if phones is None] == ["08a01Ab", "08a01Wa"]
    first = found["03a01Fa"]
    assert first is not None
    assert [p.label for p in first[:6]] == ["_t", "!t", "E6", "l", "a", "p"]
    assert first[9] == ("i", 0.698978, 0.802292)


def test_a_release_is_where_the_burst_is(shared: Path) -> None:
    """The times of EMO-DB's labels are where they begin: there it grows louder at a release."""
    rises: dict[str, list[float]] = {"begins": [], "ends": []}
    for path in sorted((shared / "data" / "emodb" / "wav").glob("03a0[1-5]*.flac")):
        wav, rate = read_wav(path)
        for phone in find_phones(utterance(path, len(wav) / rate), "emodb") or []:
            if phone.label in ("!t", "!d", "!p", "!k"):
                for name, seconds in (("begins", phone.start_s), ("ends", phone.end_s)):
                    at, width = int(seconds * rate), rate // 100
                    parts = wav[at - width : at], wav[at : at + width]
                    before, after = (float(np.square(p).mean()) + 1e-9 for p in parts)
                    rises[name].append(10 * np.log10(after / before))
    assert np.median(rises["begins"]) > 5 > np.median(rises["ends"])


def test_the_toy_corpus_tells_its_phones(tmp_path: Path) -> None:
    rows = [{"name": p.label, "start_s": p.start_s, "end_s": p.end_s} for p in PHONES]
    annotation = tmp_path / "annotations" / "anna_sad_s01.json"
    annotation.parent.mkdir()
    annotation.write_text(json.dumps({"f0_hz": [0.0], "phones": rows}))
    row = utterance(tmp_path / "audio" / "anna_sad_s01.flac")
    assert find_phones(row, "toy") == PHONES
    annotation.write_text("[]")
    with pytest.raises(UserError, match="is no annotation of the toy corpus"):
        find_phones(row, "toy")
