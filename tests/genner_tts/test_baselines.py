"""What one common lambda is compared with."""

import math

import pytest
import torch
from tests.genner_tts.quantizers import fitted, trained

from emovc.common.errors import UserError
from emovc.genner_tts.baselines import (
    allocate_greedily,
    bisect_bits,
    bisect_similarity,
    reduce_along_data,
    reduce_from_centroid,
    reduce_isotropically,
    turn,
)
from emovc.genner_tts.quantizer import EmotionQuantizer


def at_mean_bits(model: EmotionQuantizer, e: torch.Tensor, bits: float) -> float:
    """Mean distortion at the lambda whose mean rate is as given."""
    low, high = math.log(1e-4), math.log(0.3)
    for _ in range(20):
        middle = (low + high) / 2
        if float(model(e, math.exp(middle)).bits.mean()) > bits:
            low = middle
        else:
            high = middle
    return float(model(e, math.exp(high)).distortion.mean())


def test_bisection_keeps_to_its_bits_with_the_least_lambda() -> None:
    model, _, test = trained()
    e = test[::5]
    found = bisect_bits(model, e, 15.0)
    assert (found.made.bits <= 15.0).all()
    less = model(e, (0.9 * found.lam).clamp(min=1e-4))
    # Greedy rates are not quite monotone, so a little less lambda costs more for most only.
    assert (less.bits > 15.0).float().mean() > 0.7
    free = bisect_bits(model, e, 1e6)
    assert not free.lam.any() and torch.equal(free.made.indices, model(e, 0.0).indices)
    assert (bisect_bits(model, e, 0.0).lam > 0.2999).all()


def test_bisection_keeps_a_similarity_with_the_largest_lambda() -> None:
    model, _, test = trained()
    e = test[::5]
    found = bisect_similarity(model, e, 0.97)
    cosine = torch.cosine_similarity(found.made.quantized, e)
    assert ((cosine >= 0.97) | (found.lam == 0)).all()
    more = model(e, (1.2 * found.lam).clamp(1e-4, 0.3))
    weaker = torch.cosine_similarity(more.quantized, e) < 0.97
    assert weaker[found.lam < 0.25].float().mean() > 0.7
    assert (bisect_similarity(model, e, -1.0).lam == 0.3).all()
    assert not bisect_similarity(model, e, 1.0).lam.any()


@pytest.mark.parametrize("bits", [8.0, 16.0, 24.0])
def test_one_lambda_for_all_beats_equal_bits_for_each(bits: float) -> None:
    model, _, test = trained()
    e = test[::2]
    made = bisect_bits(model, e, bits).made
    assert at_mean_bits(model, e, float(made.bits.mean())) < float(made.distortion.mean())


@pytest.mark.parametrize("budget", [12.0, 24.0, 36.0])
def test_one_lambda_for_all_beats_greedy_allocation(budget: float) -> None:
    model, _, test = trained()
    spent = allocate_greedily(model.codebooks, model.space(test), budget)
    assert (spent.bits <= budget).all()
    ours = at_mean_bits(model, test, float(spent.bits.mean()))
    assert ours < 0.98 * float(spent.distortion.mean())


def test_a_budget_buys_codes_where_most_is_gained() -> None:
    """Two codes of 3 bits in 2 groups cost 6 bits and log2 C(3, 1) for where they are."""
    model = fitted(n_stages=3)
    x = model.space(torch.randn(30, 16))
    spent = allocate_greedily(model.codebooks, x, 8.0)
    assert spent.bits[0] == pytest.approx(6 + math.log2(3))
    used = spent.indices > 0
    assert (used.sum((1, 2)) == 2).all()
    assert (used.int().diff(dim=1) <= 0).all()  # a stage only after those before it
    error = (model.codebooks.decode(spent.indices) - x).square().sum(1)
    torch.testing.assert_close(spent.distortion, error, atol=1e-4, rtol=1e-4)
    nothing = allocate_greedily(model.codebooks, x, 0.0)
    assert not nothing.indices.any() and not nothing.bits.any()
    everything = allocate_greedily(model.codebooks, x, 1e3)
    assert (everything.indices > 0).all()


def test_the_first_code_goes_to_the_group_that_gains_most() -> None:
    model = fitted(n_stages=2)
    x = model.space(torch.randn(30, 16))
    one = allocate_greedily(model.codebooks, x, 3 + 1.0)  # log2 K and log2 C(2, 1)
    gains = []
    for group, rest in enumerate(model.codebooks.split(x)):
        nearest = torch.cdist(rest, model.codebooks.codes[0, group, 1:]).min(1).values.square()
        gains.append(rest.square().sum(1) - nearest)
    expected = torch.stack(gains).argmax(0)
    assert torch.equal((one.indices[:, 0] > 0).int().argmax(1), expected)


@pytest.mark.parametrize("similarity", [1.0, 0.95, 0.7])
def test_directions_are_turned_to_the_similarity_asked_for(similarity: float) -> None:
    model, train, test = trained()
    generator = torch.Generator().manual_seed(0)
    centroids = train.mean(0).expand_as(test)
    for turned in (
        reduce_isotropically(test, similarity, generator),
        reduce_along_data(test, similarity, train, generator),
        reduce_from_centroid(test, similarity, centroids),
    ):
        cosine = torch.cosine_similarity(turned, test)
        torch.testing.assert_close(cosine, torch.full_like(cosine, similarity), atol=1e-5, rtol=0)
    for wrong in (0.0, -0.1, 1.1):
        with pytest.raises(UserError, match="must be above 0 and at most 1"):
            reduce_isotropically(test, wrong)


def test_directions_are_drawn_as_they_say() -> None:
    """Along the data most goes into the leading axis; away from the centroid it is determined."""
    _, train, test = trained()
    centred = train - train.mean(0)
    axis = torch.linalg.eigh(centred.T @ centred)[1][:, -1]
    shares = []
    for moved in (
        reduce_along_data(test, 0.9, train, torch.Generator().manual_seed(0)) - test,
        reduce_isotropically(test, 0.9, torch.Generator().manual_seed(0)) - test,
    ):
        shares.append(float(((moved @ axis) / moved.norm(dim=1)).square().mean()))
    assert shares[0] > 3 * shares[1]
    e, centroid = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(
        reduce_from_centroid(e, math.sqrt(0.5), centroid), torch.tensor([[1.0, 1.0]])
    )
    torch.testing.assert_close(turn(e, torch.tensor([[5.0, 3.0]]), 0.8), torch.tensor([[1, 0.75]]))
