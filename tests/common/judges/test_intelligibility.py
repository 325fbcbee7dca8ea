import json
from pathlib import Path

import numpy as np
import pytest

from emovc.common.errors import UserError
from emovc.common.judges.intelligibility import Intelligibility, error_rates, normalise
from emovc.common.judges.recognisers import PocketSphinx, Wav2Vec2CTC
from emovc.common.judging import Goal, LanguageJudge

GOAL = Goal("angry", "The cat sat on the old mat.", "en", "anna")
NOISE = 0.1 * np.random.default_rng(0).standard_normal(22_050).astype(np.float32)


class Fixed:
    """A recogniser that knows one sentence."""

    name = "fixed"
    languages = ("en", "pl")
    about = {"weights": "none", "trained_on": []}

    def __init__(self, text: str) -> None:
        self.text = text

    def transcribe(self, wav: np.ndarray, sample_rate: int, language: str | None = None) -> str:
        return self.text


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
    assert judge.about["normaliser"] == "nfkc-lower-nopunct-visible"


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


class Polyglot(Fixed):
    """A recogniser that says which language it was asked for, one recording or several at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def transcribe_batch(
        self, wavs: list[np.ndarray], sample_rate: int, languages: list[str | None]
    ) -> list[str]:
        self.batches.append(len(wavs))
        return [f"in {code}" for code in languages]


def test_recordings_in_other_languages_are_not_recognised_and_a_gap() -> None:
    recogniser = Polyglot()
    judge = Intelligibility(recogniser)
    assert isinstance(judge, LanguageJudge)
    assert judge.hear_in_language(NOISE, 22_050, "pl") == "in pl"
    assert judge.hear(NOISE, 22_050) == "in none"
    assert recogniser.batches == [1, 1]
    heard = judge.hear_batch([NOISE, NOISE, NOISE], 22_050, ["de", "en", None])
    assert heard == [None, "in en", "in none"] and recogniser.batches == [1, 1, 2]
    assert judge.judge(heard[0], {}, GOAL._replace(language="de")).gaps == ("asr fixed: no de",)
    assert judge.judge(heard[0], {}, GOAL) == ({}, {}, ("asr fixed: no en",))


def test_an_empty_transcript_is_all_words_missing() -> None:
    judge = Intelligibility(Fixed(" ... "))
    heard = judge.hear_in_language(NOISE, 22_050, "en")
    assert heard == ""
    assert judge.judge(heard, {}, GOAL).metrics == {"wer_fixed": 1.0, "cer_fixed": 1.0}


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
