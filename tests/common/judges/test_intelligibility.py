import json
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.judges.intelligibility import Intelligibility, error_rates, normalise
from emovc.common.judges.recognisers import PocketSphinx, Wav2Vec2CTC, Whisper
from emovc.common.judging import Goal

GOAL = Goal("angry", "The cat sat on the old mat.", "en", "anna")
SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|pl|>", "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
NOISE = 0.1 * np.random.default_rng(0).standard_normal(22_050).astype(np.float32)


class Fixed:
    """A recogniser that knows one sentence."""

    name = "fixed"
    languages = ("en", "pl")
    about = {"weights": "none", "trained_on": []}

    def __init__(self, text: str) -> None:
        self.text = text

    def transcribe(self, wav: np.ndarray, sample_rate: int) -> str:
        return self.text


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Whisper that always says h, in the files of the hub."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )  # fmt: skip

    folder = tmp_path_factory.mktemp("models") / "whisper-tiny-h"
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
            begin_suppress_tokens=None, **special,
        )
    )  # fmt: skip
    decoder = network.model.decoder
    decoder.layer_norm.weight.data.zero_()
    decoder.layer_norm.bias.data = 100 * decoder.embed_tokens.weight.data[ids["h"]]
    network.generation_config = GenerationConfig(
        lang_to_id={"<|en|>": ids["<|en|>"], "<|pl|>": ids["<|pl|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        is_multilingual=True, no_timestamps_token_id=ids["<|notimestamps|>"], max_new_tokens=5,
        **special,
    )  # fmt: skip
    network.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny wav2vec 2.0 that always says x, in the files of the hub."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )  # fmt: skip

    folder = tmp_path_factory.mktemp("models") / "wav2vec2-x"
    folder.mkdir()
    vocab = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", "A", "X"])}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    network = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, conv_dim=(8,) * 7, num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        )
    )  # fmt: skip
    network.lm_head.bias.data[vocab["X"]] = 100
    network.save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(folder / "vocab.json")
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder


def test_error_rates_by_hand() -> None:
    # a b c -> a x c d: b becomes x, d is new; 5 characters, "b" becomes "x", " d" is new.
    assert error_rates("a b c", "a x c d") == (pytest.approx(2 / 3), pytest.approx(3 / 5))
    assert error_rates("a b c", "a b c") == (0.0, 0.0)
    assert error_rates("a b c", "") == (1.0, 1.0)
    assert error_rates("a", "b c d")[0] == 3.0  # may exceed 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t — stop, O'Neil!", "dont stop oneil"),
        ("Zażółć   GĘŚLĄ\njaźń…", "zażółć gęślą jaźń"),
        ("Die Straße: »Öl«", "die straße öl"),
        ("twenty-one 21 ½", "twenty one 21 1 2"),
        ("ﬁn u\u0308ber", "fin über"),
        (" ,.!? ", ""),
    ],
)
def test_normaliser_keeps_letters_and_digits_alone(text: str, words: str) -> None:
    assert normalise(text) == words
    assert normalise(words) == words


def test_case_and_punctuation_cost_nothing() -> None:
    judge = Intelligibility(Fixed("the cat, sat ON the old mat"))
    heard = judge.hear(NOISE, 22_050)
    verdict = judge.judge(heard, {}, GOAL)
    assert verdict.metrics == {"wer_fixed": 0.0, "cer_fixed": 0.0} and not verdict.gaps
    assert verdict.labels == {"transcript_fixed": "the cat sat on the old mat"}
    assert set(verdict.metrics) == set(judge.metrics)
    assert judge.about["normaliser"] == "nfkc-lower-nopunct"


@pytest.mark.parametrize(
    ("changed", "gap"),
    [
        ({"language": "de"}, "asr fixed: no de"),
        ({"language": None}, "asr fixed: language unknown"),
        ({"text": None}, "asr fixed: no text"),
        ({"text": "?!"}, "asr fixed: no text"),
    ],
)
def test_what_cannot_be_compared_is_a_gap_without_a_metric(changed: dict, gap: str) -> None:
    verdict = Intelligibility(Fixed("a")).judge("a", {}, GOAL._replace(**changed))
    assert verdict.metrics == {} and verdict.gaps == (gap,)


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        (np.full(22_050, np.nan), "NaN"),
        (np.zeros(22_050), "silent"),
        (NOISE[:2_000], "shorter than 0.1 s"),
        (NOISE[:0], "shorter than 0.1 s"),
    ],
)
def test_recordings_without_speech_are_refused(wav: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Intelligibility(Fixed("a")).hear(wav, 22_050)
    assert "\n" not in str(error.value)


def test_pocketsphinx_hears_english_whatever_it_heard_before() -> None:
    from emovc.common.synth import Prompt, speak

    texts = ["the cat sat on the old mat", "she will be here tomorrow morning"]
    first, second = speak([Prompt(text, "en-us+f3", rate=150) for text in texts])
    judge = Intelligibility(PocketSphinx())
    alone = judge.hear(first.wav, first.sample_rate)
    for wav in (second.wav, 0.001 * NOISE[:9_000], first.wav):
        after = judge.hear(wav, 22_050)

    verdict = judge.judge(after, {}, GOAL)

    assert after == alone != ""
    assert 0 <= verdict.metrics["cer_pocketsphinx"] < 0.9
    assert len(judge.about["weights"]) == 12


def test_whisper_loads_from_its_files_and_transcribes(whisper: Path) -> None:
    recogniser = Whisper(whisper, language="pl")
    judge = Intelligibility(recogniser)

    heard = judge.hear(NOISE, 22_050)

    assert heard and set(heard) == {"h"}
    assert judge.name == "whisper-tiny-h" and list(recogniser.languages) == ["pl"]
    assert judge.judge(heard, {}, GOAL).gaps == ("asr whisper-tiny-h: no en",)
    assert judge.judge(heard, {}, GOAL._replace(text=heard, language="pl")).metrics == {
        "wer_whisper-tiny-h": 0.0,
        "cer_whisper-tiny-h": 0.0,
    }
    assert list(Whisper(whisper).languages) == ["en", "pl"]
    assert judge.about["weights"] == Whisper(whisper).about["weights"]


def test_whisper_refuses_what_it_cannot_hear(whisper: Path) -> None:
    with pytest.raises(UserError, match="does not know the language de; it knows en, pl"):
        Whisper(whisper, language="de")
    with pytest.raises(UserError, match="longer than the 30 s"):
        Whisper(whisper, language="en").transcribe(np.tile(NOISE, 31), 22_050)


def test_ctc_collapses_what_it_repeats(ctc: Path) -> None:
    recogniser = Wav2Vec2CTC(ctc, ["pl"], name="w2v", trained_on=["common_voice"])
    assert recogniser.transcribe(NOISE, 22_050).lower() == "x"
    assert Intelligibility(recogniser).about["trained_on"] == ["common_voice"]
    recogniser.network.lm_head.bias.data[0] = 200  # the blank
    assert Intelligibility(recogniser).hear(NOISE, 22_050) == ""


def test_a_network_with_a_missing_weight_is_refused(ctc: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in ctc.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(ctc / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights of Wav2Vec2ForCTC are missing \(lm_head"):
        Wav2Vec2CTC(tmp_path, ["pl"])
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="can't be loaded") as error:
        Wav2Vec2CTC(tmp_path, ["pl"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["nowhere", "openai/whisper-of-nobody"])
def test_absent_models_are_one_line(source: str) -> None:
    with pytest.raises(UserError, match=f"^{source}: (no such folder|not on this machine)"):
        Whisper(source, language="en")
