"""Who says what and how in the toy corpus."""

from typing import Final, NamedTuple

from emovc.common.prosody import Prosody


class Voice(NamedTuple):
    """A speaker.

    Attributes:
        gender: ``F`` or ``M``.
        variant: Voice of espeak-ng. None of these has an echo, which WORLD would smear.
        f0_hz: Mean F0 of neutral speech in Hz.
        rate: Words per minute of neutral speech.
    """

    gender: str
    variant: str
    f0_hz: float
    rate: int


VOICES: Final = {
    "anna": Voice("F", "en-us+linda", 220.0, 173),
    "bea": Voice("F", "en-us+steph", 195.0, 164),
    "carl": Voice("M", "en-us+m5", 122.0, 180),
    "dan": Voice("M", "en-us+m7", 102.0, 168),
}

EMOTIONS: Final = {
    "neutral": Prosody(
        rate=1.0,
        pitch_st=0.0,
        accent_st=2.5,
        fall_st=3.0,
        final_st=-3.0,
        level_db=-28.0,
        tilt_db=0.0,
        breath=0.0,
    ),
    "angry": Prosody(
        rate=1.16,
        pitch_st=3.0,
        accent_st=4.5,
        fall_st=2.0,
        final_st=-5.0,
        level_db=-23.5,
        tilt_db=2.0,
        breath=0.0,
    ),
    "happy": Prosody(
        rate=1.08,
        pitch_st=4.5,
        accent_st=5.5,
        fall_st=1.0,
        final_st=1.5,
        level_db=-26.0,
        tilt_db=1.0,
        breath=0.0,
    ),
    "sad": Prosody(
        rate=0.8,
        pitch_st=-2.0,
        accent_st=1.0,
        fall_st=2.5,
        final_st=-1.5,
        level_db=-33.0,
        tilt_db=-2.5,
        breath=0.4,
    ),
    "surprise": Prosody(
        rate=0.97,
        pitch_st=4.5,
        accent_st=3.0,
        fall_st=-1.0,
        final_st=8.0,
        level_db=-27.0,
        tilt_db=0.5,
        breath=0.15,
    ),
}

SENTENCES: Final = (
    "The children are waiting by the garden gate.",
    "We will meet again tomorrow in the old town.",
    "My brother painted the kitchen door yellow.",
    "There is a letter for you on the table.",
    "She told me the train was leaving at nine.",
    "They found a small bird under the window.",
    "Our neighbour bought the house on the hill.",
    "You can see the harbour from the top floor.",
    "He put the broken clock in a wooden box.",
    "The music began before we opened the door.",
    "Somebody moved my bicycle during the night.",
    "The doctor is coming to visit us on Monday.",
    "I left the keys and the money in the car.",
    "A man with a long coat is standing outside.",
    "The teacher gave every pupil a new book.",
    "It has been snowing since early this morning.",
    "Two of the players went home after the game.",
    "Her sister works in a bakery near the river.",
    "The boat came back without any fish today.",
    "Nobody knows who closed the shop last week.",
    "Please give the flowers to your grandmother.",
    "The road goes through a forest and a valley.",
    "I heard the news on the radio at breakfast.",
    "Their dog is sleeping in front of the fire.",
)
