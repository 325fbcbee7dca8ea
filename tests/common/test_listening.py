"""What is listened to in training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.conversion import CopySynthesis, EmotionTarget, Speech
from emovc.common.errors import UserError
from emovc.common.listening import ListeningSet, listening_pairs
from emovc.common.manifest import read_manifest


class Shy(CopySynthesis):
    """Says nothing of one text."""

    def __init__(self, frontend: LogMel, refused: str | None) -> None:
        super().__init__(frontend)
        self.refused = refused

    def convert(self, source: Speech, target: EmotionTarget, seed: int = 0) -> Tensor:
        if source.text == self.refused:
            raise UserError("this text can't be said")
        return super().convert(source, target, seed)


def test_what_can_not_be_converted_is_left_out_and_training_goes_on(
    toy: Path, tmp_path: Path
) -> None:
    rows = [u for u in read_manifest(toy) if u.split == "train"]
    pairs = listening_pairs(rows, 3)
    lit: Any = L.LightningModule()
    lit.model = Shy(LogMel(), pairs[0].source.text)
    data = SimpleNamespace(manifest=toy, of_split=lambda split: rows)
    trainer: Any = SimpleNamespace(datamodule=data, loggers=[])
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match=f"{pairs[0].id}: is not listened to, this text"):
        ListeningSet(n_pairs=3).look(trainer, lit, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    left = {pair.id for pair in pairs if pair.source.text != pairs[0].source.text}
    assert left
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == left
