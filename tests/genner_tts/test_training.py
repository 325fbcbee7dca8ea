"""The synthesizer's objective and schedule, and the parts it refuses."""

import math

import pytest
import torch
from tests.genner_tts.quantizers import DIM, embeddings, fitted

from emovc.common.audio import LogMel
from emovc.common.conversion import Speech
from emovc.common.emotion_hearing import EmotionHearing
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerEncoder
from emovc.genner_tts.acoustic import GennerAcoustic
from emovc.genner_tts.global_style import GlobalStyle
from emovc.genner_tts.inventory import PhoneInventory
from emovc.genner_tts.objective import LossWeights, Target, duration_error, losses_of
from emovc.genner_tts.phonemes import pronounce
from emovc.genner_tts.style_level import Reference
from emovc.genner_tts.style_request import Spoken, StyleRequest
from emovc.genner_tts.synthesizer import GennerTTS
from emovc.genner_tts.timeline import phones_of_frames
from emovc.genner_tts.training import LitGennerTTS, Phase
from emovc.genner_tts.tts_preparation import partly_quantised, require_frames

TEXT = "Hello world."


def acoustic(emotion_dim: int = 6, flow: bool = True) -> GennerAcoustic:
    torch.manual_seed(0)
    return GennerAcoustic(
        12, 8, emotion_dim, dim=16, n_layers=1, hidden=16, n_codes=4, aligner_hidden=16,
        flow_dim=8, flow_blocks=4, emo_norm="none", postnet="flow" if flow else "none",
    )  # fmt: skip


def synthesizer(emotion_dim: int = 6, heard: int = 6) -> GennerTTS:
    """A model without flow, as a fresh one gives the same for every condition."""
    speaker = SpeakerEncoder(22_050, hidden=8, dim=8)
    model = GennerTTS(
        acoustic(emotion_dim, flow=False), LogMel(), speaker, EmotionHearing(dim=heard)
    )
    model.phones.fill(PhoneInventory.of([pronounce(TEXT, "en")]))
    return model.eval()


def test_the_rate_rises_to_its_peak_and_falls_with_the_root() -> None:
    lit = LitGennerTTS(synthesizer(), warmup_steps=100)
    assert lit.rate_at(99) == 1 == max(lit.rate_at(step) for step in range(1000))
    assert lit.rate_at(49) == 0.5
    assert lit.rate_at(399) == pytest.approx(0.5)
    # The official rule: step^-0.5 256^-0.5 at 2,000 steps.
    assert LitGennerTTS(synthesizer()).lr == pytest.approx((2000 * 256) ** -0.5, rel=2e-3)


def test_emotion_vectors_in_deviations_from_the_mean_of_a_corpus() -> None:
    style, speaker = GlobalStyle(8, 6, 16, "zscore"), torch.zeros(2, 8)
    vectors = torch.randn(2, 6)
    heard = torch.randn(50, 6) * torch.tensor([1.0, 2, 3, 4, 5, 6]) + 7
    before = style(speaker, vectors)[1]  # nothing is known of a corpus yet
    torch.testing.assert_close(before[:, 0], style.emotion(vectors))
    style.set_scale(heard)
    made = style(speaker, heard.mean(0) + heard.std(0) * vectors)[1]
    torch.testing.assert_close(made, before, atol=1e-5, rtol=1e-5)
    other = GlobalStyle(8, 6, 16, "zscore")
    other.load_state_dict(style.state_dict())  # checkpoints carry the scale
    torch.testing.assert_close(other(speaker, heard[:2])[1], style(speaker, heard[:2])[1])
    heard[:, 3] = 1.0  # tells nothing
    style.set_scale(heard)
    assert style(speaker, heard[:2])[1].isfinite().all()


def test_the_phases_begin_at_their_steps() -> None:
    lit = LitGennerTTS(synthesizer(), attention_from=3, codes_from=5)
    assert [lit.phase_at(step) for step in (2, 3, 5)] == [
        Phase(False, False),
        Phase(True, False),
        Phase(True, True),
    ]
    assert not any(w.requires_grad for w in lit.model.speaker.parameters())


@pytest.mark.parametrize("coded", [False, True])
def test_every_loss_of_a_phase_has_a_weight_and_a_gradient(coded: bool) -> None:
    net, durations = acoustic(), torch.tensor([[3, 4, 5], [6, 2, 0]])
    phones = (durations > 0) * torch.tensor([1, 2, 3])
    mel2ph = phones_of_frames(durations)
    mask = (mel2ph > 0).float()
    mel = (torch.randn(2, 80, 12) - 3) * mask[:, None]
    f0_hz = 200.0 * mask
    target = Target(mel, phones, phones, durations, f0_hz, net.pitch.scale.normalised(f0_hz))
    references = [Reference(mel, mask, mel2ph, mel2ph)]
    out = net(
        phones, mel2ph, torch.randn(2, 8), torch.randn(2, 6), f0_hz, references, mel,
        alignment="attention" if coded else "forced", quantise=coded,
    )  # fmt: skip
    losses = losses_of(out, target, coded)
    assert ("commitment" in losses) == ("guided" in losses) == coded
    total = LossWeights().total(losses)
    half = sum(loss * (0.5 if name in ("mel", "ssim") else 1) for name, loss in losses.items())
    torch.testing.assert_close(total, half - 0.9 * losses["phone_duration"])
    total.backward()
    assert net.mel.weight.grad is not None and net.mel.weight.grad.abs().sum() > 0


def test_duration_error_by_hand() -> None:
    durations = torch.tensor([[4, 6], [5, 0]])
    found = torch.tensor([[5.0, 6.0], [4.0, 0.0]]).log1p()
    assert duration_error(found, durations).item() == pytest.approx((0.1 + 0.2) / 2)
    with pytest.raises(UserError, match="b: has 6 frames, but durations of 5"):
        require_frames(["a", "b"], durations, torch.tensor([10, 6]))


def speak(model: GennerTTS, style: StyleRequest, duration_scale: float = 1.0) -> Spoken:
    return model.synthesise(TEXT, "en", style, duration_scale=duration_scale)


def test_only_what_is_asked_for_counts() -> None:
    """Without levels two recordings of one voice differ by the emotion vector alone."""
    model = synthesizer()
    for level in model.acoustic.levels.values():
        level.encoder.quantizer.initialised.fill_(True)
    noise = 0.1 * torch.randn(2, 22_050)
    voice, other = (Speech(wav) for wav in noise)
    emotion = torch.randn(6)
    full = speak(model, StyleRequest([voice], emotion=emotion))
    prosody = speak(model, StyleRequest([voice], local=[other], emotion=emotion))
    plain = speak(model, StyleRequest([voice], levels=(), emotion=emotion))
    same = speak(model, StyleRequest([voice], local=[other], levels=(), emotion=emotion))
    mood = speak(model, StyleRequest([voice], levels=(), emotion=-emotion))
    assert not torch.equal(full.mel, prosody.mel)
    assert torch.equal(plain.mel, same.mel)
    assert plain.mel.shape != mood.mel.shape or not torch.equal(plain.mel, mood.mel)
    assert plain.bits is None and len(plain.phones) == len(plain.durations)
    assert plain.mel.shape[1] == int(plain.durations.sum()) == len(plain.f0_hz)


def test_mels_are_decimal_inside() -> None:
    wav = 0.1 * torch.randn(1, 22_050)
    model = synthesizer()
    torch.testing.assert_close(model.decimal_mel(wav) * math.log(10), model.frontend(wav))


def test_levels_without_codes_are_refused_or_left_out() -> None:
    model, speech = synthesizer(), Speech(0.1 * torch.randn(22_050))
    style = StyleRequest([speech], emotion=torch.randn(6))
    assert speak(model, style).mel.isfinite().all()
    with pytest.raises(UserError, match="codes aren't trained yet"):
        speak(model, StyleRequest([speech], levels=["frame"], emotion=torch.randn(6)))
    with pytest.raises(UserError, match="the reference is silent"):
        speak(model, StyleRequest([Speech(torch.zeros(22_050))], emotion=torch.randn(6)))
    with pytest.raises(UserError, match="must be 8 and 6, those of speaker and emotion"):
        synthesizer(emotion_dim=5)


def test_emotion_vectors_are_quantised_on_request() -> None:
    model, quantizer = synthesizer(DIM, DIM), fitted()
    voice, vectors = [Speech(0.1 * torch.randn(22_050))], embeddings(8)
    asked = StyleRequest(voice, levels=(), emotion=vectors[0])
    spoken = model.synthesise(TEXT, "en", asked, quantizer, 0.01)
    quantized = quantizer(vectors[:1], 0.01)
    same = speak(model, StyleRequest(voice, levels=(), emotion=quantized.quantized[0]))
    assert spoken.bits == pytest.approx(quantized.bits.item())
    assert torch.equal(spoken.mel, same.mel)
    changed = (partly_quantised(quantizer, vectors, 0.5) != vectors).any(1)
    assert 0 < changed.sum() < len(vectors)
    assert torch.equal(partly_quantised(quantizer, vectors, 0.0), vectors)
