"""Which recordings and texts the experiments on synthesised emotion take."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_lines import Stage


class Asked(NamedTuple):
    """A recording whose emotion is taken, and an utterance whose text is said with it.

    Attributes:
        reference: The recording.
        text: Another utterance of the test part.
    """

    reference: Utterance
    text: Utterance

    @property
    def label(self) -> str:
        """Heading of its row."""
        return f"{self.reference.speaker} {self.reference.emotion}, {self.reference.id}"


def choose_asked(stage: Stage, speakers: int, references: int, seed: int) -> list[Asked]:
    """References of every emotion by some speakers, each with another sentence of its language.

    Args:
        stage: The synthesizer and its corpus.
        speakers: How many speakers, of the corpora in turn, in the order of their names.
        references: How many recordings of each emotion and speaker.
        seed: Of the choice.

    Raises:
        UserError: There are not so many speakers with all emotions.
    """
    rows = sayable(stage, stage.data.of_split("test"))
    emotions, rng = stage.source.emotions, np.random.default_rng(seed)
    complete = [
        s for s in sorted({u.speaker for u in rows})
        if all(any(u.speaker == s and u.emotion == e for u in rows) for e in emotions)
    ]  # fmt: skip
    if len(complete) < speakers or speakers < 1 or references < 1:
        raise UserError(
            f"speakers {speakers}: {len(complete)} have test recordings of all emotions with texts"
            " that the model can say; give a number from 1 to that, and 1 reference at least"
        )
    found = []
    for speaker in in_turn(complete, {u.speaker: u.corpus for u in rows})[:speakers]:
        for emotion in emotions:
            own = [u for u in rows if u.speaker == speaker and u.emotion == emotion]
            for i in rng.permutation(len(own))[:references]:
                tongue = [u for u in rows if u.language == own[i].language]
                others = [u for u in tongue if u.text != own[i].text]
                text = others[rng.integers(len(others))] if others else own[i]
                found.append(Asked(own[i], text))
    return found


def in_turn(speakers: Sequence[str], corpora: Mapping[str, str]) -> list[str]:
    """Speakers in an order in which their corpora take turns."""
    place: Counter[str] = Counter()
    keys = {}
    for speaker in speakers:
        corpus = corpora[speaker]
        keys[speaker] = (place[corpus], corpus)
        place[corpus] += 1
    return sorted(speakers, key=keys.__getitem__)


def read_quantizer(folder: Path, name: str, dim: int) -> EmotionQuantizer:
    """A quantiser that ``emovc reproduce quantization`` trained.

    Args:
        folder: What was written there.
        name: Such as ``joint_0`` or ``only_sad_0``.
        dim: Size of the emotion vectors.

    Raises:
        UserError: It isn't there, or is of other vectors.
    """
    path = folder / "models" / name
    if not (path / "model.safetensors").is_file():
        raise UserError(
            f"{path}: is no quantiser; emovc reproduce quantization --manifest MANIFEST --feature"
            f" FEATURE --out {folder} trains them, with the emotions of this experiment"
        )
    quantizer = EmotionQuantizer.from_pretrained(path)
    own = quantizer.settings["dim"]
    if own != dim:
        raise UserError(f"{path}: is of {own} values, the model's emotion vectors have {dim}")
    return quantizer


def lambdas_of(quantizer: EmotionQuantizer, count: int) -> list[float]:
    """Lambdas evenly spaced in log lambda over the range that a quantiser was trained for."""
    return [float(lam) for lam in np.geomspace(*quantizer.lam_range, count)]


def sayable(stage: Stage, rows: Sequence[Utterance]) -> list[Utterance]:
    """Utterances whose texts the model knows all phones of.

    Raises:
        UserError: There are none.
    """
    inventory, found, why = stage.model.phones.inventory, [], ""
    for utterance in rows:
        try:
            language = utterance.language or stage.model.language
            inventory.pronounce(str(utterance.text or ""), language)
        except UserError as error:
            why = str(error)
            continue
        found.append(utterance)
    if not found:
        raise UserError(f"{stage.data.manifest}: no test text can be said; {why}")
    return found
