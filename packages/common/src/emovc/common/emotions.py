"""The canonical emotion labels; each corpus reader maps its own labels to these."""

from typing import Final

EMOTIONS: Final = (
    "neutral",
    "angry",
    "happy",
    "sad",
    "surprise",
    "fear",
    "disgust",
    "calm",
    "bored",
)
UNLABELLED: Final = -1


def emotion_index(emotion: str | None) -> int:
    """Index of a canonical emotion in :data:`EMOTIONS`, or :data:`UNLABELLED`."""
    return UNLABELLED if emotion is None else EMOTIONS.index(emotion)
