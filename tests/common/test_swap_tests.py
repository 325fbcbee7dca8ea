"""Swap tests of a model whose codes are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.common.code_models import KnownCodes, make_corpus

from emovc.common.audio import LogMel
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.swap_tests import (
    EVERYTHING,
    NOTHING,
    OTHER,
    RECORDINGS,
    SAME,
    Contours,
    Swap,
    common_steps,
    likeness,
    mix,
    run_swaps,
    share_moved,
    swap_pairs,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    return read_manifest(make_corpus(tmp_path_factory.mktemp("tones"), n_steps=10))


@pytest.fixture(scope="module")
def swaps(rows: list[Utterance]) -> list[Swap]:
    pairs = [p for p in swap_pairs(rows, 8) if p.kind == OTHER]
    return run_swaps(KnownCodes(LogMel()), pairs, {})


def mean(swaps: list[Swap], code: str, side: str, measure: str) -> float:
    return float(np.mean([getattr(s, side)[measure] for s in swaps if s.code == code]))


def test_swapped_f0_goes_to_the_donor(swaps: list[Swap]) -> None:
    assert mean(swaps, NOTHING, "host", "f0_corr") > 0.95
    assert mean(swaps, "pitch", "donor", "f0_corr") > 0.95
    assert mean(swaps, "pitch", "host", "f0_corr") < 0.7
    assert share_moved(swaps, "pitch", "f0_corr") == pytest.approx(1, abs=0.1)
    assert share_moved(swaps, "pitch", "energy_corr") == pytest.approx(0, abs=0.15)


def test_swapped_phones_take_the_level_and_leave_f0(swaps: list[Swap]) -> None:
    assert share_moved(swaps, "phone", "energy_corr") == pytest.approx(1, abs=0.15)
    assert share_moved(swaps, "phone", "f0_corr") == pytest.approx(0, abs=0.1)
    assert mean(swaps, "phone", "host", "f0_corr") > 0.95


def test_a_code_that_is_nothing_moves_nothing(swaps: list[Swap]) -> None:
    assert share_moved(swaps, "fixed", "f0_corr") == 0
    assert share_moved(swaps, "fixed", "mel_db") == 0


def test_the_recordings_are_the_floor(swaps: list[Swap]) -> None:
    for measures in (s for s in swaps if s.code == RECORDINGS):
        assert measures.host == measures.donor
    assert mean(swaps, RECORDINGS, "host", "mel_db") > mean(swaps, NOTHING, "host", "mel_db")


def test_pairs_say_different_words_and_take_turns(rows: list[Utterance]) -> None:
    pairs = swap_pairs(rows, 20)
    assert [p.kind for p in pairs] == [SAME, OTHER] * 10
    for pair in pairs:
        assert pair.host.sentence != pair.donor.sentence
        assert (pair.host.speaker == pair.donor.speaker) == (pair.kind == SAME)
        assert pair.kind == OTHER or pair.host.emotion != pair.donor.emotion
    assert swap_pairs(rows[::-1], 20) == pairs
    assert swap_pairs(rows, 20, seed=1) != pairs


def test_one_speaker_has_pairs_of_his_own_only(rows: list[Utterance]) -> None:
    alone = [replace(u, speaker="ann") for u in rows]
    assert {p.kind for p in swap_pairs(alone, 6)} == {SAME}
    assert swap_pairs([replace(u, sentence="s0") for u in rows], 6) == []


def test_mixtures_are_cut_to_the_shorter_one() -> None:
    host = {"a": torch.zeros(5, 2), "b": torch.zeros(5, 1), "c": torch.zeros(4)}
    donor = {"a": torch.ones(3, 2), "b": torch.ones(3, 1), "c": torch.ones(4)}
    steps = common_steps(host, donor)
    mixtures = mix(host, donor, steps)
    assert steps == 3
    assert {k: [float(c.mean()) for c in v.values()] for k, v in mixtures.items()} == {
        NOTHING: [0, 0, 0], "a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1], EVERYTHING: [1, 1, 1],
    }  # fmt: skip
    assert all(len(codes["a"]) == 3 and len(codes["c"]) == 4 for codes in mixtures.values())
    assert common_steps({"c": torch.zeros(4)}, {"c": torch.zeros(4)}) is None


def test_likeness_by_hand() -> None:
    level, mel = np.linspace(-40, 0, 50), np.zeros((3, 50))
    f0_hz = np.r_[np.zeros(20), np.geomspace(100, 200, 30)]
    a = Contours(f0_hz, level, mel, 100.0)
    same = likeness(a, a)
    assert same == pytest.approx(
        {"f0_corr": 1, "f0_level_st": 0, "energy_corr": 1, "duration_s": 0, "mel_db": 0}
    )
    b = Contours(np.r_[np.zeros(20), np.geomspace(400, 200, 30)], -level, mel + 3, 100.0)
    other = likeness(a, b)
    assert other["f0_corr"] == pytest.approx(-1)
    assert other["f0_level_st"] == pytest.approx(12)  # means of ln F0: 141 and 283 Hz
    assert other["energy_corr"] == pytest.approx(-1)
    assert other["mel_db"] == pytest.approx(3)
    assert np.isnan(likeness(a, a._replace(f0_hz=np.zeros(50)))["f0_corr"])


def moved(values: list[tuple[float, float]], code: float) -> float:
    """Share of a correlation, from pairs' gains with nothing and with everything swapped."""
    swaps = []
    for i, (nothing, everything) in enumerate(values):
        for name, gain in ((NOTHING, nothing), ("x", code), (EVERYTHING, everything)):
            measures = {"f0_corr": 0.0}, {"f0_corr": gain}
            swaps.append(Swap(f"p{i}", SAME, name, *measures))
    return share_moved(swaps, "x", "f0_corr")


def test_shares_run_from_nothing_to_everything() -> None:
    clear = [(-0.8, 0.8), (-0.6, 0.6), (-0.7, 0.7)]
    assert moved(clear, -0.7) == pytest.approx(0)
    assert moved(clear, 0.7) == pytest.approx(1)
    assert moved(clear, 0) == pytest.approx(0.5)
    assert np.isnan(moved([(-0.8, 0.8), (0.8, -0.8), (0.1, 0.2)], 0.5))  # doesn't tell the two
    assert np.isnan(moved([(-0.8, 0.8)], 0.5))


def test_the_same_pairs_give_the_same_numbers(rows: list[Utterance]) -> None:
    pairs = swap_pairs(rows, 1)
    heard: list[str] = []
    first = run_swaps(KnownCodes(LogMel()), pairs, {}, lambda pair, what, wav: heard.append(what))
    assert run_swaps(KnownCodes(LogMel()), pairs, {}) == first
    codes = [NOTHING, "pitch", "phone", "fixed", EVERYTHING]
    assert heard == [*(f"{c} swapped" for c in codes), "host", "donor"]
