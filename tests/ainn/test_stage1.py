"""Stage I: the terms of the loss, what is learned from which utterance, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.ainn.corpora import data, trainer
from tests.ainn.networks import CATEGORIES, CODE_DIM, EMOTION_DIM, batch_of, silenced, small_ainn

from emovc.ainn import Adversary, CueCorrelation
from emovc.ainn.schedule import warmed_up
from emovc.ainn.training import LitAINN
from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerTable

EIGHT = ["happy", "angry", "sad", "surprise"] * 2
ALWAYS = {"train/loss", "train/loss_rec", "train/loss_cls"}


def recipe(speaker: str = "dvector", **changes: Any) -> LitAINN:
    """Stage I of a small AINN, in training mode."""
    return LitAINN(small_ainn(speaker), **changes).train()


def pairs(size: int = 8) -> Batch:
    """Emotional utterances and their neutral partners."""
    return batch_of(EIGHT[:size], 150, (batch_of(["neutral"] * size, 110),))


def triplets(size: int = 4) -> Batch:
    """Emotional utterances, others of the same emotion, and neutral ones."""
    partners = batch_of(EIGHT[:size], 180), batch_of(["neutral"] * size, 110)
    return batch_of(EIGHT[:size], 150, partners)


def gradients(module: LitAINN) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("grouping", "changes", "terms"),
    [
        ("parallel", {}, {"strength"}),
        ("triplet", {}, {"strength"}),
        ("triplet", {"strength_loss": "triplet_feat"}, {"strength"}),
        ("parallel", {"disentanglement": CueCorrelation(CODE_DIM, EMOTION_DIM)},
         {"strength", "dis"}),
        ("parallel", {"disentanglement": Adversary(CODE_DIM, 5, 8, 10)}, {"strength", "dis"}),
        ("single", {"strength_weight": 0.0}, set()),
    ],
)  # fmt: skip
def test_training_logs_its_terms_whose_sum_is_the_loss(
    grouping: str, changes: dict[str, Any], terms: set[str], manifest: Path, tmp_path: Path
) -> None:
    module, fit = recipe("table", **changes), trainer(tmp_path, max_epochs=2)
    before = {name: value.clone() for name, value in module.named_parameters()}
    fit.fit(module, data(manifest, grouping=grouping))
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    named = {name for name in metrics if name.startswith("train/")}
    assert named == ALWAYS | {f"train/loss_{term}" for term in terms}
    total = sum(metrics[name] for name in named - {"train/loss"})
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)
    assert metrics.keys() >= {"val/loss", "val/loss_rec", "val/mel_l1", "val/accuracy"}
    assert ("val/strength_order" in metrics) == (grouping != "single")
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    still = {n for n, value in module.named_parameters() if torch.equal(before[n], value)}
    assert not {n for n in still if "strength" not in n}
    assert bool(still) == (grouping == "single")  # the strength head learns from pairs only
    assert isinstance(module.model.speaker, SpeakerTable)
    assert module.model.speaker.names == ["s0", "s1"]


def test_whole_utterances_are_heard_alike_in_any_batch(manifest: Path, tmp_path: Path) -> None:
    module, found = recipe("table"), []
    for size in (1, 4):
        loaded = data(manifest, grouping="parallel", batch_size=size)
        found += trainer(tmp_path).validate(module, loaded, verbose=False)
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)
    wanted = 10 * found[0]["val/loss_rec"] + found[0]["val/loss_cls"]
    assert found[0]["val/loss"] == pytest.approx(wanted, rel=1e-3)


def test_as_many_neutral_utterances_are_classified_as_make_categories_alike() -> None:
    module, batch = recipe(), pairs(8)
    module.training_step(batch, 0)
    assert module.model.encoders.weights[:, 0].tolist() == [2, 2, 2, 2, 2]
    single = recipe(strength_weight=0.0)
    single.training_step(batch._replace(partners=()), 0)
    assert single.model.encoders.weights[:, 0].tolist() == [0, 2, 2, 2, 2]
    assert CATEGORIES[0] == "neutral"


@pytest.mark.parametrize("kind", ["rank_mixup", "triplet_feat"])
def test_the_strength_loss_reaches_encoder_and_head_but_not_the_generator(kind: Any) -> None:
    module = recipe(strength_loss=kind, rec_weight=0.0)
    module.training_step(triplets(), 0).backward()
    found = gradients(module)
    assert all(torch.isfinite(g).all() for g in found.values())
    for part in ("encoders.emotion", "encoders.strength"):
        assert sum(g.abs().sum() for n, g in found.items() if part in n) > 0
    assert all(g.eq(0).all() for n, g in found.items() if "generator" in n)


def test_reconstruction_is_counted_in_nats_and_by_its_weight() -> None:
    batch = batch_of(["happy", "angry"])
    plain, heavy = (recipe(strength_weight=0.0, rec_weight=w).eval() for w in (0.0, 3.0))
    with torch.no_grad():
        cls, both = plain.training_step(batch, 0), heavy.training_step(batch, 0)
        inputs = heavy.model.inputs(batch)
        vector = heavy.model.encoders.hear(
            inputs.mel, inputs.mask, heavy.model.encoders.category_of[batch.emotion]
        ).vector
        content = heavy.model.encoders.content(inputs.mel, inputs.mask)
        mels = heavy.model.generator(content, vector, inputs.speaker, inputs.mask)
        log_mel, total = heavy.model.unscale(inputs.mel), torch.tensor(0.0)
        for mel in mels:
            error = (heavy.model.unscale(mel) - log_mel).abs().mean(1)
            total = total + (error * inputs.mask).sum() / inputs.mask.sum() / 2
    torch.testing.assert_close(both - cls, 3 * total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("disentanglement", [None, CueCorrelation, Adversary])
def test_digital_silence_gives_finite_losses_and_gradients(disentanglement: Any) -> None:
    sizes = {CueCorrelation: (CODE_DIM, EMOTION_DIM), Adversary: (CODE_DIM, 5)}
    loss = disentanglement(*sizes[disentanglement]) if disentanglement else None
    module = recipe(disentanglement=loss)
    speech = pairs(4)
    for batch in (silenced(speech), speech._replace(wav=torch.zeros_like(speech.wav))):
        loss = module.training_step(batch, 0)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(gradient).all() for gradient in gradients(module).values())


def test_bf16_autocast_gives_nearly_the_same_loss() -> None:
    loss = CueCorrelation(CODE_DIM, EMOTION_DIM)
    exact, rough = (recipe(disentanglement=loss) for _ in range(2))
    torch.manual_seed(0)
    wanted = exact.training_step(pairs(), 0)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = rough.training_step(pairs(), 0)
    found.backward()
    assert float(found) == pytest.approx(float(wanted), rel=0.02)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(rough).values())


def test_the_learning_rate_rises_to_its_full_size() -> None:
    for steps, wanted in ((4, [0.25, 0.5, 0.75, 1, 1]), (0, [1, 1, 1, 1, 1])):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule, rates = warmed_up(optimizer, steps)["lr_scheduler"], []
        assert schedule["interval"] == "step"
        for _ in wanted:
            rates.append(optimizer.param_groups[0]["lr"] / 2)
            optimizer.step()
            schedule["scheduler"].step()
        assert rates == wanted


@pytest.mark.parametrize(
    ("grouping", "changes", "message"),
    [
        ("single", {}, "data.grouping single: the strength loss rank_mixup needs parallel or trip"),
        ("parallel", {"strength_loss": "triplet_feat"}, "triplet_feat needs triplet; set it, or"),
    ],
)
def test_data_without_the_partners_of_the_strength_loss_is_refused(
    grouping: str, changes: dict[str, Any], message: str, manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        trainer(tmp_path).fit(recipe("table", **changes), data(manifest, grouping=grouping))


def test_a_corpus_with_foreign_categories_is_refused(manifest: Path, tmp_path: Path) -> None:
    other = tmp_path / "manifest.jsonl"
    other.write_text(manifest.read_text().replace('"angry"', '"bored"'))
    message = "has bored utterances, the model knows neutral, happy, angry, sad, surprise only"
    with pytest.raises(UserError, match=message):
        trainer(tmp_path).fit(recipe("table"), data(other, grouping="parallel"))
