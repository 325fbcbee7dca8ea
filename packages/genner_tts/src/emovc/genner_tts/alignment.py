"""Learned alignment of phones with frames, without an external aligner.

Source: Badlani et al., "One TTS alignment to rule them all", ICASSP 2022, arXiv 2108.10447.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.errors import UserError
from emovc.common.precision import single

TEMPERATURE = 0.0005
BLANK_LOG_PROB = -1.0
FAR_BELOW = -1e4  # log-probability of padding: none in every precision


class AlignmentNetwork(nn.Module):
    """Log-probability of each phone at each frame, from the distance of their encodings.

    Args:
        n_mels: Mel bands M.
        text_dim: Channels C of the phone embeddings.
        dim: Channels in which distances are taken.
    """

    def __init__(self, n_mels: int = 80, text_dim: int = 256, dim: int = 80) -> None:
        super().__init__()
        self.key_wide = nn.Conv1d(text_dim, 2 * text_dim, 3, padding=1)
        self.key = nn.Conv1d(2 * text_dim, dim, 1)
        self.query_wide = nn.Conv1d(n_mels, 2 * n_mels, 3, padding=1)
        self.query_narrow = nn.Conv1d(2 * n_mels, n_mels, 1)
        self.query = nn.Conv1d(n_mels, dim, 1)

    def forward(
        self, mel: Tensor, mel_mask: Tensor, text: Tensor, text_mask: Tensor, prior: Tensor
    ) -> Tensor:
        """Log-probabilities over the phones, (B, T, L); at padded phones far below 0.

        Args:
            mel: Log-mels, (B, M, T).
            mel_mask: 1 at valid frames, (B, T).
            text: Phone embeddings, (B, L, C).
            text_mask: 1 at valid phones, (B, L).
            prior: Log-probabilities of :func:`diagonal_prior`, (B, T, L).
        """
        frames, phones = mel_mask[:, None].to(mel.dtype), text_mask[:, None].to(mel.dtype)
        keys = self.key(self.key_wide(text.transpose(1, 2) * phones).relu())  # (B, D, L)
        queries = self.query_narrow(self.query_wide(mel * frames).relu()).relu()
        queries = self.query(queries)  # (B, D, T)
        with torch.autocast(mel.device.type, enabled=False):
            queries, keys = single(queries).transpose(1, 2), single(keys)
            cross = queries @ keys
            squared = queries.square().sum(2, keepdim=True) + keys.square().sum(1, keepdim=True)
            scores = (-TEMPERATURE * (squared - 2 * cross)).masked_fill(phones == 0, FAR_BELOW)
            scores = scores.log_softmax(2) + prior.to(scores)
            return scores.masked_fill(phones == 0, FAR_BELOW).log_softmax(2)


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


def forward_sum_loss(log_attention: Tensor, text_lengths: Tensor, frame_lengths: Tensor) -> Tensor:
    """Negative log-likelihood of the phone sequence over all monotonic alignments.

    CTC on the sequence 1 to L with a blank of log-probability -1 in front, per phone, mean over
    the utterances.

    Args:
        log_attention: Log-probabilities of :class:`AlignmentNetwork`, (B, T, L).
        text_lengths: Phones of each utterance, (B,).
        frame_lengths: Frames of each utterance, (B,).
    """
    scores = F.pad(log_attention, (1, 0), value=BLANK_LOG_PROB)
    columns = torch.arange(scores.shape[2], device=scores.device)
    padding = columns > text_lengths[:, None, None]
    scores = scores.masked_fill(padding, FAR_BELOW).log_softmax(2).transpose(0, 1)
    targets = columns[1:].expand(len(text_lengths), -1)
    return F.ctc_loss(scores, targets, frame_lengths, text_lengths, zero_infinity=True)


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


def binarisation_loss(log_attention: Tensor, mel2ph: Tensor) -> Tensor:
    """Mean of minus the log-probability along a path, over the valid frames.

    Args:
        log_attention: Log-probabilities, (B, T, L).
        mel2ph: Phone of each frame, counted from 1, 0 at padding, (B, T).
    """
    on_path = log_attention.gather(2, (mel2ph - 1).clamp(min=0)[:, :, None])[:, :, 0]
    valid = mel2ph > 0
    return -(on_path * valid).sum() / valid.sum()
