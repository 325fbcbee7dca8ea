"""Mixtures of references: limits, symmetry, geodesics, and what is linear."""

import math

import pytest
import torch
from tests.genner_tts.quantizers import embeddings, fitted

from emovc.common.errors import UserError
from emovc.genner_tts.mixing import (
    average_codewords,
    ball_distance,
    ball_exp0,
    ball_log0,
    mix_convex,
    mix_hyperbolic,
    mix_spherical,
    slerp,
    split_groups,
    split_stages,
)

MIXERS = [mix_convex, mix_spherical, mix_hyperbolic]
THIRDS = torch.tensor([0.5, 0.3, 0.2])


def references(count: int = 3) -> torch.Tensor:
    """References (R, 4, 16)."""
    return embeddings(4)[: 4 * count].view(4, count, 16).transpose(0, 1)


@pytest.mark.parametrize("mix", MIXERS)
def test_a_reference_of_weight_one_stays(mix) -> None:
    vectors = references()
    tau = {"tau": 2 * float(vectors.norm(dim=-1).max())} if mix is mix_hyperbolic else {}
    for k in range(3):
        mixed = mix(vectors, torch.eye(3)[k], **tau)
        torch.testing.assert_close(mixed, vectors[k], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mix", MIXERS)
def test_the_order_of_references_does_not_matter(mix) -> None:
    vectors, order = references(), torch.tensor([2, 0, 1])
    mixed = mix(vectors, THIRDS)
    torch.testing.assert_close(mix(vectors[order], THIRDS[order]), mixed, atol=1e-5, rtol=1e-5)
    assert mixed.shape == (4, 16) and mixed.dtype == vectors.dtype


@pytest.mark.parametrize("mix", [*MIXERS, lambda x, w: split_groups(x[..., None, :], w)])
@pytest.mark.parametrize("weights", [[0.5, 0.6, -0.1], [0.5, 0.3, 0.3], [0.5, 0.5], [math.nan] * 3])
def test_weights_that_are_none_are_refused(mix, weights: list[float]) -> None:
    with pytest.raises(UserError, match="must be one for each of 3 references, 0 or more, and sum"):
        mix(references(), torch.tensor(weights))


def test_a_convex_mixture_is_the_mean_and_can_keep_its_length() -> None:
    vectors = references()
    mean = 0.5 * vectors[0] + 0.3 * vectors[1] + 0.2 * vectors[2]
    torch.testing.assert_close(mix_convex(vectors, THIRDS), mean)
    kept = mix_convex(vectors, THIRDS, renorm=True)
    lengths = (THIRDS[:, None] * vectors.norm(dim=-1)).sum(0)
    torch.testing.assert_close(kept.norm(dim=-1), lengths)
    torch.testing.assert_close(torch.cosine_similarity(kept, mean), torch.ones(4))


def test_two_references_mix_on_their_great_circle() -> None:
    vectors = references(2)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    for share in (0.0, 0.25, 0.5, 1.0):
        weights = torch.tensor([1 - share, share])
        mixed = mix_spherical(vectors, weights)
        arc = slerp(unit[0], unit[1], share)
        torch.testing.assert_close(torch.nn.functional.normalize(mixed, dim=-1), arc)
        lengths = (weights[:, None] * vectors.norm(dim=-1)).sum(0)
        torch.testing.assert_close(mixed.norm(dim=-1), lengths)
        angle = torch.acos((unit[0] * arc).sum(-1).clamp(-1, 1))
        whole = torch.acos((unit[0] * unit[1]).sum(-1))
        torch.testing.assert_close(angle, share * whole, atol=1e-3, rtol=1e-3)


def test_the_spherical_mean_balances_the_angles() -> None:
    """The weighted tangents to the references sum to zero, as far apart as they are."""
    torch.manual_seed(0)
    vectors = torch.randn(3, 5, 16, dtype=torch.float64)
    mean = torch.nn.functional.normalize(mix_spherical(vectors, THIRDS.double()), dim=-1)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    cosine = (mean * unit).sum(-1, keepdim=True)
    tangents = torch.nn.functional.normalize(unit - cosine * mean, dim=-1) * cosine.acos()
    balance = (THIRDS[:, None, None] * tangents).sum(0)
    assert balance.norm(dim=-1).max() < 1e-9


def test_equal_directions_mix_and_opposite_ones_do_not() -> None:
    vector = references()[0]
    same = torch.stack([vector, 2 * vector])
    torch.testing.assert_close(mix_spherical(same, torch.tensor([0.5, 0.5])), 1.5 * vector)
    torch.testing.assert_close(slerp(vector, vector, 0.3), vector)
    opposite = torch.stack([vector, -vector])
    with pytest.raises(UserError, match="point in opposite directions"):
        mix_spherical(opposite, torch.tensor([0.9, 0.1]))
    with pytest.raises(UserError, match="point in opposite directions"):
        unit = torch.nn.functional.normalize(vector, dim=-1)
        slerp(unit, -unit, 0.5)


def test_maps_of_the_ball_are_inverse_and_distances_from_the_origin_are_known() -> None:
    v = references().double()
    torch.testing.assert_close(ball_log0(ball_exp0(v)), v)
    origin = torch.zeros_like(v)
    torch.testing.assert_close(ball_distance(origin, ball_exp0(v)), 2 * v.norm(dim=-1))


def test_two_references_mix_on_their_geodesic() -> None:
    """In proportion to the weights, which the mean of the tangents alone would miss."""
    vectors = references(2).double()
    tau = 1.5 * float(vectors.norm(dim=-1).max())
    ends = ball_exp0(vectors / tau)
    whole = ball_distance(ends[0], ends[1])
    for share in (0.2, 0.5):
        mixed = mix_hyperbolic(vectors, torch.tensor([1 - share, share]), tau)
        point = ball_exp0(mixed / tau)
        torch.testing.assert_close(ball_distance(ends[0], point), share * whole)
        torch.testing.assert_close(ball_distance(point, ends[1]), (1 - share) * whole)


def test_a_wide_ball_is_flat() -> None:
    vectors = references()
    far = mix_hyperbolic(vectors, THIRDS, tau=1e4)
    torch.testing.assert_close(far, mix_convex(vectors, THIRDS), atol=1e-4, rtol=1e-4)
    near = mix_hyperbolic(vectors, THIRDS)
    assert (near - far).norm() > 1e-3
    with pytest.raises(UserError, match="tau 0: must be above 0"):
        mix_hyperbolic(vectors, THIRDS, tau=0.0)


def test_the_mean_of_codewords_is_the_mean_of_what_they_stand_for() -> None:
    model = fitted(n_stages=3)
    vectors = references()
    made = [model(one, 1e-3) for one in vectors]
    indices = torch.stack([m.indices for m in made])
    quantized = torch.stack([m.quantized for m in made])
    mixed = average_codewords(model, indices, THIRDS)
    torch.testing.assert_close(mixed, mix_convex(quantized, THIRDS), atol=1e-5, rtol=1e-5)


def test_stages_and_groups_are_taken_from_their_references() -> None:
    indices = torch.arange(3)[:, None, None, None].expand(3, 5, 4, 8)
    mixed = split_stages(indices[0], indices[1], 1)
    assert (mixed[:, 0] == 0).all() and (mixed[:, 1:] == 1).all()
    assert (split_stages(indices[0], indices[1], 4) == 0).all()
    with pytest.raises(UserError, match="n_coarse 5: must be 0 to 4"):
        split_stages(indices[0], indices[1], 5)
    for weights, counts in (
        ([0.5, 0.25, 0.25], [4, 2, 2]),
        ([0.1, 0.45, 0.45], [1, 4, 3]),
        ([0.0, 0.0, 1.0], [0, 0, 8]),
        ([1 / 3, 1 / 3, 1 / 3], [3, 3, 2]),
    ):
        mixed = split_groups(indices, torch.tensor(weights))
        assert mixed.shape == (5, 4, 8)
        assert torch.bincount(mixed[0, 0], minlength=3).tolist() == counts
        assert (mixed == mixed[:1, :1]).all()
