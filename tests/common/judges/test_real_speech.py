"""Every judge of ``configs/judges/full.yaml`` on real recordings."""

from pathlib import Path

import pytest
import yaml
from tests.common.whisper_models import real_whisper

from emovc.common.judging import Goal
from emovc.common.panel import Failed, Panel, read_judges
from emovc.common.wav import read_wav

ROOT = Path(__file__).parents[3]
RATE = 22_050


def test_every_judge_scores_a_real_recording(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOVC_WHISPER", str(real_whisper()))
    entries = yaml.safe_load((ROOT / "configs" / "judges" / "full.yaml").read_text())
    for entry in entries:
        if entry["class_path"].endswith("Nisqa"):
            entry["init_args"]["weights"] = str(shared / "weights" / "nisqa" / "nisqa.tar")
    path = tmp_path / "judges.yaml"
    path.write_text(yaml.safe_dump(entries))
    judges, left_out = read_judges(path, {"en"})
    assert len(judges) == len(entries) and not left_out

    actor = shared / "data" / "ravdess" / "Actor_01"
    neutral, angry = (
        read_wav(actor / f"03-01-{e}-01-01-01.flac", RATE)[0] for e in ("01-01", "05-02")
    )
    panel = Panel(judges, RATE)
    heard = {"source": panel.hear(neutral, "en"), "target": panel.hear(angry, "en")}
    failed = {n: h for part in heard.values() for n, h in part.items() if isinstance(h, Failed)}
    assert not failed
    goal = Goal("angry", "kids are talking by the door", "en", "01")
    verdict, gaps = panel.judge(heard["target"], heard, goal)
    assert not gaps
    assert set(verdict.metrics) <= set(panel.headings)
    metrics = verdict.metrics
    # The row is the target itself, a loud recording without noise, of words that are easy.
    assert all(metrics[name] == pytest.approx(1) for name in metrics if "similarity" in name)
    assert all(
        2 < metrics[name] < 5 for name in metrics if name.startswith(("mos", "p808", "ovrl"))
    )
    assert metrics["wer_whisper"] == 0
    assert {label for name, label in verdict.labels.items() if "emotion" in name} == {"angry"}
    assert metrics["emotion_probability_encoder_whisper_without_nemo"] > 0.8
    assert 0.5 < metrics["arousal_pseudo"] <= 1
