"""Learned alignment of phones with frames, without an external aligner.

Source: the loss over all paths and the prior of Badlani et al., "One TTS alignment to rule them
all", ICASSP 2022, arXiv 2108.10447.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.precision import single

# Of the first 13 cepstra of natural log-mels, and of their slopes beside them, on speech.
CEPSTRA_SD = (18.0, 5.3, 3.3, 2.7, 2.0, 1.7, 1.6, 1.4, 1.4, 1.3, 1.1, 1.2, 1.1)
SLOPE_SD = 0.27
LOG_SD = (-2.5, 2.0)  # of a component, in these units
FAR_BELOW = -1e4  # log-probability of padding: none in every precision
BLANK = -1e8  # below the log-density of any frame, in float32


class PhoneSounds(nn.Module):
    """How each phone sounds: a mixture of Gaussians over cepstra and their slopes.

    Densities of frames, unlike probabilities of the phones of a text, can't be fulfilled by calling
    almost every frame the same phone; see the package's README for what the latter come to.

    Args:
        n_mels: Mel bands M.
        n_phones: Rows of the phone embedding, 0 for padding.
        dim: Channels of the phone embedding.
        components: Gaussians K of each phone.
        scale: What makes log-mels natural logarithms.

    Source:
        Juang, "Maximum-likelihood estimation for mixture multivariate stochastic observations of
        Markov chains", AT&T Technical Journal 64 (6), 1985; here by gradient.
    """

    basis: Tensor
    spread: Tensor

    def __init__(
        self, n_mels: int, n_phones: int, dim: int = 128, components: int = 4, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.components = components
        sd = torch.tensor(CEPSTRA_SD)
        order, band = torch.arange(len(sd))[:, None], torch.arange(n_mels)
        basis = torch.cos(math.pi * order * (band + 0.5) / n_mels) * math.sqrt(2 / n_mels)
        self.register_buffer("basis", scale * basis, persistent=False)
        self.register_buffer("spread", torch.cat([sd, SLOPE_SD * sd])[:, None], persistent=False)
        n = len(self.spread)
        last = nn.Linear(2 * dim, components * (2 * n + 1))
        embedding = nn.Embedding(n_phones, dim, padding_idx=0)
        self.layers = nn.Sequential(embedding, nn.Linear(dim, 2 * dim), nn.ReLU(), last)
        # All phones begin alike and as wide as all speech, their components a little apart.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        with torch.no_grad():
            last.bias.unflatten(0, (components, -1))[:, :n].normal_(0, 0.3)

    def forward(self, mel: Tensor, mask: Tensor, phones: Tensor) -> Tensor:
        """Log-density of each frame as each phone, (B, T, L); far below 0 at padded phones.

        Args:
            mel: Log-mels, (B, M, T).
            mask: 1 at valid frames, (B, T).
            phones: Numbers of phones, 0 at padding, (B, L).
        """
        with torch.autocast(mel.device.type, enabled=False):
            x = self.features(single(mel), mask)[:, None]  # (B, 1, D, T)
            made = self.layers(phones).unflatten(2, (self.components, -1)).permute(0, 2, 3, 1)
            n = x.shape[2]
            mean, log_sd = made[:, :, :n], made[:, :, n : 2 * n].clamp(*LOG_SD)  # (B, K, D, L)
            share = made[:, :, -1].log_softmax(1)  # (B, K, L)
            weight = (-2 * log_sd).exp()
            x = x.transpose(2, 3)  # (B, 1, T, D)
            squares = x.square() @ weight - 2 * x @ (weight * mean)
            squares = squares + (weight * mean.square()).sum(2, keepdim=True)  # (B, K, T, L)
            own = share - log_sd.sum(2) - 0.5 * n * math.log(2 * math.pi)
            scores = (own[:, :, None] - 0.5 * squares).logsumexp(1)
            return scores.masked_fill(phones[:, None] == 0, FAR_BELOW)

    def features(self, mel: Tensor, mask: Tensor) -> Tensor:
        """Cepstra less their mean over the utterance, and their slopes, (B, D, T), about 1 wide."""
        valid = mask[:, None].to(mel.dtype)
        cepstra = self.basis @ (mel * valid)
        mean = (cepstra * valid).sum(2, keepdim=True) / valid.sum(2, keepdim=True)
        cepstra = (cepstra - mean) * valid
        before, after = F.pad(cepstra, (2, 0))[..., :-2], F.pad(cepstra, (0, 2))[..., 2:]
        slopes = 0.2 * (after - before)
        slopes = slopes + 0.1 * (F.pad(cepstra, (0, 1))[..., 1:] - F.pad(cepstra, (1, 0))[..., :-1])
        return torch.cat([cepstra, slopes], 1) * valid / self.spread


def diagonal_prior(text_lengths: Tensor, frame_lengths: Tensor, scale: float = 1.0) -> Tensor:
    """Log-probabilities of a beta-binomial prior near the diagonal, (B, T, L).

    Frame t of T has phone k of L with the probability BetaBin(k; L - 1, w t, w (T - t + 1)), t
    from 1. At padding they are far below 0.

    Args:
        text_lengths: Phones of each utterance, (B,).
        frame_lengths: Frames of each utterance, (B,).
        scale: w, larger is narrower.
    """
    n = (text_lengths - 1).double()[:, None, None]
    n_frames = frame_lengths[:, None, None].double()
    k = torch.arange(int(text_lengths.max()), device=n.device)
    t = torch.arange(1, int(frame_lengths.max()) + 1, device=n.device)[:, None]
    valid = (k <= n) & (t <= n_frames)  # (B, T, L)
    # Padding takes the values of the edge, to stay inside the functions' domain.
    k, t = k.minimum(n), t.minimum(n_frames)
    a, b = scale * t, scale * (n_frames - t + 1)
    choose = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    prior = choose + _log_beta(k + a, n - k + b) - _log_beta(a, b)
    return prior.float().masked_fill(~valid, FAR_BELOW)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    """Logarithm of the beta function."""
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def forward_sum_loss(scores: Tensor, text_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of the frames over all monotonic alignments, per frame.

    Every frame is one phone's and every phone has one at least: the sum over paths of products of
    densities. CTC without its blank sums products of probabilities; what these are less than the
    densities is the same for all paths.

    Args:
        scores: Log-densities, (B, T, L).
        text_lengths: Phones of each utterance, (B,).
        frame_lengths: Frames of each utterance, (B,).
    """
    total = scores.logsumexp(2)  # (B, T)
    shares = F.pad(scores - total[:, :, None], (1, 0), value=BLANK).transpose(0, 1)
    phones = torch.arange(1, scores.shape[2] + 1, device=scores.device).expand(len(scores), -1)
    lengths = frame_lengths, text_lengths
    paths = F.ctc_loss(shares, phones, *lengths, reduction="none", zero_infinity=True)
    valid = torch.arange(scores.shape[1], device=scores.device) < frame_lengths[:, None]
    return ((paths - (total * valid).sum(1)) / frame_lengths).mean()


def monotonic_durations(
    log_attention: Tensor, text_lengths: Tensor, frame_lengths: Tensor
) -> Tensor:
    """Frames of each phone on the most likely monotonic path, (B, L), 0 at padding.

    Each phone has at least one frame, and they sum to the utterance's frames. The path goes from
    the first phone at the first frame to the last at the last; the recursion runs over the frames,
    for all phones and utterances at a time.

    Source: Kim et al., "Glow-TTS", NeurIPS 2020, algorithm 1.

    Args:
        log_attention: Log-probabilities, (B, T, L).
        text_lengths: Phones of each utterance, (B,).
        frame_lengths: Frames of each utterance, (B,).

    Raises:
        UserError: An utterance has fewer frames than phones.
    """
    if bool((frame_lengths < text_lengths).any()):
        raise UserError("an utterance has fewer frames than phones; shorten its text or drop it")
    scores = log_attention.detach().double().cpu()
    phones = torch.arange(scores.shape[2])
    best = scores[:, 0].masked_fill(phones > 0, -torch.inf)
    stepped = torch.zeros(scores.shape, dtype=torch.bool)  # whether the phone began here
    for t in range(1, scores.shape[1]):
        before = F.pad(best, (1, -1), value=-torch.inf)
        stepped[:, t] = before > best
        best = torch.maximum(best, before) + scores[:, t]
    rows = torch.arange(len(scores))
    phone, last = text_lengths.cpu() - 1, frame_lengths.cpu() - 1
    durations = torch.zeros(len(scores), scores.shape[2], dtype=torch.long)
    for t in range(scores.shape[1] - 1, -1, -1):
        valid = (last >= t).long()
        durations[rows, phone] += valid
        phone = phone - valid * stepped[rows, t, phone].long()
    return durations.to(log_attention.device)
