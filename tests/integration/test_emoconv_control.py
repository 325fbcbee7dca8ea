"""What EmoConv-Diff's level of arousal does after a short training on the toy corpus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tests.integration.emoconv import AVERAGED, words
from tests.integration.runs import curve

from emovc.common.audio import frame_levels_db
from emovc.common.conversion import EmotionTarget
from emovc.common.convert import load_vocoder, read_speech, vocode
from emovc.common.f0 import Dio
from emovc.common.fit import main as fit_main
from emovc.common.manifest import read_manifest
from emovc.emoconv_diff import EmoConvDiff


def test_a_short_training_hears_the_level(
    labelled: Path, average_voice: Path, tmp_path: Path
) -> None:
    """The loss falls and the level matters; which way is up takes longer to learn."""
    crop = "--data.init_args.crop={min_frames: 48, max_frames: 48}"
    run = tmp_path / "run"
    rate = "--model.init_args.optimizer.init_args.lr=1e-3"  # too much for long trainings
    fit_main("fit", words(labelled, average_voice, run, 150, crop, rate, AVERAGED))
    losses = list(curve(run, "train/loss").values())
    assert np.mean(losses[-40:]) < 0.95 * np.mean(losses[:40])
    low, high = proxies(run, labelled, (1, 7))
    assert abs(high[0] - low[0]) > 0.01


@pytest.mark.slow
def test_a_toy_training_follows_the_level(
    labelled: Path, average_voice: Path, tmp_path: Path
) -> None:
    """The config as it is: loudness and F0 rise with the level asked for, if not at each step.

    The toy corpus has one to ten recordings to tell what a level is.
    """
    fit_main("fit", words(labelled, average_voice, tmp_path / "run", 1500))
    levels = range(1, 8)
    loudness_db, f0_hz = np.array(proxies(tmp_path / "run", labelled, levels)).T
    assert spearmanr(levels, loudness_db).statistic > 0.5
    assert spearmanr(levels, f0_hz).statistic > 0
    assert loudness_db[-1] > loudness_db[0] + 3 and f0_hz[-1] > 1.1 * f0_hz[0]


def proxies(run: Path, manifest: Path, levels: Sequence[float]) -> list[tuple[float, float]]:
    """Loudness in dB and mean F0 in Hz of neutral test utterances at each level asked for."""
    model = EmoConvDiff.from_checkpoint(run / "checkpoints" / "last.ckpt")
    rows = [u for u in read_manifest(manifest) if u.split == "test" and u.emotion == "neutral"]
    sources = [read_speech(u.path, model.frontend.sample_rate) for u in rows]
    vocoder, tracker = load_vocoder(None, model.frontend, "cpu"), Dio()
    found = []
    for level in levels:
        mels = [model.convert(source, EmotionTarget(arousal=level)) for source in sources]
        f0_hz = np.concatenate([tracker(vocode(vocoder, mel).numpy()) for mel in mels])
        pitch = float(f0_hz[f0_hz > 0].mean()) if (f0_hz > 0).any() else float("nan")
        found.append((float(np.mean([loudness(mel) for mel in mels])), pitch))
    return found


def loudness(mel: torch.Tensor) -> float:
    """Mean level in dB of the frames of a log-mel (M, T) that are no silence."""
    level_db = frame_levels_db(mel[None])[0]
    return float(level_db[level_db > level_db.max() - 40].mean())
