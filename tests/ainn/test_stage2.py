"""Stage II: what is frozen, what each term sees, where it begins, and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.ainn.corpora import data, trainer
from tests.ainn.networks import batch_of, description, silenced, small_ainn
from torch import Tensor
from torch.nn import GRU, BatchNorm1d

from emovc.ainn import AINN
from emovc.ainn.adaptation import LitAINNAdaptation, load_stage1
from emovc.common.batch import Batch
from emovc.common.errors import UserError
from emovc.common.speaker import SpeakerTable

NO_TERMS: dict[str, Any] = dict(
    rec_weight=0.0, content_weight=0.0, category_weight=0.0, strength_weight=0.0
)


def recipe(speaker: str = "dvector", **changes: Any) -> LitAINNAdaptation:
    """Stage II of a small AINN as built, for Lightning calls no ``train`` before it begins."""
    return LitAINNAdaptation(small_ainn(speaker).train(), **changes)


def references() -> Batch:
    """Four sources and their references."""
    wanted = batch_of(["happy", "angry", "sad", "neutral"], 210)
    return batch_of(["neutral", "happy", "neutral", "surprise"], 150, (wanted,))


def contents(module: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all weights and buffers, those that aren't saved included."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: value.detach().clone() for name, value in named}


def stage1_run(folder: Path, model: AINN, config: dict[str, Any]) -> Path:
    """A run whose last checkpoint holds a model."""
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True)
    checkpoint = {"state_dict": state, "hyper_parameters": {"model": config}}
    torch.save(checkpoint, folder / "checkpoints" / "last.ckpt")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Stage I with other weights than small_ainn's."""
    model = small_ainn("table")
    assert isinstance(model.speaker, SpeakerTable)
    model.speaker.set_names(["s0", "s1"])
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    return stage1_run(tmp_path_factory.mktemp("run") / "stage1", model, description("table"))


def test_steps_change_the_generator_and_no_weight_or_buffer_of_the_encoders() -> None:
    module = recipe(warmup_steps=0)
    module.model.encoders.remember(torch.randn(2, 10), torch.tensor([0, 1]))
    optimizer = module.configure_optimizers()["optimizer"]
    frozen, moving = contents(module.model.encoders), contents(module.model.generator)
    assert module.model.speaker is not None
    voices = contents(module.model.speaker)
    for step in range(3):
        optimizer.zero_grad()
        loss = module.training_step(references(), step)
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    after = contents(module.model.encoders)
    assert any("running_mean" in name for name in after) and "sums" in after
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert all(torch.equal(contents(module.model.speaker)[n], v) for n, v in voices.items())
    now = contents(module.model.generator)
    assert not [name for name, value in moving.items() if torch.equal(now[name], value)]
    assert all(p.grad is None for p in module.model.encoders.parameters())


@pytest.mark.parametrize("term", NO_TERMS)
def test_every_term_alone_has_a_gradient_on_the_generator(term: str) -> None:
    module = recipe(**{**NO_TERMS, term: 1.0})
    module.training_step(references(), 0).backward()
    found = {n: p.grad for n, p in module.model.generator.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in found.values())
    still = [n for n, g in found.items() if g is None or not g.abs().sum() > 0]
    assert not still


def changed(batch: Batch, rows: slice) -> Batch:
    """Other references for some of the sources."""
    other = batch_of(["happy", "angry", "sad", "neutral"], 320)
    wav = batch.partners[0].wav.clone()
    wav[rows] = other.wav[rows]
    return batch._replace(partners=(batch.partners[0]._replace(wav=wav),))


def test_the_first_half_is_reconstructed_and_the_second_half_converted() -> None:
    batch, first, second = references(), slice(0, 2), slice(2, 4)
    for term in NO_TERMS:  # of which only the strength looks at references itself
        hears = term != "rec_weight"
        module = recipe(**{**NO_TERMS, term: 1.0})
        with torch.no_grad():
            loss = module.training_step(batch, 0)
            assert torch.equal(module.training_step(changed(batch, first), 0), loss)
            assert torch.equal(module.training_step(changed(batch, second), 0), loss) != hears


def test_a_reference_that_is_the_source_asks_for_the_emotion_already_there() -> None:
    """With a generator that gives the source's mel back every consistency term is at its best."""
    module = recipe(**{**NO_TERMS, "content_weight": 1.0, "strength_weight": 1.0})
    batch = batch_of(["happy", "sad"])
    inputs = module.model.inputs(batch)

    class Copy(torch.nn.Module):
        def forward(
            self, content: Tensor, emotion: Tensor, speaker: Tensor | None, mask: Tensor
        ) -> tuple[Tensor, Tensor]:
            return inputs.mel, inputs.mel

    module.model.generator = Copy()  # type: ignore[assignment]
    with torch.no_grad():
        loss = module.training_step(batch._replace(partners=(batch,)), 0)
    assert float(loss) == pytest.approx(0, abs=1e-5)


def modes(module: LitAINNAdaptation) -> tuple[bool, bool, bool]:
    """Whether batch norms, GRUs and the generator are in training mode."""
    found = {type(m): m.training for m in module.model.encoders.modules()}
    return found[BatchNorm1d], found[GRU], module.model.generator.training


def test_encoders_stay_in_evaluation_whatever_mode_is_set() -> None:
    """But for the GRUs, which have no statistics: cuDNN gives no gradient in evaluation."""
    module = recipe()
    assert modes(module) == (False, True, True)
    assert modes(module.eval()) == (False, False, False)
    assert modes(module.train()) == (False, True, True)


def test_silent_batches_and_bf16_give_finite_losses() -> None:
    module = recipe()
    module.training_step(silenced(references()), 0).backward()
    with torch.autocast("cpu", torch.bfloat16):
        rough = module.training_step(references(), 0)
    rough.backward()
    exact = module.training_step(references(), 0)
    assert float(rough) == pytest.approx(float(exact), rel=0.02)
    for weight in module.model.generator.parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all()


def test_a_training_begins_from_stage_1_and_logs_its_terms(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    module, fit = recipe("table", stage1=str(run)), trainer(tmp_path)
    begun = AINN.from_checkpoint(run / "checkpoints" / "last.ckpt")
    fit.fit(module, data(manifest, grouping="reference"))
    after, before = contents(module.model.encoders), contents(begun.encoders)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    moved, start = contents(module.model.generator), contents(begun.generator)
    assert not [name for name, value in start.items() if torch.equal(moved[name], value)]
    metrics = {name: float(value) for name, value in fit.callback_metrics.items()}
    terms = {"rec", "content", "category", "strength"}
    named = {name for name in metrics if name.startswith("train/loss_")}
    assert named == {f"train/loss_{term}" for term in terms}
    total = sum(metrics[name] for name in named)
    assert metrics["train/loss"] == pytest.approx(total, rel=1e-5)
    assert metrics.keys() >= {"val/loss", "val/mel_l1", *(f"val/loss_{t}" for t in terms)}


def test_validation_hears_conversions_alike_in_any_batch(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    module, found = recipe("table", stage1=str(run)), []
    for size in (1, 3):
        loaded = data(manifest, grouping="reference", batch_size=size)
        found += trainer(tmp_path).validate(module, loaded, verbose=False)
    names = "val/loss_rec", "val/mel_l1", "val/accuracy"
    for name in names:  # which reference a source gets doesn't depend on the batch either
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4)
    assert found[0]["val/loss_strength"] == pytest.approx(found[1]["val/loss_strength"], rel=1e-3)


def test_stage_1_and_its_references_are_asked_for(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    loaded = data(manifest, grouping="reference")
    with pytest.raises(UserError, match="model.stage1: is not set; train Stage I first"):
        trainer(tmp_path).fit(recipe("table"), loaded)
    with pytest.raises(UserError, match=r"model.stage1: .*nowhere holds no run; train Stage I"):
        trainer(tmp_path).fit(recipe("table", stage1=str(tmp_path / "nowhere")), loaded)
    with pytest.raises(UserError, match="data.grouping parallel: Stage II needs reference"):
        module = recipe("table", stage1=str(run))
        trainer(tmp_path).fit(module, data(manifest, grouping="parallel"))


def test_a_stage_1_of_other_sizes_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="last.ckpt"):
        load_stage1(small_ainn(None), str(run))
