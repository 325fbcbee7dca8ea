from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emovc.common.emotion2vec import Emotion2vec
from emovc.common.errors import UserError
from emovc.common.judges.emotion import EmotionRecognition, EmotionSimilarity
from emovc.common.judges.emotion2vec import Emotion2vecRecognition, Emotion2vecSimilarity
from emovc.common.judging import Goal

TINY = dict(
    dim=32, heads=2, depth=2, prenet_depth=1, extra_tokens=2, conv_channels=16,
    pos_width=10, pos_depth=2, pos_groups=4,
)  # fmt: skip
LABELS = (
    "angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised", "<unk>",
)  # fmt: skip


class Result(NamedTuple):
    log_posterior: Tensor
    embedding: Tensor


class Louder(nn.Module):
    """Hears anger in loud recordings, sadness in quiet ones, and else is undecided."""

    emotions = ("neutral", "angry", "sad")
    sample_rate = 16_000

    def __init__(self, pretrained: bool = True, trained_on: list[str] | None = None) -> None:
        super().__init__()
        self.pretrained = pretrained
        self.trained_on = trained_on
        self.slope = nn.Parameter(torch.tensor(10.0))

    def forward(self, wav: Tensor, lengths: Tensor) -> Result:
        level = wav.square().mean(dim=1).sqrt()
        logits = self.slope * torch.stack([0 * level, level - 0.1, 0.1 - level], dim=1)
        return Result(logits.log_softmax(1), torch.stack([3 * level, torch.ones_like(level)], 1))


def goal(emotion: str) -> Goal:
    return Goal(emotion, None, None, "anna")


def tone(level: float) -> np.ndarray:
    """A tone of an effective level."""
    return (level * 2**0.5 * np.sin(0.3 * np.arange(22_050))).astype(np.float32)


def planted(**arguments: list[str] | None) -> EmotionRecognition:
    return EmotionRecognition(Louder(trained_on=["esd"]), "loud", **arguments)


def test_a_planted_classifier_is_right_or_wrong() -> None:
    judge = planted()
    heard = judge.hear(tone(0.5), 22_050)

    right, wrong = (judge.judge(heard, {}, goal(e)) for e in ("angry", "sad"))

    assert right.metrics["emotion_accuracy_loud"] == 1
    assert wrong.metrics["emotion_accuracy_loud"] == 0
    assert right.labels == wrong.labels == {"emotion_loud": "angry"}
    odds = np.exp([0, 4, -4])
    for verdict, i in ((right, 1), (wrong, 2)):
        wanted = odds[i] / odds.sum()
        assert verdict.metrics["emotion_probability_loud"] == pytest.approx(wanted, rel=0.01)


def test_an_emotion_without_a_label_is_a_gap_and_no_failure() -> None:
    judge = planted()
    heard = judge.hear(tone(0.5), 22_050)
    verdict = judge.judge(heard, {"source": heard, "target": heard}, goal("fear"))
    assert verdict.gaps == ("judge loud: has no label fear",)
    assert verdict.metrics == {"emotion_similarity_loud": pytest.approx(1)}
    assert verdict.labels == {"emotion_loud": "angry"}


def test_among_decides_between_the_named_labels_alone() -> None:
    judge = planted(among=["neutral", "sad"])
    heard = judge.hear(tone(0.5), 22_050)  # angry, were it asked
    verdict = judge.judge(heard, {}, goal("neutral"))
    assert verdict.labels == {"emotion_loud": "neutral"}
    assert heard.posterior.sum() == pytest.approx(1)
    wanted = 1 / (1 + np.exp(-4))
    assert verdict.metrics["emotion_probability_loud"] == pytest.approx(wanted, rel=1e-3)
    assert judge.judge(heard, {}, goal("angry")).gaps == ("judge loud: has no label angry",)
    assert judge.about["emotions"] == ["neutral", "sad"]


def test_similarity_has_its_controls() -> None:
    judge = planted()
    levels = {"source": 0.02, "target": 0.5, "same_speaker": 0.4, "other_speaker": 0.1}
    heard = {role: judge.hear(tone(level), 22_050) for role, level in levels.items()}

    metrics = judge.judge(heard["target"], heard, goal("angry")).metrics

    assert metrics.keys() == judge.metrics.keys()
    for role, suffix in (("target", ""), ("same_speaker", "_same_speaker"),
                         ("other_speaker", "_other_speaker")):  # fmt: skip
        a, b = (np.array([3 * levels[r], 1]) for r in ("target", role))
        wanted = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert metrics[f"emotion_similarity{suffix}_loud"] == pytest.approx(wanted, abs=1e-3)


def test_any_network_s_vectors_can_be_compared() -> None:
    whole = EmotionSimilarity(Louder(), "loud", field="embedding", trained_on=[])
    heard = whole.hear(tone(0.5), 22_050)
    verdict = whole.judge(heard, {"target": heard}, goal("angry"))
    assert verdict.metrics == {"emotion_similarity_loud": pytest.approx(1)}
    assert whole.about["trained_on"] == []
    assert whole.about["source"].endswith("Louder")


def test_what_cannot_be_trusted_is_refused() -> None:
    with pytest.raises(UserError, match="judge x: the Louder is random"):
        EmotionRecognition(Louder(pretrained=False), "x", trained_on=[])
    with pytest.raises(UserError, match="judge x: Louder does not say its trained_on"):
        EmotionRecognition(Louder(), "x")
    with pytest.raises(UserError, match="judge x: among must name two or more of its labels"):
        EmotionRecognition(Louder(), "x", among=["angry", "furious"], trained_on=[])
    judge = planted()
    for wav in (np.zeros(22_050), np.full(22_050, np.nan), tone(0.5)[:100]):
        with pytest.raises(UserError, match="^the recording "):
            judge.hear(wav, 22_050)


def test_the_record_tells_two_networks_apart() -> None:
    network = Louder(trained_on=["esd"])
    first = EmotionRecognition(network, "a").about
    network.slope.data += 1
    assert EmotionRecognition(network, "a").about["weights"] != first["weights"]
    assert first["trained_on"] == ["esd"]


@pytest.fixture(scope="module")
def plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny emotion2vec with a head whose answer is happy, saved and to be loaded."""
    torch.manual_seed(0)
    network = Emotion2vec(**TINY, n_classes=len(LABELS))
    network.labels = LABELS
    assert network.proj is not None
    network.proj.bias.data[LABELS.index("happy")] = 50
    network.pretrained = True
    folder = tmp_path_factory.mktemp("models") / "emotion2vec_plus_tiny"
    network.save_pretrained(folder)
    return folder


def test_emotion2vec_s_vectors_are_its_utterance_vectors(plus: Path) -> None:
    judge = Emotion2vecSimilarity(plus)
    wav = tone(0.2)
    network = Emotion2vec.from_pretrained(plus)
    with torch.no_grad():
        wanted = network(torch.from_numpy(wav)[None]).utterance[0].numpy()
    heard = judge.hear(wav, 16_000)
    np.testing.assert_allclose(heard, wanted / np.linalg.norm(wanted), atol=1e-5)
    metrics = judge.judge(heard, {"target": heard}, goal("sad")).metrics
    assert metrics == {"emotion_similarity_emotion2vec": pytest.approx(1, abs=1e-5)}
    assert "iemocap" in judge.about["trained_on"]


def test_emotion2vec_s_own_head_speaks_our_labels(plus: Path) -> None:
    judge = Emotion2vecRecognition(plus)
    heard = judge.hear(tone(0.2), 22_050)
    verdict = judge.judge(heard, {}, goal("happy"))
    assert verdict.metrics["emotion_accuracy_emotion2vec_plus"] == 1
    assert {"fear", "disgust", "surprise"} < set(judge.emotions)
    assert judge.judge(heard, {}, goal("calm")).gaps == (
        "judge emotion2vec_plus: has no label calm",
    )
    assert "esd" in judge.about["trained_on"]
    narrow = Emotion2vecRecognition(plus, among=["sad", "angry"])
    assert narrow.hear(tone(0.2), 22_050).posterior.sum() == pytest.approx(1)


def test_a_model_without_a_head_recognises_nothing(tmp_path: Path) -> None:
    network = Emotion2vec(**TINY)
    network.pretrained = True
    network.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no head with labels"):
        Emotion2vecRecognition(tmp_path)
