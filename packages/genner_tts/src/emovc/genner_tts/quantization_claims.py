"""Six claims on the quantisation of emotion embeddings, and whether the measurements bear them out.

The claims are those of a progress report on quantised emotion2vec embeddings of ESD that is not
published; it gives no numbers, so what counts as "held" is defined here.
"""

from typing import NamedTuple

import numpy as np

from emovc.genner_tts.quantization_findings import SIMILARITIES, Findings


class Claim(NamedTuple):
    """A claim.

    Attributes:
        letter: A to F.
        held: Whether the measurements agree.
        text: The claim, and the numbers that decide.
    """

    letter: str
    held: bool
    text: str


def claims_of(found: Findings) -> list[Claim]:
    """All six."""
    return [_robust(found), _directed(found), _recall(found), _direct(found), _encoders(found),
            _biased(found)]  # fmt: skip


def _robust(found: Findings) -> Claim:
    """A: neutral keeps the highest cosine."""
    last = found.curve[-1].measures["raw"]
    first = found.curve[0].measures["raw"]
    neutral, others = last[0], max(last[1:])
    text = (
        "similarity falls with lambda, that of neutral speech least: cosine at the largest lambda"
        f" {neutral:.3f} (from {first[0]:.3f}), best other emotion {others:.3f}"
    )
    return Claim("A", neutral > others and neutral < first[0], text)


def _directed(found: Findings) -> Claim:
    """B: embeddings approach neutral."""
    shares = found.curve[-1].measures["at_neutral"][1:]
    way = [point.measures["progress"][1:] for point in (found.curve[0], found.curve[-1])]
    text = (
        "the others move towards neutral: at the largest lambda neutral is the nearest centroid of"
        f" {100 * min(shares):.0f} to {100 * max(shares):.0f} % of each; share of the way"
        f" {np.mean(way[0]):.2f} to {np.mean(way[1]):.2f}"
    )
    return Claim("B", bool(min(shares) > 0.5 and np.mean(way[1]) > np.mean(way[0])), text)


def _recall(found: Findings) -> Claim:
    """C: recognition falls non-linearly, neutral survives."""
    recalls = np.array([point.measures["clean"] for point in found.curve])  # (P, E)
    mean = recalls.mean(1)
    half = int(np.argmax(mean < (mean[0] + mean[-1]) / 2))
    best = found.emotions[int(recalls[-1].argmax())]
    text = (
        f"recognition falls late, and neutral survives: mean recall {mean[0]:.2f} at the least"
        f" lambda, half lost at {found.curve[half].lam:.3g}, {mean[-1]:.2f} at the largest, where"
        f" {best} is recognised best ({recalls[-1].max():.2f})"
    )
    late = half >= len(mean) // 2
    return Claim("C", bool(late and recalls[-1].argmax() == 0 and mean[-1] < mean[0]), text)


def _direct(found: Findings) -> Claim:
    """D: direct reduction hits neutral first."""
    said, held = [], False
    for way, rows in found.direct.items():
        mean = np.mean(rows, axis=1)
        place = int(np.argmax(mean < mean[0] - 0.1)) if (mean < mean[0] - 0.1).any() else -1
        worst = int(np.argmin(rows[place]))
        held |= way == "as the data vary" and worst == 0
        said.append(
            f"{way} {found.emotions[worst]} ({rows[place][worst]:.2f} at {SIMILARITIES[place]})"
        )
    text = f"direct reduction hits neutral first, unlike quantisation: worst is {', '.join(said)}"
    return Claim("D", held, text)


def _encoders(found: Findings) -> Claim:
    """E: a common lambda beats equal bits and greedy allocation."""
    gains = [1 - r.fixed_at_bisected / r.bisected for r in found.encoders]
    coded = [r for r in found.encoders if r.greedy_bits > 0]  # at 0 bits there is no choice
    greedy = [1 - r.fixed_at_greedy / r.greedy for r in coded]
    text = (
        "one lambda for all beats targets for each at equal bits: distortion lower by"
        f" {100 * min(gains):.0f} to {100 * max(gains):.0f} % than bisection per item, by"
        f" {100 * min(greedy):.0f} to {100 * max(greedy):.0f} % than greedy allocation"
    )
    return Claim("E", min(*gains, *greedy) > 0, text)


def _biased(found: Findings) -> Claim:
    """F: codebooks of one emotion keep it and pull the others from the start."""
    kept = [np.argmax(row) == k for k, row in enumerate(found.biased[-1].kept)]
    gone = np.array([b.gone for b in (found.biased[0], found.biased[-1])])
    chance = np.array([b.gone for b in (found.some[0], found.some[-1])])
    text = (
        f"a codebook of one emotion keeps it best ({sum(kept)} of {len(kept)} at the largest"
        " lambda) and pulls the others from the least lambda on: share of the way"
        f" {np.nanmin(gone[0]):.2f} to {np.nanmax(gone[0]):.2f} there, {np.nanmin(gone[1]):.2f} to"
        f" {np.nanmax(gone[1]):.2f} at the largest; through codebooks of as many recordings at"
        f" random {np.nanmean(chance[0]):.2f} and {np.nanmean(chance[1]):.2f} on average"
    )
    pulled = np.nanmin(gone[0]) > 0.1 and np.nanmin(gone[0] - chance[0]) > 0
    return Claim("F", bool(all(kept) and pulled), text)
