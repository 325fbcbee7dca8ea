"""The emotion encoder on Whisper: what must not matter to it, whose Whisper it takes, training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.common.whisper_models import TINY_DIM, real_whisper, write_tiny_whisper
from torch import Tensor

from emovc.common.emotions import EMOTIONS
from emovc.common.errors import UserError
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.common.wav import read_wav
from emovc.common.weights import save_weights
from emovc.common.whisper_folder import VARIABLE
from emovc.ser.emotion_choice import load_emotion_encoder, on_whisper
from emovc.ser.emotion_encoder import VARIANTS, EmotionEncoder
from emovc.ser.representations import EmotionFeature
from emovc.ser.train_emotion import train_emotion
from emovc.ser.whisper_emotion import PURPOSES, WhisperEmotion
from emovc.ser.whisper_experiment import score_examples
from emovc.ser.whisper_folds import calibration_error, fit_temperature, make_rounds
from emovc.ser.whisper_head import SpeakerStatistics, WhisperHead
from emovc.ser.whisper_judge import WhisperEmotionJudge
from emovc.ser.whisper_moments import statistics, whisper_moments
from emovc.ser.whisper_training import (
    Examples,
    HeadSettings,
    describe_speakers,
    fit_embedding,
    fit_head,
    log_posteriors,
)

RATE = 22_050


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


def made(whisper: Path) -> WhisperEmotion:
    """A random encoder on a tiny Whisper."""
    torch.manual_seed(0)
    network = WhisperEmotion((0, 1), dim=8, whisper=str(whisper), whisper_dim=TINY_DIM)
    network.load()
    network.head.fit_scale(torch.randn(20, 2, 2, TINY_DIM))
    return network.eval()


@pytest.fixture
def encoder(whisper: Path) -> WhisperEmotion:
    return made(whisper)


def noise(n: int = RATE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n, generator=generator) * torch.linspace(0.2, 1, n)


def test_padding_batch_and_gain_change_nothing(encoder: WhisperEmotion) -> None:
    long, short = noise(), noise(9_000, 1)
    batch = torch.full((2, RATE + 500), float("nan"))
    batch[0, :RATE], batch[1, :9_000] = long, short
    together = encoder(batch, torch.tensor([RATE, 9_000]))
    for row, wav in enumerate((long, short)):
        alone = encoder(0.01 * wav[None], torch.tensor([len(wav)]))
        torch.testing.assert_close(
            alone.embedding[0], together.embedding[row], rtol=1e-3, atol=1e-4
        )
        torch.testing.assert_close(
            alone.log_posterior[0], together.log_posterior[row], rtol=1e-3, atol=1e-4
        )
    assert (together.embedding[0] - together.embedding[1]).abs().max() > 1e-2


def test_probabilities_sum_to_one_and_gradients_reach_the_waveform(
    encoder: WhisperEmotion,
) -> None:
    wav = noise()[None].requires_grad_()
    found = encoder(wav, torch.tensor([RATE])).log_posterior
    assert float(found.detach().exp().sum()) == pytest.approx(1, abs=1e-5)
    found[0, 0].backward()
    assert wav.grad is not None
    assert wav.grad.isfinite().all()
    assert wav.grad.abs().max() > 0


def test_a_speaker_is_normalized_by_their_own_recordings(encoder: WhisperEmotion) -> None:
    wavs = [noise(RATE, seed) for seed in range(4)]
    speaker = encoder.fit_speaker(wavs)
    moments = whisper_moments(encoder.encoder, torch.stack(wavs), torch.tensor([RATE] * 4))
    values = statistics(moments)
    torch.testing.assert_close(speaker.mean, values.mean(0))
    variance = (4 * values.var(0, correction=0) + 2 * encoder.head.deviation.square()) / 6
    torch.testing.assert_close(speaker.deviation, variance.sqrt() + 1e-4)
    plain = encoder(wavs[0][None], torch.tensor([RATE]))
    own = encoder(wavs[0][None], torch.tensor([RATE]), speaker)
    assert (plain.log_posterior - own.log_posterior).abs().max() > 1e-3
    torch.testing.assert_close(plain.embedding, own.embedding)
    with pytest.raises(UserError, match=r"need 3 recordings or more.*; 1 given"):
        encoder.fit_speaker(wavs[:1])


def test_a_speakers_shift_and_scale_of_the_statistics_is_undone() -> None:
    """The same recordings, moved and stretched as another speaker's would be, decide alike."""
    torch.manual_seed(1)
    head = WhisperHead(2, 6, dim=4).eval()
    head.fit_scale(torch.randn(50, 2, 2, 6))
    found = []
    for values in (whole := torch.randn(400, 2, 2, 6), 3 * whole + 5):
        found.append(head(values, SpeakerStatistics(values.mean(0), values.std(0)))[1])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_what_is_too_short_is_one_clear_line(encoder: WhisperEmotion) -> None:
    with pytest.raises(UserError, match=r"needs 0\.1 s"):
        encoder(torch.zeros(1, 2_000), torch.tensor([2_000]))


def folder_of(network: WhisperEmotion, folder: Path, weights: str) -> Path:
    """Write a network as training does."""
    arguments = {
        "layers": [0, 1], "dim": 8, "trained_on": ["x"],
        "whisper_weights": weights, "whisper_dim": TINY_DIM,
    }  # fmt: skip
    path = f"{WhisperEmotion.__module__}.{WhisperEmotion.__qualname__}"
    folder.mkdir()
    text = yaml.safe_dump({"model": {"class_path": path, "init_args": arguments}})
    (folder / "config.yaml").write_text(text)
    save_weights(network, folder / "model.safetensors")
    return folder


def test_another_whisper_or_none_is_one_clear_line(
    whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = made(whisper)
    folder = folder_of(network, tmp_path / "weights", network.encoder.weights)
    loaded = WhisperEmotion.from_pretrained(folder, whisper=whisper)
    assert loaded.pretrained
    assert loaded.trained_on == ["x"]
    wav, lengths = noise()[None], torch.tensor([RATE])
    torch.testing.assert_close(loaded(wav, lengths), network(wav, lengths))
    other = write_tiny_whisper(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match=rf"other: is .* on {network.encoder.weights}"):
        WhisperEmotion.from_pretrained(folder, whisper=other)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=rf"nowhere.*; name its folder in {VARIABLE}"):
        WhisperEmotion.from_pretrained(folder)
    monkeypatch.setenv(VARIABLE, str(whisper))
    assert WhisperEmotion.from_pretrained(folder).encoder.source == str(whisper)
    with pytest.raises(UserError, match="elsewhere: no weights .* give one of judge_all"):
        WhisperEmotion.from_pretrained("elsewhere")


def test_random_weights_do_not_pose_as_pretrained(encoder: WhisperEmotion) -> None:
    assert not encoder.pretrained
    with pytest.raises(UserError, match="random"):
        EmotionFeature(encoder)


def test_whisper_is_no_part_of_the_weights(encoder: WhisperEmotion) -> None:
    assert all(name.startswith("head.") for name in encoder.state_dict())


def test_the_first_generation_is_taken_without_whisper(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("EMOVC_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("emovc.common.whisper_folder.HUB_NAME", "nobody/nothing")
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_emotion_encoder(None, RATE), EmotionEncoder)
    note = capsys.readouterr().err
    assert note.count("\n") == 1
    assert VARIABLE in note
    assert not on_whisper("all")
    assert on_whisper("condition_without_nemo")


def test_old_vectors_find_the_old_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere")  # where Whisper is, the default is another encoder
    old = EmotionFeature.from_pretrained(RATE, "all").settings["weights"]
    found = EmotionFeature.from_pretrained(RATE, weights=old)
    assert isinstance(found.encoder, EmotionEncoder)
    assert found.settings["weights"] == old


def row(number: int, speaker: str, emotion: str, corpus: str = "x") -> Utterance:
    return Utterance(
        id=f"x/{number}", path=Path("x.wav"), sha256=f"{number:08x}", sample_rate=8000,
        num_samples=8000, speaker=speaker, corpus=corpus, emotion=emotion, gender="F",
    )  # fmt: skip


def planted(n: int, n_speakers: int = 6, strength: float = 1.5) -> Examples:
    """Examples of two emotions in some statistics, and of speakers far apart in all."""
    values = torch.randn(n, 2, 2, 16)
    labels, speakers = torch.arange(n) % 2, torch.arange(n) // 2 % n_speakers
    values[labels == 1, :, 0, :4] += strength
    values += 4 * torch.randn(n_speakers, 2, 2, 16)[speakers]
    values[:, :, 1] = values[:, :, 1].abs() + 0.1
    rows = [
        row(i, f"s{int(s)}", ("angry", "sad")[int(e)])
        for i, (s, e) in enumerate(zip(speakers, labels, strict=True))
    ]
    return Examples(values, rows, [""] * n)


SMALL = HeadSettings(layers=(0, 1))


def test_planted_emotions_are_learned_across_speakers() -> None:
    examples = planted(360)
    test = torch.tensor([u.speaker in ("s0", "s1") for u in examples.utterances])
    learn, held = (~test).nonzero()[:, 0], test.nonzero()[:, 0]
    head = fit_head(examples, learn, SMALL)
    known = describe_speakers(head, examples, held)
    found = log_posteriors(head, examples, held, known).argmax(1)
    wanted = torch.tensor([EMOTIONS.index(str(examples.utterances[int(i)].emotion)) for i in held])
    assert (found == wanted).float().mean() > 0.85
    blind = log_posteriors(head, examples, held, None).argmax(1)
    assert (blind == wanted).float().mean() < (found == wanted).float().mean()


def test_the_embedding_is_trained_with_its_seed() -> None:
    examples, every = planted(120), torch.arange(120)
    settings = SMALL._replace(steps=30)
    heads = [fit_head(examples, every, settings) for _ in range(3)]
    for head, seed in zip(heads, (0, 0, 1), strict=True):
        fit_embedding(head, examples, every, settings, seed)
    first, same, other = (head(examples.statistics)[0] for head in heads)
    torch.testing.assert_close(first, same)
    assert (first - other).abs().max() > 1e-2
    torch.testing.assert_close(heads[0](examples.statistics)[1], heads[2](examples.statistics)[1])


def test_labels_that_mean_nothing_are_not_learned() -> None:
    examples = planted(360, strength=0.0)
    head = fit_head(examples, torch.arange(240), SMALL)
    found = log_posteriors(head, examples, torch.arange(240, 360), None).argmax(1)
    wanted = torch.tensor([EMOTIONS.index(("angry", "sad")[i % 2]) for i in range(240, 360)])
    assert 0.35 < (found == wanted).float().mean() < 0.65


def test_the_temperature_of_overconfident_scores_is_found() -> None:
    scores = torch.randn(4000, 9)
    classes = torch.distributions.Categorical(logits=scores).sample()
    allowed = torch.ones(4000, 9, dtype=torch.bool)
    found = fit_temperature((3 * scores).log_softmax(1), classes, allowed)
    assert found == pytest.approx(3, rel=0.1)


def test_calibration_error_by_hand() -> None:
    right = np.array([True, False, True, True])
    # In one bin: confidence .9, accuracy .5; in another .5 and 1.
    error = calibration_error(np.array([0.9, 0.9, 0.5, 0.5]), right)
    assert error == pytest.approx((2 * 0.4 + 2 * 0.5) / 4)


def test_tables_count_each_recording_by_itself() -> None:
    rows = [row(0, "a", "angry"), row(1, "a", "sad"), row(2, "b", "sad"), row(3, "b", "sad")]
    examples = Examples(torch.zeros(4, 1, 2, 1), rows, [""] * 4)
    angry, sad, other = (EMOTIONS.index(e) for e in ("angry", "sad", "happy"))
    likely = torch.full((2, 4, len(EMOTIONS)), 0.01)
    likely[..., other] = 0.9  # an emotion that the corpus doesn't have
    likely[0, :, angry] = torch.tensor([0.3, 0.1, 0.3, 0.1])  # right, right, wrong, right
    likely[0, :, sad] = torch.tensor([0.1, 0.3, 0.1, 0.3])
    likely[1, :, angry], likely[1, :, sad] = torch.tensor([0.3, 0.1, 0.1, 0.1]), 0.2
    plain, own = score_examples("x", "y", examples, [likely.log()] * 3)
    assert (plain["uar"], own["uar"]) == (pytest.approx((1 + 2 / 3) / 2), 1)
    assert (plain["accuracy"], own["accuracy"]) == (0.75, 1)
    assert plain["calibration_error"] == pytest.approx(
        0, abs=1e-6
    )  # all are .75 sure, three of four right
    # Of a alone 1, of b alone half, as "angry" doesn't occur there.
    assert (plain["low"], plain["high"]) == (0.5, 1)
    assert own["calibration_error"] == pytest.approx(1 - (0.6 + 3 * 2 / 3) / 4)


def test_every_speaker_is_held_out_once() -> None:
    rows = [row(i, f"{c}{i % n}", "angry", c) for c, n in (("nemo", 9), ("y", 6)) for i in range(n)]
    rounds = make_rounds(rows)
    assert len(rounds) == 9
    held = [name for names in rounds for name in names]
    assert sorted(held) == sorted({u.speaker for u in rows})


def test_training_by_command_gives_an_encoder_and_a_judge(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper = write_tiny_whisper(tmp_path / "whisper", n_blocks=4)
    small = {"judge": HeadSettings(layers=(0, 1), steps=60)}
    monkeypatch.setattr("emovc.ser.train_whisper_emotion.SETTINGS", small)
    rows = [replace(u, path=u.path.resolve()) for u in read_manifest(toy)]
    write_manifest(tmp_path / "manifest.jsonl", rows[::2])
    out = tmp_path / "weights"
    train_emotion(tmp_path / "manifest.jsonl", out, kind="whisper", whisper=str(whisper))
    record = yaml.safe_load((out / "config.yaml").read_text())
    assert record["degraded"].keys() == {"noise", "griffin_lim"}
    encoder = WhisperEmotion.from_pretrained(out, whisper=whisper)
    assert encoder.trained_on == ["toy"]
    judge = WhisperEmotionJudge(
        str(out), speakers=str(tmp_path / "manifest.jsonl"), whisper=str(whisper), name="tiny"
    )
    assert judge.about["whisper"] == encoder.encoder.weights
    u = next(u for u in read_manifest(tmp_path / "manifest.jsonl") if u.split == "train")
    heard = judge.hear(read_wav(u.path, RATE)[0], RATE)
    goal = Goal("angry", None, None, u.speaker, among=("angry", "sad"))
    verdict = judge.judge(heard, {"source": heard, "target": heard}, goal)
    assert verdict.metrics["emotion_similarity_tiny"] == pytest.approx(1, abs=1e-5)
    assert verdict.labels["emotion_tiny"] in ("angry", "sad")
    with pytest.raises(UserError, match="has 0 recordings of nobody"):
        judge.judge(heard, {}, goal._replace(speaker="nobody"))


@pytest.mark.parametrize("name", [f"{p}_{v}" for p in PURPOSES for v in VARIANTS])
def test_shipped_weights_load_and_say_what_they_saw(name: str) -> None:
    encoder = WhisperEmotion.from_pretrained(name, whisper=real_whisper())
    left_out = name.rpartition("without_")[2]
    assert encoder.trained_on == [c for c in ("emodb", "nemo", "ravdess") if c != left_out]
    assert encoder.dim == 128


def test_shipped_weights_recognize_real_emotions(shared: Path) -> None:
    """Sentences of EMO-DB, which the weights never met, of two emotions."""
    encoder = WhisperEmotion.from_pretrained("judge_without_emodb", whisper=real_whisper())
    right = []
    for path in sorted((shared / "data" / "emodb" / "wav").glob("*.*"))[::10]:
        wanted = {"W": "angry", "T": "sad"}.get(path.stem[5])
        if wanted:
            wav = torch.from_numpy(read_wav(path, RATE)[0])[None]
            scores = encoder(wav, torch.tensor([wav.shape[1]])).log_posterior[0]
            pair = [encoder.emotions.index(e) for e in ("angry", "sad")]
            right.append((scores[pair[0]] > scores[pair[1]]) == (wanted == "angry"))
    assert len(right) > 10
    assert sum(right) / len(right) > 0.85
