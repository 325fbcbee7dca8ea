"""The emotion encoder: what it looks at, and what must not matter to it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.wav import read_wav
from emovc.ser import EmotionEncoder
from emovc.ser.emotion_encoder import VARIANTS
from emovc.ser.emotion_experiment import score
from emovc.ser.emotion_judge import EmotionJudge
from emovc.ser.emotion_network import statistics
from emovc.ser.train_emotion import fit_network, train_emotion


@pytest.fixture
def encoder() -> EmotionEncoder:
    torch.manual_seed(0)
    network = EmotionEncoder(hidden=16, dim=8).eval()
    network.network.fit_scale(torch.randn(50, 480))
    return network


def tone(hz: float, seconds: float = 1.0, level: float = 0.3) -> Tensor:
    """A tone with overtones, (N,)."""
    t = torch.arange(int(22_050 * seconds)) / 22_050
    return level * sum(
        (torch.sin(2 * math.pi * hz * k * t) / k for k in (1, 2, 3)), torch.zeros(())
    )


@pytest.mark.parametrize("hz", [80.0, 147.0, 320.0, 500.0])
def test_the_second_image_shows_the_pitch(encoder: EmotionEncoder, hz: float) -> None:
    torch.manual_seed(5)
    wav = (tone(hz) + 0.01 * torch.randn(22_050))[None]
    images, mask = encoder.images(wav, torch.tensor([wav.shape[1]]))
    row = round(79 * math.log10(hz / 60))
    image = images[0, 1, :, 20:60]
    assert image[row].min() > 1.6  # 2 where the lag is a whole period
    off = round(79 * math.log10(1.5 * hz / 60))
    assert off > 79 or image[off].max() < 1
    assert image.max() < 2.2
    assert mask.sum() > 70


def test_noise_is_not_periodic(encoder: EmotionEncoder) -> None:
    torch.manual_seed(1)
    wav = 0.1 * torch.randn(1, 22_050)
    images, _ = encoder.images(wav, torch.tensor([22_050]))
    assert images[0, 1].abs().mean() < 0.3


def test_padding_changes_nothing(encoder: EmotionEncoder) -> None:
    torch.manual_seed(2)
    short, long = 0.1 * torch.randn(9_000), 0.1 * torch.randn(15_000)
    both = torch.zeros(2, 15_000)
    both[0, :9_000], both[1] = short, long
    both[0, 9_000:] = float("nan")  # what lies there must not even be looked at
    lengths = torch.tensor([9_000, 15_000])
    together = encoder(both, lengths)
    for i, wav in enumerate((short, long)):
        alone = encoder(wav[None], lengths[i : i + 1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i], b[0], rtol=1e-4, atol=1e-4)


def test_level_changes_nothing(encoder: EmotionEncoder) -> None:
    torch.manual_seed(3)
    wav = (tone(200.0) + 0.05 * torch.randn(22_050))[None]
    n = torch.tensor([wav.shape[1]])
    loud, quiet = encoder(wav, n), encoder(0.2 * wav, n)
    torch.testing.assert_close(loud.embedding, quiet.embedding, rtol=1e-2, atol=1e-2)
    other = encoder(tone(300.0)[None], n)
    assert (loud.embedding - other.embedding).abs().max() > 0.05


def test_posterior_sums_to_one_and_gradients_reach_the_waveform(encoder: EmotionEncoder) -> None:
    wav = tone(150.0)[None].requires_grad_()
    result = encoder(wav, torch.tensor([wav.shape[1]]))
    assert result.log_posterior.exp().sum().item() == pytest.approx(1, abs=1e-5)
    result.log_posterior[0, 0].backward()
    assert wav.grad is not None
    assert wav.grad.isfinite().all()
    assert wav.grad.abs().max() > 0


def test_another_rate_is_resampled_inside() -> None:
    torch.manual_seed(0)
    slow = EmotionEncoder(sample_rate=16_000, hidden=16, dim=8).eval()
    torch.manual_seed(0)
    fast = EmotionEncoder(hidden=16, dim=8).eval()
    t = torch.arange(16_000) / 16_000
    a = slow(0.3 * torch.sin(2 * math.pi * 200 * t)[None], torch.tensor([16_000]))
    t = torch.arange(22_050) / 22_050
    b = fast(0.3 * torch.sin(2 * math.pi * 200 * t)[None], torch.tensor([22_050]))
    torch.testing.assert_close(a.embedding, b.embedding, rtol=0.05, atol=0.05)


def test_random_weights_do_not_pose_as_pretrained(encoder: EmotionEncoder) -> None:
    assert not encoder.pretrained
    with pytest.raises(UserError, match=r"nowhere: no weights .* give one of all, without_nemo"):
        EmotionEncoder.from_pretrained("nowhere")


def test_what_is_too_short_is_refused(encoder: EmotionEncoder) -> None:
    with pytest.raises(UserError, match=r"needs 0\.1 s"):
        encoder(torch.zeros(1, 2_000), torch.tensor([2_000]))


def test_statistics_by_hand() -> None:
    x = torch.tensor([[[[1.0, 3.0, 9.0, 4.0]]]])
    mean, deviation, steps = statistics(x, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))[0].tolist()
    assert mean == 2
    assert deviation == pytest.approx(math.sqrt(1 + 1e-4))
    assert steps == 1
    # A step over a pause is none.
    assert statistics(x, torch.tensor([[1.0, 1.0, 0.0, 1.0]]))[0, 2] == pytest.approx(2 / 3)


def test_silence_around_the_words_changes_little(encoder: EmotionEncoder) -> None:
    torch.manual_seed(4)
    wav = tone(180.0) + 0.05 * torch.randn(22_050)
    silence = 1e-4 * torch.randn(11_025)
    padded = torch.cat([silence, wav, silence])
    a = encoder.statistics(wav[None], torch.tensor([len(wav)]))
    b = encoder.statistics(padded[None], torch.tensor([len(padded)]))
    assert (a - b).abs().mean() < 0.05


def test_training_learns_on_known_data_and_a_permuted_corpus_gives_chance() -> None:
    """Emotions planted in some statistics: learned; labels that mean nothing: not."""
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(400, 480, generator=rng)
    names = ["angry", "sad"]
    labels = torch.arange(400) % 3 // 2
    values[labels == 1, :20] += 1.5
    rows = [row(i, names[int(label)]) for i, label in enumerate(labels)]
    network = fit_network(EmotionEncoder(), values[:300], rows[:300], 30, 0)
    found = network(values[300:])[1].argmax(1)
    wanted = torch.tensor([EMOTIONS.index(names[int(label)]) for label in labels[300:]])
    assert (found == wanted).float().mean() > 0.9
    shuffled = [row(i, names[i % 2]) for i in range(400)]
    network = fit_network(EmotionEncoder(), values[:300], shuffled[:300], 30, 0)
    found = network(values[300:])[1].argmax(1)
    wanted = torch.tensor([EMOTIONS.index(names[i % 2]) for i in range(300, 400)])
    assert 0.3 < (found == wanted).float().mean() < 0.7


def test_training_by_command_gives_weights_that_know_their_corpus(
    toy: Path, tmp_path: Path
) -> None:
    train_emotion(toy, tmp_path / "weights", epochs=20)
    encoder = EmotionEncoder.from_pretrained(tmp_path / "weights")
    assert encoder.pretrained
    assert encoder.trained_on == ["toy"]
    assert not encoder.training
    utterances = [u for u in read_manifest(toy) if u.split == "test"]
    found = []
    for u in utterances:
        wav = torch.from_numpy(read_wav(u.path, 22_050)[0])[None]
        scores = encoder(wav, torch.tensor([wav.shape[1]])).log_posterior
        found.append(encoder.emotions[int(scores.argmax())] == u.emotion)
    assert sum(found) / len(found) > 0.7  # the toy corpus' emotions are easy
    with pytest.raises(UserError, match="holds a model"):
        train_emotion(toy, tmp_path / "weights")


def test_a_corpus_without_emotions_is_refused(toy: Path, tmp_path: Path) -> None:
    rows = [replace(u, emotion=None) for u in read_manifest(toy)]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    with pytest.raises(UserError, match="0 labelled utterances of fewer than two"):
        train_emotion(tmp_path / "manifest.jsonl", tmp_path / "weights")


@pytest.mark.parametrize("name", VARIANTS)
def test_shipped_weights_load_and_say_what_they_saw(name: str) -> None:
    encoder = EmotionEncoder.from_pretrained(name)
    assert encoder.pretrained
    left_out = name.removeprefix("without_")
    assert encoder.trained_on == [c for c in ("emodb", "nemo", "ravdess") if c != left_out]


def test_shipped_weights_recognise_real_emotions(shared: Path) -> None:
    """Sentences of EMO-DB that the weights without it never heard, of two far emotions."""
    encoder = EmotionEncoder.from_pretrained("without_emodb")
    right = []
    for path in sorted((shared / "data" / "emodb" / "wav").glob("*.*"))[::6]:
        wanted = {"W": "angry", "T": "sad"}.get(path.stem[5])
        if wanted:
            wav = torch.from_numpy(read_wav(path, 22_050)[0])[None]
            scores = encoder(wav, torch.tensor([wav.shape[1]])).log_posterior[0]
            pair = [encoder.emotions.index(e) for e in ("angry", "sad")]
            right.append((scores[pair[0]] > scores[pair[1]]) == (wanted == "angry"))
    assert len(right) > 20
    assert sum(right) / len(right) > 0.85


def test_recall_table_by_hand(tmp_path: Path) -> None:
    rows = [row(i, e) for i, e in enumerate(["angry", "angry", "angry", "sad"])]
    found = score({"toy": list(zip(rows, ["angry", "angry", "sad", "sad"], strict=True))})[0]
    assert found["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["recalls"] == pytest.approx({"angry": 2 / 3, "sad": 1})
    assert found["low"] <= found["uar"] <= found["high"] + 1e-9


def row(number: int, emotion: str) -> Utterance:
    return Utterance(
        id=f"x/{number}", path=Path("x.wav"), sha256=str(number), sample_rate=8000,
        num_samples=8000, speaker=f"s{number % 4}", corpus="x", emotion=emotion,
    )  # fmt: skip


def test_as_a_judge_it_has_its_name_and_says_what_it_saw() -> None:
    judge = EmotionJudge("without_nemo")
    assert judge.name == "encoder_without_nemo"
    assert EmotionJudge().name == "encoder"
    assert judge.about["trained_on"] == ["emodb", "ravdess"]
    heard = judge.hear(tone(200.0).numpy(), 22_050)
    goal = Goal("angry", None, None, "x", among=("angry", "sad"))
    verdict = judge.judge(heard, {"source": heard, "target": heard}, goal)
    assert verdict.metrics["emotion_similarity_encoder_without_nemo"] == pytest.approx(1, abs=1e-5)
    assert verdict.labels["emotion_encoder_without_nemo"] in ("angry", "sad")
