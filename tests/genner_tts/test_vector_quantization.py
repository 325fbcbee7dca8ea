"""Style codes: k-means start, moving averages, padding left out, gradient passed on."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from emovc.genner_tts.losses import commitment_loss
from emovc.genner_tts.vector_quantization import VectorQuantizer, kmeans


def clusters(n: int = 40) -> Tensor:
    """Vectors (1, N, 3) in four narrow heaps."""
    torch.manual_seed(0)
    centres = torch.eye(3).repeat(2, 1)[:4] * torch.tensor([[5.0], [5], [5], [-5]])
    return (centres.repeat(n // 4, 1) + 0.01 * torch.randn(n, 3))[None]


def padded(x: Tensor) -> tuple[Tensor, Tensor]:
    """The same vectors in two utterances with long padding of zeros, and the mask."""
    parts = x[0].split([8, x.shape[1] - 8])
    rows = torch.stack([F.pad(part, (0, 0, 0, 200 - len(part))) for part in parts])
    mask = torch.stack([F.pad(torch.ones(len(part)), (0, 200 - len(part))) for part in parts])
    return rows, mask


@pytest.mark.parametrize("training", [True, False])
def test_padding_counts_nowhere(training: bool) -> None:
    x = clusters()
    nets = [VectorQuantizer(6, 3).train(training) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    rows, mask = padded(x)
    for _ in range(3):
        torch.manual_seed(1)
        plain = nets[0](x, torch.ones(x.shape[:2]))
        torch.manual_seed(1)
        other = nets[1](rows, mask)
        valid = mask > 0
        torch.testing.assert_close(other.vectors[valid], plain.vectors[0])
        torch.testing.assert_close(other.perplexity, plain.perplexity)
        assert not other.vectors[~valid].any() and other.indices[~valid].eq(-1).all()
        losses = [
            commitment_loss(x, plain.codes, torch.ones(x.shape[:2])),
            commitment_loss(rows, other.codes, mask),
        ]
        torch.testing.assert_close(*losses)
    for name, buffer in nets[0].named_buffers():
        torch.testing.assert_close(dict(nets[1].named_buffers())[name], buffer)


def test_the_first_batch_sets_the_codes() -> None:
    x = clusters()
    net = VectorQuantizer(12, 3)
    assert not net.initialised
    out = net(x, torch.ones(x.shape[:2]))
    assert net.initialised
    assert (out.codes - x).abs().max() < 0.1
    assert net.counts.sum().item() == pytest.approx(x.shape[1])
    first = net.codebook.clone()
    net(x, torch.ones(x.shape[:2]))
    torch.testing.assert_close(net.codebook, first, atol=1e-3, rtol=1e-3)
    fresh = VectorQuantizer(12, 3).eval()
    fresh(x, torch.ones(x.shape[:2]))
    assert not fresh.initialised


def test_kmeans_finds_the_means() -> None:
    torch.manual_seed(3)
    x = torch.cat([torch.randn(50, 2) * 0.01, 4 + torch.randn(30, 2) * 0.01])
    codes, counts = kmeans(x, 2)
    order = codes[:, 0].argsort()
    torch.testing.assert_close(codes[order], torch.stack([x[:50].mean(0), x[50:].mean(0)]))
    assert counts[order].tolist() == [50, 30]
    few, _ = kmeans(x[:3], 5)
    assert few.isfinite().all()


def test_codes_are_moving_averages_and_unused_ones_stay() -> None:
    net = VectorQuantizer(2, 1, decay=0.9, eps=0.0)
    net.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    net.counts.copy_(torch.tensor([2.0, 4.0]))
    net.sums.copy_(torch.tensor([[0.0], [40.0]]))
    net.initialised.fill_(True)
    out = net(torch.tensor([[[1.0], [2.0]]]), torch.ones(1, 2))
    assert out.codes.flatten().tolist() == [0, 0]  # of before the update
    wanted = (0.9 * 0 + 0.1 * 3) / (0.9 * 2 + 0.1 * 2)
    assert net.codebook.flatten().tolist() == pytest.approx([wanted, 10])
    assert net.counts.tolist() == pytest.approx([2.0, 3.6])


def test_perplexity_counts_codes_in_equal_use() -> None:
    net = VectorQuantizer(4, 1).eval()
    net.codebook.copy_(torch.arange(4.0)[:, None])
    out = net(torch.tensor([[[0.1], [1.1], [2.1], [2.9]]]), torch.ones(1, 4))
    assert out.perplexity.item() == pytest.approx(4)
    assert out.indices.tolist() == [[0, 1, 2, 3]]
    one = net(torch.tensor([[[0.1], [0.2], [9.0]]]), torch.tensor([[1.0, 1, 0]]))
    assert one.perplexity.item() == pytest.approx(1)


def test_the_gradient_is_passed_on() -> None:
    net = VectorQuantizer(4, 3).eval()
    x = torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.ones(2, 5)
    mask[1, 3:] = 0
    weight = torch.randn(2, 5, 3)
    (net(x, mask).vectors * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight * mask[:, :, None])


def test_commitment_by_hand() -> None:
    x = torch.tensor([[[1.0, 2.0], [50.0, 50.0]]])
    loss = commitment_loss(x, torch.tensor([[[0.0, 0.0], [0.0, 0.0]]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(0.25 * (1 + 4) / 2)
