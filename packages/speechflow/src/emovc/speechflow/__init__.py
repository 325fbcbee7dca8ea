"""SpeechFlow."""
