"""The seed's experiments on small random networks, and their pages in a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.browser import BEYOND, PLAY, opened_page

from emovc.common.errors import UserError
from emovc.genner_tts.cross import JOINT, genner_cross
from emovc.genner_tts.directions import genner_directions
from emovc.genner_tts.drift import genner_drift, trend
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_lines import CONDITIONS

EMOTIONS = ["neutral", "angry", "happy", "sad", "surprise"]


def quantizer(vectors: torch.Tensor, folder: Path, seed: int) -> None:
    """A quantiser of vectors (N, 256), without a trained prior."""
    torch.manual_seed(seed)
    net = EmotionQuantizer(256, 2, 2, 4, rotation="random", hidden=8, lam_range=(1e-3, 1.0))
    net.fit_codebooks(vectors)
    net.pretrained = True
    net.save_pretrained(folder)


@pytest.fixture(scope="module")
def quantizers(genner_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of codebooks as ``emovc reproduce quantization`` leaves it."""
    folder = tmp_path_factory.mktemp("quantizers")
    for name in ["joint", *EMOTIONS]:
        only = None if name == "joint" else [name]
        data = EmbeddingDataModule(genner_manifest, "dvector", only, min_utterances=4)
        data.setup("fit")
        own = folder / "models" / ("joint_0" if only is None else f"only_{name}")
        quantizer(data.embeddings("train"), own, 0)
    return folder


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two judges of emotion."""
    path = tmp_path_factory.mktemp("judges") / "judges.yaml"
    one = "- class_path: emovc.ser.emotion_judge.EmotionJudge\n  init_args: {weights: %s}\n"
    path.write_text(one % "all" + one % "without_nemo")
    return path


@pytest.fixture(scope="module")
def drift(
    genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    out = tmp_path_factory.mktemp("drift")
    genner_drift(genner_run, genner_manifest, quantizers, out, speakers=1, points=3, judges=judges)
    return out


@pytest.fixture(scope="module")
def cross(
    genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    out = tmp_path_factory.mktemp("cross")
    genner_cross(genner_run, genner_manifest, quantizers, out, speakers=1, judges=judges)
    return out


@pytest.fixture(scope="module")
def directions(
    genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    out = tmp_path_factory.mktemp("directions")
    data = EmbeddingDataModule(genner_manifest, "dvector", ["sad", "happy"], min_utterances=4)
    data.setup("fit")
    quantizer(data.embeddings("train"), out / "models" / "sad_happy", 0)
    genner_directions(
        genner_run, genner_manifest, quantizers, out, speakers=1, draws=2, judges=judges
    )
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads(next(out.glob("genner_*.json")).read_text())["rows"]


def test_drift_says_each_reference_at_each_lambda(
    drift: Path, genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path
) -> None:
    rows = rows_of(drift)
    assert len(rows) == 5 * 2 * 4  # emotions, conditions, lambdas and the vector as it is
    assert {row["grid"] for row in rows} == {CONDITIONS["full"], CONDITIONS["centroid"]}
    for row in rows:
        assert row["text"] != row["reference"] and (drift / row["audio"]).is_file()
        told = [row[f"p_encoder_{e}"] for e in EMOTIONS]
        assert None in told or sum(told) == pytest.approx(1)
    plain = [row for row in rows if row["lam"] == 0]
    assert all(row["kept"] == 1 and "bits" not in row for row in plain)
    before = (drift / "rows.jsonl").read_text()
    again = {"speakers": 1, "points": 3, "judges": judges}
    genner_drift(genner_run, genner_manifest, quantizers, drift, **again)
    assert (drift / "rows.jsonl").read_text() == before  # nothing is said twice
    (drift / "rows.jsonl").write_text(before[:-30])  # as a kill leaves it
    genner_drift(genner_run, genner_manifest, quantizers, drift, **again)
    assert len((drift / "rows.jsonl").read_text().splitlines()) == len(rows)
    assert [row["key"] for row in rows_of(drift)] == [row["key"] for row in rows]
    with pytest.raises(UserError, match="another points"):
        genner_drift(genner_run, genner_manifest, quantizers, drift, **again | {"points": 4})


def test_trends_by_hand() -> None:
    rises = {"a": [0.1, 0.2, 0.4], "b": [0.1, 0.3, 0.2], "c": [0.5, 0.4, 0.1]}
    rows = [
        {"reference": name, "emotion": "sad", "lam": float(lam), "x": value}
        for name, values in rises.items()
        for lam, value in enumerate(values)
    ]
    rows.append({"reference": "n", "emotion": "neutral", "lam": 0.0, "x": 9.0})
    found = trend(rows, "x", "up")
    assert (found.as_expected, found.utterances) == (2, 3)
    assert found.correlation == pytest.approx((1 + 0.5 - 1) / 3)
    assert found.p_value == pytest.approx(0.5)
    assert trend(rows, "x", "down").as_expected == 1


def test_cross_goes_through_every_codebook(cross: Path) -> None:
    rows = rows_of(cross)
    assert len(rows) == 5 * 6 * 3
    assert {row["codebook"] for row in rows} == {*EMOTIONS, JOINT}
    assert len({row["lam"] for row in rows}) == 3
    tables = json.loads((cross / "genner_cross.json").read_text())["tables"]
    assert len(tables) == 1 + 3 * 2


def test_directions_compare_ways(directions: Path) -> None:
    rows = rows_of(directions)
    replaced = [row for row in rows if row.get("way") == "replaced by the middle"]
    assert replaced and all(row["path"] == pytest.approx(1) for row in replaced)
    around = [r["path"] for r in rows if r.get("way") == "neutral, then the difference"]
    assert around and min(around) >= 1
    assert {row["count"] for row in rows if "count" in row} == {1, 2, 4}
    mixed = [row for row in rows if row["grid"].startswith("3")]
    assert len(mixed) == 11


@pytest.mark.parametrize("name", ["drift", "cross", "directions"])
def test_pages_have_every_player_and_they_play(name: str, request: pytest.FixtureRequest) -> None:
    out: Path = request.getfixturevalue(name)
    with opened_page(out / "index.html") as (page, complaints):
        players = page.locator(".grid audio")
        found = players.evaluate_all("all => all.map(a => a.getAttribute('src'))")
        assert sorted(found) == sorted(row["audio"] for row in rows_of(out))
        for number in range(page.locator(".grid").count()):
            player = page.locator(".grid").nth(number).locator("audio").first
            assert player.evaluate(PLAY)[0] > 0
        assert page.locator("img").count() > 0
        assert page.evaluate(BEYOND) <= 0
        assert complaints == []


def test_bad_requests_are_one_line(
    genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path, tmp_path: Path
) -> None:
    own: dict[str, Any] = {"judges": judges}
    start = genner_run, genner_manifest
    with pytest.raises(UserError, match="speakers 9: 4 have test recordings"):
        genner_drift(*start, quantizers, tmp_path / "a", speakers=9, **own)
    with pytest.raises(UserError, match="is no quantiser; emovc reproduce quantization"):
        genner_cross(*start, tmp_path, tmp_path / "b", **own)
    with pytest.raises(UserError, match="mixed sad sad: give two of"):
        genner_directions(*start, quantizers, tmp_path / "c", mixed=("sad", "sad"), **own)
