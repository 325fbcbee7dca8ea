"""Rows of a pair are given to the judges in the language of their own recording."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emovc.common.audio import LogMel
from emovc.common.converted import ConvertedFiles
from emovc.common.evaluator import PairEvaluator
from emovc.common.griffin_lim import GriffinLim
from emovc.common.judging import Goal, Verdict
from emovc.common.manifest import Utterance
from emovc.common.pair_conversion import PairConverter
from emovc.common.pairs import Pair
from emovc.common.panel import Panel
from emovc.common.wav import write_wav


class Languages:
    """A judge that keeps the language of every recording that it is given."""

    name = "languages"
    metrics: Mapping[str, str] = {}
    about: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.given: list[str] = []

    def hear(self, wav: np.ndarray, sample_rate: int) -> str:
        return self.hear_in_language(wav, sample_rate, "unknown")

    def hear_in_language(self, wav: np.ndarray, sample_rate: int, language: str) -> str:
        self.given.append(language)
        return language

    def judge(self, heard: str, recordings: Mapping[str, Any], goal: Goal) -> Verdict:
        parts = [heard, recordings["source"], recordings["target"], recordings["other_speaker"]]
        return Verdict({}, {"language": " ".join(parts)})


def utterance(folder: Path, name: str, language: str | None, seed: int) -> Utterance:
    """Half a second of noise in a language."""
    path, wav = folder / f"{name}.wav", np.random.default_rng(seed).uniform(-0.5, 0.5, 11_025)
    write_wav(path, wav, 22_050)
    return Utterance(name, path, name, 22_050, len(wav), f"s{seed}", "toy", emotion="angry",
                     text="one two", language=language)  # fmt: skip


def test_languages_of_all_rows_also_of_those_measured_before(tmp_path: Path) -> None:
    source = utterance(tmp_path, "source", "de", 0)
    target, stranger = (utterance(tmp_path, n, c, 1) for n, c in (("target", "pl"), ("x", None)))
    converted = tmp_path / "converted"
    for name in ("first", "second"):
        write_wav(converted / f"{name}.wav", np.full(11_025, 0.1), 22_050)
    frontend, judge = LogMel(), Languages()
    files = ConvertedFiles(converted, frontend)
    converter = PairConverter(files, GriffinLim(frontend, n_iter=1), {})  # type: ignore[arg-type]
    evaluator = PairEvaluator(converter, Panel([judge], 22_050), ["angry"])
    pair = Pair("first", source, target, None, stranger)
    rows = {s.row: s.labels["language"] for s in evaluator.evaluate(pair).scores}
    assert rows == {
        "source": "de de pl unknown", "model": "pl de pl unknown",
        "copy-synthesis": "pl de pl unknown", "target": "pl de pl unknown",
    }  # fmt: skip
    assert len(judge.given) == 5
    english = replace(target, id="english", language="en")
    again = Pair("second", source, english, None, stranger)
    rows = {s.row: s.labels["language"] for s in evaluator.evaluate(again).scores}
    assert rows["source"] == "de de en unknown" and rows["copy-synthesis"] == "en de en unknown"
    assert len(judge.given) == 8  # source and stranger were known
