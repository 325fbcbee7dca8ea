"""SpeechFlow with a learned table of speakers, trained and loaded again."""

from pathlib import Path

import pytest
from tests.integration.runs import ABLATIONS, NET, fit_words

from emovc.common.conversion import EmotionTarget
from emovc.common.convert import read_speech
from emovc.common.errors import UserError
from emovc.common.fit import cli
from emovc.common.manifest import read_manifest
from emovc.speechflow import SpeechFlow


def test_a_table_knows_the_training_speakers_by_name(toy: Path, tmp_path: Path) -> None:
    size = "--model.init_args.model.init_args.speaker.init_args.n_speakers=4"
    quiet = "--trainer.callbacks=[{class_path: emovc.common.checkpoints.LastCheckpoint}]"
    words = fit_words(toy, tmp_path / "run", 2, [size, quiet], ABLATIONS / "speechflow_table.yaml")
    cli([*words, f"{NET}speaker_dim=16"])
    model = SpeechFlow.from_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    rows = read_manifest(toy)
    assert model.speaker.names == sorted({u.speaker for u in rows})
    source, reference = (read_speech(u.path, 22_050) for u in rows[:2])
    with pytest.raises(UserError, match="--speaker NAME"):
        model.convert(source, EmotionTarget([reference]))
    named = read_speech(rows[0].path, 22_050, speaker=rows[0].speaker)
    assert model.convert(named, EmotionTarget([reference])).isfinite().all()
