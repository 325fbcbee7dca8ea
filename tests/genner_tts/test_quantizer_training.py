"""Training through the command line's machinery, and the data it reads."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from tests.genner_tts.quantizers import DIM, fitted

from emovc.common.errors import UserError
from emovc.common.export import export
from emovc.common.features.store import ShardWriter, store_folder
from emovc.common.fit import cli
from emovc.common.manifest import Utterance, write_manifest
from emovc.genner_tts.embedding_batch import EmbeddingBatch
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.quantizer_training import LitEmotionQuantizer
from emovc.genner_tts.synthetic_data import SyntheticDataModule

CONFIG = Path(__file__).parents[2] / "configs" / "quantizer_toy.yaml"
SMALL = [
    "--model.model.dim=16", "--data.dim=16", "--model.model.codebook_size=8",
    "--model.model.hidden=16", "--model.model.n_stages=2", "--data.per_emotion=100",
    "--data.held_out=20", "--data.batch_size=100", "--trainer.val_check_interval=5",
    "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false", "--trainer.max_steps=20",
    "--trainer.logger=[{class_path: emovc.common.loggers.CsvCurves}]",
]  # fmt: skip


class Stop(L.Callback):
    """Breaks a run off."""

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 12:
            raise RuntimeError("broken off")


def fit(run: Path, *more: str) -> dict[str, torch.Tensor]:
    cli(["fit", "-c", str(CONFIG), "--run", str(run), *SMALL, *more])
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_learns_and_goes_on_exactly_where_it_was_broken_off(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    rows = [
        line.split(",") for line in (tmp_path / "whole" / "metrics.csv").read_text().splitlines()
    ]
    names = rows[0]
    assert {"train/distortion", "train/bits", "train/perplexity", "val/bits_1e-04"} <= set(names)
    losses = [
        float(row[names.index("val/loss")]) for row in rows[1:] if row[names.index("val/loss")]
    ]
    assert losses[-1] < losses[0]

    last = "class_path: emovc.common.checkpoints.LastCheckpoint, init_args: {every_n_steps: 5}"
    often = f"--trainer.callbacks+={{{last}}}"
    stop = "--trainer.callbacks+={class_path: tests.genner_tts.test_quantizer_training.Stop}"
    with pytest.raises(RuntimeError, match="broken off"):
        fit(tmp_path / "broken", often, stop)
    again = fit(tmp_path / "broken", "--resume=true")
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name

    model = EmotionQuantizer.from_pretrained(tmp_path / "whole")
    assert model.pretrained and model.codebooks.filled
    made = model(torch.randn(3, 16), 1e-2)
    assert torch.equal(model.decode(made.indices), made.quantized)
    export(tmp_path / "whole", tmp_path / "exported")
    assert "none: it takes embeddings" in (tmp_path / "exported" / "README.md").read_text()
    exported = EmotionQuantizer.from_pretrained(tmp_path / "exported")
    vectors = torch.randn(5, 16)
    assert torch.equal(exported(vectors, 1e-2).indices, model(vectors, 1e-2).indices)


def test_frames_train_too() -> None:
    """A recurrent prior learns to expect a frame like the one before."""
    torch.manual_seed(0)
    model = fitted(recurrent=True, opinionated=False)
    lit = LitEmotionQuantizer(model)
    lit.draw_lambda = lambda count: torch.full((count,), 1e-3)  # type: ignore[method-assign]
    lit.log = lit.log_dict = lambda *a, **k: None  # type: ignore[method-assign, assignment]
    optimizer = torch.optim.Adam(model.prior.parameters(), lr=1e-2)
    source = model.space.inverse(0.4 * torch.randn(12, 16))
    losses = []
    for step in range(80):
        frames = source[torch.randint(12, (10,))][:, None].expand(10, 4, 16)
        lam = EmbeddingBatch(["x"] * 10, frames, torch.zeros(10), torch.zeros(10))
        loss = lit.training_step(lam, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    bits = model.eval()(source[:, None].expand(12, 4, 16), 1e-3).bits
    assert bits[:, 1:].mean() < 0.75 * bits[:, 0].mean()


def test_only_what_lambda_left_alone_may_replace_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And codes are chosen with the lambda of their own item."""
    model = fitted()
    lit = LitEmotionQuantizer(model)
    lams = torch.tensor([0.0, 1e-4, 9e-4, 1.1e-3, 0.3])
    seen = []
    monkeypatch.setattr(lit, "draw_lambda", lambda count: lams)
    monkeypatch.setattr(lit, "_log_step", lambda *given: None)
    monkeypatch.setattr(model.codebooks, "update", lambda *given: seen.append(given))
    e = torch.randn(5, DIM)
    lit.training_step(EmbeddingBatch(["x"] * 5, e, torch.zeros(5), torch.zeros(5)), 0)
    x, indices, fresh = seen[0]
    assert fresh.tolist() == [True, True, True, False, False]
    assert torch.equal(indices, model.encode(e, lams)) and torch.equal(x, model.space(e))


def test_what_can_not_be_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tables aren't trained"):
        LitEmotionQuantizer(EmotionQuantizer(DIM, 2, 2, 8, prior="tables"))
    with pytest.raises(UserError, match="max_steps: must be set"):
        fit(tmp_path / "a", "--trainer.max_steps=-1", "--trainer.max_epochs=1")
    with pytest.raises(UserError, match="takes \\(items, 24\\)"):
        fit(tmp_path / "b", "--model.model.dim=24")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Sixty utterances of three emotions, sad ones rare, with a feature of 3 to 8 frames."""
    rng = np.random.default_rng(0)
    folder = store_folder(tmp_path / "features", "frames", {})
    writer = ShardWriter(folder, "frames", {})
    rows = []
    for k in range(60):
        emotion = "sad" if k % 10 == 0 else ("neutral", "happy")[k % 2]
        part = "test" if k % 6 == 5 else "val" if k % 6 == 4 else "train"
        row = Utterance(
            f"x/{k}", tmp_path / f"{k}.wav", f"sha{k}", 22_050, 22_050, "s", "x", emotion=emotion,
            sentence=str(k), split=part, split_id="id",  # type: ignore[arg-type]
        )  # fmt: skip
        writer.add(row.sha256, k + 0.01 * rng.standard_normal((3 + k % 6, 4)))
        rows.append(row)
    writer.flush()
    write_manifest(tmp_path / "manifest.jsonl", rows)
    return tmp_path / "manifest.jsonl"


def data_of(manifest: Path, least: int = 1, **settings: Any) -> EmbeddingDataModule:
    module = EmbeddingDataModule(manifest, "frames", min_utterances=least, batch_size=8, **settings)
    module.setup("fit")
    return module


def test_embeddings_are_the_means_of_their_frames(manifest: Path) -> None:
    data = data_of(manifest)
    batches = list(data.val_dataloader())
    assert [len(b.ids) for b in batches] == [8, 2]
    for name, vector in zip(batches[0].ids, batches[0].embedding, strict=True):
        assert float(vector.mean()) == pytest.approx(int(name.split("/")[1]), abs=0.02)
    assert data.embeddings("train").shape == (40, 4) == data.training_embeddings().shape
    assert batches[0].lengths.tolist() == [22_050] * 8


def test_an_epoch_visits_every_utterance_once_in_an_order_of_its_own(manifest: Path) -> None:
    loader = data_of(manifest).train_dataloader()
    first, second = ([name for batch in loader for name in batch.ids] for _ in range(2))
    assert sorted(first) == sorted(second) and len(set(first)) == 40
    assert first != second
    again = [name for batch in data_of(manifest).train_dataloader() for name in batch.ids]
    assert again == first


def test_weights_draw_an_emotion_more_often(manifest: Path) -> None:
    data = data_of(manifest, weights={"sad": 10.0})
    plain = data_of(manifest)
    share = []
    for module in (data, plain):
        emotions = torch.cat([b.emotion for _ in range(20) for b in module.train_dataloader()])
        share.append(float((emotions == 3).float().mean()))
    sad = sum(u.emotion == "sad" for u in plain.of_split("train")) / 40
    assert share[1] == pytest.approx(sad)
    assert share[0] == pytest.approx(10 * sad / (1 + 9 * sad), abs=0.05)


def test_one_emotion_alone(manifest: Path) -> None:
    data = data_of(manifest, emotions=["happy"])
    assert {u.emotion for u in data.utterances} == {"happy"}
    with pytest.raises(UserError, match=r"training utterances are sad, data.min_utterances asks"):
        data_of(manifest, least=10, emotions=["happy", "sad"])
    with pytest.raises(UserError, match="0 training utterances are bored"):
        data_of(manifest, emotions=["bored"])


def test_frames_are_cut_at_random_in_training_and_at_the_start_in_evaluation(
    manifest: Path,
) -> None:
    data = data_of(manifest, frames=4)
    assert all(int(u.id.split("/")[1]) % 6 for u in data.utterances)  # 3 frames are too few
    loader = data.train_dataloader()
    epochs = [
        {n: e for b in loader for n, e in zip(b.ids, b.embedding, strict=True)} for _ in (0, 1)
    ]
    assert next(iter(epochs[0].values())).shape == (4, 4)
    assert any(not torch.equal(e, epochs[1][n]) for n, e in epochs[0].items() if n in epochs[1])
    for batch in data.val_dataloader():
        for name, frames in zip(batch.ids, batch.embedding, strict=True):
            assert torch.equal(frames, data._values[name][:4])


def test_what_is_no_feature_is_refused_in_a_line(manifest: Path) -> None:
    with pytest.raises(UserError, match="holds no feature 'other'"):
        EmbeddingDataModule(manifest, "other", min_utterances=1).setup("fit")
    with pytest.raises(UserError, match=r"data.weights: must be above 0"):
        EmbeddingDataModule(manifest, weights={"sad": 0.0})
    with pytest.raises(UserError, match="batch_size, min_utterances and frames must be 1"):
        EmbeddingDataModule(manifest, batch_size=0)
    extra = json.loads(manifest.read_text().splitlines()[0])
    extra |= {"id": "x/new", "sha256": "new", "sentence": "new"}
    manifest.write_text(manifest.read_text() + json.dumps(extra) + "\n")
    with pytest.raises(UserError, match=r"lacks 1 of 61 utterances \(x/new"):
        data_of(manifest)


def test_a_single_stage_trains_though_its_codes_move_before_the_gradients() -> None:
    torch.manual_seed(0)
    model = EmotionQuantizer(DIM, 2, 1, 8, hidden=16)
    before = model.prior.head_weight.detach().clone()
    trainer = L.Trainer(
        max_steps=3, accelerator="cpu", logger=False, limit_val_batches=0,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = SyntheticDataModule(DIM, per_emotion=60, held_out=8, batch_size=32)
    trainer.fit(LitEmotionQuantizer(model), data)
    assert model.prior.head_weight.isfinite().all()
    assert not torch.equal(model.prior.head_weight, before)
