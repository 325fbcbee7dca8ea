"""Griffin-Lim: waveforms from log-mels without any weights."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emovc.common.audio import LogMel, require_same_mel
from emovc.common.errors import UserError

MEL_ITERATIONS = 30  # leave 0.002 of error in the log-mel of speech; the phases leave 0.1


class GriffinLim(nn.Module):
    """Find waveforms whose spectrogram is that of a log-mel, by iterating over the phases.

    It needs no training and sounds rough. The same mel gives the same waveform, alone or in a
    batch: the phases start from fixed pseudo-random ones. Source: Griffin and Lim, "Signal
    estimation from modified short-time Fourier transform", 1984; momentum as in Perraudin, Balazs
    and Soendergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.

    Args:
        frontend: The mel.
        n_iter: Iterations.
        momentum: How far each iteration goes on in the direction of the last; 0 is the algorithm
            of 1984.

    Raises:
        UserError: The momentum is out of range or there is no iteration.
    """

    def __init__(self, frontend: LogMel, n_iter: int = 60, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise UserError(f"GriffinLim: momentum {momentum} is out of range; give 0 to below 1")
        if n_iter < 1:
            raise UserError(f"GriffinLim: n_iter {n_iter} is out of range; give 1 or more")
        self.frontend = frontend
        self.n_iter = n_iter
        self.momentum = momentum

    @property
    def label(self) -> str:
        """What reports call it."""
        return "Griffin-Lim"

    def require_mel(self, frontend: LogMel) -> None:
        """Refuse mels of another front end.

        Raises:
            UserError: The settings differ; both are printed.
        """
        require_same_mel(frontend, self.frontend.settings, "the vocoder")

    @torch.no_grad()
    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, mel: Tensor, start: Tensor | None = None) -> Tensor:
        """Synthesise waveforms (B, T * hop) of log-mels (B, M, T), in float32 at least.

        Args:
            mel: The log-mels.
            start: Waveforms (B, T * hop) whose phases the iterations begin with, such as those of
                a network; by default they begin with fixed pseudo-random phases.
        """
        mel = mel if mel.dtype == torch.float64 else mel.float()
        magnitude = self.magnitudes(mel)
        phase = self._first_phase(magnitude) if start is None else self._phase_of(start, magnitude)
        before = torch.zeros_like(phase)
        step = self.momentum / (1 + self.momentum)
        for _ in range(self.n_iter):
            now = self._analyse(self._overlap_add(magnitude * phase))
            phase = now - step * before
            phase = phase / phase.abs().clamp(min=1e-12)
            before = now
        wav = self._overlap_add(magnitude * phase)
        n_samples = mel.shape[2] * self.frontend.hop_length
        pad = self.frontend.pad
        return F.pad(wav, (0, n_samples))[:, pad : pad + n_samples]

    def magnitudes(self, mel: Tensor) -> Tensor:
        """Non-negative magnitudes (B, F, T) that give log-mels (B, M, T), nearly.

        There are more bins than bands; the pseudo-inverse's solution, freed of what is negative,
        is improved by multiplicative steps, which keep it non-negative (Lee and Seung, "Algorithms
        for non-negative matrix factorization", NIPS 2000, equation 4).
        """
        bands = mel.exp() if self.frontend.log == "ln" else 10**mel
        filters = self.frontend.filters.to(mel.dtype)  # (M, F)
        magnitude = (torch.linalg.pinv(filters) @ bands).clamp(min=1e-8)
        back = filters.T @ bands
        for _ in range(MEL_ITERATIONS):
            magnitude = magnitude * back / (filters.T @ (filters @ magnitude)).clamp(min=1e-12)
        return magnitude

    def _first_phase(self, magnitude: Tensor) -> Tensor:
        """Unit complex numbers (B, F, T): the same on every device and for every utterance."""
        rng = torch.Generator().manual_seed(0)
        n_bins, n_frames = magnitude.shape[1:]
        turns = torch.rand(n_frames, n_bins, generator=rng, dtype=torch.float64).T
        angle = (2 * torch.pi * turns).to(magnitude)
        return torch.polar(torch.ones_like(angle), angle).expand_as(magnitude)

    def _phase_of(self, wav: Tensor, magnitude: Tensor) -> Tensor:
        """Unit complex numbers (B, F, T): the phases of waveforms (B, N)."""
        pad, n_fft, n_frames = self.frontend.pad, self.frontend.n_fft, magnitude.shape[2]
        needed = (n_frames - 1) * self.frontend.hop_length + n_fft
        padded = F.pad(wav.to(magnitude.dtype), (pad, max(needed - pad - wav.shape[1], 0)))
        spec = self._analyse(padded[:, :needed])
        return torch.polar(torch.ones_like(magnitude), spec.angle())

    def _analyse(self, padded: Tensor) -> Tensor:
        """Spectra (B, F, T) of waveforms that are padded already."""
        settings = self.frontend
        window = settings.window.to(padded.dtype)
        return torch.stft(
            padded,
            settings.n_fft,
            settings.hop_length,
            window=window,
            center=False,
            return_complex=True,
        )

    def _overlap_add(self, spec: Tensor) -> Tensor:
        """Padded waveforms (B, N) whose spectra are nearest to (B, F, T).

        ``torch.istft`` refuses spectra without centring, as the window is zero at the first sample.
        """
        window = self.frontend.window.to(spec.real.dtype)[:, None]
        frames = torch.fft.irfft(spec, self.frontend.n_fft, dim=1) * window  # (B, N, T)
        weights = self._added(window.square().expand(-1, spec.shape[2])[None])
        return self._added(frames) / weights.clamp(min=1e-8)

    def _added(self, frames: Tensor) -> Tensor:
        """Sum (B, N) of overlapping frames (B, n_fft, T)."""
        n_fft, hop, n_frames = self.frontend.n_fft, self.frontend.hop_length, frames.shape[2]
        length = (n_frames - 1) * hop + n_fft
        if n_fft % hop:
            size, kernel, stride = (1, length), (1, n_fft), (1, hop)
            return F.fold(frames, size, kernel, stride=stride)[:, 0, 0]
        # Frames of whole hops are added hop by hop, at a third of the cost.
        parts = frames.unflatten(1, (n_fft // hop, hop)).permute(1, 0, 3, 2)  # (K, B, T, hop)
        total = frames.new_zeros(len(frames), length // hop, hop)
        for k, part in enumerate(parts):
            total[:, k : k + n_frames] += part
        return total.flatten(1)
