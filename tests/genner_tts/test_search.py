"""Which codes are chosen: the rule, its limits, and the order of the searches."""

import itertools
import math

import pytest
import torch
from tests.genner_tts.quantizers import LAMBDAS, embeddings, fitted, trained
from torch import Tensor

from emovc.genner_tts.prior import Context
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.search import Chosen, beam_search, greedy_search, nearest_codes

CONTEXTS: list[Context] = ["group", "stage", "none"]


def objective(chosen: Chosen, lam: float) -> Tensor:
    return chosen.distortion + lam * chosen.bits


def all_lam(x: Tensor, lam: float) -> Tensor:
    return torch.full((len(x),), lam)


def all_paths(model: EmotionQuantizer, x: Tensor, lam: float) -> Tensor:
    """Objective of every code path of every vector, (N, paths)."""
    books = model.codebooks
    steps = books.n_stages * books.n_groups
    paths = torch.tensor(list(itertools.product(range(books.n_codes), repeat=steps)))
    paths = paths.view(-1, books.n_stages, books.n_groups)
    bits = model.prior.code_bits(paths, books.codes, all_lam(paths, lam)).clamp(max=22).sum((1, 2))
    return torch.cdist(x, books.decode(paths)).square() + lam * bits


@pytest.mark.parametrize("context", CONTEXTS)
def test_brute_force_is_never_worse_than_beam_nor_beam_than_greedy(context: Context) -> None:
    model = fitted(context, n_stages=2, size=4)
    x = model.space(embeddings(6, seed=0))
    for lam in (1e-3, 2e-2, 0.2):
        brute = all_paths(model, x, lam).min(1).values
        greedy = greedy_search(model.codebooks, model.prior, x, all_lam(x, lam))
        beam = beam_search(model.codebooks, model.prior, x, all_lam(x, lam), width=4)
        whole = beam_search(model.codebooks, model.prior, x, all_lam(x, lam), width=5**4)
        assert (brute <= objective(beam, lam) + 1e-5).all()
        assert (objective(beam, lam) <= objective(greedy, lam)).all()
        torch.testing.assert_close(objective(whole, lam), brute, atol=1e-5, rtol=1e-5)
    assert objective(beam, lam).mean() < objective(greedy, lam).mean() - 1e-4


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("width", [0, 4])
def test_bits_and_distortion_are_those_of_the_codes(context: Context, width: int) -> None:
    """Costs of all steps at once equal those that the search added up, lambda by item."""
    model = fitted(context, n_stages=3)
    x = model.space(embeddings(8))
    lam = torch.rand(len(x)) * 0.1
    books = (model.codebooks, model.prior, x, lam)
    chosen = beam_search(*books, width=width) if width else greedy_search(*books)
    bits = model.prior.code_bits(chosen.indices, model.codebooks.codes, lam).clamp(max=22)
    torch.testing.assert_close(chosen.bits, bits.sum((1, 2)), atol=1e-4, rtol=1e-5)
    error = (model.codebooks.decode(chosen.indices) - x).square().sum(1)
    torch.testing.assert_close(chosen.distortion, error, atol=1e-5, rtol=1e-5)


def test_a_greedy_choice_is_the_cheapest_of_its_step() -> None:
    """Replacing any one code, by brute force over the step's codes, costs more at that step."""
    model, lam = fitted("group", n_stages=2), 0.05
    books, x = model.codebooks, model.space(embeddings(4))
    chosen = greedy_search(books, model.prior, x, all_lam(x, lam))
    rests = books.residuals(x, chosen.indices)
    for stage, group in itertools.product(range(2), range(2)):
        costs = []
        for code in range(books.n_codes):
            changed = chosen.indices.clone()
            changed[:, stage, group] = code
            bits = model.prior.code_bits(changed, books.codes, all_lam(x, lam))[:, stage, group]
            error = (rests[stage, group] - books.codes[stage, group, code]).square().sum(1)
            costs.append(error + lam * bits.clamp(max=22))
        best = torch.stack(costs).argmin(0)
        assert torch.equal(best, chosen.indices[:, stage, group])


@pytest.mark.parametrize("context", CONTEXTS)
def test_without_rate_the_nearest_codes_are_chosen(context: Context) -> None:
    """Whatever the prior; with a uniform one at any lambda that is the same for all codes."""
    model = fitted(context, n_stages=3)
    x = model.space(embeddings(8))
    expected, rest = [], x.view(len(x), 2, 8)
    for stage in range(3):
        codes = model.codebooks.codes[stage]
        found = (rest[:, :, None] - codes[None]).square().sum(-1).argmin(-1)
        expected.append(found)
        rest = rest - torch.stack([codes[g, found[:, g]] for g in range(2)], 1)
    for indices in (
        greedy_search(model.codebooks, model.prior, x, all_lam(x, 0)).indices,
        nearest_codes(model.codebooks, x),
        fitted(context, n_stages=3, opinionated=False).choose(x, all_lam(x, 0.1)).indices,
    ):
        assert torch.equal(indices, torch.stack(expected, 1))


def test_nearest_codes_are_those_of_another_implementation() -> None:
    """Of lucidrains' GroupedResidualVQ, with our codes in its codebooks."""
    other = pytest.importorskip("vector_quantize_pytorch")
    model = fitted(n_stages=3)
    vq = other.GroupedResidualVQ(dim=16, groups=2, num_quantizers=3, codebook_size=9)
    for g, rvq in enumerate(vq.rvqs):
        for s, layer in enumerate(rvq.layers):
            layer._codebook.embed.data.copy_(model.codebooks.codes[s, g][None])
    x = model.space(embeddings(8))
    quantized, indices, _ = vq.eval()(x[None])
    ours = nearest_codes(model.codebooks, x)
    assert torch.equal(indices[:, 0].permute(1, 2, 0), ours)
    torch.testing.assert_close(quantized[0], model.codebooks.decode(ours))


def test_a_uniform_prior_costs_the_same_for_all_codes() -> None:
    model = fitted(n_stages=3, opinionated=False)
    for lam in LAMBDAS:
        bits = model(embeddings(8), lam).bits
        torch.testing.assert_close(bits, torch.full_like(bits, 3 * 2 * math.log2(9)))


@pytest.mark.parametrize("context", CONTEXTS)
def test_no_group_sees_what_comes_after_it(context: Context) -> None:
    """Changing the second group's input leaves the first group's code alone; not the reverse."""
    model = fitted(context, n_stages=2)
    x = model.space(embeddings(40))
    lam = all_lam(x, 0.1)
    before = greedy_search(model.codebooks, model.prior, x, lam).indices
    second, first = x.clone(), x.clone()
    second[:, 8:] += torch.randn(len(x), 8)
    first[:, :8] += torch.randn(len(x), 8)
    changed = greedy_search(model.codebooks, model.prior, second, lam).indices
    assert torch.equal(changed[:, 0, 0], before[:, 0, 0])
    assert not torch.equal(changed[:, 0, 1], before[:, 0, 1])
    changed = greedy_search(model.codebooks, model.prior, first, lam).indices
    assert torch.equal(changed[:, 0, 1], before[:, 0, 1]) == (context != "group")


def test_one_path_is_left_when_only_the_rate_counts() -> None:
    """The trained prior's most probable path, near the mean of the data."""
    model, _, test = trained()
    x = model.space(test)
    chosen = greedy_search(model.codebooks, model.prior, x, all_lam(x, 1e6))
    assert len(chosen.indices.flatten(1).unique(dim=0)) == 1
    assert 0.85 < float(chosen.distortion.mean()) < 1.15


def test_more_lambda_is_never_more_bits_on_average() -> None:
    model, _, test = trained()
    grid = torch.logspace(-4, math.log10(0.3), 12).tolist()
    made = [model(test, lam) for lam in grid]
    bits = [float(m.bits.mean()) for m in made]
    errors = [float(m.distortion.mean()) for m in made]
    assert all(b <= a + 2e-2 for a, b in zip(bits, bits[1:], strict=False))
    assert all(b >= a - 2e-3 for a, b in zip(errors, errors[1:], strict=False))
    assert bits[0] > 8 * bits[-1] and errors[-1] > 3 * errors[0]


def test_codes_of_a_lambda_are_best_at_that_lambda() -> None:
    """Codes chosen at another lambda, at the price this one's prior asks, cost more on average."""
    model, _, test = trained()
    model.search, before = "beam", model.search
    grid = [1e-3, 5e-3, 2e-2, 0.1]
    chosen = [model.encode(test, lam) for lam in grid]
    model.search = before
    x, codes = model.space(test), model.codebooks.codes
    for lam in grid:
        costs = []
        for indices in chosen:
            bits = model.prior.code_bits(indices, codes, all_lam(x, lam)).clamp(max=22)
            error = (model.codebooks.decode(indices) - x).square().sum(1)
            costs.append(float((error + lam * bits.sum((1, 2))).mean()))
        assert costs[grid.index(lam)] <= min(costs) + 2e-3
