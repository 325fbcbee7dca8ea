"""EmoConv-Diff as a converter, with small random networks."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.conversion import EmotionTarget, Speech
from emovc.common.emotion_hearing import put_hash
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerEncoder
from emovc.emoconv_diff import AverageVoiceEncoder, EmoConvDiff, EmotionHearing, ScoreNet
from emovc.emoconv_diff.bank import Labelled
from emovc.emoconv_diff.unet_layers import LinearAttention

RATE, HOP, N_MELS = 22_050, 256, 16


def sound(frames: int, pitch: float = 150.0) -> Speech:
    """A harmonic sound of so many frames, which swells."""
    time = torch.arange(frames * HOP) / RATE
    parts = [torch.sin(2 * math.pi * pitch * k * time) / k for k in range(1, 16)]
    return Speech(0.1 * torch.linspace(0.1, 1, frames * HOP) * torch.stack(parts).sum(0))


SOURCE, REFERENCE = sound(26), sound(30, 260.0)
CALM, ACTIVE = EmotionTarget(arousal=1.0), EmotionTarget(arousal=7.0)


class NearScore(ScoreNet):
    """Score of mels around the average voice, to which the network adds some."""

    def forward(self, x_t: Tensor, mask: Tensor, y: Tensor, *conditions: Any) -> Tensor:
        return (y - x_t + 0.2 * super().forward(x_t, mask, y, *conditions)) * mask[:, None]


def small(
    score: type[ScoreNet] = NearScore,
    sizes: dict[str, Any] | None = None,
    equal: bool = False,
    **settings: Any,
) -> EmoConvDiff:
    """A small converter, the same at every call, that knows levels 1, 4 and 7, happy and sad."""
    torch.manual_seed(0)
    voice = settings.pop("encoder_frontend", None) or LogMel(n_mels=N_MELS)
    encoder = AverageVoiceEncoder(voice, dim=16, hidden=16, n_layers=1, postnet_dim=8)
    net = score(8, **{"emotion_dim": 128, "null_condition": True} | (sizes or {}))
    speaker = SpeakerEncoder(RATE, hidden=16, layers=1)
    frontend = LogMel(n_mels=N_MELS)
    model = EmoConvDiff(
        encoder, net, frontend, speaker, EmotionHearing(), **{"steps": 3} | settings
    )
    for module in model.modules():
        if isinstance(module, LinearAttention):
            nn.init.ones_(module.gain)
    vectors = torch.randn(1 if equal else 3, 128).expand(3, -1).numpy()
    rows = zip("abc", vectors, (1.0, 4.0, 7.0), ("sad", None, "happy"), strict=True)
    model.bank.fill([Labelled(*row) for row in rows])
    return model.eval()


@pytest.mark.parametrize("frames", [4, 26, 41])
def test_the_result_is_as_long_as_the_source_whatever_is_asked_for(frames: int) -> None:
    model = small()
    for target in (CALM, EmotionTarget([REFERENCE]), EmotionTarget(category="sad")):
        mel = model.convert(sound(frames), target)
        assert mel.shape == (N_MELS, frames)
        assert mel.isfinite().all() and not mel.requires_grad


@pytest.mark.parametrize("solver", ["ml", "pf"])
def test_a_seed_fixes_the_result_and_another_changes_it(solver: str) -> None:
    model = small(solver=solver)
    first = model.convert(SOURCE, CALM, seed=3)
    assert torch.equal(first, model.convert(SOURCE, CALM, seed=3))
    assert not torch.allclose(first, model.convert(SOURCE, CALM, seed=4), atol=0.1)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_batch_gives_what_each_utterance_gives_alone(guidance: float) -> None:
    model = small(guidance=guidance)
    sources, seeds = [sound(13), sound(31, 210.0), sound(22, 180.0)], [5, 6, 5]
    targets = [CALM, EmotionTarget([REFERENCE]), EmotionTarget(category="happy")]
    together = model.convert_batch(sources, targets, seeds)
    with torch.no_grad():  # at once, which a CPU does not do by itself
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        *_, padded = model.states(model.conditions(sources, targets), noise)
    for i, (source, target, seed) in enumerate(zip(sources, targets, seeds, strict=True)):
        wanted = model.convert(source, target, seed)
        span = float(wanted.max() - wanted.min())
        at_once = padded[i, :, : wanted.shape[1]].clamp(*model.bounds)
        for found in (together[i], at_once):
            torch.testing.assert_close(found, wanted, atol=1e-3 * span, rtol=0)


def test_a_batch_in_windows_gives_what_each_utterance_gives_alone() -> None:
    model = small(window_frames=24, overlap_frames=4)
    sources = [sound(21), sound(40, 210.0), sound(33, 180.0)]
    together = model.convert_batch(sources, [CALM] * 3, [0] * 3)
    for source, found in zip(sources, together, strict=True):
        torch.testing.assert_close(found, model.convert(source, CALM), atol=1e-3, rtol=0)


def test_arousal_counts_before_references_and_these_before_the_category() -> None:
    model, both = small(), [REFERENCE, sound(20, 330.0)]
    vector = model.emotion_vector
    heard = torch.stack([model.emotion(speech.wav) for speech in both]).mean(0)
    assert torch.equal(vector(EmotionTarget(both, "sad", 4.0)), model.bank.levels[3])
    torch.testing.assert_close(vector(EmotionTarget(both, "sad")), heard)
    assert torch.equal(vector(EmotionTarget(category="sad")), model.bank.of("sad"))
    assert torch.equal(vector(EmotionTarget(category="sad", arousal=7.0)), model.bank.levels[6])


def test_targets_that_can_not_be_met_are_refused() -> None:
    model, silence = small(), Speech(torch.full((RATE // 2,), 5e-5))
    for target in (EmotionTarget(), EmotionTarget(strength=0.5)):
        with pytest.raises(
            UserError, match="needs --arousal 1 to 7, --reference FILE or --emotion"
        ):
            model.convert(SOURCE, target)
    with pytest.raises(UserError, match="the reference is silent"):
        model.convert(SOURCE, EmotionTarget([REFERENCE, silence]))
    with pytest.raises(UserError, match="no references of level 2; it has 1, 4, 7"):
        model.convert(SOURCE, EmotionTarget(arousal=2.0))
    with pytest.raises(UserError, match="it has happy, sad"):
        model.convert(SOURCE, EmotionTarget(category="angry"))


def test_the_level_matters_by_its_vector_alone() -> None:
    same, different = small(equal=True), small()
    assert torch.equal(same.convert(SOURCE, CALM), same.convert(SOURCE, ACTIVE))
    distance = different.convert(SOURCE, CALM) - different.convert(SOURCE, ACTIVE)
    assert distance.abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_guidance_goes_from_no_emotion_through_the_plain_score(guidance: float) -> None:
    model = small(guidance=guidance)
    given = model.conditions([SOURCE], [CALM])
    x, t = given.y + torch.randn_like(given.y), torch.tensor([0.6])
    plain = model.score(x, given.mask, given.y, t, given.speaker, given.emotion)
    null = model.score(x, given.mask, given.y, t, given.speaker, None)
    assert (plain - null).abs().max() > 1e-3
    found = model.score_function(given)(x, t)
    torch.testing.assert_close(found, null + guidance * (plain - null), atol=1e-5, rtol=1e-5)


def test_guidance_one_needs_no_null_emotion_and_0_hears_no_level() -> None:
    plain, unguided = small(), small(guidance=0.0)
    small(sizes={"null_condition": False}, guidance=1.0)
    assert torch.equal(unguided.convert(SOURCE, CALM), unguided.convert(SOURCE, ACTIVE))
    assert not torch.allclose(unguided.convert(SOURCE, CALM), plain.convert(SOURCE, CALM))
    with pytest.raises(UserError, match="guidance 1.5: this score network has no null emotion"):
        small(sizes={"null_condition": False}, guidance=1.5)


@pytest.mark.parametrize("solver", ["ml", "em", "pf", "dpm"])
def test_no_mel_leaves_what_recordings_can_have(solver: str) -> None:
    model = small(ScoreNet, solver=solver)
    mel = model.convert(SOURCE, CALM)
    assert mel.min().item() == pytest.approx(model.frontend.log_floor)
    assert mel.max().item() == pytest.approx(model.frontend.log_ceiling)


@pytest.mark.parametrize("frames", [25, 40, 67])
def test_long_utterances_are_scored_in_windows(frames: int) -> None:
    whole, windowed = small(window_frames=None), small(window_frames=24, overlap_frames=8)
    mel = windowed.convert(sound(frames), CALM)
    assert mel.shape == (N_MELS, frames) and mel.isfinite().all()
    assert not torch.equal(mel, whole.convert(sound(frames), CALM))
    assert torch.equal(windowed.convert(sound(24), CALM), whole.convert(sound(24), CALM))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"sizes": {"emotion_dim": 64}}, r"emotion_dim \(256, 64\) must be 256 and 128"),
        ({"sizes": {"speaker_dim": 32}}, r"emotion_dim \(32, 128\) must be 256 and 128"),
        ({"encoder_frontend": LogMel(n_mels=20)}, "encoder was made for another mel"),
        ({"window_frames": 64, "overlap_frames": 64}, "overlap_frames 64: give 0 to 63"),
    ],
)
def test_parts_that_do_not_fit_are_refused(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        small(**settings)


def test_codes_decode_to_what_conversion_to_oneself_gives() -> None:
    model = small()
    codes = model.encode(SOURCE)
    assert {name: tuple(code.shape) for name, code in codes.items()} == {
        "average_voice": (26, N_MELS), "emotion": (128,), "timbre": (256,),
    }  # fmt: skip
    wanted = model.convert(SOURCE, EmotionTarget([SOURCE]), seed=0)
    torch.testing.assert_close(model.decode_codes(codes), wanted)
    assert model.code_hop == HOP


@pytest.mark.parametrize("solver", ["ml", "pf"])
def test_codes_decode_within_what_recordings_can_have(solver: str) -> None:
    model = small(ScoreNet, solver=solver)
    wanted = model.convert(SOURCE, EmotionTarget([SOURCE]), seed=0)
    torch.testing.assert_close(model.decode_codes(model.encode(SOURCE)), wanted)


def test_the_networks_behind_vectors_and_labels_are_its_teachers() -> None:
    model = small()
    assert model.teachers == set()
    put_hash(model.labels_key, "0123456789ab")
    put_hash(model.emotion.weights_key, "ba9876543210")
    assert model.teachers == {"0123456789ab", "ba9876543210"}


@pytest.mark.parametrize("mel", [LogMel(), LogMel(n_mels=N_MELS), LogMel.speecht5()])
def test_no_waveform_is_louder_than_the_ceiling_or_quieter_than_the_floor(mel: LogMel) -> None:
    torch.manual_seed(0)
    n, steps = 4096, torch.arange(4096)
    tones = [torch.cos(2 * math.pi * f / mel.sample_rate * steps) for f in (60, 440, 3000, 7000)]
    loud = [torch.ones(n), torch.randn(n).sign(), torch.eye(n)[n // 2], *tones]
    loud += [torch.cos(math.pi * steps), *(tone.sign() for tone in tones)]
    found = mel(torch.stack(loud))
    assert found.max() <= mel.log_ceiling and found.min() >= mel.log_floor - 1e-5
    assert found.max() > mel.log_ceiling - 2 * (1 if mel.log == "ln" else math.log10(math.e))
    torch.testing.assert_close(mel(torch.zeros(1, n)).unique(), torch.tensor([mel.log_floor]))


def test_a_reference_of_many_conversions_is_heard_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, heard = small(), []

    def hear(wav: Tensor) -> Tensor:
        heard.append(len(wav))
        return torch.ones(128)

    monkeypatch.setattr(model.emotion, "forward", hear)
    target = EmotionTarget([REFERENCE])
    model.conditions([SOURCE, SOURCE, sound(20)], [target, EmotionTarget([SOURCE]), target])
    assert sorted(heard) == sorted([len(REFERENCE.wav), len(SOURCE.wav)])
