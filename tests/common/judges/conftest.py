"""Tiny recognisers in the files of the hub, for tests only."""

from pathlib import Path

import pytest

SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|pl|>", "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip


def write_recogniser(folder: Path, says: str | None) -> Path:
    """Write a random Whisper of English and Polish that knows letters only; gives the folder.

    Args:
        folder: Where to.
        says: The letter that it always says; ``None``: whatever its weights make of the recording.
    """
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )  # fmt: skip

    ids = {token: i for i, token in enumerate([*"abcdefghijklmnopqrstuvwxyz", "Ġ", *SPECIAL])}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    special = dict(
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start
    )
    tokenizer = WhisperTokenizer(
        vocab=ids, merges=[], unk_token=SPECIAL[0], additional_special_tokens=list(SPECIAL[1:])
    )
    torch.manual_seed(0)
    network = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(ids), d_model=16, encoder_layers=1, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
            decoder_ffn_dim=16, max_target_positions=40, suppress_tokens=None,
            begin_suppress_tokens=None, init_std=0.02 if says else 1.0, **special,
        )
    )  # fmt: skip
    if says:
        decoder = network.model.decoder
        decoder.layer_norm.weight.data.zero_()
        decoder.layer_norm.bias.data = 100 * decoder.embed_tokens.weight.data[ids[says]]
    network.generation_config = GenerationConfig(
        lang_to_id={"<|en|>": ids["<|en|>"], "<|pl|>": ids["<|pl|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        is_multilingual=True, no_timestamps_token_id=ids["<|notimestamps|>"], max_new_tokens=5,
        **special,
    )  # fmt: skip
    network.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper that always says h."""
    return write_recogniser(tmp_path_factory.mktemp("models") / "whisper-tiny-h", "h")


@pytest.fixture(scope="session")
def babbler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper that says something else for each recording."""
    return write_recogniser(tmp_path_factory.mktemp("models") / "whisper-tiny", None)
