"""Post-net flow: invertible, with the right density, at every length."""

import math

import pytest
import torch
from torch import Tensor

from emovc.common.errors import UserError
from emovc.genner_tts.flow import FlowOutput, FlowPostNet
from emovc.genner_tts.losses import flow_nll

N_MELS, COND = 6, 10


def small(random: bool = True) -> FlowPostNet:
    """A small flow, the same at every call; ``random`` weights in place of the initial ones."""
    torch.manual_seed(0)
    net = FlowPostNet(N_MELS, COND, dim=8, n_blocks=4, n_layers=2, shared=2)
    if random:
        with torch.no_grad():
            for weight in net.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return net


def inputs(*n_frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mels and conditions with a mess at padding, and their mask."""
    torch.manual_seed(1)
    mask = (torch.arange(max(n_frames)) < torch.tensor(n_frames)[:, None]).float()
    mess = 50 * (1 - mask[:, None])
    mel, cond = (torch.randn(len(n_frames), n, max(n_frames)) + mess for n in (N_MELS, COND))
    return mel, cond, mask


@torch.no_grad()
@pytest.mark.parametrize("frames", [(8, 8), (9, 9), (12, 7), (7, 12), (1, 2)])
def test_the_inverse_undoes_the_flow_and_loses_no_frame(frames: tuple[int, ...]) -> None:
    net, (mel, cond, mask) = small(), inputs(*frames)
    out = net(mel, cond, mask)
    assert (
        out.z - torch.nn.functional.pad(mel, (0, out.z.shape[2] - mel.shape[2]))
    ).abs().max() > 1
    back = net.inverse(out.z, cond, mask)
    torch.testing.assert_close(back, mel * mask[:, None], atol=1e-5, rtol=0)
    assert out.log_det.shape == (len(frames),)
    assert out.filled.sum(1).tolist() == [n % 2 for n in frames]


@torch.no_grad()
@pytest.mark.parametrize("frames", [(10, 10), (11, 4), (5, 9)])
def test_at_first_the_likelihood_is_that_of_standard_normal_mels(frames: tuple[int, ...]) -> None:
    mel, cond, mask = inputs(*frames)
    out = small(random=False)(mel - 4, cond, mask)
    torch.testing.assert_close(out.log_det, torch.zeros(2), atol=1e-4, rtol=0)
    cells = (mel - 4).masked_select(mask[:, None] > 0)
    wanted = 0.5 * math.log(2 * math.pi) + cells.square().mean() / 2
    torch.testing.assert_close(flow_nll(out), wanted, atol=1e-5, rtol=0)


def test_the_log_determinant_is_that_of_the_jacobian() -> None:
    net, (mel, cond, mask) = small().double(), inputs(4)

    def latents(x: Tensor) -> Tensor:
        return net(x.view_as(mel), cond.double(), mask.double()).z.flatten()

    jacobian = torch.autograd.functional.jacobian(latents, mel.double().flatten())
    wanted = torch.linalg.slogdet(jacobian).logabsdet
    found = net(mel.double(), cond.double(), mask.double()).log_det[0]
    torch.testing.assert_close(found, wanted)
    assert found.abs() > 0.1


@torch.no_grad()
def test_padding_and_company_change_nothing() -> None:
    net, frames = small(), (5, 12, 9)
    mel, cond, mask = inputs(*frames)
    noise = torch.randn(3, N_MELS)
    out = net(mel, cond, mask, noise)
    back = net.inverse(torch.cat([out.z, out.z], 2)[:, :, :12], cond, mask)
    alone = []
    for i, n in enumerate(frames):
        row = slice(i, i + 1)
        one = net(mel[row, :, :n], cond[row, :, :n], mask[row, :n], noise[row])
        even = n + n % 2
        torch.testing.assert_close(out.z[row, :, :even], one.z, atol=1e-5, rtol=1e-5)
        assert not out.z[i, :, even:].any() and not back[i, :, n:].any()
        torch.testing.assert_close(out.log_det[row], one.log_det, atol=1e-5, rtol=1e-5)
        alone.append(flow_nll(one) * n)
    torch.testing.assert_close(flow_nll(out), torch.stack(alone).sum() / sum(frames))


@torch.no_grad()
def test_the_added_frame_has_the_last_condition() -> None:
    net, (_, cond, _) = small(), inputs(7)
    z = torch.randn(1, N_MELS, 8)
    longer = torch.cat([cond, cond[:, :, -1:]], 2)
    wanted = net.inverse(z, longer, torch.ones(1, 8))[:, :, :7]
    torch.testing.assert_close(net.inverse(z, cond, torch.ones(1, 7)), wanted)


@torch.no_grad()
def test_samples_have_the_flows_own_density_on_average() -> None:
    net = small()
    cond, mask = torch.randn(1, COND, 1).expand(1, -1, 4000), torch.ones(1, 4000)
    mel = net.sample(cond, mask, noise_scale=1.0)
    z = net(mel, cond, mask).z
    assert z.std().item() == pytest.approx(1, abs=0.02)
    assert net.sample(cond, mask, noise_scale=0.5).std() < mel.std()


def test_each_utterance_has_its_own_log_determinant() -> None:
    z, mask = torch.zeros(2, 2, 4), torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])
    empty = torch.zeros_like(z)
    out = FlowOutput(z, torch.tensor([2.0, 10.0]), mask, empty, empty[:, 0])
    wanted = 0.5 * math.log(2 * math.pi) - 12 / (6 * 2)
    assert flow_nll(out).item() == pytest.approx(wanted)


def test_it_is_float32_under_autocast_and_all_weights_are_felt() -> None:
    net, (mel, cond, mask) = small(), inputs(6, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(mel.bfloat16(), cond.bfloat16(), mask)
    assert out.z.dtype == torch.float32
    flow_nll(out).backward()
    assert all(weight.grad is not None for weight in net.parameters())


def test_bad_sizes_are_named() -> None:
    with pytest.raises(UserError, match="n_mels 5"):
        FlowPostNet(5)
    with pytest.raises(UserError, match="n_blocks 6"):
        FlowPostNet(80, n_blocks=6)
