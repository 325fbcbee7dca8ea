"""Symbols of what isn't said: silence at the edges of a text, and pauses at its punctuation."""

EDGE = "#"
PAUSES = {
    ",": ",", ";": ",", ":": ",", "-": ",", "–": ",", "—": ",", "，": ",", "、": ",",
    ".": ".", "…": ".", "。": ".", "?": "?", "？": "?", "!": "!", "！": "!",
}  # fmt: skip
SILENCES = frozenset({EDGE, *PAUSES.values()})
