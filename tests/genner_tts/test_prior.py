"""Priors: calibration, what the contexts see, tables of frequencies, and memory of frames."""

import math

import pytest
import torch
from tests.genner_tts.quantizers import DIM, embeddings, fitted, trained

from emovc.common.errors import UserError
from emovc.genner_tts.prior import CodePrior, Context
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.tables import TOTAL, TablePrior
from emovc.genner_tts.tabulation import tabulate

GRID = (1e-3, 5e-3, 2e-2)


def entropy(indices: torch.Tensor, size: int) -> float:
    """Sum over the codebooks of the entropies in bit of codes (N, S, G)."""
    total = 0.0
    for column in indices.flatten(1).T:
        share = torch.bincount(column, minlength=size) / len(column)
        total += float(torch.special.entr(share).sum()) / math.log(2)
    return total


@pytest.mark.parametrize("context", ["group", "stage", "none"])
def test_probabilities_sum_to_one(context: Context) -> None:
    model = fitted(context)
    prior, books = model.prior, model.codebooks
    state = prior.start(torch.tensor([0.0, 1e-2, 0.3]))
    for block in prior.blocks:
        bits = prior.bits(state, 0, block)
        torch.testing.assert_close(torch.exp2(-bits).sum(-1), torch.ones(bits.shape[:2]))
        found = torch.full((block.stop - block.start, 3), 4)
        state = prior.advance(state, prior.tables(books.codes), 0, block, found)


@pytest.mark.parametrize("context", ["group", "stage", "none"])
def test_a_code_depends_on_what_its_context_holds(context: Context) -> None:
    """By gradient: which codes of 2 stages and 2 groups the cost of the last one depends on."""
    model = fitted(context)
    indices = torch.tensor([[[1, 2], [3, 4]]])
    seen = []
    for position in range(4):
        changed = indices.clone()
        changed.view(-1)[position] += 3
        lam = torch.tensor([1e-2])
        before = model.prior.code_bits(indices, model.codebooks.codes, lam)[0, 1, 1]
        after = model.prior.code_bits(changed, model.codebooks.codes, lam)[0, 1, 1]
        seen.append(bool((before - after).abs() > 1e-4))
    expected = {"group": [1, 1, 1], "stage": [1, 1, 0], "none": [0, 0, 0]}[context]
    assert seen == [*map(bool, expected), True]


def test_costs_have_a_bound_when_searching_and_none_when_learning() -> None:
    model = fitted()
    with torch.no_grad():
        model.prior.head_bias[:, 1] -= 1000.0  # type: ignore[union-attr, index, operator]
    indices = torch.ones(1, 2, 2, dtype=torch.long)
    lam = torch.tensor([1e-2])
    assert (model.prior.code_bits(indices, model.codebooks.codes, lam) > 1000).all()
    assert float(model.prior.bits(model.prior.start(lam), 0, slice(0, 1)).max()) == 22


def test_the_prior_is_as_sure_of_new_data_as_of_old() -> None:
    model, train, test = trained()
    for lam in GRID:
        heard, new = (float(model(e, lam).bits.mean()) for e in (train, test))
        assert abs(new - heard) < 0.03 * heard


def test_the_prior_knows_what_lambda_does() -> None:
    """Codes of a lambda cost least when the prior is told that lambda."""
    model, _, test = trained()
    for lam in (5e-3, 2e-2):
        indices = model.encode(test, lam)
        told = [
            model.prior.code_bits(indices, model.codebooks.codes, torch.full((len(test),), other))
            for other in (lam / 8, lam, lam * 8)
        ]
        low, own, high = (float(bits.sum((1, 2)).mean()) for bits in told)
        assert own < 0.98 * min(low, high)


def test_groups_tell_of_each_other_unless_rotation_makes_them_independent() -> None:
    """Bits at equal distortion, by interpolation.

    The context of earlier groups spares a fifth and more where every group holds something of
    every direction. Principal axes take most of that redundancy away, and spare more.
    """
    models = {
        "none": trained("none", "none"),
        "group": trained("group", "none"),
        "axes": trained(),
    }
    curves = {}
    for name, (model, _, test) in models.items():
        made = [model(test, lam) for lam in torch.logspace(-3, -0.8, 14).tolist()]
        curves[name] = [(float(m.distortion.mean()), float(m.bits.mean())) for m in made]
    for wanted in (0.35, 0.45, 0.55):
        none, group, axes = (_bits_at(curves[name], wanted) for name in models)
        assert group < 0.8 * none
        assert axes < group


def _bits_at(curve: list[tuple[float, float]], distortion: float) -> float:
    for (d0, b0), (d1, b1) in zip(curve, curve[1:], strict=False):
        if d0 <= distortion <= d1:
            return b0 + (b1 - b0) * (distortion - d0) / (d1 - d0)
    raise AssertionError(f"{distortion} is not on the curve {curve}")


def test_tables_of_frequencies_cost_the_entropy() -> None:
    torch.manual_seed(0)
    indices = torch.multinomial(torch.rand(9), 500 * 4, replacement=True).view(500, 2, 2)
    prior = TablePrior(2, 2, 9, n_levels=1)
    prior.fit(0, indices)
    bits = prior.code_bits(indices, torch.empty(0), torch.full((500,), 1e-2)).sum((1, 2))
    assert float(bits.mean()) == pytest.approx(entropy(indices, 9), abs=1e-3)
    assert (prior.frequencies.sum(-1) == TOTAL).all() and (prior.frequencies > 0).all()
    steps = torch.stack(
        [prior.bits(prior.start(torch.full((1,), 0.1)), s, slice(0, 2)) for s in (0, 1)]
    )
    chosen = steps[:, :, 0].permute(2, 0, 1)[indices[0], [[0], [1]], [[0, 1]]]
    torch.testing.assert_close(chosen.sum(), bits[0])


def test_tables_by_lambda_spare_bits_over_one_for_all() -> None:
    model, train, test = trained()
    one, many = (tabulate(model, train, n_levels=n) for n in (1, 12))
    for lam in (1e-2, 0.1):
        first, second = (m(test, lam) for m in (one, many))
        objective = [float((m.distortion + lam * m.bits).mean()) for m in (first, second)]
        assert objective[1] < objective[0]


def test_tables_survive_a_round_trip_and_cost_no_less_than_a_network(tmp_path) -> None:
    model, train, test = trained()
    tables = tabulate(model, train, n_levels=8)
    tables.save_pretrained(tmp_path)
    again = EmotionQuantizer.from_pretrained(tmp_path)
    assert torch.equal(again(test, 1e-2).bits, tables(test, 1e-2).bits)
    assert torch.equal(again.decode(model.encode(test, 0.0)), model.decode(model.encode(test, 0.0)))
    objectives = [
        float((m.distortion + 1e-2 * m.bits).mean())
        for m in (model(test, 1e-2), tables(test, 1e-2))
    ]
    assert objectives[0] < objectives[1]


def test_frames_one_by_one_cost_what_they_cost_at_once() -> None:
    model = fitted(recurrent=True)
    x = embeddings(6).view(5, 6, DIM)
    made = model(x, 1e-2)
    assert made.indices.shape == (5, 6, 2, 2) and made.bits.shape == (5, 6)
    decoded = model.codebooks.decode(made.indices)
    memory = model.prior.remember(decoded)
    assert memory is not None
    lam = torch.full((30,), 1e-2)
    bits = model.prior.code_bits(
        made.indices.flatten(0, 1), model.codebooks.codes, lam, memory.flatten(0, 1)
    )
    torch.testing.assert_close(bits.sum((1, 2)), made.bits.flatten(), atol=1e-4, rtol=1e-5)


def test_no_frame_sees_later_ones() -> None:
    model = fitted(recurrent=True)
    x = embeddings(6).view(5, 6, DIM)
    changed = x.clone()
    changed[:, 3:] += 0.5
    before, after = model(x, 5e-2), model(changed, 5e-2)
    assert torch.equal(before.indices[:, :3], after.indices[:, :3])
    assert torch.equal(before.bits[:, :3], after.bits[:, :3])
    assert not torch.equal(before.indices[:, 3:], after.indices[:, 3:])


def test_impossible_priors_are_refused() -> None:
    with pytest.raises(UserError, match="two rising numbers above 0"):
        CodePrior(8, 2, 2, 9, lam_range=(0.3, 1e-4))
    with pytest.raises(UserError, match="n_levels 0 must be 1 or more"):
        TablePrior(2, 2, 9, n_levels=0)
    with pytest.raises(UserError, match="tables can't be recurrent"):
        EmotionQuantizer(8, 2, prior="tables", recurrent=True)
    with pytest.raises(UserError, match="flatten frames first"):
        tabulate(fitted(), torch.zeros(2, 3, 16))
