"""The voice encoder: what must not matter to it, what it learns, and which Whisper it takes."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.common.whisper_models import TINY_DIM, real_whisper, write_tiny_whisper
from torch import Tensor
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.files import sha256_of
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.wav import read_wav, write_wav
from emovc.common.weights import weights_hash
from emovc.ser.train_voice import train_voice
from emovc.ser.voice import VARIANTS, VoiceEncoder
from emovc.ser.voice_choice import held_out_rates
from emovc.ser.voice_experiment import voice_encoder
from emovc.ser.voice_judge import VoiceSimilarity
from emovc.ser.voice_training import (
    Margin,
    Recordings,
    Settings,
    Whitening,
    fit_voice,
    margin_loss,
    sampling_weights,
    voices,
)
from emovc.ser.voice_trials import KINDS, equal_error_rate

RATE = 22_050


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(
        tmp_path_factory.mktemp("whisper") / "tiny", n_positions=150, n_blocks=4
    )


@pytest.fixture
def encoder(tiny: Path) -> VoiceEncoder:
    """A random head on a tiny Whisper."""
    torch.manual_seed(0)
    network = VoiceEncoder((0, 1), 0, 8, whisper=str(tiny), whisper_dim=TINY_DIM, sample_rate=RATE)
    network.load()
    network.head.fit_scale(torch.randn(50, 2, 2, TINY_DIM))
    return network.eval()


def tone(hz: float, seconds: float = 1.0, level: float = 0.3, rate: int = RATE) -> Tensor:
    """A tone with overtones whose level changes, (N,)."""
    t = torch.arange(int(rate * seconds)) / rate
    voice = sum((torch.sin(2 * math.pi * hz * k * t) / k for k in (1, 2, 3)), torch.zeros(()))
    return level * voice * (1.2 + torch.sin(2 * math.pi * 3 * t))


def test_padding_and_neighbours_change_nothing(encoder: VoiceEncoder) -> None:
    wavs = [tone(120, 0.7), tone(210, 1.3)]
    batch = torch.full((2, 40_000), float("nan"))  # what lies there must not even be looked at
    for i, wav in enumerate(wavs):
        batch[i, : len(wav)] = wav
    lengths = torch.tensor([len(wav) for wav in wavs])
    together = encoder(batch, lengths)
    for i, wav in enumerate(wavs):
        alone = encoder(wav[None], lengths[i : i + 1])[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)
    assert together.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert float((together[0] @ together[1]).detach()) < 0.999


@pytest.mark.parametrize("gain", [0.01, 3.0])
def test_level_changes_nothing(encoder: VoiceEncoder, gain: float) -> None:
    wav = tone(150)[None]
    n = torch.tensor([wav.shape[1]])
    torch.testing.assert_close(encoder(gain * wav, n), encoder(wav, n), rtol=1e-3, atol=1e-4)


def test_another_rate_is_resampled_inside(tiny: Path, encoder: VoiceEncoder) -> None:
    slow = VoiceEncoder((0, 1), 0, 8, whisper=str(tiny), whisper_dim=TINY_DIM, sample_rate=16_000)
    slow.load()
    slow.head.load_state_dict(encoder.head.state_dict())
    a = slow.eval()(tone(200, rate=16_000)[None], torch.tensor([16_000]))
    b = encoder(tone(200)[None], torch.tensor([RATE]))
    assert float((a * b).sum()) > 0.99


def test_gradients_reach_the_waveform(encoder: VoiceEncoder) -> None:
    wav = tone(150)[None].requires_grad_()
    encoder(wav, torch.tensor([wav.shape[1]]))[0, 0].backward()
    assert wav.grad is not None
    assert wav.grad.isfinite().all()
    assert wav.grad.abs().max() > 0


def test_silence_around_it_changes_nothing(encoder: VoiceEncoder) -> None:
    wav = tone(150)
    silence = torch.zeros(8_820)  # whole frames of 20 ms, by which silence is measured
    around = torch.cat([silence, wav, silence])
    a = encoder(wav[None], torch.tensor([len(wav)]))
    b = encoder(around[None], torch.tensor([len(around)]))
    assert float((a * b).sum()) > 0.99


def test_margin_loss_by_hand() -> None:
    cosines = torch.tensor([[0.5, 0.1], [-0.2, 0.3]])
    found = margin_loss(cosines, torch.tensor([0, 1]), margin=0.2, scale=10.0)
    wanted = [math.log1p(math.exp(10 * (0.1 - 0.3))), math.log1p(math.exp(10 * (-0.2 - 0.1)))]
    assert float(found) == pytest.approx(sum(wanted) / 2, rel=1e-5)
    plain = margin_loss(cosines, torch.tensor([0, 1]), margin=0.0, scale=10.0)
    assert float(plain) == pytest.approx(
        float(F.cross_entropy(10 * cosines, torch.tensor([0, 1]))), rel=1e-6
    )


def row(number: int, speaker: str, emotion: str) -> Utterance:
    return Utterance(
        id=f"x/{number}", path=Path("x.wav"), sha256=str(number), sample_rate=8000,
        num_samples=8000, speaker=speaker, corpus="x", gender="F", emotion=emotion,
        sentence=str(number),
    )  # fmt: skip


def test_speakers_and_their_emotions_are_drawn_alike() -> None:
    rows = [row(0, "a", "sad"), row(1, "a", "sad"), row(2, "a", "angry"), row(3, "b", "sad")]
    assert sampling_weights(rows).tolist() == pytest.approx([0.25, 0.25, 0.5, 1.0])


def planted(n_speakers: int, each: int, seed: int) -> Recordings:
    """Statistics in which the voice is small and the emotion large."""
    rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(64, 12, generator=rng))[0].T
    who = torch.arange(n_speakers).repeat_interleave(each)
    feels = torch.arange(n_speakers * each) % 3
    voice = torch.randn(n_speakers, 8, generator=rng) @ basis[:8]
    emotion = 3 * torch.randn(3, 4, generator=rng) @ basis[8:]
    noise = 0.1 * torch.randn(len(who), 64, generator=rng)
    values = (voice[who] + emotion[feels] + noise).view(-1, 1, 2, 32)
    names = ("sad", "angry", "happy")
    rows = [
        row(i, f"s{int(s):02}", names[int(f)])
        for i, (s, f) in enumerate(zip(who, feels))  # noqa: B905
    ]
    return Recordings(values, rows, [""] * len(rows), (0,), "")


@pytest.mark.parametrize(
    "settings", [Whitening(layers=(0,), dim=32, shrinkage=0.01), Margin(layers=(0,), dim=16)]
)
def test_training_learns_voices_that_hold_for_others_and_not_emotions(settings: Settings) -> None:
    recordings = planted(40, 12, 0)
    speakers = sorted({u.speaker for u in recordings.utterances})
    learn, held = set(speakers[:30]), set(speakers[30:])
    head = fit_voice(recordings, recordings.where(learn), settings, 0)
    raw = recordings.statistics.flatten(1)
    before = held_out_rates(recordings, held, F.normalize(raw - raw.mean(0), dim=1).numpy())
    after = held_out_rates(recordings, held, voices(head, recordings, settings))
    assert before[0] > 0.25
    assert after[0] < 0.08


def test_the_same_seed_gives_the_same_head() -> None:
    recordings = planted(6, 12, 0)
    everybody = torch.arange(72)
    few = Margin(layers=(0,), dim=16, steps=5)
    first, again, other = (fit_voice(recordings, everybody, few, seed) for seed in (0, 0, 1))
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)


def test_whitening_leaves_the_same_variance_within_speakers_in_all_directions() -> None:
    recordings = planted(20, 30, 1)
    settings = Whitening(layers=(0,), dim=20, shrinkage=0.0)
    head = fit_voice(recordings, torch.arange(600), settings, 0)
    with torch.no_grad():
        vectors = head.embed(head.mix(recordings.statistics))
    own = vectors.view(20, 30, 20)  # all weigh the same: each emotion occurs ten times
    within = (own - own.mean(1, keepdim=True)).flatten(0, 1)
    torch.testing.assert_close(within.T @ within / 600, torch.eye(20), rtol=0, atol=2e-2)
    torch.testing.assert_close(vectors.mean(0), torch.zeros(20), rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of buzzes: a resonance for each of eight speakers, a pitch for each emotion."""
    root = tmp_path_factory.mktemp("buzzes")
    rows = []
    for s, gender in enumerate("FFFFMMMM"):
        for n in range(6):
            path = root / f"{s}-{n}.wav"
            hz = 100 + 40 * (n % 2) + 3 * n
            t = torch.arange(12_000) / 16_000
            harmonics = (
                math.exp(-(((hz * k - 400 - 350 * s) / 300) ** 2))
                * torch.sin(k * hz * 2 * math.pi * t)
                for k in range(1, 40)
            )
            wav = sum(
                harmonics, 0.01 * torch.randn(12_000, generator=torch.Generator().manual_seed(n))
            )
            write_wav(path, (0.3 * wav / wav.abs().max()).numpy(), 16_000)
            rows.append(
                Utterance(
                    id=f"x/{s}-{n}", path=path, sha256=sha256_of(path), sample_rate=16_000,
                    num_samples=12_000, speaker=f"s{s}", corpus="x", gender=gender,
                    emotion=("sad", "angry")[n % 2], sentence=str(n),
                    split=("train", "val", "test")[n // 2], split_id="by-hand",
                )
            )  # fmt: skip
    write_manifest(root / "manifest.jsonl", rows)
    return root / "manifest.jsonl"


@pytest.fixture(scope="module")
def weights(corpus: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head made by command from two thirds of each speaker's recordings."""
    folder = tmp_path_factory.mktemp("voice") / "weights"
    train_voice(corpus, folder, whisper=str(tiny))
    return folder


def test_training_by_command_gives_weights_that_tell_speakers_apart(
    corpus: Path, weights: Path, tiny: Path
) -> None:
    judge = VoiceSimilarity(str(weights), whisper=str(tiny))
    assert judge.encoder.pretrained
    assert not judge.encoder.training
    assert judge.about["trained_on"] == ["x"]
    assert judge.about["whisper"] == judge.encoder.encoder.weights
    rows = [u for u in read_manifest(corpus) if u.split == "test"]
    vectors = np.stack([judge.hear(*read_wav(u.path)) for u in rows])
    scores = vectors @ vectors.T
    same = np.array([[a.speaker == b.speaker for a in rows] for b in rows])
    assert scores[same & ~np.eye(len(rows), dtype=bool)].mean() > scores[~same].mean() + 0.3
    with pytest.raises(UserError, match="holds a model"):
        train_voice(corpus, weights)


def test_the_experiment_scores_every_encoder_and_goes_on(
    corpus: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resemblyzer")
    monkeypatch.setattr("emovc.ser.voice_experiment.MARGIN", Margin(steps=20))
    out = tmp_path / "out"
    voice_encoder([corpus], out, seeds=1, whisper=str(tiny))
    with (out / "voice-encoder.csv").open() as file:
        records = list(csv.DictReader(file))
    systems = {"d-vector", "voice encoder, speaker folds", "margin softmax, speaker folds"}
    assert systems <= {r["system"] for r in records}
    assert {r["trials"] for r in records} == set(KINDS)
    own = [r for r in records if r["second"] == "recording"]
    assert all(0 <= float(r["equal_error_rate"]) <= 1 for r in own)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("vectors/*/*.npy")}
    assert len(kept) == 8  # four rounds of two encoders
    text = (out / "voice-encoder.md").read_text()
    voice_encoder([corpus], out, seeds=1, whisper=str(tiny))
    assert {path: path.stat().st_mtime_ns for path in out.glob("vectors/*/*.npy")} == kept
    assert (out / "voice-encoder.md").read_text() == text


def test_as_a_judge_it_compares_with_target_and_other_words(weights: Path, tiny: Path) -> None:
    judge = VoiceSimilarity(str(weights), whisper=str(tiny), name="voice")
    given = {
        role: judge.hear(tone(hz).numpy(), RATE) for role, hz in (("target", 110), ("source", 240))
    }
    given["same_speaker"] = judge.hear(tone(130).numpy(), RATE)
    goal = Goal("angry", None, None, "anna")
    own = judge.judge(given["target"], given, goal).metrics
    other = judge.judge(given["source"], given, goal).metrics
    assert own.keys() == judge.metrics.keys()
    assert own["speaker_similarity_voice"] == pytest.approx(1, abs=1e-5)
    assert other["speaker_similarity_voice"] < 0.999
    control = float(given["source"] @ given["same_speaker"])
    assert other["speaker_similarity_same_speaker_voice"] == pytest.approx(control)
    with pytest.raises(UserError, match="silent"):
        judge.hear(np.zeros(RATE), RATE)


def test_another_whisper_and_none_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_tiny_whisper(tmp_path / "other", n_positions=150, n_blocks=4, seed=1)
    with pytest.raises(UserError, match=r"other: is Whisper \w+, the voice encoder was trained on"):
        VoiceSimilarity(str(weights), whisper=str(other))
    monkeypatch.setenv("EMOVC_WHISPER", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="needs Whisper base.*EMOVC_WHISPER") as caught:
        VoiceSimilarity(str(weights))
    assert "\n" not in str(caught.value)


def test_random_weights_do_not_pose_as_pretrained(encoder: VoiceEncoder) -> None:
    assert not encoder.pretrained
    with pytest.raises(UserError, match=r"nowhere: no weights .* give one of all, without_nemo"):
        VoiceEncoder.from_pretrained("nowhere")


def test_what_cannot_be_trained_on_is_refused(corpus: Path, tmp_path: Path) -> None:
    rows = [replace(u, speaker="one") for u in read_manifest(corpus)]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    with pytest.raises(UserError, match="1 speakers in train, val, 4 are needed"):
        train_voice(tmp_path / "manifest.jsonl", tmp_path / "weights")
    with pytest.raises(UserError, match="has no corpus nemo"):
        train_voice(corpus, tmp_path / "weights", corpora=["nemo"])


@pytest.mark.parametrize("name", VARIANTS)
def test_shipped_weights_tell_real_speakers_apart(name: str, shared: Path) -> None:
    """Neutral recordings of EMO-DB's women, of different sentences."""
    encoder = VoiceEncoder.from_pretrained(name, whisper=real_whisper())
    corpora = ["emodb", "nemo", "ravdess"]
    assert encoder.trained_on == [c for c in corpora if name == "all" or c != "nemo"]
    vectors, names = [], []
    for speaker in ("08", "09", "13", "14", "16"):  # the women
        for path in sorted((shared / "data" / "emodb" / "wav").glob(f"{speaker}*N?.*"))[:5]:
            wav = torch.from_numpy(read_wav(path, 16_000)[0])[None]
            with torch.no_grad():
                vectors.append(encoder(wav, torch.tensor([wav.shape[1]]))[0])
            names.append(path.stem)
    scores = (torch.stack(vectors) @ torch.stack(vectors).T).numpy()
    words = np.array([[a[2:5] != b[2:5] for a in names] for b in names])
    same = np.array([[a[:2] == b[:2] for a in names] for b in names])
    assert equal_error_rate(scores[words], same[words]) < 0.3
