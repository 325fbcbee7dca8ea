"""Distill-MOS: the package's own numbers, whatever the length, the level and the company."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.judges import distill_mos
from emovc.common.judges.distill_mos import DistillMos
from emovc.common.judging import Goal
from emovc.common.wav import read_wav

pytest.importorskip("distillmos")


@pytest.fixture(scope="module")
def judge() -> DistillMos:
    return DistillMos()


def voice(seconds: float) -> np.ndarray:
    """A harmonic sound at 16 kHz whose loudness varies."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    sound = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 30))
    return (0.1 * sound * (1.1 + np.sin(6 * time))).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 7.68, 8.4])
def test_scores_are_those_of_the_package(judge: DistillMos, seconds: float) -> None:
    from distillmos import ConvTransformerSQAModel

    theirs, wav = ConvTransformerSQAModel().eval(), voice(seconds)
    with torch.inference_mode():
        wanted = float(theirs(torch.from_numpy(wav)[None]))
    assert judge.hear(wav, 16_000)["mos_distill_mos"] == pytest.approx(wanted, abs=1e-4)


def test_windows_do_not_depend_on_the_batch(
    judge: DistillMos, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = voice(8.4)  # two windows
    together = judge.hear(wav, 16_000)["mos_distill_mos"]
    monkeypatch.setattr(distill_mos, "BATCH", 1)
    assert judge.hear(wav, 16_000)["mos_distill_mos"] == pytest.approx(together, abs=1e-5)


def test_the_level_does_not_count(judge: DistillMos) -> None:
    wav = voice(1.0)
    scores = [judge.hear(gain * wav, 16_000)["mos_distill_mos"] for gain in (0.02, 1)]
    assert np.ptp(scores) < 1e-3


def test_the_record_and_the_verdict(judge: DistillMos, capsys: pytest.CaptureFixture[str]) -> None:
    heard = {"mos_distill_mos": 3.0}
    assert judge.judge(heard, {}, Goal("sad", None, None, "a")).metrics == heard
    assert len(judge.about["weights"]) == 12 and judge.about["source"].startswith("distillmos 0.")
    assert DistillMos().about == judge.about
    assert capsys.readouterr().out == ""  # the package prints a path when it loads its weights


def test_no_speech_is_named(judge: DistillMos) -> None:
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(16_000), 16_000)
    with pytest.raises(UserError, match="NaN"):
        judge.hear(np.full(16_000, np.nan), 16_000)


@pytest.mark.parametrize("name", ["nemo/samples/EB0_anger_10", "emodb/wav/03a01Fa"])
def test_noise_lowers_the_score_of_speech(judge: DistillMos, name: str, shared: Path) -> None:
    wav, rate = read_wav(shared / "data" / f"{name}.flac")
    noise = np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32) * wav.std()
    scores = [judge.hear(wav + share * noise, rate)["mos_distill_mos"] for share in (0, 0.1, 1)]
    assert scores == sorted(scores, reverse=True) and scores[0] - scores[-1] > 1
