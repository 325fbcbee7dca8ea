"""The quantiser as its users see it."""

from pathlib import Path

import pytest
import torch
from tests.genner_tts.quantizers import DIM, LAMBDAS, embeddings, fitted

from emovc.common.errors import UserError
from emovc.genner_tts.embedding_space import EmbeddingSpace, Rotation
from emovc.genner_tts.quantizer import EmotionQuantizer


def test_codes_decode_to_what_the_quantiser_gave() -> None:
    model, e = fitted(), embeddings(8)
    for lam in LAMBDAS:
        made = model(e, lam)
        assert made.indices.shape == (40, 2, 2)
        assert torch.equal(model.decode(made.indices), made.quantized)
        assert torch.equal(model.encode(e, lam), made.indices)
        error = (made.quantized - e).square().sum(1) / model.space.scale.square()
        torch.testing.assert_close(made.distortion, error, atol=1e-5, rtol=1e-4)


def test_the_result_does_not_depend_on_batch_mates_nor_on_frames() -> None:
    model, e = fitted(), embeddings(8)
    lam = torch.linspace(1e-3, 0.3, 40)
    made = model(e, lam)
    alone = torch.cat([model.encode(e[k : k + 1], float(lam[k])) for k in range(40)])
    assert torch.equal(alone, made.indices)
    frames = model(e.view(8, 5, DIM), 1e-2)
    assert torch.equal(frames.indices.flatten(0, 1), model.encode(e, 1e-2))
    assert frames.quantized.shape == (8, 5, DIM) and frames.bits.shape == (8, 5)


def test_gradients_pass_as_if_nothing_was_quantised() -> None:
    model, e = fitted(), embeddings(2).requires_grad_()
    weights = torch.randn(e.shape)
    (model(e, 1e-2).quantized * weights).sum().backward()
    torch.testing.assert_close(e.grad, weights)


@pytest.mark.parametrize("beam", [False, True])
def test_a_rotation_of_the_data_that_the_space_undoes_changes_nothing(beam: bool) -> None:
    model, e = fitted(), embeddings(8)
    model.search = "beam" if beam else "greedy"
    before = model(e, 1e-2)
    turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=torch.manual_seed(1)))[0]
    model.space.mean.copy_(turn @ model.space.mean)
    model.space.rotation.copy_(model.space.rotation @ turn.T)
    after = model(e @ turn.T, 1e-2)
    assert torch.equal(after.indices, before.indices)
    torch.testing.assert_close(after.bits, before.bits, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(after.distortion, before.distortion, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.quantized, before.quantized @ turn.T, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rotation", ["none", "random", "pca_balanced"])
def test_the_space_is_centred_of_unit_size_and_invertible(rotation: Rotation) -> None:
    space, e = EmbeddingSpace(DIM, 4, rotation), embeddings(20)
    space.fit(e)
    x = space(e)
    torch.testing.assert_close(x.mean(0), torch.zeros(DIM), atol=1e-6, rtol=0)
    assert float(x.square().sum(1).mean()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(space.inverse(x), e, atol=1e-5, rtol=1e-5)
    identity = space.rotation @ space.rotation.T
    torch.testing.assert_close(identity, torch.eye(DIM), atol=1e-5, rtol=0)
    a, b = e[:10] - space.mean, e[10:20] - space.mean
    torch.testing.assert_close(
        torch.cosine_similarity(x[:10], x[10:20]), torch.cosine_similarity(a, b)
    )


def test_principal_axes_are_dealt_out_evenly() -> None:
    """Axes don't correlate, and the groups' products of variances differ by little."""
    space, e = EmbeddingSpace(DIM, 4), embeddings(200)
    space.fit(e)
    x = space(e)
    covariance = x.T @ x / len(x)
    off = covariance - covariance.diag().diag()
    assert off.abs().max() < 1e-5
    logs = covariance.diag().view(4, 4).log().sum(1)
    assert float(logs.max() - logs.min()) < 0.7
    assert float(covariance.diag().log().view(-1).max() - covariance.diag().log().min()) > 2
    energy = covariance.diag().view(4, 4).sum(1)
    assert float(energy.max() / energy.min()) < 3


def test_without_codes_nothing_is_quantised(tmp_path: Path) -> None:
    model = EmotionQuantizer(DIM, 2, 2, 8)
    for use in (
        lambda: model(embeddings(1), 0.0),
        lambda: model.decode(torch.zeros(1, 2, 2).long()),
    ):
        with pytest.raises(UserError, match="has no codes yet; load one with from_pretrained"):
            use()
    with pytest.raises(UserError, match="weights of this EmotionQuantizer are random"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lam", [5e-5, 0.31, -1.0, float("nan")])
def test_a_lambda_it_was_not_trained_for_is_refused(lam: float) -> None:
    model, e = fitted(), embeddings(1)
    with pytest.raises(UserError, match=r"lambda .*: this quantiser was trained for 0.0001 to 0.3"):
        model(e, lam)
    lams = torch.full((5,), 1e-2)
    lams[3] = lam
    with pytest.raises(UserError, match="trained for"):
        model(e, lams)
    for fine in (1e-4, 0.3, 0.0):
        model(e, fine)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(UserError, match=r"takes \(items, 16\) or \(items, frames, 16\)"):
        fitted()(torch.zeros(3, 8), 0.0)
    with pytest.raises(UserError, match="5 embeddings can't fill 8 codes"):
        EmotionQuantizer(DIM, 2, 2, 8).fit_codebooks(embeddings(1))
    with pytest.raises(UserError, match="all the same or not finite"):
        EmotionQuantizer(DIM, 2, 2, 8).fit_codebooks(torch.ones(50, DIM))
    with pytest.raises(UserError, match="beam_width 0"):
        EmotionQuantizer(DIM, 2, 2, 8, beam_width=0)
    with pytest.raises(UserError, match="must be none, random or pca_balanced"):
        EmbeddingSpace(DIM, 2, "pca")  # type: ignore[arg-type]


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_saved_quantiser_is_the_same(tmp_path: Path, recurrent: bool) -> None:
    model, e = fitted(recurrent=recurrent), embeddings(4).view(4, 5, DIM)
    model.pretrained = True
    model.save_pretrained(tmp_path)
    again = EmotionQuantizer.from_pretrained(tmp_path)
    assert again.pretrained and not again.training
    for a, b in zip(model(e, 1e-2), again(e, 1e-2), strict=True):
        assert torch.equal(a, b)
    assert again.description == model.description
