from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emovc.common.errors import UserError
from emovc.common.resample import Resample
from emovc.common.speaker import SpeakerEncoder, SpeakerTable
from emovc.common.voice_activity import near_speech
from emovc.common.wav import read_wav

LENGTHS = (200, 3_000, 25_440, 25_599, 25_600, 37_000, 48_000, 80_123)


@pytest.fixture(scope="module")
def encoder() -> SpeakerEncoder:
    return SpeakerEncoder.from_pretrained()


def voices() -> list[torch.Tensor]:
    """Harmonic tones in noise, of the lengths around one window and well beyond; some are loud."""
    generator = torch.Generator().manual_seed(0)
    items = []
    for i, n in enumerate(LENGTHS):
        time = torch.arange(n) / 16_000
        phase = 2 * torch.pi * (90 + 30 * i) * (time + 0.02 * torch.sin(5 * time))
        tone = sum(torch.sin(k * phase) / k for k in range(1, 8))
        noise = torch.randn(n, generator=generator)
        items.append((0.2 if i % 2 else 0.004) * (tone + 0.1 * noise))
    return items


def padded(items: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(item) for item in items])
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True), lengths


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("rate", "coverage"), [(1.3, 0.75), (1.3, 0.3), (2.0, 0.5), (0.7, 1.0)])
def test_windows_begin_where_resemblyzer_s_do(rate: float, coverage: float) -> None:
    resemblyzer = pytest.importorskip("resemblyzer")
    encoder = SpeakerEncoder(hidden=4, dim=4, windows_per_s=rate, min_coverage=coverage)
    for n in [*range(1, 90_000, 97), *range(160, 90_000, 160)]:
        _, slices = resemblyzer.VoiceEncoder.compute_partial_slices(n, rate, coverage)
        assert list(encoder._starts(n)) == [part.start for part in slices]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equals_resemblyzer_on_tones(encoder: SpeakerEncoder) -> None:
    resemblyzer = pytest.importorskip("resemblyzer")
    from resemblyzer.audio import normalize_volume

    reference = resemblyzer.VoiceEncoder("cpu", verbose=False)
    wav, lengths = padded(voices())
    with torch.no_grad():
        ours = encoder(
            wav.masked_fill(torch.arange(wav.shape[1]) >= lengths[:, None], 9.0), lengths
        )
    for item, result in zip(voices(), ours, strict=True):
        raised = normalize_volume(item.numpy(), -30, increase_only=True)
        expected = torch.from_numpy(reference.embed_utterance(raised)).float()
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_equals_resemblyzer_on_speech_with_voice_activity_detection(shared: Path) -> None:
    resemblyzer = pytest.importorskip("resemblyzer")
    paths = sorted((shared / "data/emodb/wav").glob("*.flac"))[:100:20]
    items = [torch.from_numpy(read_wav(path, 16_000)[0]) for path in paths]
    items[0] = torch.cat([torch.zeros(20_000), items[0], 1e-4 * torch.randn(30_001)])
    items[1] = torch.cat([items[1], torch.zeros(17_000), items[1]])
    encoder = SpeakerEncoder.from_pretrained(vad=True)
    reference = resemblyzer.VoiceEncoder("cpu", verbose=False)
    with torch.no_grad():
        ours = encoder(*padded(items))
    for item, result in zip(items, ours, strict=True):
        shortened = resemblyzer.preprocess_wav(item.numpy())
        assert len(shortened) < len(item)
        expected = torch.from_numpy(reference.embed_utterance(shortened)).float()
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)


def test_nearest_voice_is_the_same_speaker_in_another_emotion(
    encoder: SpeakerEncoder, shared: Path
) -> None:
    """One sentence in seven emotions by ten speakers; chance is one in ten."""
    paths = sorted((shared / "data/emodb/wav").glob("*a02*.flac"))
    speakers = np.array([path.name[:2] for path in paths])
    items = [torch.from_numpy(read_wav(path, 16_000)[0]) for path in paths]
    with torch.no_grad():
        d_vectors = encoder(*padded(items))
    nearest = (d_vectors @ d_vectors.T).fill_diagonal_(-1).argmax(dim=1).numpy()

    assert (speakers[nearest] == speakers).mean() > 0.5


def test_batch_gives_what_each_gives_alone(encoder: SpeakerEncoder) -> None:
    with torch.no_grad():
        batch = encoder(*padded(voices()))
        alone = torch.cat([encoder(item[None]) for item in voices()])

    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.norm(dim=1), torch.ones(len(LENGTHS)))


def test_quiet_speech_is_raised_and_loud_speech_is_left(encoder: SpeakerEncoder) -> None:
    wav = voices()[6][None]  # rms 0.005, -46 dB
    with torch.no_grad():
        quiet, quieter, loud = encoder(wav), encoder(0.1 * wav), encoder(20 * wav)

    torch.testing.assert_close(quiet, quieter, atol=1e-5, rtol=0)
    assert (quiet - loud).abs().max() > 1e-3
    with torch.no_grad():
        assert torch.isfinite(encoder(torch.zeros(1, 20_000))).all()


def test_other_rates_are_resampled_inside(encoder: SpeakerEncoder) -> None:
    items = [torch.randn(22_050) * 0.1, torch.randn(50_000) * 0.1]
    other = SpeakerEncoder.from_pretrained(sample_rate=22_050)
    resample = Resample(22_050, 16_000)
    with torch.no_grad():
        alone = torch.cat([encoder(resample(item[None])) for item in items])
        torch.testing.assert_close(other(*padded(items)), alone, atol=1e-5, rtol=0)


def test_gradient_reaches_the_valid_samples_only() -> None:
    torch.manual_seed(0)
    encoder = SpeakerEncoder(hidden=16, dim=8, layers=1)
    wav, lengths = padded([torch.randn(30_000), torch.randn(9_000)])
    wav.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = encoder(wav, lengths)
    (out * torch.arange(8)).sum().backward()

    assert out.dtype == torch.float32 and wav.grad is not None
    assert wav.grad.isfinite().all() and wav.grad[1, :9_000].any()
    assert not wav.grad[1, 9_000:].any()


def test_voice_activity_of_silence_keeps_everything() -> None:
    assert near_speech(np.zeros(5_000, dtype=np.float32)).all()
    assert near_speech(np.zeros(100, dtype=np.float32)).all()


def test_weights_are_exact_or_refused(encoder: SpeakerEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "own")
    again = SpeakerEncoder.from_pretrained(tmp_path / "own")
    wav = voices()[5][None]

    assert again.pretrained and torch.equal(again(wav), encoder(wav))
    state = dict(encoder.state_dict())
    del state["linear.bias"]
    torch.save({"model_state": state}, tmp_path / "broken.pt")
    with pytest.raises(UserError, match=r"broken.pt.*missing \(linear.bias"):
        SpeakerEncoder.from_pretrained(tmp_path / "broken.pt")
    with pytest.raises(UserError, match="no such file"):
        SpeakerEncoder.from_pretrained(tmp_path / "absent.pt")
    with pytest.raises(UserError, match="random"):
        SpeakerEncoder().save_pretrained(tmp_path)


def test_absent_resemblyzer_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(UserError, match=r"emovc-common\[speaker\]"):
        SpeakerEncoder.from_pretrained()


def test_table_keeps_its_names_with_its_weights(tmp_path: Path) -> None:
    names = ["0011", "Zoë", "s" * 64]
    table, copy, third = SpeakerTable(3, 4), SpeakerTable(3, 4), SpeakerTable(3, 4)
    table.set_names(names)
    save_file(table.state_dict(), tmp_path / "table.safetensors")
    copy.load_state_dict(load_file(tmp_path / "table.safetensors"))
    torch.save(table.state_dict(), tmp_path / "table.pt")
    third.load_state_dict(torch.load(tmp_path / "table.pt", weights_only=True))

    assert copy.names == third.names == names and copy.index("Zoë") == 1
    assert torch.equal(copy(torch.tensor([2, 0])), table.weight[[2, 0]])
    with pytest.raises(UserError, match="speaker 12 is unknown to the model; it knows 0011, Zoë"):
        copy.index("12")
    with pytest.raises(UserError, match="set_names was not called"):
        SpeakerTable(2, 4).index("0011")


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", ""], ["a", "é" * 33], ["a", "b\0"]])
def test_table_refuses_names_that_do_not_fit(names: list[str]) -> None:
    with pytest.raises(UserError):
        SpeakerTable(2, 4).set_names(names)
