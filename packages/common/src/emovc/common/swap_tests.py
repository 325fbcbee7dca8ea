"""Swap tests: decode with one code of another utterance, and measure what came with it.

Codes per step of both utterances are cut to the shorter one's steps, so that host, donor and what
is decoded share one timeline. Nothing is stretched and nothing is padded.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from emovc.common.audio import LogMel
from emovc.common.code_table import f0_of, level_db
from emovc.common.codes import CodeModel, speech_of
from emovc.common.files import file_name
from emovc.common.griffin_lim import GriffinLim
from emovc.common.manifest import Utterance
from emovc.common.metrics import correlation
from emovc.common.progress import progress

NOTHING, EVERYTHING = "nothing", "everything"
RECORDINGS = "(the two recordings)"
SAME, OTHER = "same speaker", "other speaker"
LEAST_VOICED = 10  # frames voiced in both
ACTIVE_DB = 30  # below the loudest frame
MEASURES = {  # likeness: what it tells of
    "f0_corr": "correlation of ln F0 where both are voiced",
    "f0_level_st": "difference of mean F0, semitones",
    "energy_corr": "correlation of the level in dB",
    "duration_s": "difference of the time within 30 dB of the loudest frame, s",
    "mel_db": "distance of log-mels, RMS in dB",
}


class SwapPair(NamedTuple):
    """Two utterances of different words: ``kind`` is :data:`SAME` or :data:`OTHER`."""

    host: Utterance
    donor: Utterance
    kind: str

    @property
    def id(self) -> str:
        """``<host id>--<donor id>``, safe in file names."""
        return file_name(f"{self.host.id}--{self.donor.id}")


class Swap(NamedTuple):
    """What was measured of one decoded mixture.

    Attributes:
        pair: Id of the pair.
        kind: Whose the donor is.
        code: The code from the donor, or :data:`NOTHING`, :data:`EVERYTHING`,
            :data:`RECORDINGS`.
        host: Measures against the host's recording; see :data:`MEASURES`.
        donor: Measures against the donor's recording.
    """

    pair: str
    kind: str
    code: str
    host: dict[str, float]
    donor: dict[str, float]


class Contours(NamedTuple):
    """What the measures look at: F0 in Hz (T,), level in dB (T,), mel in dB (M, T), frame rate."""

    f0_hz: np.ndarray
    level_db: np.ndarray
    mel_db: np.ndarray
    frame_rate: float

    def cut(self, n_frames: int) -> "Contours":
        """The first frames."""
        n = n_frames
        return Contours(self.f0_hz[:n], self.level_db[:n], self.mel_db[:, :n], self.frame_rate)


def swap_pairs(utterances: Sequence[Utterance], n_pairs: int, seed: int = 0) -> list[SwapPair]:
    """Draw pairs of different words, half of them of one speaker in two emotions.

    Args:
        utterances: What to choose from.
        n_pairs: How many, or fewer if there are no more; odd ones are of one speaker.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    rows = sorted(utterances, key=lambda u: u.id)
    found: dict[str, list[SwapPair]] = {SAME: [], OTHER: []}
    for i in rng.permutation(len(rows)):
        host = rows[i]
        own = [u for u in rows if u.speaker == host.speaker and _other_words(u, host)]
        own = [u for u in own if u.emotion != host.emotion] or own
        others = [u for u in rows if u.speaker != host.speaker and _other_words(u, host)]
        for kind, donors in ((SAME, own), (OTHER, others)):
            if donors and len(found[kind]) < n_pairs:
                found[kind].append(SwapPair(host, donors[rng.integers(len(donors))], kind))
    turns = [p for both in zip_longest(*found.values()) for p in both if p is not None]
    return turns[:n_pairs]


@torch.inference_mode()
def run_swaps(
    model: CodeModel,
    pairs: Sequence[SwapPair],
    speakers: Mapping[str, Any],
    listen: Callable[[SwapPair, str, Tensor], None] | None = None,
) -> list[Swap]:
    """Decode each pair with nothing, each code, and everything swapped.

    Args:
        model: A model in eval mode.
        pairs: Hosts and donors.
        speakers: F0 statistics by speaker.
        listen: Told of each waveform (N,), with its pair and what it is.
    """
    vocoder = GriffinLim(model.frontend)
    swaps: list[Swap] = []
    for pair in progress(pairs, "swapping codes", len(pairs)):
        both = [speech_of(u, model.frontend.sample_rate, speakers) for u in pair[:2]]
        own, other = (model.encode(speech) for speech in both)
        host, donor = (contours(s.wav, model.frontend) for s in both)
        steps = common_steps(own, other)
        if steps is not None:
            n_frames = steps * model.code_hop // model.frontend.hop_length
            host, donor = host.cut(n_frames), donor.cut(n_frames)
        mixtures = mix(own, other, steps)
        for code, codes in mixtures.items():
            mel = model.decode_codes(codes)
            wav = vocoder(mel[None].float())[0].clamp(-1, 1)
            made = contours(wav, model.frontend, mel)
            swaps.append(
                Swap(pair.id, pair.kind, code, likeness(made, host), likeness(made, donor))
            )
            if listen:
                listen(pair, f"{code} swapped", wav)
        floor = likeness(host, donor)
        swaps.append(Swap(pair.id, pair.kind, RECORDINGS, floor, floor))
        for role, speech in zip(("host", "donor"), both, strict=True):
            if listen:
                listen(pair, role, speech.wav)
    return swaps


def common_steps(host: Mapping[str, Tensor], donor: Mapping[str, Tensor]) -> int | None:
    """Steps that the codes of both have; ``None`` where no code is per step."""
    lengths = [len(c) for codes in (host, donor) for c in codes.values() if c.ndim == 2]
    return min(lengths, default=None)


def mix(
    host: Mapping[str, Tensor], donor: Mapping[str, Tensor], steps: int | None
) -> dict[str, dict[str, Tensor]]:
    """Codes with nothing, each code, and everything from the donor, cut to ``steps``."""
    own, other = (
        {name: c[:steps] if c.ndim == 2 else c for name, c in codes.items()}
        for codes in (host, donor)
    )
    return {NOTHING: own, **{k: {**own, k: other[k]} for k in own}, EVERYTHING: other}


def contours(wav: Tensor, frontend: LogMel, mel: Tensor | None = None) -> Contours:
    """Contours of a waveform (N,), and of its log-mel (M, T) where it was made from one."""
    log_mel = (frontend(wav[None])[0] if mel is None else mel).cpu().numpy().astype(np.float64)
    decibel = log_mel * (20 / np.log(10) if frontend.log == "ln" else 20)
    f0_hz = f0_of(wav.cpu().numpy(), frontend, log_mel.shape[1])
    return Contours(f0_hz, level_db(log_mel, frontend), decibel, frontend.frame_rate)


def likeness(a: Contours, b: Contours) -> dict[str, float]:
    """All measures of two utterances over the frames that both have; NaN where one has no F0."""
    seconds = abs(_active_s(a) - _active_s(b))
    n = min(len(a.level_db), len(b.level_db))
    a, b = a.cut(n), b.cut(n)
    log_a, log_b = (np.log(np.where(c.f0_hz > 0, c.f0_hz, np.nan)) for c in (a, b))
    both = np.isfinite(log_a) & np.isfinite(log_b)
    enough = int(both.sum()) >= LEAST_VOICED
    level = np.nanmean(log_a) - np.nanmean(log_b) if enough else np.nan
    return {
        "f0_corr": correlation(log_a[both], log_b[both]) if enough else float("nan"),
        "f0_level_st": float(12 / np.log(2) * abs(level)),
        "energy_corr": correlation(a.level_db, b.level_db),
        "duration_s": seconds,
        "mel_db": float(np.sqrt(np.square(a.mel_db - b.mel_db).mean())),
    }


def share_moved(swaps: Sequence[Swap], code: str, measure: str) -> float:
    """How far a code takes a measure from the host (0) to the donor (1).

    The advantage of the donor over the host, mean over pairs, on the way from what is decoded
    with nothing swapped to what is decoded with everything swapped. NaN where this way is shorter
    than two standard errors: then the decoded speech doesn't tell host from donor.

    Args:
        swaps: Swaps of one kind of pair.
        code: The code.
        measure: One of :data:`MEASURES`.
    """
    sign = 1 if measure.endswith("_corr") else -1
    gain = {
        name: {s.pair: sign * (s.donor[measure] - s.host[measure]) for s in swaps if s.code == name}
        for name in (NOTHING, code, EVERYTHING)
    }
    columns = [[gain[name][p] for p in gain[NOTHING]] for name in (NOTHING, code, EVERYTHING)]
    values = np.array(columns)[:, np.isfinite(columns).all(0)]
    way = values[2] - values[0]
    if len(way) < 2 or way.mean() <= 2 * way.std(ddof=1) / np.sqrt(len(way)):
        return float("nan")
    return float((values[1] - values[0]).mean() / way.mean())


def _active_s(c: Contours) -> float:
    """Seconds that aren't silence."""
    return float((c.level_db > c.level_db.max() - ACTIVE_DB).sum() / c.frame_rate)


def _other_words(a: Utterance, b: Utterance) -> bool:
    """Whether two utterances are known to say, or may say, different words."""
    return a.id != b.id and (a.sentence is None or a.sentence != b.sentence)
