"""SpeechFlow's codes, alone and mixed."""

import numpy as np
import pytest
import torch

from emovc.common.audio import LogMel
from emovc.common.batch import Batch
from emovc.common.codes import CodeModel, untrained
from emovc.common.conversion import Speech
from emovc.common.feature_set import F0_STATISTICS
from emovc.common.speaker import SpeakerTable
from emovc.speechflow import SpeechFlow, SpeechFlowNet


@pytest.fixture(scope="module")
def model() -> SpeechFlow:
    torch.manual_seed(0)
    net = SpeechFlowNet(
        speaker_dim=6, factor=11, content_channels=32, rhythm_channels=16, pitch_channels=16,
        decoder_dim=8, decoder_layers=1,
    )  # fmt: skip
    table = SpeakerTable(2, 6)
    table.set_names(["ann", "bob"])
    return SpeechFlow(net, LogMel(), speaker=table).eval()


@pytest.fixture(scope="module")
def speech() -> Speech:
    time = torch.arange(20_000) / 22_050
    phase = 2 * torch.pi * (150 * time + 60 * time.square())
    wav = torch.stack([torch.sin(k * phase) / k for k in range(1, 20)]).sum(0)
    return Speech(0.1 * wav, "bob", log_f0=(5.1, 0.2))


def test_codes_are_those_of_a_training_batch(model: SpeechFlow, speech: Speech) -> None:
    """The 78 frames hold seven whole steps of 11; the eighth is left out."""
    f0 = torch.from_numpy(model.f0(speech.wav.numpy(), 78))[None]
    features = {"f0": f0, F0_STATISTICS: torch.tensor([[5.1, 0.2]])}
    one = torch.tensor([1])
    batch = Batch(["x"], speech.wav[None], torch.tensor([20_000]), one, one, features)
    expected, _ = model.reconstruct(model.inputs(batch))
    codes = model.encode(speech)
    assert set(codes) == {"content", "rhythm", "pitch", "timbre"}
    for name, code in expected._asdict().items():
        assert len(codes[name]) == 7
        torch.testing.assert_close(codes[name], code[0, :7])
    assert torch.equal(codes["timbre"], model.speaker(one)[0])
    assert model.code_hop == 11 * 256


def test_decoded_codes_are_a_log_mel(model: SpeechFlow, speech: Speech) -> None:
    exposed: CodeModel = model
    codes = exposed.encode(speech)
    mel = exposed.decode_codes(codes)
    assert mel.shape == (80, 77)
    assert float(mel.min()) >= -4.2 * np.log(10) - 1e-4
    other = exposed.decode_codes({**codes, "rhythm": codes["rhythm"] + 1})
    assert not torch.equal(mel, other)


def test_timbre_is_the_named_speakers(model: SpeechFlow, speech: Speech) -> None:
    ann = model.encode(Speech(speech.wav, "ann", log_f0=speech.log_f0))
    bob = model.encode(speech)
    assert not torch.equal(ann["timbre"], bob["timbre"])
    assert all(torch.equal(ann[k], bob[k]) for k in ("content", "rhythm", "pitch"))


def test_an_untrained_network_has_other_codes_of_the_same_speakers(
    model: SpeechFlow, speech: Speech
) -> None:
    fresh = untrained(model)
    assert isinstance(fresh.speaker, SpeakerTable)
    assert fresh.speaker.names == ["ann", "bob"]
    before, after = model.encode(speech), fresh.encode(speech)
    assert all(before[k].shape == after[k].shape for k in before)
    assert not any(torch.allclose(before[k], after[k]) for k in before)
