"""Utterances and windows of the emotion experiment."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emovc.common.data import SpeechDataModule
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.common.splits import assign_split
from emovc.speechflow.converter import Inputs, SpeechFlow

WINDOW_S = 3.072  # the authors' 192 frames of 16 ms
SHARE = 0.2  # of the utterances in val and in test


@dataclass(frozen=True)
class Windows:
    """The first and, where an utterance is longer than one, the last window of each utterance.

    Attributes:
        mel: Scaled mels, padded with zeros, (W, M, T).
        f0: Normalised F0, -1 where unvoiced or padded, (W, T).
        speaker: Speaker vectors, (W, D).
        owner: Utterance of each window, (W,).
        utterances: The utterances.
    """

    mel: Tensor
    f0: Tensor
    speaker: Tensor
    owner: Tensor
    utterances: list[Utterance]


def window_frames(model: SpeechFlow) -> int:
    """Frames nearest to the authors' window that are a multiple of the network's factor."""
    frames = WINDOW_S * model.frontend.frame_rate
    return max(1, round(frames / model.net.factor)) * model.net.factor


@torch.inference_mode()
def collect_windows(
    model: SpeechFlow, manifest: Path, emotions: Sequence[str], most: int | None = None
) -> Windows:
    """Windows of a balanced draw of a corpus, in the order of the utterances' ids.

    Args:
        model: Gives front end and scale; runs that share these share the windows.
        manifest: Prepared corpus with the features ``f0`` and ``dvector``.
        emotions: Canonical emotions.
        most: Most utterances of each speaker and emotion.

    Raises:
        UserError: The corpus can't be used, or no speaker has all emotions.
    """
    frontend, n_frames = model.frontend, window_frames(model)
    data = SpeechDataModule(
        manifest,
        frontend.sample_rate,
        frontend.hop_length,
        features=["f0", "dvector"],
        speaker_means=["dvector"],
    )
    data.setup("test")
    wanted = {u.id: u for u in balanced(data.utterances, emotions, most)}
    if not wanted:
        raise UserError(
            f"{manifest}: no speaker has all of {', '.join(emotions)}; give others with --emotions"
        )
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for split in sorted({str(u.split) for u in wanted.values()}):
        for batch in data.evaluation_loader(split):
            inputs = model.inputs(batch)
            for i, name in enumerate(batch.ids):
                if name in wanted:
                    found[name] = cut_windows(inputs, i, n_frames)
    names = sorted(found)
    mel, f0, speaker = zip(*(w for n in names for w in found[n]), strict=True)
    owner = torch.tensor([i for i, n in enumerate(names) for _ in found[n]])
    utterances = [wanted[n] for n in names]
    return Windows(torch.stack(mel), torch.stack(f0), torch.stack(speaker), owner, utterances)


def balanced(
    utterances: Sequence[Utterance],
    emotions: Sequence[str],
    most: int | None = None,
    seed: int = 0,
) -> list[Utterance]:
    """Draw as many utterances of each emotion from every speaker as he has of his rarest.

    One answer for all utterances of a speaker then has a mean recall of ``1 / len(emotions)``, be
    it another answer for every speaker: what doesn't depend on the utterance can't beat chance.

    Args:
        utterances: Utterances; speakers who lack an emotion are left out.
        emotions: Emotions.
        most: Most utterances of each speaker and emotion.
        seed: Seed of the draw.

    Returns:
        The drawn, in the order of their ids.
    """
    groups: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: {e: [] for e in emotions})
    for u in sorted(utterances, key=lambda u: u.id):
        if u.emotion is not None and u.emotion in emotions:
            groups[u.speaker][u.emotion].append(u)
    rng = np.random.default_rng(seed)
    drawn = []
    for _, by_emotion in sorted(groups.items()):
        n = min([len(rows) for rows in by_emotion.values()] + ([] if most is None else [most]))
        for rows in by_emotion.values():
            drawn += [rows[i] for i in rng.permutation(len(rows))[:n]]
    return sorted(drawn, key=lambda u: u.id)


def draw_parts(utterances: Sequence[Utterance], seed: int) -> dict[str, list[Utterance]]:
    """Draw parts train, val and test without a common speaker.

    Raises:
        UserError: There are fewer than three speakers.
    """
    n_speakers = len({u.speaker for u in utterances})
    if n_speakers < 3:
        raise UserError(
            f"{n_speakers} speakers have all emotions; training, choosing and testing need three:"
            " give another corpus or fewer --emotions"
        )
    drawn = assign_split(utterances, "speaker", seed, SHARE, SHARE)
    return {part: [u for u in drawn if u.split == part] for part in ("train", "val", "test")}


def cut_windows(inputs: Inputs, i: int, n_frames: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """First and last window of one utterance of a batch."""
    count = int(inputs.frames[i])
    windows = []
    for start in sorted({0, max(0, count - n_frames)}):
        mel, f0 = inputs.mel[i, :, start : start + n_frames], inputs.f0[i, start : start + n_frames]
        missing = n_frames - len(f0)
        mel = torch.nn.functional.pad(mel, (0, missing))
        f0 = torch.nn.functional.pad(f0, (0, missing), value=-1.0)
        windows.append((mel.clone(), f0.clone(), inputs.speaker[i]))
    return windows
