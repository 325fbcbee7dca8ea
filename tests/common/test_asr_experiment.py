"""The table of word errors: resumable, by content, with intervals over speakers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from emovc.common.asr_experiment import asr, read_rows
from emovc.common.asr_report import Transcript, error_records, micro_interval, summarise
from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, write_manifest
from emovc.common.spread import choose_spread
from emovc.common.vocoder import HiFiGAN
from emovc.common.wav import write_wav

ASKED: list[tuple[int, str | None]] = []  # sizes of batches and languages


class Level:
    """A recogniser that writes as many words as the recording has tenths of full scale."""

    name = "level"
    languages = ("pl", "en")
    about = {"weights": "abc", "decoding": "by level"}

    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        return " ".join(["a"] * round(10 * float(np.abs(wav).max())))

    def transcribe_batch(
        self, wavs: list[np.ndarray], sample_rate: int, languages: list[str | None]
    ) -> list[str]:
        ASKED.extend((len(wavs), code) for code in languages)
        return [self.transcribe(wav, sample_rate) for wav in wavs]


JUDGES = f"""- class_path: emovc.common.judges.intelligibility.Intelligibility
  init_args:
    recogniser: {{class_path: {__name__}.Level}}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six recordings of three speakers, one of them silent and one in German."""
    rows = []
    for i in range(6):
        wav = np.zeros(11_025) if i == 5 else np.random.default_rng(i).uniform(-0.4, 0.4, 11_025)
        path = tmp_path / f"{i}.wav"
        write_wav(path, wav, 22_050)
        rows.append(Utterance(f"toy/{i}", path, str(i), 22_050, 11_025, f"s{i % 3}", "toy",
                    emotion="angry", text="A a, a a!", language="de" if i == 4 else "pl",
                    split="test"))  # fmt: skip
    write_manifest(tmp_path / "manifest.jsonl", rows)
    (tmp_path / "judges.yaml").write_text(JUDGES)
    return tmp_path / "manifest.jsonl"


def test_the_table_goes_on_and_gets_rows(manifest: Path, tmp_path: Path) -> None:
    out, judges = tmp_path / "asr", tmp_path / "judges.yaml"
    ASKED.clear()
    asr([manifest], out, ["recording"], judges=judges, batch_size=2)
    assert {code for _, code in ASKED} == {"pl"} and max(n for n, _ in ASKED) == 2
    record = json.loads((out / "asr.json").read_text())
    (line,) = record["rows"]
    assert (line["utterances"], line["gaps"], line["speakers"]) == (4, 1, 3)
    assert line["wer_micro"] == line["wer_mean"] == line["cer_micro_high"] == 0
    assert list(record["gaps"].values()) == [1] and "silent" in next(iter(record["gaps"]))

    next((out / "parts").iterdir()).unlink()
    ASKED.clear()
    asr([manifest], out, ["recording", "griffin-lim"], judges=judges)
    assert len(ASKED) <= 1 + 4 + 4  # one anew, Griffin-Lim, its batch with a silent one again
    lines = json.loads((out / "asr.json").read_text())["rows"]
    assert [line["row"] for line in lines] == ["recording", "griffin-lim"]
    assert "wer_more" in lines[1] and "wer_more" not in lines[0]
    ASKED.clear()
    asr([manifest], out, ["recording", "griffin-lim"], judges=judges)
    assert not ASKED
    with (out / "asr_utterances.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 10


def test_rows_are_known_by_what_they_are_made_with(tmp_path: Path) -> None:
    frontend = LogMel()
    for name in ("a", "b"):
        vocoder = HiFiGAN(frontend, upsample_initial_channel=16)
        vocoder.pretrained = True
        vocoder.save_pretrained(tmp_path / name)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    rows = read_rows(["recording", "griffin-lim", f"one={a}", f"two={b}"], [f"raw={a}"], frontend)
    assert [row.name for row in rows] == ["recording", "griffin-lim", "one", "two", "raw"]
    assert len({row.identity for row in rows}) == 5
    assert read_rows([f"other={a}"], [], frontend)[0].identity == rows[2].identity
    with pytest.raises(UserError, match="recording stands twice"):
        read_rows(["recording", "recording"], [], frontend)
    with pytest.raises(UserError, match="no such vocoder"):
        read_rows(["nowhere"], [], frontend)


def test_bad_input_is_one_line(manifest: Path, tmp_path: Path) -> None:
    judges = tmp_path / "judges.yaml"
    with pytest.raises(UserError, match="split val is empty"):
        asr([manifest], tmp_path, split="val", judges=judges)
    with pytest.raises(UserError, match="give 1 or more"):
        asr([manifest], tmp_path, utterances=0, judges=judges)
    judges.write_text("- class_path: emovc.common.judges.speaker_similarity.DvectorSimilarity\n")
    with pytest.raises(UserError, match="dvector recognises no words"):
        asr([manifest], tmp_path, judges=judges)
    judges.write_text(JUDGES + JUDGES)
    with pytest.raises(UserError, match="level stands twice"):
        asr([manifest], tmp_path, judges=judges)


def test_rates_by_hand() -> None:
    said = [("s0", "a b c d", "a b c d"), ("s0", "a b", "a"), ("s1", "a b", ""), ("s1", "a", None)]
    found = [
        Transcript("toy", "recording", "level", str(i), speaker, None, text, wrote, None)
        for i, (speaker, text, wrote) in enumerate(said)
    ]
    copies = [t._replace(row="copy", transcript="") for t in found]
    real, copy = summarise(error_records([*found, *copies]))
    assert real["utterances"] == 3 and real["gaps"] == 1
    assert real["wer_micro"] == pytest.approx(3 / 8)
    assert real["wer_mean"] == pytest.approx((0 + 0.5 + 1) / 3)
    assert copy["wer_micro"] == 1 and copy["wer_more"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert (real["wer_micro_low"], real["wer_micro_high"]) == (pytest.approx(1 / 6), 1.0)
    micro = micro_interval(np.array([0.5, 0.5]), np.array([2, 4]), ["a", "b"])
    assert micro == (0.5, 0.5, 0.5)


def test_fewer_utterances_are_the_first_of_more() -> None:
    rows = [
        Utterance(f"{s}{e}{i}", Path(), f"{s}{e}{i}", 1, 1, s, "toy", emotion=e)
        for s in ("a", "b") for e in ("sad", "angry") for i in range(5)
    ]  # fmt: skip
    four, eight = choose_spread(rows, 4, 0), choose_spread(rows[::-1], 8, 0)
    assert len({(u.speaker, u.emotion) for u in four}) == 4 and eight[:4] == four
    assert choose_spread(rows, 8, 1) != eight and len(choose_spread(rows, 99, 0)) == 20
