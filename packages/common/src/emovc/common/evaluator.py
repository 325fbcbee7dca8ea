"""Scores converted pairs beside source, target and copy-synthesis."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from emovc.common.errors import UserError
from emovc.common.judging import Goal
from emovc.common.manifest import Utterance
from emovc.common.metrics import Analysis, analyse, compare
from emovc.common.pair_conversion import Clip, PairConverter, Recent
from emovc.common.pairs import Pair
from emovc.common.panel import Gap, Panel
from emovc.common.scores import Score


class Measured(NamedTuple):
    """All that is measured of one recording or conversion, once.

    Attributes:
        analysis: What the metrics of the signal look at.
        heard: What each judge keeps of it.
    """

    analysis: Analysis
    heard: dict[str, Any]


class Result(NamedTuple):
    """A pair, done.

    Attributes:
        clips: Its rows; without ``model`` if the conversion failed.
        scores: Scores of the rows.
        gaps: What could not be judged.
        rtf: Seconds the conversion took per second of result; NaN where a file was read.
    """

    clips: dict[str, Clip]
    scores: list[Score]
    gaps: list[Gap]
    rtf: float


class PairEvaluator:
    """Converts and scores pairs; each recording is analysed and heard once.

    Args:
        converter: Converts them.
        panel: The judges.
        among: Emotions of the evaluation.
    """

    def __init__(self, converter: PairConverter, panel: Panel, among: Sequence[str]) -> None:
        self.converter = converter
        self.panel = panel
        self.among = tuple(among)
        self._recent: Recent[Measured] = Recent()

    def evaluate(self, pair: Pair) -> Result:
        """Convert a pair and score its rows."""
        clips, measured, gaps, rtf = self._rows(pair)
        real = {"same_speaker": pair.other, "other_speaker": pair.stranger}
        recordings = {row: measured[row].heard for row in ("source", "target")}
        recordings |= {role: self._real(u)[1].heard for role, u in real.items() if u is not None}
        target = pair.target
        goal = Goal(
            str(target.emotion), target.text, target.language, target.speaker, among=self.among
        )
        scores = []
        for row, found in measured.items():
            verdict, missing = self.panel.judge(found.heard, recordings, goal)
            gaps += [Gap(pair.id, row, judge, reason) for judge, reason in missing]
            metrics = compare(found.analysis, measured["target"].analysis) | verdict.metrics
            scores.append(
                Score(pair.id, row, target.speaker, goal.emotion, metrics, verdict.labels)
            )
        return Result(clips, scores, gaps, rtf)

    def _rows(self, pair: Pair) -> tuple[dict[str, Clip], dict[str, Measured], list[Gap], float]:
        """Rows of a pair, what is measured of them, what failed, and the real-time factor."""
        gaps, rtf = [], float("nan")
        rows = {"source": self._real(pair.source)}
        try:
            clip, rtf = self.converter.convert(pair)
            rows["model"] = clip, self._measure(clip, pair.target.language)
        except UserError as error:
            gaps.append(Gap(pair.id, "model", "conversion", str(error)))
        copy = self.converter.copy_synthesis(pair.target)
        of = pair.target
        rows["copy-synthesis"] = self._once(f"copy {of.id}", of.language, lambda: copy)
        rows["target"] = self._real(pair.target)
        clips = {row: clip for row, (clip, _) in rows.items()}
        return clips, {row: found for row, (_, found) in rows.items()}, gaps, rtf

    def _real(self, utterance: Utterance) -> tuple[Clip, Measured]:
        """A real recording and what is measured of it."""
        return self._once(
            f"real {utterance.id}", utterance.language, lambda: self.converter.recording(utterance)
        )

    def _once(
        self, key: str, language: str | None, make: Callable[[], Clip]
    ) -> tuple[Clip, Measured]:
        """A clip, and what is measured of it now or was before; the key decides its language."""
        clip = make()
        return clip, self._recent.get(key, lambda: self._measure(clip, language))

    def _measure(self, clip: Clip, language: str | None) -> Measured:
        """Analyse a clip in a language, and let the judges hear it."""
        rate = self.converter.rate
        return Measured(analyse(clip.wav, rate), self.panel.hear(clip.wav, language))
