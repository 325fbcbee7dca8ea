"""Genner TTS: expressive speech synthesis from emotion references."""
