"""AINN as a converter."""

from typing import Any

import pytest
import torch
from tests.ainn.networks import (
    CATEGORIES,
    CODE_DIM,
    EMOTION_DIM,
    N_MELS,
    RATE,
    batch_of,
    small_ainn,
    small_encoders,
    sound,
)

from emovc.ainn import AINN, Generator
from emovc.common.audio import LogMel
from emovc.common.conversion import EmotionTarget, Speech
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerTable

SOURCE = Speech(sound(0.4))
REFERENCES = [Speech(sound(0.3 + 0.1 * k, 200 + 40 * k)) for k in range(3)]


def frames(speech: Speech) -> int:
    return int(LogMel(n_mels=N_MELS).frames(torch.tensor([len(speech.wav)])))


def test_the_result_is_as_long_as_the_source_whatever_the_reference() -> None:
    model = small_ainn()
    for source in (SOURCE, Speech(sound(0.05)), Speech(sound(0.777))):
        for reference in (*REFERENCES, Speech(sound(0.05, 300))):
            found = model.convert(source, EmotionTarget([reference]))
            assert found.shape == (N_MELS, frames(source))
            assert torch.isfinite(found).all() and not found.requires_grad


def test_conversion_draws_nothing_and_the_reference_matters() -> None:
    model, target = small_ainn(), EmotionTarget(REFERENCES[:1])
    first = model.convert(SOURCE, target, seed=0)
    assert torch.equal(first, model.convert(SOURCE, target, seed=1))
    assert not torch.allclose(first, model.convert(SOURCE, EmotionTarget(REFERENCES[1:2])))


def test_several_references_count_by_the_mean_of_their_vectors() -> None:
    model = small_ainn()
    with torch.no_grad():
        alone = [model.emotion_vector(EmotionTarget([r])) for r in REFERENCES]
        together = model.emotion_vector(EmotionTarget(REFERENCES))
    torch.testing.assert_close(together, torch.stack(alone).mean(0))


def test_the_category_chooses_the_cue() -> None:
    model = small_ainn(speaker=None)
    with torch.no_grad():
        likeliest = CATEGORIES[int(model.emotion_of(REFERENCES[0]).category)]
    found = {
        category: model.convert(SOURCE, EmotionTarget(REFERENCES[:1], category=category))
        for category in CATEGORIES
    }
    assert torch.equal(found[likeliest], model.convert(SOURCE, EmotionTarget(REFERENCES[:1])))
    others = [mel for category, mel in found.items() if category != likeliest]
    assert any(not torch.equal(mel, found[likeliest]) for mel in others)


def test_conversion_is_what_the_networks_give() -> None:
    """Scaled in, unscaled out, with the mel after the post-net."""
    model = small_ainn()
    with torch.no_grad():
        mel = (model.frontend(SOURCE.wav[None]) + 5) / 2
        reference = (model.frontend(REFERENCES[0].wav[None]) + 5) / 2
        ones = torch.ones(1, mel.shape[2])
        vector = model.encoders.hear(reference, torch.ones(1, reference.shape[2])).vector
        assert model.speaker is not None
        voice = model.speaker(SOURCE.wav[None])
        wanted = model.generator(model.encoders.content(mel, ones), vector, voice, ones)[1]
    found = model.convert(SOURCE, EmotionTarget(REFERENCES[:1]))
    torch.testing.assert_close(found, 2 * wanted[0] - 5)


def test_no_strength_is_asked_of_a_model_that_never_heard_neutral_speech() -> None:
    target = EmotionTarget(REFERENCES[:1], strength=0.5)
    with pytest.raises(UserError, match="never heard neutral speech in training; leave out --stre"):
        small_ainn().convert(SOURCE, target)


def test_strength_0_is_neutral_for_every_reference() -> None:
    model, vector = small_ainn(), torch.randn(EMOTION_DIM)
    model.encoders.remember(vector[None], torch.tensor([0]))
    for reference in REFERENCES:
        found = model.emotion_vector(EmotionTarget([reference], strength=0.0))
        torch.testing.assert_close(found, vector)


def test_targets_that_can_not_be_met_are_refused() -> None:
    model = small_ainn()
    silence = Speech(torch.zeros(RATE // 2))
    with pytest.raises(UserError, match="the reference is silent"):
        model.convert(SOURCE, EmotionTarget([*REFERENCES, silence]))
    with pytest.raises(UserError, match="needs 1 reference"):
        model.convert(SOURCE, EmotionTarget(category="happy"))
    with pytest.raises(UserError, match="'fear' is not one of the model's"):
        model.convert(SOURCE, EmotionTarget(REFERENCES[:1], category="fear"))


def test_a_silent_source_is_converted_to_finite_values() -> None:
    found = small_ainn().convert(Speech(torch.zeros(RATE // 2)), EmotionTarget(REFERENCES[:1]))
    assert torch.isfinite(found).all()


def test_a_table_wants_the_speakers_name() -> None:
    model = small_ainn("table")
    assert isinstance(model.speaker, SpeakerTable)
    model.speaker.set_names(["a", "b"])
    target = EmotionTarget(REFERENCES[:1])
    one, other = (model.convert(Speech(SOURCE.wav, speaker=name), target) for name in ("a", "b"))
    assert not torch.allclose(one, other)
    with pytest.raises(UserError, match="give --speaker NAME"):
        model.convert(SOURCE, target)
    with pytest.raises(UserError, match="speaker c is unknown"):
        model.convert(Speech(SOURCE.wav, speaker="c"), target)


@pytest.mark.parametrize("voices", ["dvector", "table", None])
def test_codes_decode_to_what_conversion_to_oneself_gives(voices: str | None) -> None:
    model, source = small_ainn(voices), Speech(SOURCE.wav, speaker="a")
    if isinstance(model.speaker, SpeakerTable):
        model.speaker.set_names(["a", "b"])
    codes = model.encode(source)
    assert codes["content"].shape == (frames(source), CODE_DIM)
    assert codes.keys() == {"content", "emotion"} | ({"timbre"} if voices else set())
    torch.testing.assert_close(
        model.decode_codes(codes), model.convert(source, EmotionTarget([source]))
    )
    assert model.code_hop == model.frontend.hop_length


def test_inputs_are_scaled_and_zero_at_padding() -> None:
    model, batch = small_ainn(), batch_of(["happy", "sad"])
    inputs = model.inputs(batch)
    counts = model.frontend.frames(batch.lengths).tolist()
    assert inputs.mask.sum(1).tolist() == counts and counts[0] < counts[1]
    assert inputs.mel[0, :, counts[0] :].eq(0).all()
    assert inputs.speaker is not None
    assert torch.equal(inputs.speaker, batch.features["dvector"])
    mel = model.unscale(inputs.mel)[1]
    torch.testing.assert_close(mel, model.frontend(batch.wav)[1], atol=1e-5, rtol=1e-5)
    assert small_ainn(None).inputs(batch).speaker is None
    rows = small_ainn("table").inputs(batch).speaker
    assert rows is not None and rows.shape == (2, 4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"code_dim": 7}, "must be 6 and 10"),
        ({"emotion_dim": 12}, "must be 6 and 10"),
        ({"speaker_dim": 4}, "give a speaker encoder or table"),
    ],
)
def test_parts_that_do_not_fit_are_refused(sizes: dict[str, Any], message: str) -> None:
    fitting: dict[str, Any] = {"code_dim": CODE_DIM, "emotion_dim": EMOTION_DIM, "speaker_dim": 0}
    AINN(small_encoders(), Generator(**fitting, dim=4), LogMel(n_mels=N_MELS))
    with pytest.raises(UserError, match=message):
        AINN(small_encoders(), Generator(**{**fitting, **sizes}, dim=4), LogMel(n_mels=N_MELS))


def test_a_speaker_encoder_without_an_input_for_it_is_refused() -> None:
    generator = Generator(CODE_DIM, EMOTION_DIM, 0, dim=4)
    with pytest.raises(UserError, match="speaker_dim: 0"):
        AINN(small_encoders(), generator, LogMel(n_mels=N_MELS), SpeakerTable(2, 4))


def test_silence_of_a_reference_is_no_part_of_the_cue() -> None:
    model = small_ainn()
    wav = REFERENCES[0].wav
    quiet = Speech(torch.cat([wav, 1e-4 * wav, wav]))
    third = len(wav) // 256
    with torch.no_grad():
        cue = model.emotion_of(quiet).cue[0]
        model.silence_db = None
        plain = model.emotion_of(quiet).cue[0]
    assert cue[third + 3 : 2 * third - 3].abs().max() == 0
    assert plain[third + 3 : 2 * third - 3].abs().max() > 0
    assert cue[: third - 3].max() > 0
