"""The quantisation experiment on a small synthetic corpus."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from emovc.common.errors import UserError
from emovc.common.files import read_json
from emovc.genner_tts import quantization_source
from emovc.genner_tts.quantization import pull, quantization
from emovc.genner_tts.quantization_claims import claims_of
from emovc.genner_tts.quantization_findings import Biased, Findings, Point
from emovc.genner_tts.quantization_measures import Moved, Probe, Rates, by_emotion, look_at
from emovc.genner_tts.quantization_source import Embedded, Source
from emovc.genner_tts.synthetic_data import SyntheticDataModule

NAMES = ["neutral", "happy"]


def test_the_experiment_writes_its_tables_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = partial(SyntheticDataModule, dim=16, per_emotion=60, held_out=20, batch_size=100)
    monkeypatch.setattr(quantization_source, "SyntheticDataModule", small)

    def run(points: int) -> None:
        quantization(
            None, out=tmp_path, seeds=[0, 1], steps=6, points=points, n_groups=2, n_stages=2,
            codebook_size=4,
        )  # fmt: skip

    run(3)
    said = capsys.readouterr().out
    assert [said.count(f"\n| {letter} | ") for letter in "ABCDEF"] == [1] * 6
    found = read_json(tmp_path / "quantization.json")["found"]
    bits = [point["bits"] for point in found["curve"]]
    assert bits[0] >= bits[-1]
    assert len(found["biased"][0]["kept"]) == 5
    assert len(found["lean"][0]["kept"]) == 2
    assert len(found["some"][0]["gone"]) == 5
    assert found["some"][0]["kept"][0] == found["some"][0]["kept"][4]  # the same codebook
    for name in ("curves", "direct", "codebooks"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("models/*/model.safetensors")}
    assert len(before) == 2 * 9
    run(3)
    assert before == {p: p.stat().st_mtime_ns for p in before}
    with pytest.raises(UserError, match="holds an evaluation with another points"):
        run(4)
    with pytest.raises(UserError, match="points 2: give 3 or more"):
        run(2)


def test_progress_is_the_share_of_the_way_between_centroids() -> None:
    train = Embedded(torch.eye(2), torch.tensor([0, 1]), ["a", "a"])
    test = Embedded(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 0]), ["a", "a"])
    source = Source(train, test, NAMES, torch.eye(2), torch.zeros(2))
    moved = look_at(source, torch.tensor([[0.25, 0.75], [1.0, 0.0]]))
    assert moved.progress[0, 0] == pytest.approx(0.25)
    assert moved.progress[0, 1].isnan()
    assert moved.progress[1, 1] == 0
    assert moved.nearest.tolist() == [1, 0]
    assert moved.raw[1] == pytest.approx(1)


def test_pull_is_to_the_codebook_s_emotion_averaged_over_seeds() -> None:
    part = Embedded(torch.eye(3), torch.tensor([0, 1, 2]), ["a"] * 3)
    source = Source(part, part, ["neutral", "sad", "happy"], torch.eye(3), torch.zeros(3))
    still = look_at(source, torch.eye(3))

    def draws(k: int) -> list[Moved]:  # with one seed all the way, with the other nowhere
        return [look_at(source, torch.eye(3)[[k] * 3]), still]

    half = [[1 if i == k else 0.5 for i in range(3)] for k in range(3)]
    gone = [[float("nan") if i == k else 0.5 for i in range(3)] for k in range(3)]
    each = pull([draws(k) for k in range(3)], source, 0.1)
    assert each.lam == 0.1 and each.kept == half and each.arrived == half
    assert each.gone == pytest.approx(np.array(gone), nan_ok=True)
    lean = pull([draws(1), draws(2)], source, 0.1)  # without neutral
    assert lean.kept == half[1:] and lean.arrived == half[1:]
    assert lean.gone == pytest.approx(np.array(gone[1:]), nan_ok=True)
    none = pull([[still] * 2] * 3, source, 0.1)
    assert np.nanmax(none.gone) == 0 and none.arrived == torch.eye(3).tolist()


def test_probes_count_only_what_they_could_know() -> None:
    vectors = torch.cat([torch.randn(20, 4) + 5, torch.randn(20, 4) - 5])
    probe = Probe(vectors, ["ann"] * 20 + ["bob"] * 20)
    hits = probe.hits(torch.tensor([[5.0] * 4, [5.0] * 4, [-5.0] * 4]), ["ann", "eve", "ann"])
    assert hits.tolist()[::2] == [1, 0] and hits[1].isnan()
    test = Embedded(torch.eye(3), torch.tensor([0, 0, 1]), ["ann", "eve", "ann"])
    source = Source(test, test, NAMES, torch.eye(3), torch.zeros(3))
    assert by_emotion(source, hits) == [1, 0]  # the stranger counts for nothing


def test_claims_follow_the_numbers() -> None:
    first = {"raw": [0.9, 0.9], "at_neutral": [1.0, 0.0], "progress": [0.0, 0.0], "clean": [1, 1]}
    middle = first | {"clean": [1.0, 0.9]}
    last = {"raw": [0.8, 0.5], "at_neutral": [1.0, 0.9], "progress": [0.0, 0.9], "clean": [1, 0]}
    points = [
        Point(lam, 1.0, 0.1, row, [(0, 1)] * 2)
        for lam, row in ((0.1, first), (0.2, middle), (0.3, last))
    ]
    nan = float("nan")
    biased = [Biased(0.1, [[0.9, 0.5], [0.5, 0.9]], [[nan, 0.3], [0.4, nan]], [])] * 2
    rates = [Rates(10, 0.3, 10, 0.4, 0.3, 10, 0.5, 0.3), Rates(4, 0.6, 4, 0.7, 0.6, 0, 1, 1.1)]
    direct = {"as the data vary": [[1.0, 1.0]] + [[0.2, 0.6]] * 5}
    some = [Biased(0.1, [], [[nan, 0.2], [0.2, nan]], [])] * 2
    findings = Findings(NAMES, points, direct, rates, biased, [], some, [])
    assert {c.letter: c.held for c in claims_of(findings)} == dict.fromkeys("ABCDEF", True)
    assert all(type(c.held) is bool for c in claims_of(findings))  # JSON takes no numpy's
    turned = {"as the data vary": [[1.0, 1.0]] + [[0.6, 0.2]] * 5}
    worse = [Rates(10, 0.3, 10, 0.2, 0.3, 10, 0.5, 0.3)]
    kept = [Biased(0.1, [[0.5, 0.9], [0.5, 0.9]], [[nan, 0.05], [0.4, nan]], [])] * 2
    other = findings._replace(
        direct=turned, encoders=worse, biased=kept, curve=[points[2], points[0]]
    )
    assert {c.letter: c.held for c in claims_of(other)} == dict.fromkeys("ABCDEF", False)
    alike = [Biased(0.1, [], [[nan, 0.2], [0.5, nan]], [])] * 2  # any codebook draws as much
    assert not claims_of(findings._replace(some=alike))[5].held
