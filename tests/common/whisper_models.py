"""Tiny random Whisper models, for tests only: what they say about speech is noise."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
TINY_DIM, TINY_BLOCKS, TINY_POSITIONS = 16, 2, 50  # 1 s fits at once


def write_tiny_whisper(
    folder: Path, n_positions: int = TINY_POSITIONS, n_blocks: int = TINY_BLOCKS, seed: int = 0
) -> Path:
    """Write a random Whisper with its words' head as Hugging Face does; skip without transformers.

    Args:
        folder: Where to; it is returned.
        n_positions: Frames of 20 ms that fit in the encoder.
        n_blocks: Blocks of the encoder.
        seed: Of the weights.
    """
    t = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    config = t.WhisperConfig(
        d_model=TINY_DIM, encoder_layers=n_blocks, encoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, vocab_size=60,
        max_source_positions=n_positions, max_target_positions=20, pad_token_id=50,
        bos_token_id=50, eos_token_id=50, decoder_start_token_id=51, suppress_tokens=None,
        begin_suppress_tokens=None, init_std=0.2,
    )  # fmt: skip
    t.WhisperForConditionalGeneration(config).save_pretrained(folder)
    t.WhisperFeatureExtractor(chunk_length=n_positions // 50).save_pretrained(folder)
    return folder


def real_whisper() -> Path:
    """Folder of Whisper base: ``EMOVC_WHISPER``, or whisper_base beside the checkout; else skip."""
    folder = Path(os.environ.get("EMOVC_WHISPER", ROOT.parent / "whisper_base"))
    if not (folder / "config.json").is_file():
        pytest.skip("needs Whisper base in $EMOVC_WHISPER or in ../whisper_base")
    return folder
