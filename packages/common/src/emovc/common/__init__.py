"""Shared audio, data, encoder, metric and command-line code of the emovc packages."""
