"""ESD in its authors' layout, with the mixed encodings of its transcripts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emovc.common.corpora import read_corpus
from emovc.common.corpora.esd import official_part, position
from emovc.common.manifest import Utterance

CAFE = "The café’s closed."


def by_id(found: list[Utterance]) -> dict[str, Utterance]:
    return {u.id: u for u in found}


def transcript(path: Path, content: str, encoding: str, mark: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mark + content.encode(encoding))


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", b"\xef\xbb\xbf"),
        ("utf-16-le", b""),
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("cp1252", b""),
    ],
)
def test_english_transcripts_of_any_encoding(
    tmp_path: Path, write_audio: Callable[..., None], encoding: str, mark: bytes
) -> None:
    write_audio("0016/Neutral/0016_000001.wav", "0016/Angry/0016_000351.wav")
    lines = f"0016_000001\t{CAFE}\tNeutral\r\n0016_000351\t{CAFE}\tAngry\r\n"
    transcript(tmp_path / "0016/0016.txt", lines, encoding, mark)
    found = read_corpus("esd", tmp_path)
    assert found.skipped == []
    assert [u.text for u in found.utterances] == [CAFE, CAFE]


def test_latin_1_and_chinese_quotes_in_english_files(
    tmp_path: Path, write_audio: Callable[..., None]
) -> None:
    write_audio("0016/Sad/0016_001051.wav", "0017/Sad/0017_001051.wav")
    transcript(tmp_path / "0016/0016.txt", "0016_001051\tThe café.\tSad\n", "latin-1")
    transcript(tmp_path / "0017/0017.txt", "0017_001051\tIt’s “that”.\tSad\n", "gb2312")
    texts = [u.text for u in read_corpus("esd", tmp_path).utterances]
    assert texts == ["The café.", "It’s “that”."]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("gb2312", b""), ("utf-16-le", b""), ("utf-16-le", b"\xff\xfe"), ("utf-8", b"")],
)
def test_mandarin(
    tmp_path: Path, write_audio: Callable[..., None], encoding: str, mark: bytes
) -> None:
    write_audio("0004/Surprise/0004_001750.wav", "0001/Neutral/0001_000001.wav")
    content = "0004_001750\t打远一看，它们的确很是美丽，\t惊喜\n"
    transcript(tmp_path / "0004/0004.txt", content, encoding, mark)
    transcript(tmp_path / "0001/0001.txt", "0001_000001\t好\t中立\n", "gb2312")
    found = read_corpus("esd", tmp_path)
    assert found.skipped == []
    female, male = found.utterances
    assert (female.speaker, female.gender, female.text) == ("esd_0001", "F", "好")
    assert (male.gender, male.language, male.sentence) == ("M", "zh", "zh350")
    assert (male.emotion, male.emotion_raw) == ("surprise", "Surprise")
    assert male.text == "打远一看，它们的确很是美丽，"


def test_split_and_sentence_are_positions_in_blocks_of_350() -> None:
    parts = [official_part(position(n)) for n in range(1, 1751)]
    assert [parts.count(p) for p in ("train", "test", "val")] == [1500, 150, 100]
    assert position(1) == position(351) == position(1401) == 1 and position(1750) == 350
    assert parts[0:350] == parts[350:700] == ["val"] * 20 + ["test"] * 30 + ["train"] * 300


@pytest.mark.parametrize("nested", [False, True])
def test_both_layouts(tmp_path: Path, write_audio: Callable[..., None], nested: bool) -> None:
    rows = {("Neutral", 20): "evaluation", ("Angry", 371): "test", ("Happy", 751): "train"}
    for (emotion, number), part in rows.items():
        folder = f"ESD/0013/{emotion}" + (f"/{part}" if nested else "")
        write_audio(f"{folder}/0013_{number:06d}.wav")
    transcript(tmp_path / "ESD/0013/0013.txt", "0013_000020 A b.\n", "ascii")
    found = by_id(read_corpus("esd", tmp_path).utterances)
    neutral, angry, happy = (found[f"esd/0013_{n:06d}"] for n in (20, 371, 751))
    assert (neutral.split, angry.split, happy.split) == ("val", "test", "train")
    assert (neutral.sentence, angry.sentence, happy.sentence) == ("en020", "en021", "en051")
    assert {u.split_id for u in found.values()} == {"esd-300-20-30"}
    assert (neutral.gender, neutral.language, neutral.text) == ("M", "en", "A b.")


def test_anomalies_are_reported(tmp_path: Path, write_audio: Callable[..., None]) -> None:
    write_audio(
        "0015/Neutral/0015_000131.wav",
        "0015/Angry/0015_000481.wav",
        "0015/Happy/0015_000831.wav",
        "0015/Happy/0015_000832.wav",
        "0015/Sad/train/0015_001051.wav",
        "0015/Calm/0015_000001.wav",
        "0099/Sad/0099_000001.wav",
        "0011/Sad/0011_001052.wav",
    )
    (tmp_path / "0015/Surprise").mkdir()
    (tmp_path / "0015/Surprise/0015_001531.wav").write_bytes(b"")
    transcript(
        tmp_path / "0015/0015.txt",
        "0015_000131\tIt must come sometimes.\tNeutral\n"
        "0015_000481 It must come sometimes. Angry\n"
        "0015_000831\tmust come sometimes.\tHappy\n"
        "0015_000832\tHappy\n"
        "0015_001051\tHe lives.\tAngry\n"
        "nonsense\n",
        "ascii",
    )
    found = read_corpus("esd", tmp_path)
    utterances = by_id(found.utterances)
    assert set(utterances) == {
        "esd/0011_001052", "esd/0015_000131", "esd/0015_000481", "esd/0015_000831",
        "esd/0015_000832", "esd/0015_001051",
    }  # fmt: skip
    assert utterances["esd/0015_000481"].text == "It must come sometimes."
    assert utterances["esd/0015_000832"].text is None
    assert utterances["esd/0015_001051"].emotion == "sad"
    assert utterances["esd/0015_001051"].split == "val"
    said = "\n".join(found.skipped)
    for reason in (
        "0011/0011.txt: is not there",
        "0015/0015.txt: line 6 doesn't begin with a recording",
        "0015/0015.txt: line 5 calls 0015_001051 Angry",
        "0015/0015.txt: words of 0015_000831 differ",
        "0015/Happy/0015_000832.wav: has no text",
        "0015/Sad/train/0015_001051.wav: lies in train but is number 1 of its block, which is val",
        "0015/Calm/0015_000001.wav: is not named like",
        "0099/Sad/0099_000001.wav: is not named like",
        "0015/Surprise/0015_001531.wav: is an empty file",
    ):
        assert reason in said
    assert all("0011_001052" not in line for line in found.skipped)
