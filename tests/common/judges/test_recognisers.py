"""Whisper as a recogniser: any length, level, language and batch; bad folders are one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.common.whisper_models import real_whisper

from emovc.common.errors import UserError
from emovc.common.judges.intelligibility import Intelligibility, error_rates, normalise
from emovc.common.judges.recognisers import Whisper
from emovc.common.judging import Goal
from emovc.common.wav import read_wav
from emovc.common.whisper_folder import find_whisper

GOAL = Goal("angry", "The cat sat on the old mat.", "en", "anna")
NOISE = 0.1 * np.random.default_rng(0).standard_normal(22_050).astype(np.float32)


def sounds(count: int, seconds: float = 1.0) -> list[np.ndarray]:
    """Noises of several colors, (N,) each at 16 kHz, for which the babbler has different words."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(count):
        wav = rng.standard_normal(int((seconds + i) * 16_000)).astype(np.float32)
        found.append(0.1 * np.convolve(wav, np.ones(1 + 3 * i) / (1 + i), "same"))
    return found


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


def test_languages_that_whisper_does_not_know_are_one_line(whisper: Path) -> None:
    with pytest.raises(UserError, match="does not know the language de; it knows en, pl"):
        Whisper(whisper, language="de")
    with pytest.raises(UserError, match="does not know the language de; leave"):
        Whisper(whisper).transcribe(NOISE, 22_050, "de")
    with pytest.raises(UserError, match="beams 0, batch_size 8, peak 0.7: give 1 or more"):
        Whisper(whisper, beams=0)


@pytest.mark.parametrize("gain", [2.0**-9, 2.0])
def test_the_level_of_a_recording_changes_nothing(babbler: Path, gain: float) -> None:
    wav = sounds(1)[0]
    recogniser = Whisper(babbler, language="pl")
    assert recogniser.transcribe(gain * wav, 16_000) == recogniser.transcribe(wav, 16_000) != ""


def test_the_peak_is_what_was_asked_for(babbler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav, peaks = sounds(1)[0], []
    for peak in (0.7, 0.2, None):
        recogniser = Whisper(babbler, language="pl", peak=peak)
        extractor = recogniser.processor.feature_extractor

        def keep(wavs: list[np.ndarray], **kwargs: object) -> object:
            peaks.append(float(np.abs(wavs[0]).max()))
            return extractor(wavs, **kwargs)  # noqa: B023  # called within the round

        monkeypatch.setattr(recogniser.processor, "feature_extractor", keep)
        recogniser.transcribe(wav, 16_000)
    assert peaks == pytest.approx([0.7, 0.2, float(np.abs(wav).max())])


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_gives_what_its_recordings_give_alone(babbler: Path, beams: int) -> None:
    wavs, languages = sounds(7), ["pl", "en", "pl", "pl", "en", "pl", None]
    recogniser = Whisper(babbler, beams=beams, batch_size=2)
    alone = [recogniser.transcribe(w, 16_000, c) for w, c in zip(wavs, languages, strict=True)]
    assert recogniser.transcribe_batch(wavs, 16_000, languages) == alone
    assert len(set(alone)) > 3  # else equality shows nothing


def test_beams_and_language_change_what_is_said(babbler: Path) -> None:
    wavs = sounds(5)
    greedy, beam = Whisper(babbler), Whisper(babbler, beams=4)
    pl, en = (greedy.transcribe_batch(wavs, 16_000, [code] * 5) for code in ("pl", "en"))
    assert pl != en
    assert Whisper(babbler, language="en").transcribe_batch(wavs, 16_000, ["pl"] * 5) == en
    assert beam.transcribe_batch(wavs, 16_000, ["pl"] * 5) != pl
    assert greedy.about["decoding"] == "greedy" and beam.about["decoding"] == "beam search of 4"


def test_what_never_ends_is_bounded_by_the_duration(whisper: Path) -> None:
    recogniser = Whisper(whisper, language="en")  # says h without end
    recogniser.network.config.max_target_positions = 448  # so that the bound is the duration's
    assert [recogniser._most_tokens(int(s * 16_000)) for s in (0.1, 5, 5.1, 30)] == [
        80,
        80,
        160,
        224,
    ]
    recogniser.network.config.max_target_positions = 40
    assert 5 < len(recogniser.transcribe(NOISE, 22_050)) <= 20


def test_an_hour_is_cut_and_silence_is_not_recognised(whisper: Path) -> None:
    recogniser = Whisper(whisper, language="en")
    decode, sizes = recogniser._decode, []

    def counted(windows: list) -> list[str]:
        sizes.append((len(windows), max(len(w.wav) for w in windows)))
        return decode(windows)

    recogniser._decode = counted  # type: ignore[method-assign]
    hour = np.zeros(3600 * 16_000, dtype=np.float32)
    for start in range(0, 3600, 600):  # a second of sound every ten minutes: in 6 of 144 windows
        hour[start * 16_000 : (start + 1) * 16_000] = 0.1
    text = recogniser.transcribe(hour, 16_000)
    assert set(text) == {"h", " "}
    assert 6 <= sum(n for n, _ in sizes) < 12 and max(n for n, _ in sizes) <= recogniser.batch_size
    assert max(longest for _, longest in sizes) <= 30 * 16_000


def test_folders_of_other_models_are_one_line(whisper: Path, tmp_path: Path) -> None:
    def changed(name: str, file: str, **values: object) -> Path:
        folder = tmp_path / name
        shutil.copytree(whisper, folder)
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**content, **values}))
        return folder

    with pytest.raises(UserError, match="is a wav2vec2 model, not a Whisper; take"):
        Whisper(changed("kind", "config.json", model_type="wav2vec2"))
    extractor = json.loads((whisper / "processor_config.json").read_text())["feature_extractor"]
    bands = {"feature_extractor": {**extractor, "feature_size": 128}}
    with pytest.raises(UserError, match="takes 80 mel bands and the preprocessor makes 128"):
        Whisper(changed("bands", "processor_config.json", **bands))
    for size in ({"d_model": 32}, {"encoder_layers": 2}):
        with pytest.raises(UserError, match="can't be loaded|are missing") as error:
            Whisper(changed(f"size-{min(size)}", "config.json", **size))
        assert "\n" not in str(error.value)
    (tmp_path / "kind" / "generation_config.json").unlink()
    shutil.copy(whisper / "config.json", tmp_path / "kind" / "config.json")
    with pytest.raises(UserError, match=r"lacks generation_config\.json; take all files"):
        Whisper(tmp_path / "kind")


@pytest.mark.parametrize("source", ["nowhere", "openai/whisper-of-nobody"])
def test_absent_models_are_one_line(source: str) -> None:
    with pytest.raises(UserError, match=f"^{source}: (no such folder|not on this machine)"):
        Whisper(source, language="en")


def test_whisper_is_found_or_the_remedy_is_named(
    whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMOVC_WHISPER", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match="set EMOVC_WHISPER to its folder, put it in weights"):
        find_whisper()
    shutil.copytree(whisper, tmp_path / "weights" / "whisper_base")
    assert find_whisper() == Path("weights/whisper_base")
    monkeypatch.setenv("EMOVC_WHISPER", str(whisper))
    assert find_whisper() == whisper
    assert Whisper().name == "whisper"
    monkeypatch.setenv("EMOVC_WHISPER", "absent")
    with pytest.raises(UserError, match="^EMOVC_WHISPER=absent: no such folder"):
        find_whisper()


def test_whisper_base_writes_real_speech_down_short_and_long(shared: Path) -> None:
    from emovc.common.corpora.emodb import TEXTS

    judge = Intelligibility(Whisper(real_whisper()))
    files = {f.stem[2:5]: f for f in sorted((shared / "data" / "emodb" / "wav").glob("*N?.flac"))}
    texts = [normalise(TEXTS[key]) for key in files]  # a neutral recording of each of ten sentences
    wavs = [read_wav(file, 16_000)[0] for file in files.values()]
    minute = np.concatenate([*wavs, *wavs])

    first = judge.hear_in_language(wavs[0], 16_000, "de")
    batch = judge.hear_batch([0.03 * wavs[0], *wavs[1:3]], 16_000, ["de"] * 3)
    long = judge.hear_in_language(minute, 16_000, "de")

    assert batch[0] == first
    assert np.mean([error_rates(*pair)[1] for pair in zip(texts, batch, strict=False)]) < 0.2
    assert len(minute) > 45 * 16_000
    assert error_rates(" ".join([*texts, *texts]), str(long))[1] < 0.2
