from pathlib import Path

import numpy as np
import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.judges.speaker_similarity import DvectorSimilarity, XVectorSimilarity
from emovc.common.judging import Goal
from emovc.common.speaker import SpeakerEncoder

GOAL = Goal("angry", None, None, "anna")


def voice(pitch: float, seconds: float = 1.5, rate: int = 22_050, seed: int = 0) -> np.ndarray:
    """A buzz with a wandering pitch."""
    noise = 0.01 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    time = np.arange(len(noise)) / rate
    phase = 2 * np.pi * pitch * (time + 0.02 * np.sin(5 * time))
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 12)) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def xvector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random WavLM with an x-vector head, in the files of the hub."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "wavlm-tiny-sv"
    network = WavLMForXVector(
        WavLMConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            conv_dim=(8,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
            tdnn_dim=(8,) * 5, xvector_output_dim=8, classifier_proj_size=8, num_labels=3,
        )
    )  # fmt: skip
    network.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["dvector", "xvector"])
def test_a_recording_is_as_similar_to_itself_as_can_be(kind: str, xvector: Path) -> None:
    judge = DvectorSimilarity() if kind == "dvector" else XVectorSimilarity(xvector)
    heard = {role: judge.hear(voice(f), 22_050) for role, f in (("target", 110), ("source", 240))}
    heard["same_speaker"] = judge.hear(voice(130, seed=1), 22_050)
    suffix = "" if kind == "dvector" else "_wavlm-tiny-sv"

    own = judge.judge(heard["target"], heard, GOAL).metrics
    other = judge.judge(heard["source"], heard, GOAL).metrics

    assert own.keys() == other.keys() == judge.metrics.keys()
    assert own[f"speaker_similarity{suffix}"] == pytest.approx(1, abs=1e-5)
    assert other[f"speaker_similarity{suffix}"] < 0.999
    control = float(heard["source"] @ heard["same_speaker"])
    assert other[f"speaker_similarity_same_speaker{suffix}"] == pytest.approx(control)


def test_dvectors_are_those_of_the_encoder() -> None:
    wav = voice(150)
    encoder = SpeakerEncoder.from_pretrained(sample_rate=22_050)
    with torch.no_grad():
        wanted = encoder(torch.from_numpy(wav)[None])[0].numpy()
    assert float(DvectorSimilarity().hear(wav, 22_050) @ wanted) > 0.9999  # another resampler


def test_xvectors_are_those_of_transformers(xvector: Path) -> None:
    from transformers import WavLMForXVector

    wav = voice(150, rate=16_000)
    network = WavLMForXVector.from_pretrained(xvector).eval()
    centred = (wav - wav.mean()) / np.sqrt(wav.var() + 1e-7)
    with torch.no_grad():
        wanted = network(torch.from_numpy(centred)[None]).embeddings[0].numpy()
    heard = XVectorSimilarity(xvector).hear(wav, 16_000)
    np.testing.assert_allclose(heard, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_without_other_words_there_is_no_control(xvector: Path) -> None:
    judge = XVectorSimilarity(xvector, name="sv")
    heard = judge.hear(voice(110), 22_050)
    verdict = judge.judge(heard, {"source": heard, "target": heard}, GOAL)
    assert list(verdict.metrics) == ["speaker_similarity_sv"]
    assert judge.metrics["speaker_similarity_sv"] == "speaker similarity (sv)"


def test_the_record_names_weights_and_corpora(xvector: Path) -> None:
    first, again = XVectorSimilarity(xvector).about, XVectorSimilarity(xvector).about
    assert first == again and len(first["weights"]) == 12
    assert "voxceleb1" in first["trained_on"]
    assert DvectorSimilarity().about["weights"] != first["weights"]


def test_what_holds_no_voice_is_refused(xvector: Path, tmp_path: Path) -> None:
    judge = XVectorSimilarity(xvector)
    assert np.isfinite(judge.hear(voice(110, seconds=0.4), 22_050)).all()
    with pytest.raises(UserError, match="shorter than 0.4 s"):
        judge.hear(voice(110, seconds=0.39), 22_050)
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(22_050), 22_050)
    with pytest.raises(UserError, match="NaN"):
        DvectorSimilarity().hear(np.full(22_050, np.inf), 22_050)
    with pytest.raises(UserError, match="can't be loaded"):
        XVectorSimilarity(tmp_path)
