"""HYFuse: sizes, limits, and what it learns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from emovc.common.emotions import emotion_index
from emovc.common.errors import UserError
from emovc.common.features.extraction import extract
from emovc.common.fit import cli
from emovc.common.manifest import read_manifest
from emovc.common.pretrained import load_checkpoint
from emovc.ser.folds import Fold
from emovc.ser.fusion import FusionKind
from emovc.ser.hyfuse import HYFuse
from emovc.ser.hyfuse_training import LitHYFuse
from emovc.ser.logmel_statistics import LogMelStatistics
from emovc.ser.stored_vectors import read_vectors
from emovc.ser.vector_training import predict, train_on_vectors, warmup_cosine

CONFIG = Path(__file__).parents[2] / "configs" / "hyfuse_emodb.yaml"


def size(network: HYFuse) -> int:
    return sum(p.numel() for p in network.parameters())


def twin_views(n: int = 480, dim: int = 16, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    """Two views of 4 classes: the first knows one bit of the class, the second the other."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (2, n), generator=generator)
    codes = torch.randn(2, dim, generator=torch.Generator().manual_seed(99))
    noise = 0.5 * torch.randn(2, n, dim, generator=generator)
    views = (2 * bits[:, :, None] - 1) * codes[:, None] + noise
    return list(views), 2 * bits[0] + bits[1]


def thirds(n: int) -> Fold:
    rows = torch.arange(n).numpy()
    return Fold(rows[: n // 2], rows[n // 2 : 3 * n // 4], rows[3 * n // 4 :])


def accuracy(network: HYFuse, vectors: list[Tensor], labels: Tensor, fold: Fold) -> float:
    rows = torch.from_numpy(fold.test)
    found = torch.from_numpy(predict(network, [v[rows] for v in vectors]))
    return float((found == labels[rows]).float().mean())


def trained(fusion: FusionKind, vectors: list[Tensor], labels: Tensor, epochs: int = 15) -> float:
    torch.manual_seed(0)
    network = HYFuse([v.shape[1] for v in vectors], 4, fusion, "mlp", dim=32)
    fold = thirds(len(labels))
    train_on_vectors(network, vectors, labels, fold, seed=0, epochs=epochs, lr=4e-3)
    return accuracy(network, vectors, labels, fold)


def test_sizes_are_those_of_the_design() -> None:
    assert size(HYFuse([512, 128], 6)) == 2_680_262
    assert size(HYFuse([512, 128], 6, fusion="concat")) == 2_688_454
    assert size(HYFuse([512, 128], 6, branch="mlp")) == 238_790


@pytest.mark.parametrize("branch", ["conv", "mlp"])
def test_any_number_and_size_of_representations(branch: str) -> None:
    for dims in ([7], [160, 9], [12, 5, 33]):
        network = HYFuse(dims, 3, branch=branch)  # type: ignore[arg-type]
        assert network([torch.randn(5, d) for d in dims]).shape == (5, 3)


def test_almost_flat_it_is_the_sum() -> None:
    torch.manual_seed(0)
    vectors = [torch.randn(50, d) for d in (32, 20)]
    flat = HYFuse([32, 20], 6, branch="mlp", curvature=1e-6).eval()
    plain = HYFuse([32, 20], 6, "sum", "mlp").eval()
    plain.load_state_dict(flat.state_dict())
    torch.testing.assert_close(flat(vectors), plain(vectors), rtol=0, atol=2e-5)
    curved = HYFuse([32, 20], 6, branch="mlp").eval()
    curved.load_state_dict(flat.state_dict())
    assert (curved(vectors) - plain(vectors)).abs().max() > 1e-3


def test_with_a_silent_second_view_it_is_the_individual_model() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(50, 32), torch.randn(50, 20)
    both = HYFuse([32, 20], 6, branch="mlp").eval()
    torch.nn.init.zeros_(both.branches[1].layers[2].weight)  # type: ignore[union-attr, index]
    torch.nn.init.zeros_(both.branches[1].layers[2].bias)  # type: ignore[union-attr, index]
    alone = HYFuse([32], 6, branch="mlp").eval()
    state = both.state_dict()
    alone.load_state_dict({name: state[name] for name in alone.state_dict()})
    torch.testing.assert_close(both([a, b]), alone([a]))


@pytest.mark.parametrize("fusion", ["mobius", "symmetric", "midpoint", "tangent_concat"])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1.0, 1e4])
def test_output_and_gradients_are_finite_under_bf16(fusion: FusionKind, size: float) -> None:
    torch.manual_seed(0)
    for clip in (1.0, None):
        network = HYFuse([32, 20], 6, fusion, "mlp", clip=clip)
        vectors = [(size * torch.randn(8, d)).requires_grad_() for d in (32, 20)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(vectors)
        logits.float().logsumexp(1).sum().backward()
        gradients = [p.grad for p in [*network.parameters(), *vectors]]
        assert torch.isfinite(logits).all()
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_views_are_no_longer_than_the_clip() -> None:
    torch.manual_seed(0)
    network = HYFuse([32, 20], 6, branch="mlp", clip=0.7)
    views = network.views([100 * torch.randn(50, d) for d in (32, 20)])
    norms = torch.stack(views).norm(dim=2)
    torch.testing.assert_close(norms, torch.full_like(norms, 0.7))


def test_standardisation_is_of_the_training_part_and_saved() -> None:
    vectors = [5 + 3 * torch.randn(100, 8)]
    vectors[0][:, 2] = 7.0
    labels, fold = torch.arange(100) % 2, thirds(100)
    vectors[0][fold.test] += 1000
    network = HYFuse([8], 2, branch="mlp")
    train_on_vectors(network, vectors, labels, fold, seed=0, epochs=1)
    train = vectors[0][fold.train]
    state = network.state_dict()
    torch.testing.assert_close(state["standardise.0.mean"], train.mean(0))
    assert state["standardise.0.std"][2] == 1  # it never varies
    assert state["standardise.0.std"].max() < 10


@pytest.mark.parametrize(
    ("fusion", "branch"), [("mobius", "conv"), ("mobius", "mlp"), ("concat", "mlp")]
)
def test_it_learns_64_samples_by_heart(fusion: FusionKind, branch: str) -> None:
    torch.manual_seed(0)
    vectors, labels = [torch.randn(64, d) for d in (16, 20)], torch.arange(64) % 6
    network = HYFuse([16, 20], 6, fusion, branch, dim=32, dropout=0.0)  # type: ignore[arg-type]
    rows = torch.arange(64).numpy()
    train_on_vectors(
        network, vectors, labels, Fold(rows, rows, rows), 0, epochs=30, batch_size=16, lr=4e-3
    )
    assert accuracy(network, vectors, labels, Fold(rows, rows, rows)) > 0.99


def test_permuted_labels_teach_nothing() -> None:
    vectors, labels = twin_views()
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    assert abs(trained("mobius", vectors, shuffled) - 0.25) < 0.12


@pytest.mark.parametrize(
    "fusion", ["mobius", "symmetric", "midpoint", "concat", "sum", "tangent_concat", "gated"]
)
def test_each_fusion_beats_both_views_where_each_knows_half(fusion: FusionKind) -> None:
    vectors, labels = twin_views()
    assert trained(fusion, vectors, labels) > 0.9
    if fusion == "mobius":
        assert max(trained(fusion, [v], labels) for v in vectors) < 0.65


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [warmup_cosine(step, 100) for step in range(101)]
    assert shares[0] == pytest.approx(0.1) and shares[9] == shares[10] == 1
    assert shares[55] == pytest.approx(0.5) and shares[100] == pytest.approx(0, abs=1e-12)
    assert all(a >= b for a, b in zip(shares[10:], shares[11:], strict=False))


def test_impossible_sizes_are_refused() -> None:
    for dims in ([], [3]):
        with pytest.raises(UserError, match="HYFuse: dims"):
            HYFuse(dims)
    with pytest.raises(UserError, match="HYFuse: clip 0"):
        HYFuse([8], clip=0)


@pytest.fixture(scope="module")
def corpus(toy: Path) -> Path:
    """The toy corpus with statistics of its log-mel."""
    feature = LogMelStatistics()
    rows = read_manifest(toy)
    extract(rows, toy.parent / "features", 22_050, networks=[feature], accelerator="cpu")
    return toy


def words(manifest: Path, run: Path, *more: str) -> list[str]:
    return [
        "fit", "-c", str(CONFIG), "--run", str(run), f"--data.manifest={manifest}",
        "--trainer.max_steps=40", "--trainer.val_check_interval=20",
        "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false", "--data.batch_size=16", *more,
    ]  # fmt: skip


def test_a_run_learns_and_its_checkpoint_has_the_statistics(corpus: Path, tmp_path: Path) -> None:
    cli(words(corpus, tmp_path / "run"))
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    head = lines[0].split(",")
    assert {"train/loss", "val/loss", "val/uar", "opt/lr"} <= set(head)
    recalls = [float(row.split(",")[head.index("val/uar")] or "nan") for row in lines[1:]]
    recalls = [r for r in recalls if r == r]
    assert recalls and all(0 <= r <= 1 for r in recalls)
    network = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", HYFuse)
    rows = [u for u in read_manifest(corpus) if u.split == "train"]
    values = torch.from_numpy(read_vectors(corpus, "logmel_stats", rows).values)
    torch.testing.assert_close(network.standardise[1].mean, values.mean(0))
    dvectors = torch.from_numpy(read_vectors(corpus, "dvector", rows).values)
    labels = torch.tensor([emotion_index(u.emotion) for u in rows])
    found = network([dvectors, values]).argmax(1)
    assert (found == labels).float().mean() > 0.6


def test_what_can_not_be_learned_is_refused_in_a_line(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 160 values, but model.dims says 128"):
        cli(words(corpus, tmp_path / "a", "--model.model.dims=[256, 128]"))
    with pytest.raises(UserError, match="names 1 features for 2 sizes"):
        cli(words(corpus, tmp_path / "b", "--model.features=[dvector]"))


def test_the_module_names_its_parts() -> None:
    module = LitHYFuse(HYFuse([8], branch="mlp"), ["a"])
    optimizer = module.configure_optimizers()["optimizer"]
    assert optimizer.defaults["weight_decay"] == 0.01
    assert optimizer.defaults["lr"] == 1e-3
