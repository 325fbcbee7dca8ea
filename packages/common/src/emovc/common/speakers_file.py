"""``speakers.json`` beside a manifest: what is known of its speakers' F0."""

from pathlib import Path
from typing import Annotated, TypedDict

from emovc.common.checked_values import Between, read_checked

NAME = "speakers.json"


class SpeakerF0(TypedDict):
    """Mean and standard deviation of ln F0 in Hz over what describes a speaker."""

    log_f0_mean: Annotated[float, Between(0, 10)]
    log_f0_std: Annotated[float, Between(0, 10)]


Speakers = dict[str, SpeakerF0]


def read_speakers(path: Path) -> Speakers:
    """Read the file.

    Raises:
        UserError: It is absent or damaged.
    """
    found: Speakers = read_checked(path, Speakers, "run emovc prepare again")
    return found


def known_speakers(manifest: Path) -> Speakers:
    """What is known of the speakers of a manifest; nothing where the file is absent."""
    path = manifest.parent / NAME
    return read_speakers(path) if path.exists() else {}
