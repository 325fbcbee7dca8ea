"""Judges of converted speech: words, voice, quality and emotion.

Each is a :class:`emovc.common.judging.Judge`. A network that is loaded is hashed, and one that is
random is refused.
"""
