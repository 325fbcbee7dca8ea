"""The emotion quantiser: embeddings to codes of few bits, with a knob for how few."""

import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from emovc.common.errors import UserError
from emovc.common.pretrained import load_network, save_folder
from emovc.genner_tts.codebooks import GroupedResidualCodebooks
from emovc.genner_tts.embedding_space import EmbeddingSpace, Rotation
from emovc.genner_tts.prior import CodePrior, Context
from emovc.genner_tts.search import Chosen, Prior, Search, beam_search, greedy_search
from emovc.genner_tts.tables import TablePrior

PriorKind = Literal["network", "tables"]
WEIGHTS = Path(__file__).parent / "weights"


class Quantized(NamedTuple):
    """What the quantiser makes of embeddings.

    Attributes:
        quantized: Embeddings of the codes; gradients pass as if nothing was quantised, (B, D) or
            (B, T, D).
        indices: Code numbers; 0 is the null code, (B, S, G) or (B, T, S, G).
        bits: Rate in bit per vector, (B,) or (B, T).
        distortion: Squared error per vector, where the mean of the training embeddings would have
            1, (B,) or (B, T).
    """

    quantized: Tensor
    indices: Tensor
    bits: Tensor
    distortion: Tensor


class EmotionQuantizer(nn.Module):
    """Grouped residual codebooks whose codes are chosen by distortion + lambda * rate.

    Lambda is the squared error that one bit may cost, of embeddings of unit size. At 0 the nearest
    codes are taken; the larger it is, the fewer bits are spent and the nearer all embeddings come
    to the most probable one. One model serves all lambdas of its range.

    Made by the constructor it knows no codes and refuses to quantise; :meth:`fit_codebooks` and
    training, or :meth:`from_pretrained`, give it some.

    Sources: Yang et al., "HiFi-Codec", 2023 (grouped residual codebooks); Feng et al., "NVTC", CVPR
    2023 (entropy-constrained choice with a prior conditioned on what is decoded).

    Args:
        dim: Size D of the embeddings.
        n_groups: Groups G that an embedding is cut into.
        n_stages: Stages S.
        codebook_size: Codes K of each codebook, beside the null code.
        rotation: See :class:`~emovc.genner_tts.embedding_space.EmbeddingSpace`.
        prior: Probabilities by a network, or by integer tables that are the same on every machine.
        context: What the network sees, see :class:`~emovc.genner_tts.prior.CodePrior`.
        hidden: Its width.
        recurrent: Embeddings are frames, (B, T, D), and the network sees the ones before.
        n_levels: Levels of lambda of the tables.
        lam_range: Least and largest lambda; 0 is allowed too.
        search: Choose code by code, or follow the ``beam_width`` best.
        beam_width: Prefixes of codes that the beam keeps.
        decay: Of the codebooks' moving averages.
        dead_below: When a code is replaced, see
            :class:`~emovc.genner_tts.codebooks.GroupedResidualCodebooks`.

    Attributes:
        pretrained: Whether the weights are more than random; training sets it.

    Raises:
        UserError: The sizes make no quantiser.
    """

    def __init__(
        self,
        dim: int = 768,
        n_groups: int = 4,
        n_stages: int = 8,
        codebook_size: int = 64,
        rotation: Rotation = "pca_balanced",
        prior: PriorKind = "network",
        context: Context = "group",
        hidden: int = 256,
        recurrent: bool = False,
        n_levels: int = 16,
        lam_range: tuple[float, float] = (1e-4, 0.3),
        search: Search = "greedy",
        beam_width: int = 8,
        decay: float = 0.99,
        dead_below: float = 0.01,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = dict(
            dim=dim, n_groups=n_groups, n_stages=n_stages, codebook_size=codebook_size,
            rotation=rotation, prior=prior, context=context, hidden=hidden, recurrent=recurrent,
            n_levels=n_levels, lam_range=list(lam_range), search=search, beam_width=beam_width,
            decay=decay, dead_below=dead_below,
        )  # fmt: skip
        if beam_width < 1:
            raise UserError(f"beam_width {beam_width}: must be 1 or more")
        if recurrent and prior == "tables":
            raise UserError("prior: tables can't be recurrent; set recurrent: false")
        self.pretrained = False
        self.recurrent = recurrent
        self.search: Search = search
        self.beam_width = beam_width
        self.lam_range = (float(lam_range[0]), float(lam_range[1]))
        self.codebooks = GroupedResidualCodebooks(
            dim, n_groups, n_stages, codebook_size, decay, dead_below
        )
        self.space = EmbeddingSpace(dim, n_groups, rotation)
        self.prior: Prior = self._make_prior()

    @classmethod
    def from_pretrained(cls, path: str | Path) -> "EmotionQuantizer":
        """Load a quantiser; the result is in evaluation mode.

        Args:
            path: Exported folder, run, or checkpoint; or ``emotion``, the one that is shipped, for
                the vectors of the shipped emotion encoder.

        Raises:
            UserError: There is no quantiser, or it is damaged.
        """
        shipped = WEIGHTS / f"quantizer_{path}"
        return load_network(shipped if shipped.is_dir() else Path(path), cls)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``config.yaml`` and ``model.safetensors``, each atomically.

        Raises:
            UserError: The weights are random.
        """
        save_folder(self, folder)

    @property
    def description(self) -> dict[str, Any]:
        """The constructor call, as ``class_path`` and ``init_args``."""
        path = "emovc.genner_tts.quantizer.EmotionQuantizer"
        return {"class_path": path, "init_args": self.settings}

    def fit_codebooks(self, e: Tensor, seed: int = 0) -> None:
        """Take mean, scale and rotation of embeddings (N, D), and fill the codebooks by k-means.

        Raises:
            UserError: There are too few embeddings, or they are of another size.
        """
        self._require_size(e)
        self.space.fit(e, seed)
        self.codebooks.fill(self.space(e), seed)

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, e: Tensor, lam: float | Tensor) -> Quantized:
        """Quantise embeddings, in float32 also under autocast.

        Args:
            e: Embeddings, (B, D), or frames of them, (B, T, D).
            lam: Weight of the rate: one for all, or one for each of the B.

        Raises:
            UserError: Lambda is outside of its range, the embeddings are of another size, or there
                are no codes yet.
        """
        self._require_size(e)
        x = self.space(e.detach().float())
        chosen = self.choose(x, self.weights_of(lam, e))
        quantized = self.decode(chosen.indices)
        # Exactly the decoded embedding: the difference is 0, but has the gradient of e.
        return Quantized(quantized + (e - e.detach()), *chosen)

    def encode(self, e: Tensor, lam: float | Tensor) -> Tensor:
        """Code numbers (B, S, G) or (B, T, S, G) of embeddings, see :meth:`forward`."""
        return self(e.detach(), lam).indices

    def decode(self, indices: Tensor) -> Tensor:
        """Embeddings (..., D) of code numbers (..., S, G)."""
        self._require_fitted()
        flat = indices.reshape(-1, *indices.shape[-2:])
        decoded = self.space.inverse(self.codebooks.decode(flat))
        return decoded.view(*indices.shape[:-2], decoded.shape[1])

    def choose(self, x: Tensor, lam: Tensor) -> Chosen:
        """Codes of vectors (B, D) or (B, T, D) of the quantiser's space, at any lambda (B,)."""
        self._require_fitted()
        if x.ndim == 2:
            return self._search(x, lam, None)
        if not self.recurrent:
            batch, frames = x.shape[:2]
            flat = self._search(x.flatten(0, 1), lam.repeat_interleave(frames), None)
            return Chosen(*(part.unflatten(0, (batch, frames)) for part in flat))
        steps, hidden = [], self.prior.remember_one(torch.zeros_like(x[:, 0]), None)
        for frame in x.unbind(1):
            steps.append(self._search(frame, lam, hidden))
            hidden = self.prior.remember_one(self.codebooks.decode(steps[-1].indices), hidden)
        return Chosen(*(torch.stack(parts, 1) for parts in zip(*steps, strict=True)))

    def weights_of(self, lam: float | Tensor, e: Tensor) -> Tensor:
        """Lambda of each of the embeddings (B, ...), (B,), checked."""
        lams = torch.as_tensor(lam, dtype=torch.float32, device=e.device).expand(len(e))
        low, high = self.lam_range
        wrong = (lams != 0) & ~((lams >= low * (1 - 1e-6)) & (lams <= high * (1 + 1e-6)))
        if wrong.any():
            raise UserError(
                f"lambda {float(lams[wrong][0]):g}: this quantiser was trained for {low:g} to"
                f" {high:g}; give one of these, or 0 for no weight of the rate"
            )
        return lams

    def _make_prior(self) -> Prior:
        own = self.settings
        sizes = own["n_groups"], own["n_stages"], own["codebook_size"] + 1
        if own["prior"] == "tables":
            return TablePrior(*sizes, own["n_levels"], self.lam_range)
        return CodePrior(
            own["dim"], *sizes, own["hidden"], own["context"], own["recurrent"], self.lam_range
        )

    def draw_lambdas(self, count: int, device: torch.device) -> Tensor:
        """Lambdas (N,) drawn evenly in log lambda over the range."""
        low, high = (math.log(lam) for lam in self.lam_range)
        return (low + (high - low) * torch.rand(count, device=device)).exp()

    def _search(self, x: Tensor, lam: Tensor, memory: Tensor | None) -> Chosen:
        """Codes of vectors (N, D), given the memory (N, H) of a recurrent prior."""
        if self.search == "beam":
            return beam_search(self.codebooks, self.prior, x, lam, memory, self.beam_width)
        return greedy_search(self.codebooks, self.prior, x, lam, memory)

    def _require_size(self, e: Tensor) -> None:
        if e.ndim not in (2, 3) or e.shape[-1] != self.settings["dim"]:
            raise UserError(
                f"embeddings of shape {tuple(e.shape)}: this quantiser takes (items,"
                f" {self.settings['dim']}) or (items, frames, {self.settings['dim']})"
            )

    def _require_fitted(self) -> None:
        if not self.codebooks.filled:
            raise UserError(
                "this EmotionQuantizer has no codes yet; load one with from_pretrained, or train it"
                " with emovc fit"
            )
