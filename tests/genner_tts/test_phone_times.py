"""Known times of phones, in frames and as a measure, on the toy corpus and by hand."""

from pathlib import Path

import pytest

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.common.manifest import Utterance, read_manifest
from emovc.genner_tts.durations_file import Timed, durations_path, read_durations, write_durations
from emovc.genner_tts.phone_times import (
    TimedPhone,
    boundary_errors,
    edges_of_times,
    frames_of_edges,
)
from emovc.genner_tts.phonemes import Pronunciation, pronounce

SAID = Pronunciation(["#", "d", "o", ",", "m", ".", "#"], [0, 1, 1, 2, 3, 4, 5])


def labelled(*rows: tuple[str, float, float]) -> list[TimedPhone]:
    return [TimedPhone(*row) for row in rows]


def known_edges(utterance: Utterance) -> list[float]:
    """Edges by the times that the toy corpus tells."""
    rows = read_json(utterance.path.parent.parent / "annotations" / f"{utterance.path.stem}.json")
    times = [TimedPhone(r["name"], r["start_s"], r["end_s"]) for r in rows["phones"]]
    said = pronounce(str(utterance.text), str(utterance.language))
    found = edges_of_times(said, times, utterance.seconds)
    assert found is not None
    return found


def test_silences_share_what_lies_between_phones() -> None:
    times = labelled(("_", 0.0, 0.1), ("D", 0.1, 0.2), ("O", 0.2, 0.4), ("M", 0.5, 0.7))
    assert edges_of_times(SAID, times, 0.9) == pytest.approx([0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 0.9])


def test_another_number_of_phones_is_no_match() -> None:
    assert edges_of_times(SAID, labelled(("D", 0.1, 0.2)), 0.9) is None


def test_frames_sum_up_and_round_to_the_nearest() -> None:
    edges = [0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 0.9]
    assert frames_of_edges(edges, 9, 1000, 100) == [1, 1, 2, 1, 2, 1, 1]
    assert sum(frames_of_edges(edges, 8, 1000, 100)) == 8
    assert frames_of_edges([0.0, 0.14, 0.16, 0.3], 3, 1000, 100) == [1, 1, 1]


def test_boundary_errors_by_hand() -> None:
    found = boundary_errors([[2, 3, 5]], [[0.0, 0.21, 0.53, 1.0]], 1000, 100)
    assert found.boundaries == 2
    assert (found.mean_ms, found.median_ms) == pytest.approx((20, 20))
    assert (found.within_20_ms, found.within_50_ms) == (0.5, 1.0)


def test_frames_of_the_toy_are_within_half_a_frame(toy: Path) -> None:
    rows = [u for u in read_manifest(toy) if u.split == "test"]
    edges = [known_edges(u) for u in rows]
    frames = [
        frames_of_edges(e, u.num_samples // 256, 22_050, 256)
        for e, u in zip(edges, rows, strict=True)
    ]
    errors = boundary_errors(frames, edges, 22_050, 256)
    assert errors.boundaries > 400
    assert errors.mean_ms < 4 and errors.within_20_ms == 1


def test_durations_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = {"source": "aligner", "sample_rate": 22_050, "hop_length": 256, "weights": "abc"}
    path = durations_path(tmp_path / "manifest.jsonl")
    write_durations(path, made, {"f00": Timed(["#", "ˈoʊ"], [3, 4])})
    assert path.name == "manifest.durations.jsonl"
    assert read_durations(path) == (made, {"f00": Timed(["#", "ˈoʊ"], [3, 4])})
    path.write_text("{}")
    with pytest.raises(UserError, match="no file of durations"):
        read_durations(path)
    with pytest.raises(UserError, match="export-durations RUN MANIFEST writes it"):
        read_durations(tmp_path / "none.jsonl")
