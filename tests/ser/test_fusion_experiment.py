"""``emovc reproduce hyfuse`` on a small corpus: results, resumption, and bad values."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from emovc.common.audio import LogMel
from emovc.common.errors import UserError
from emovc.common.features.store import ShardWriter, open_store, store_folder
from emovc.common.manifest import Utterance, read_manifest, write_manifest
from emovc.ser import fusion_cells
from emovc.ser.fusion_claims import Claim
from emovc.ser.fusion_experiment import hyfuse
from emovc.ser.logmel_statistics import LogMelStatistics
from emovc.ser.recall import confusion_matrix
from emovc.ser.recognition import bootstrap, by_speaker, measures
from emovc.ser.stored_vectors import parse_representations, read_vectors

EMOTIONS = ("neutral", "angry", "happy", "sad")
WORDS = ["left=RLR", "right=CBR", "other=RLR"]


def write_store(root: Path, name: str, rows: Sequence[Utterance], values: np.ndarray) -> None:
    """Values (N, T, D) of a feature."""
    writer = ShardWriter(store_folder(root, name, {"of": name}), name, {"of": name})
    for u, value in zip(rows, values, strict=True):
        writer.add(u.sha256, value)
    writer.flush()


def make_corpus(folder: Path, skip: tuple[str, str] = ("", ""), bad: int | None = None) -> Path:
    """Six speakers and four emotions; ``left`` and ``other`` know one bit, ``right`` the other.

    A speaker may lack an emotion, and one value of ``right`` may be NaN.
    """
    rng = np.random.default_rng(0)
    rows = [
        Utterance(
            f"c/{s}{e}{i}", folder / f"{s}{e}{i}.wav", f"{s}{e}{i}", 16_000, 16_000, s, "c",
            gender="FM"[k % 2], emotion=e,
        )
        for k, s in enumerate("abcdef")
        for e in EMOTIONS
        for i in range(5)
        if (s, e) != skip
    ]  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)
    classes = np.array([EMOTIONS.index(str(u.emotion)) for u in rows])
    for name, bit in (("left", classes // 2), ("right", classes % 2), ("other", classes // 2)):
        frames = 3 if name == "right" else 1
        values = rng.normal(size=(len(rows), frames, 6)) + 4 * (bit[:, None, None] - 0.5)
        if name == "right" and bad is not None:
            values[bad, 1, 2] = np.nan
        write_store(folder / "features", name, rows, values)
    return folder / "manifest.jsonl"


def run(
    manifest: Path, out: Path, words: list[str] = WORDS, seeds: int = 1, pair: str | None = None
) -> None:
    hyfuse(manifest, words, out, "speaker", seeds, folds=3, epochs=8, num_workers=0, pair=pair)


def table(out: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    with (out / "hyfuse.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(r["representations"], r["fusion"], r["measure"]): r for r in rows}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hyfuse")
    run(make_corpus(folder), folder / "out", pair="right+left")
    return folder


def test_pairs_that_complete_each_other_win(finished: Path) -> None:
    rows = table(finished / "out")
    uar = {key[:2]: float(row["pooled"]) for key, row in rows.items() if key[2] == "uar"}
    assert len(uar) == 3 * 2 + 3 * 3
    for column in ("concat", "mobius", "flat"):
        assert uar["left + right", column] > 0.85 > 0.65 > uar["left + other", column]
    assert all(0.35 < uar[name, "concat"] < 0.65 for name in ("left", "right", "other"))
    groups = {key[0]: row["group"] for key, row in rows.items()}
    assert groups["left + right"] == groups["other + right"] == "heterogeneous"
    assert groups["left + other"] == "homogeneous" and groups["right"] == "individual"
    for row in rows.values():
        assert float(row["low"]) <= float(row["pooled"]) <= float(row["high"])


def test_the_report_says_what_it_can_not_claim(finished: Path) -> None:
    text = (finished / "out" / "hyfuse.md").read_text()
    assert "paper was not consulted" in text and "members differ" in text
    assert "claimed order heterogeneous > homogeneous > individual" in text
    record = json.loads((finished / "out" / "hyfuse.json").read_text())
    assert record["gaps"] == record["left_out"] == []
    assert record["settings"]["utterances"] == 120
    assert len(record["gains"]) == 3 + 3 * 2
    assert (finished / "out" / "hyfuse.png").stat().st_size > 5000


def test_claims_are_differences_of_the_cells(finished: Path) -> None:
    """Left and right complete each other, so that all that is claimed holds but the ball's part."""
    record = json.loads((finished / "out" / "hyfuse.json").read_text())
    rows = table(finished / "out")
    found = {claim["claim"]: claim for claim in record["claims"]}
    assert len(found) == len(record["claims"]) == 8
    uar = {key[:2]: float(row["pooled"]) for key, row in rows.items() if key[2] == "uar"}
    best = found["best heterogeneous above best homogeneous"]
    names = ("left + right", "other + right")
    top = max(names, key=lambda name: uar[name, "mobius"])
    assert best["ours"] == f"{top}, HYFuse" and best["other"] == "left + other, HYFuse"
    difference = uar[top, "mobius"] - uar["left + other", "mobius"]
    assert best["uar"] == pytest.approx(difference) and best["verdict"] == "holds"
    every = found["heterogeneous above homogeneous, mean of all"]
    mean = np.mean([uar[name, "mobius"] for name in names]) - uar["left + other", "mobius"]
    assert every["uar"] == pytest.approx(mean) and every["ours"] == "2 cells"
    flat = found["left + right: the ball above a flat space"]
    assert flat["uar"] == pytest.approx(uar["left + right", "mobius"] - uar["left + right", "flat"])
    member = found["left + right: above its better member"]
    alone = max(uar["left", "concat"], uar["right", "concat"])
    assert member["uar"] == pytest.approx(uar["left + right", "mobius"] - alone)
    assert found["left + right: the best cell of all"]["other"] == "other + right, HYFuse"
    assert all(claim["low"] <= claim["uar"] <= claim["high"] for claim in record["claims"])
    assert "what the abstract claims" in (finished / "out" / "hyfuse.md").read_text()


def test_verdicts_follow_the_interval() -> None:
    values = [(0.02, "holds"), (-0.02, "undecided"), (-0.2, "opposite")]
    for low, verdict in values:
        assert Claim("speaker", "", "", "", low + 0.05, low, low + 0.1).verdict == verdict


def test_a_supervised_encoder_stands_apart(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is joined by codecs only, and counts neither for the order nor for the claims."""
    monkeypatch.setattr(fusion_cells, "train_on_vectors", lambda *_, **__: None)
    run(finished / "manifest.jsonl", tmp_path, ["other=SUP", "left=RLR", "right=CBR"])
    groups = {key[0]: row["group"] for key, row in table(tmp_path).items()}
    assert groups == {
        "left": "individual", "right": "individual", "left + right": "heterogeneous",
        "other": "supervised", "other + right": "supervised",
    }  # fmt: skip
    record = json.loads((tmp_path / "hyfuse.json").read_text())
    assert not any("other" in line for line in record["ordering"])
    assert not any("other" in claim["ours"] + claim["other"] for claim in record["claims"])
    first, second = (
        (tmp_path / "hyfuse.md")
        .read_text()
        .split("## speaker folds, with an encoder trained to recognise emotions: accuracy")
    )
    assert "| supervised |" in second and "| supervised |" not in first


def test_a_killed_experiment_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the trainings and half a line are there; only what lacks is trained."""
    lines = (finished / "out" / "trainings.jsonl").read_text().splitlines()
    assert len(lines) == 45
    (tmp_path / "trainings.jsonl").write_text("\n".join(lines[:41]) + "\n" + lines[41][:50])
    trained = []
    original = fusion_cells.train_on_vectors

    def count(*args: object, **kwargs: object) -> None:
        trained.append(1)
        original(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(fusion_cells, "train_on_vectors", count)
    run(finished / "manifest.jsonl", tmp_path, pair="left+right")
    assert len(trained) == 4
    for name in ("hyfuse.csv", "hyfuse.md"):
        text = (tmp_path / name).read_text().replace("left+right", "right+left")
        assert text == (finished / "out" / name).read_text()
    run(finished / "manifest.jsonl", tmp_path)
    assert len(trained) == 4


def test_a_value_that_is_not_finite_costs_its_utterance(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_corpus(tmp_path, bad=17)
    run(manifest, tmp_path / "out", ["right=CBR"])
    record = json.loads((tmp_path / "out" / "hyfuse.json").read_text())
    (line,) = record["left_out"]
    name = read_manifest(manifest)[17].path
    assert line == f"{name}: feature right is not finite; the utterance is left out"
    assert record["settings"]["utterances"] == 119
    assert capsys.readouterr().out.splitlines().count(line) == 1


def test_a_class_that_a_fold_lacks_is_a_gap_and_the_rest_is_scored(tmp_path: Path) -> None:
    manifest = make_corpus(tmp_path)
    rows = [
        u.replace('"emotion": "angry"', '"emotion": "neutral"') if '"speaker": "a"' not in u else u
        for u in manifest.read_text().splitlines()
    ]
    manifest.write_text("\n".join(rows) + "\n")  # only speaker a is angry
    run(manifest, tmp_path / "out", ["left=RLR"])
    record = json.loads((tmp_path / "out" / "hyfuse.json").read_text())
    assert all("no utterance of angry" in line for line in record["gaps"])
    parts = [
        sum(f"its {part} part" in line for line in record["gaps"]) for part in ("test", "training")
    ]
    assert parts[0] == 2 and 1 <= parts[1] <= 2  # speaker a may be the one to validate on
    assert all(np.isfinite(v["mean"]) for r in record["rows"] for v in _values(r))


def _values(row: dict[str, dict[str, list[float]]]) -> list[dict[str, float]]:
    names = ("mean", "sd", "pooled", "low", "high")
    return [dict(zip(names, v, strict=True)) for v in row["values"].values()]


def test_frames_are_averaged(finished: Path) -> None:
    rows = read_manifest(finished / "manifest.jsonl")
    found = read_vectors(finished / "manifest.jsonl", "right", rows)
    frames = open_store(finished / "features", "right").get(rows[7].sha256)
    assert frames.shape == (3, 6) and found.per_frame
    np.testing.assert_allclose(found.values[7], frames.mean(0), rtol=1e-6)


def test_mistakes_are_named(finished: Path, tmp_path: Path) -> None:
    for words in (["left"], ["left=XYZ"], ["=RLR"], ["left=RLR", "left=CBR"]):
        with pytest.raises(UserError, match="--representations"):
            parse_representations(words)
    manifest = finished / "manifest.jsonl"
    with pytest.raises(UserError, match="holds no feature 'nothing'"):
        run(manifest, tmp_path, ["nothing=RLR"])
    with pytest.raises(UserError, match="7 speaker folds of 6 speakers"):
        hyfuse(manifest, ["left=RLR"], tmp_path, "speaker", 1, folds=7)
    for pair in ("left", "left+other", "right+nothing", "left+right+other"):
        with pytest.raises(UserError, match=r"--pair .*: must be NAME\+NAME, an RLR and a CBR"):
            run(manifest, tmp_path, pair=pair)
    assert not list(tmp_path.iterdir())


def test_measures_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    true, found = rng.integers(4, size=200), rng.integers(5, size=200)
    ours = measures(confusion_matrix(true, found, 6))
    assert ours["accuracy"] == pytest.approx(accuracy_score(true, found))
    hit = [np.mean(found[true == k] == k) for k in range(4)]
    assert ours["uar"] == pytest.approx(np.mean(hit))
    inside = np.where(found == 4, 0, found)
    assert measures(confusion_matrix(true, inside, 6))["uar"] == pytest.approx(
        balanced_accuracy_score(true, inside)
    )
    assert ours["macro_f1"] == pytest.approx(f1_score(true, found, average="macro"))


def test_the_interval_is_over_speakers() -> None:
    """Speakers all right or all wrong, two of four: draws give 0, 1/4, ... 1."""
    labels, speakers = np.zeros(400, dtype=int), [f"s{i % 4}" for i in range(400)]
    predictions = np.array([int(i % 4 < 2) for i in range(400)])
    parts = list(by_speaker(labels, predictions, speakers, 2).values())
    low, high = bootstrap(parts, lambda counts: measures(counts)["accuracy"])
    assert (low, high) == (0.0, 1.0)
    same = [sum(parts, np.zeros((2, 2)))] * 4
    low, high = bootstrap(same, lambda counts: measures(counts)["accuracy"])
    assert low == high == 0.5


def test_statistics_of_the_log_mel_do_not_hear_the_padding() -> None:
    torch.manual_seed(0)
    wav = 0.1 * torch.randn(1, 22_050)
    feature = LogMelStatistics()
    (alone,) = feature(wav, torch.tensor([22_050]))
    both = feature(
        torch.nn.functional.pad(wav, (0, 9000)).expand(2, -1), torch.tensor([22_050, 31_050])
    )
    assert alone.shape == (1, 160)
    torch.testing.assert_close(both[0], alone, rtol=0, atol=0.05)  # its last frames hear the edge
    assert (both[1] - alone).abs().max() > 1
    mel = LogMel()(wav)[0]
    torch.testing.assert_close(alone[0, :80], mel.mean(1))
    torch.testing.assert_close(alone[0, 80:], mel.std(1, correction=0))
