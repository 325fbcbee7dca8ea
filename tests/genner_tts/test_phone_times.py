"""Known times of phones, in frames and as a measure, on the toy corpus and by hand."""

from pathlib import Path

import pytest

from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.phones import Phone, find_phones
from emovc.genner_tts.durations_file import Timed, durations_path, read_durations, write_durations
from emovc.genner_tts.known_durations import import_durations, measure_durations
from emovc.genner_tts.phone_matching import matched, plain_symbol, spoken_phones
from emovc.genner_tts.phone_times import (
    boundary_errors,
    edges_of_times,
    frames_of_edges,
)
from emovc.genner_tts.phonemes import Pronunciation, pronounce

SAID = Pronunciation(["#", "d", "o", ",", "m", ".", "#"], [0, 1, 1, 2, 3, 4, 5])


def labelled(*rows: tuple[str, float, float]) -> list[Phone]:
    return [Phone(*row) for row in rows]


def known_edges(utterance: Utterance) -> tuple[list[float], list[int]]:
    """Edges by the times that the toy corpus tells, and the places of labelled phones."""
    said = pronounce(str(utterance.text), str(utterance.language))
    found = edges_of_times(said, find_phones(utterance, "toy") or [], utterance.seconds)
    assert found is not None
    return found


def test_silences_share_what_lies_between_phones() -> None:
    times = labelled(("_", 0.0, 0.1), ("D", 0.1, 0.2), ("O", 0.2, 0.4), ("M", 0.5, 0.7))
    found = edges_of_times(SAID, times, 0.9)
    assert found is not None
    edges, places = found
    assert edges == pytest.approx([0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 0.9])
    assert places == [1, 2, 4]


def test_a_phone_without_label_shares_the_time_of_its_neighbour() -> None:
    found = edges_of_times(SAID, labelled(("d", 0.1, 0.3), ("m", 0.5, 0.7)), 0.9)
    assert found is not None
    edges, places = found
    assert places == [1, 4]
    assert edges[:5] == pytest.approx([0, 0.1, 0.1 + 0.4 / 3, 0.1 + 0.8 / 3, 0.5])


def test_a_recording_of_other_words_is_no_match() -> None:
    assert edges_of_times(SAID, labelled(("d", 0.1, 0.2)), 0.9) is None
    assert edges_of_times(SAID, [], 0.9) is None


def test_frames_sum_up_and_round_to_the_nearest() -> None:
    edges = [0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 0.9]
    assert frames_of_edges(edges, 9, 1000, 100) == [1, 1, 2, 1, 2, 1, 1]
    assert sum(frames_of_edges(edges, 8, 1000, 100)) == 8
    assert frames_of_edges([0.0, 0.14, 0.16, 0.3], 3, 1000, 100) == [1, 1, 1]


def test_boundary_errors_by_hand() -> None:
    found = boundary_errors([[2, 3, 5]], [([0.0, 0.21, 0.53, 1.0], [1, 2])], 0.1)
    assert found.boundaries == 2
    assert (found.mean_ms, found.median_ms) == pytest.approx((20, 20))
    assert (found.within_20_ms, found.within_50_ms) == (0.5, 1.0)


def test_frames_of_the_toy_are_within_half_a_frame(toy: Path) -> None:
    rows = [u for u in read_manifest(toy) if u.split == "test"]
    known = [known_edges(u) for u in rows]
    frames = [
        frames_of_edges(edges, u.num_samples // 256, 22_050, 256)
        for (edges, _), u in zip(known, rows, strict=True)
    ]
    errors = boundary_errors(frames, known, 256 / 22_050)
    assert errors.boundaries > 400
    assert errors.mean_ms < 4 and errors.within_20_ms == 1


def test_parts_of_stops_are_joined_and_pauses_left_out() -> None:
    labels = labelled(
        ("_t", 0.0, 0.1), ("!t", 0.1, 0.2), ("tasp", 0.2, 0.3), ("a", 0.3, 0.5), ("(gef", 0.5, 0.9),
        ("d", 0.9, 1.0), ("!d", 1.0, 1.1), ("t", 1.1, 1.2), (".", 1.2, 1.3),
    )  # fmt: skip
    found = [("t", 0.0, 0.3), ("a", 0.3, 0.5), ("d", 0.9, 1.1), ("t", 1.1, 1.2)]
    assert spoken_phones(labels) == found


def test_alphabets_are_matched_by_sound() -> None:
    ipa = ["ʃ", "ˈaɪ", "n", "ə", "n", "ç", "tʰ"]
    pairs = [(0, 0), (1, 1), (2, 2), (4, 3), (5, 4), (6, 5)]
    assert matched(ipa, ["S", "aI", "n", "m", "C", "t"]) == pairs
    assert matched(["h", "ə", "l", "ˈoʊ"], ["HH", "AH0", "L", "OW1"]) == [(i, i) for i in range(4)]
    assert matched(["a"], ["t"]) == []
    assert plain_symbol("ĩː") == "i" and plain_symbol("AA1") == "aa" and plain_symbol("ˌɐ") == "6"


@pytest.fixture(scope="module")
def measured(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Durations of the toy corpus by its own times."""
    out = tmp_path_factory.mktemp("durations") / "toy.durations.jsonl"
    import_durations(toy, "toy", out=out)
    return out


def test_imported_durations_are_near_their_labels(
    toy: Path, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure_durations(toy, "toy", measured)
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "| " in line]
    names = "measured", "all phones alike"
    own, even = (next(c for c in lines if c[:2] == ["| all", n]) for n in names)
    assert own[2] == "80" and own[6:] == ["100 %", "100 % |"]
    assert float(own[4].split()[0]) < 6 < 50 < float(even[4].split()[0])
    assert read_durations(measured).made["weights"] is None


def test_labels_that_are_not_there_are_one_line(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.TextGrid was looked for, set --folder"):
        import_durations(toy, "textgrid", tmp_path, out=tmp_path / "none.jsonl")
    assert not list(tmp_path.iterdir())


def test_durations_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = {"source": "aligner", "sample_rate": 22_050, "hop_length": 256, "weights": "abc"}
    path = durations_path(tmp_path / "manifest.jsonl")
    write_durations(path, made, {"f00": Timed(["#", "ˈoʊ"], [3, 4])})
    assert path.name == "manifest.durations.jsonl"
    assert read_durations(path) == (made, {"f00": Timed(["#", "ˈoʊ"], [3, 4])})
    path.write_text("{}")
    with pytest.raises(UserError, match="source is missing; write it anew"):
        read_durations(path)
    with pytest.raises(UserError, match="export-durations RUN MANIFEST writes it"):
        read_durations(tmp_path / "none.jsonl")
