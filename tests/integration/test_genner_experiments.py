"""The seed's experiments on small random networks, and their pages in a real browser."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.browser import BEYOND, PLAY, opened_page

from emovc.common.errors import UserError
from emovc.common.wav import read_wav
from emovc.genner_tts.cross import JOINT, SOME, genner_cross
from emovc.genner_tts.directions import genner_directions
from emovc.genner_tts.drift import genner_drift, trend
from emovc.genner_tts.embedding_data import EmbeddingDataModule
from emovc.genner_tts.quantizer import EmotionQuantizer
from emovc.genner_tts.spoken_choice import in_turn
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
    for name in ["joint", "some", *EMOTIONS]:
        only = [name] if name in EMOTIONS else None
        share = 0.5 if name == "some" else 1.0
        data = EmbeddingDataModule(genner_manifest, "dvector", only, share, min_utterances=4)
        data.setup("fit")
        own = folder / "models" / (f"{name}_0" if only is None else f"only_{name}_0")
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
def given(
    genner_run: Path, genner_manifest: Path, quantizers: Path, judges: Path
) -> dict[str, Any]:  # fmt: skip
    """What all experiments take."""
    return {
        "run": genner_run, "manifest": genner_manifest, "quantizers": quantizers,
        "judges": judges, "speakers": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def drift(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drift")
    genner_drift(**given, out=out, points=3)
    return out


@pytest.fixture(scope="module")
def cross(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cross")
    genner_cross(**given, out=out)
    return out


@pytest.fixture(scope="module")
def directions(
    given: dict[str, Any], genner_manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("directions")
    data = EmbeddingDataModule(genner_manifest, "dvector", ["sad", "happy"], min_utterances=4)
    data.setup("fit")
    quantizer(data.embeddings("train"), out / "models" / "sad_happy", 0)
    genner_directions(**given, out=out, draws=2)
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    return json.loads(next(out.glob("genner_*.json")).read_text())["rows"]


def sound(out: Path, row: dict[str, Any]) -> np.ndarray:
    return read_wav(out / row["audio"])[0]


def test_drift_says_each_reference_at_each_lambda(drift: Path) -> None:
    rows = rows_of(drift)
    assert len(rows) == 5 * 2 * 4  # emotions, conditions, lambdas and the vector as it is
    assert {row["grid"] for row in rows} == {CONDITIONS["full"], CONDITIONS["centroid"]}
    for row in rows:
        assert row["text"] != row["reference"] and (drift / row["audio"]).is_file()
        told = [row[f"p_encoder_{e}"] for e in EMOTIONS]
        assert None in told or sum(told) == pytest.approx(1)
    plain = [row for row in rows if row["lam"] == 0]
    assert all(row["kept"] == 1 and "bits" not in row for row in plain)
    for first, other in zip(plain[::2], plain[1::2], strict=True):  # conditions take turns
        assert first["reference"] == other["reference"] and first["text"] == other["text"]
        full, bare = sound(drift, first), sound(drift, other)
        assert len(full) != len(bare) or not np.array_equal(full, bare)


def test_drift_goes_on_where_it_was_stopped(drift: Path, given: dict[str, Any]) -> None:
    rows = rows_of(drift)
    written = {path: path.stat().st_mtime_ns for path in (drift / "parts").iterdir()}
    assert len(written) == len(rows)
    lost = drift / "parts" / f"{rows[7]['key']}.json"
    lost.unlink()
    genner_drift(**given, out=drift, points=3)
    assert rows_of(drift) == rows  # the lost line is said again, and sounds the same
    now = {path: path.stat().st_mtime_ns for path in (drift / "parts").iterdir()}
    assert [path for path in now if now[path] != written[path]] == [lost]
    with pytest.raises(UserError, match="another points"):
        genner_drift(**given, out=drift, points=4)


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
    assert len(rows) == 5 * 7 * 3
    assert {row["codebook"] for row in rows} == {*EMOTIONS, SOME, JOINT}
    lams = sorted({row["lam"] for row in rows})
    assert len(lams) == 3
    for row in rows:  # all that the largest lambda leaves is the middle of the codebook's emotion
        if row["lam"] == lams[-1] and row["codebook"] in EMOTIONS:
            near = {name: row[f"cosine_{name}"] for name in EMOTIONS}
            assert max(near, key=lambda name: near[name]) == row["codebook"]
    tables = json.loads((cross / "genner_cross.json").read_text())["tables"]
    assert len(tables) == 1 + 3 * 2


def test_directions_compare_ways(directions: Path) -> None:
    rows = rows_of(directions)
    replaced = [row for row in rows if row.get("way") == "replaced by the middle"]
    assert replaced and all(row["path"] == pytest.approx(1) for row in replaced)
    assert all(row[f"cosine_{row['target']}"] == pytest.approx(1) for row in replaced)
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


def test_corpora_take_turns() -> None:
    corpora = {"a_1": "a", "a_2": "a", "a_3": "a", "b_1": "b", "c_1": "c", "c_2": "c"}
    assert in_turn(list(corpora), corpora) == ["a_1", "b_1", "c_1", "a_2", "c_2", "a_3"]


def test_bad_requests_are_one_line(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="speakers 9: 4 have test recordings"):
        genner_drift(**given | {"speakers": 9}, out=tmp_path / "a")
    with pytest.raises(UserError, match="is no quantiser; emovc reproduce quantization"):
        genner_cross(**given | {"quantizers": tmp_path}, out=tmp_path / "b")
    with pytest.raises(UserError, match="mixed sad sad: give two of"):
        genner_directions(**given, out=tmp_path / "c", mixed=("sad", "sad"))
