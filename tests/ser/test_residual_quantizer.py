"""The residual quantiser: what it rounds to, what it learns, and what gradients it lets through."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch import multiprocessing as mp

from emovc.common.errors import UserError
from emovc.ser.codebook import Codebook
from emovc.ser.residual_quantizer import ResidualQuantizer, code_shares, perplexity


def clusters(n: int = 400, dim: int = 6, seed: int = 0) -> Tensor:
    """Latents (4, D, n / 4) around a few centres."""
    g = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(7, dim, generator=g)
    x = centres[torch.randint(7, (n,), generator=g)] + 0.5 * torch.randn(n, dim, generator=g)
    return x.view(4, n // 4, dim).transpose(1, 2)


def filled(latent: Tensor, seed: int = 0, steps: int = 1, size: int = 8) -> ResidualQuantizer:
    """A quantiser of four stages that has learned from latents."""
    torch.manual_seed(seed)
    quantizer = ResidualQuantizer(latent.shape[1], size, 4)
    for _ in range(steps):
        quantizer(latent)
    return quantizer.eval()


def test_a_vector_of_the_codebook_is_rounded_to_itself() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(6, 16, 1).eval()
    vectors = quantizer.codebooks[0].vectors
    rounded = quantizer(vectors.T[None])
    torch.testing.assert_close(rounded.latent[0].T, vectors)
    assert rounded.codes.flatten().tolist() == list(range(16))
    assert float(rounded.commitment) == 0


def test_each_stage_lowers_the_distortion_of_the_data_it_was_filled_with() -> None:
    latent = clusters()
    quantizer = filled(latent)
    errors = [float((quantizer(latent, n).latent - latent).square().mean()) for n in range(1, 5)]
    untouched = float(latent.square().mean())
    assert all(after <= before for before, after in zip([untouched, *errors], errors, strict=False))
    assert errors[0] < 0.1 * untouched and errors[3] < 0.5 * errors[0]


def test_codes_decode_to_the_rounded_latents() -> None:
    latent = clusters()
    quantizer = filled(latent)
    whole = quantizer(latent)
    assert whole.codes.shape == (4, 4, 100)
    torch.testing.assert_close(quantizer.decode(whole.codes), whole.latent)
    fewer = quantizer(latent, 2)
    assert torch.equal(fewer.codes, whole.codes[:, :2])
    torch.testing.assert_close(quantizer.decode(whole.codes[:, :2]), fewer.latent)


def test_gradients_pass_as_if_nothing_was_rounded() -> None:
    quantizer = filled(clusters())
    latent = clusters(seed=1).requires_grad_()
    weights = torch.randn(latent.shape)
    (quantizer(latent).latent * weights).sum().backward()
    torch.testing.assert_close(latent.grad, weights)


def test_the_commitment_pulls_the_latents_to_their_vectors() -> None:
    """With one stage its gradient is 2 (x - vector) / number of elements."""
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(6, 16, 1).eval()
    latent = clusters().requires_grad_()
    rounded = quantizer(latent)
    rounded.commitment.backward()
    expected = 2 * (latent - rounded.latent).detach() / latent.numel()
    torch.testing.assert_close(latent.grad, expected)


def test_codebooks_converge_to_the_centroids() -> None:
    """Two heaps on a line, with means 1.5 and 11, from vectors that are far off."""
    book = Codebook(2, 1, decay=0.5, dead_below=0.0)
    book.vectors.copy_(torch.tensor([[-5.0], [20.0]]))
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0], [12.0]])
    for _ in range(60):
        book.learn(x, book.nearest(x))
    torch.testing.assert_close(book.vectors, torch.tensor([[1.5], [11.0]]))
    torch.testing.assert_close(book.share, torch.tensor([4 / 6, 2 / 6]))


def test_one_step_is_the_weighted_mean_of_old_and_new() -> None:
    """Shares 1/2 of old 0 and 3/4 of new mean 4 at decay 0.9: (0.9/2 * 0 + 0.1*3/4*4) / 0.525."""
    book = Codebook(2, 1, decay=0.9, dead_below=0.0)
    book.vectors.copy_(torch.tensor([[0.0], [100.0]]))
    book.learn(torch.tensor([[3.0], [4.0], [5.0], [90.0]]), torch.tensor([0, 0, 0, 1]))
    assert float(book.vectors[0]) == pytest.approx(0.1 * 0.75 * 4 / 0.525)
    assert float(book.share[0]) == pytest.approx(0.525)


def test_filling_finds_the_heaps() -> None:
    """k-means keeps two vectors that start in one heap there, so there are more than heaps."""
    torch.manual_seed(0)
    book = Codebook(12, 1, decay=0.99, dead_below=0.1)
    x = torch.cat([centre + 0.01 * torch.randn(50, 1) for centre in (-10.0, 0.0, 10.0)])
    book.fill(x)
    assert book.filled
    codes = book.nearest(x)
    assert (book.vectors[codes] - x).abs().max() < 0.05
    for code in codes.unique():
        torch.testing.assert_close(book.vectors[code], x[codes == code].mean(0), atol=5e-3, rtol=0)


def test_nothing_is_rounded_until_the_encoder_has_settled() -> None:
    """Then the codebooks are filled from the last batches, of which one alone would be too few."""
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(6, 64, 2, warm_up=3)
    latents = [clusters(80, seed=i).requires_grad_() for i in range(4)]
    for latent in latents[:3]:
        passed = quantizer(latent)
        assert torch.equal(passed.latent, latent) and float(passed.commitment) == 0
        assert passed.codes.shape == (4, 2, 20) and not quantizer.codebooks[0].filled
    quantizer(latents[3])
    assert quantizer.codebooks[0].filled
    quantizer.eval()
    for latent in latents:
        error = (quantizer(latent).latent - latent).square().mean()
        assert 0 < error < 0.05 * latent.square().mean()


def test_vectors_that_nobody_chooses_are_replaced_by_inputs() -> None:
    torch.manual_seed(0)
    book = Codebook(4, 2, decay=0.5, dead_below=0.2)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [500.0, 500.0], [900.0, 0.0]]))
    x = torch.cat([0.1 * torch.randn(20, 2), 1 + 0.1 * torch.randn(20, 2)])
    for _ in range(20):
        book.learn(x, book.nearest(x))
    assert book.vectors.abs().max() < 2
    assert len(book.nearest(x).unique()) == 4


def test_evaluation_learns_nothing_and_draws_nothing() -> None:
    latent = clusters()
    quantizer = filled(latent)
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    first = quantizer(clusters(seed=3))
    assert torch.equal(first.latent, quantizer(clusters(seed=3)).latent)
    assert all(torch.equal(before[k], v) for k, v in quantizer.state_dict().items())


def test_dropout_leaves_late_stages_out_for_some_utterances() -> None:
    latent = clusters()
    quantizer = filled(latent)
    quantizer.train().dropout = 1.0
    for book in quantizer.codebooks:
        book.decay = 1 - 1e-9  # stands still, so that training and evaluation can be compared
    torch.manual_seed(0)
    rounded = quantizer(latent.repeat(10, 1, 1)).latent
    quantizer.eval()
    by_stages = torch.stack([quantizer(latent, n).latent for n in range(1, 5)])
    used = []
    for i, row in enumerate(rounded):
        distance = (by_stages[:, i % 4] - row).abs().amax(dim=(1, 2))
        assert distance.min() < 1e-4
        used.append(int(distance.argmin()) + 1)
    assert set(used) == {1, 2, 3, 4}


def test_perplexity_counts_equally_frequent_codes() -> None:
    codes = torch.tensor([[[0, 1, 2, 3], [5, 5, 5, 5]]])
    shares = code_shares(codes, 8)
    assert shares.shape == (2, 8)
    torch.testing.assert_close(perplexity(shares), torch.tensor([4.0, 1.0]))


def test_bits_are_those_of_the_codes() -> None:
    assert ResidualQuantizer(4, 256, 8).bits_per_frame(3) == 24


def test_sizes_and_stages_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="size 2 or more"):
        ResidualQuantizer(4, 1)
    with pytest.raises(UserError, match=r"dropout in \[0, 1\]"):
        ResidualQuantizer(4, dropout=2)
    quantizer = ResidualQuantizer(4, 8, 2)
    for n_stages in (0, 3):
        with pytest.raises(UserError, match="the codec has 1 to 2"):
            quantizer(torch.zeros(1, 4, 5), n_stages)


def _learn_on_one_of_two(rank: int, folder: str) -> None:
    """Two steps on half of the data, in a process of its own."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    torch.set_num_threads(1)
    book = Codebook(8, 6, decay=0.5, dead_below=0.5)
    x = clusters().transpose(1, 2).flatten(0, 1)[rank::2]
    book.fill(x)
    start = book.vectors.clone()
    book.learn(x, book.nearest(x))
    torch.save((start, book.vectors, book.share), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_devices_learn_what_one_would(tmp_path: Path) -> None:
    mp.spawn(_learn_on_one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)
    start, vectors, share = first
    alone = Codebook(8, 6, decay=0.5, dead_below=0.0)
    alone.vectors.copy_(start)
    x = clusters().transpose(1, 2).flatten(0, 1)
    alone.learn(x, alone.nearest(x))
    alive = share == alone.share
    assert alive.sum() >= 5
    torch.testing.assert_close(vectors[alive], alone.vectors[alive])
