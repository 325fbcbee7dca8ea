"""What the synthesizer's training needs of its corpus, aligner and quantiser."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.common.features.store import FeatureStore
from emovc.common.weights import load_exactly, weights_hash
from emovc.genner_tts.acoustic import GennerAcoustic
from emovc.genner_tts.aligner import Aligner
from emovc.genner_tts.durations_file import read_durations
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.text_data import TextDataModule

REMEDY = "train one with emovc fit -c configs/aligner_toy.yaml, or for your corpus alike"


def require_features(data: TextDataModule, names: tuple[str, ...]) -> dict[str, FeatureStore]:
    """The stores that the training reads.

    Raises:
        UserError: The data doesn't carry one, or has no durations.
    """
    for name in names:
        if name not in data.stores:
            raise UserError(
                f"data.features: lacks {name}; list it, and extract it with emovc prepare or emovc"
                f" represent {data.manifest}"
            )
    if data.durations is None:
        raise UserError(
            "data.durations: is not set; write them with emovc export-durations RUN"
            f" {data.manifest}, and name the file"
        )
    return data.stores


def load_aligner(own: Aligner, source: str | None, durations: Path) -> None:
    """Take over the trained aligner that made the durations.

    Args:
        own: The model's aligner.
        source: Run, checkpoint, or exported folder.
        durations: File of the durations that are trained on.

    Raises:
        UserError: There is none, it doesn't fit, or it isn't the one that made the durations.
    """
    if source is None:
        raise UserError(f"model.aligner: is not set; {REMEDY} and name its run")
    try:
        aligner = Aligner.from_pretrained(source)
    except UserError as error:
        raise UserError(f"model.aligner: {error}; {REMEDY}") from None
    made, found = read_durations(durations).made["weights"], weights_hash(aligner)
    if made is not None and made != found:
        raise UserError(
            f"{durations}: was made by an aligner with weights {made}, model.aligner {source} has"
            f" {found}; write them anew with emovc export-durations {source}"
        )
    load_exactly(own, aligner.state_dict(), Path(source))
    own.pretrained = True


def load_quantizer(source: str, dim: int, device: torch.device) -> EmotionQuantizer:
    """A trained quantiser for emotion vectors of ``dim`` values, on a device.

    Raises:
        UserError: There is none, or it is for other vectors.
    """
    quantizer = EmotionQuantizer.from_pretrained(source)
    if quantizer.settings["dim"] != dim or quantizer.recurrent:
        raise UserError(
            f"{source}: quantises vectors of {quantizer.settings['dim']} values, the model's"
            f" emotion vectors have {dim}; train one on the same feature"
        )
    return quantizer.requires_grad_(False).to(device)


def take_statistics(acoustic: GennerAcoustic, data: TextDataModule, feature: str) -> None:
    """Give the model the F0 of the training part, and its emotion vectors' scale if it asks.

    Args:
        acoustic: The model.
        data: The corpus.
        feature: Stored feature with the emotion vectors.

    Raises:
        UserError: Nothing is voiced.
    """
    acoustic.pitch.scale.set(*f0_statistics(data))
    if acoustic.style.emo_norm == "zscore":
        store, rows = data.stores[feature], data.of_split("train")
        means = np.stack([store.get(u.sha256).mean(0) for u in rows])
        acoustic.style.set_scale(torch.from_numpy(means))


def f0_statistics(data: TextDataModule) -> tuple[float, float]:
    """Mean and standard deviation in Hz of the training part's F0, over voiced frames.

    Raises:
        UserError: Nothing is voiced.
    """
    tracks = [data.stores["f0"].get(u.sha256)[:, 0] for u in data.of_split("train")]
    f0_hz = np.concatenate(tracks).astype(np.float64)
    voiced = f0_hz[f0_hz > 0]
    if len(voiced) < 2:
        raise UserError(f"{data.manifest}: no training frame is voiced; extract f0 anew")
    return float(voiced.mean()), float(voiced.std())


def require_frames(ids: Sequence[str], durations: Tensor, frames: Tensor) -> None:
    """Refuse durations that don't sum up to the frames of the audio.

    Args:
        ids: Utterances, for the message.
        durations: Frames of each phone, (B, L).
        frames: Frames of each utterance, (B,).

    Raises:
        UserError: One is named.
    """
    if wrong := (durations.sum(1) != frames).nonzero().flatten().tolist():
        i = wrong[0]
        raise UserError(
            f"{ids[i]}: has {int(frames[i])} frames, but durations of {int(durations[i].sum())};"
            " write the durations of this audio anew"
        )


def partly_quantised(quantizer: EmotionQuantizer, emotion: Tensor, share: float) -> Tensor:
    """Emotion vectors (B, E), some of them quantised, each with a log-uniform lambda of its own.

    Args:
        quantizer: The quantiser.
        emotion: Emotion vectors, (B, E).
        share: Probability to quantise one.
    """
    lam = quantizer.draw_lambdas(len(emotion), emotion.device)
    taken = torch.rand(len(emotion), 1, device=emotion.device) < share
    return torch.where(taken, quantizer(emotion, lam).quantized, emotion)
