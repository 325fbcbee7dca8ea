"""The report of a model whose codes are known, and of corpora that lack something."""

import csv
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.common.code_models import KnownCodes, make_corpus
from torch import Tensor, nn

from emovc.common.audio import LogMel
from emovc.common.code_measures import TRAINED, Found, find_targets, probe_codes, shared_by_codes
from emovc.common.code_table import CodeTable, collect_codes, encode_again, read_phones
from emovc.common.codes import untrained
from emovc.common.conversion import Speech
from emovc.common.disentanglement import disentangle
from emovc.common.disentanglement_report import write_report
from emovc.common.disentanglement_tables import Report
from emovc.common.errors import UserError
from emovc.common.manifest import Utterance, read_manifest
from emovc.common.probes import choose_rows, read


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    return read_manifest(make_corpus(tmp_path_factory.mktemp("tones")))


@pytest.fixture(scope="module")
def table(rows: list[Utterance]) -> CodeTable:
    return collect_codes(KnownCodes(LogMel()), rows, {})


def score(table: CodeTable, code: str, name: str) -> float:
    """What a linear reader finds."""
    target = next(t for t in find_targets(table)[0] if t.name == name)
    codes = table.per_step(code) if target.per_step else table.per_utterance(code)
    return read(codes, target, choose_rows(target, 1000), "linear").score


def test_the_code_of_f0_holds_f0_and_nothing_else(table: CodeTable) -> None:
    assert score(table, "pitch", "log_f0") > 0.99
    assert score(table, "pitch", "phone") == pytest.approx(1 / 3, abs=0.1)
    assert score(table, "pitch", "speaker") == pytest.approx(1 / 3, abs=0.15)
    assert score(table, "pitch", "energy_db") < 0.05


def test_the_code_of_phones_holds_the_words(table: CodeTable) -> None:
    assert score(table, "phone", "phone") > 0.95
    assert score(table, "phone", "sentence") > 0.9
    assert score(table, "phone", "log_f0") < 0.05
    assert score(table, "phone", "speaker") == pytest.approx(1 / 3, abs=0.15)


def test_the_constant_code_is_at_chance_everywhere(table: CodeTable) -> None:
    only = replace(table, steps={"fixed": table.steps["fixed"]})
    found = probe_codes({TRAINED: only}, find_targets(table)[0], steps=1000)
    assert len(found) == 12
    assert all(f.reading.score == f.reading.shuffled == f.reading.chance for f in found)


def test_independent_codes_share_nothing(table: CodeTable) -> None:
    found = shared_by_codes(table, 4, seeds=2)
    assert found["pairs"]["pitch-phone"]["corrected"][0] == pytest.approx(0, abs=0.01)
    assert found["pairs"]["spectrogram-pitch"]["corrected"][0] > 0.5
    assert found["pairs"]["pitch-fixed"]["mi"] == (0, 0)
    assert found["entropy"]["fixed"] == (0, 0)


def test_codes_of_utterances_are_shuffled_as_wholes(table: CodeTable) -> None:
    """24 utterances of 14 equal steps have the bias of 24 rows, not that of 336."""
    rng = np.random.default_rng(0)
    first, second, third = rng.standard_normal((3, 24, 2))
    slow = {"slow": first[table.utterance]}
    found = shared_by_codes(replace(table, steps=slow, held={"a": second, "b": third}), 4, 8)
    for pair in ("slow-a", "a-b"):
        assert found["pairs"][pair]["shuffled"][0] == pytest.approx(9 / (2 * 24), abs=0.1)


def test_probes_are_held_out_by_what_must_not_help(table: CodeTable) -> None:
    targets, gaps = find_targets(table)
    held_out = {t.name: t.held_out for t in targets}
    assert held_out["emotion"] == held_out["sentence"] == "speaker"
    assert held_out["speaker"] == "sentence"
    assert held_out["log_f0"] == held_out["phone"] == "utterance"
    assert gaps == []


def test_what_is_missing_is_named_and_the_rest_done(table: CodeTable) -> None:
    alone = [replace(u, speaker="ann") for u in table.rows]
    unknown = np.array([None] * len(table.phone), dtype=object)
    targets, gaps = find_targets(replace(table, rows=alone, phone=unknown))
    assert [t.name for t in targets] == ["emotion", "sentence", "log_f0", "energy_db"]
    assert "phone is not probed: no phone labels beside the recordings" in gaps
    assert "emotion is held out by utterance: there is only one speaker" in gaps
    assert any(gap.startswith("speaker is not probed") for gap in gaps)


@dataclasses.dataclass
class Broken(KnownCodes):
    """One of its codes is what the test says."""

    code: Tensor

    def encode(self, speech: Speech) -> dict[str, Tensor]:
        return {**super().encode(speech), "bad": self.code}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (torch.tensor([1.0, torch.nan]), "code 'bad' of .* holds NaN"),
        (torch.zeros(14, 1, 1), r"has shape \(14, 1, 1\)"),
        (torch.zeros(3, 1), r"have \[3, 14\] steps"),
    ],
)
def test_codes_that_cannot_be_used_are_one_line(
    rows: list[Utterance], code: Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        collect_codes(Broken(LogMel(), code), rows[:1], {})
    assert "\n" not in str(error.value)


class Learned(nn.Module):
    """A network with layers, a bare weight, and an encoder that training doesn't learn."""

    code_hop = 8 * 256

    def __init__(self) -> None:
        super().__init__()
        self.frontend = LogMel()
        self.layer = nn.Linear(80, 3)
        self.bare = nn.Parameter(torch.arange(6.0))
        self.given = nn.Linear(80, 2)
        self.given.pretrained = True  # type: ignore[assignment]

    def encode(self, speech: Speech) -> dict[str, Tensor]:
        mel = self.frontend(speech.wav[None])[0].T.unfold(0, 8, 8).mean(-1)
        return {"learned": self.layer(mel), "given": self.given(mel.mean(0))}


def test_an_untrained_network_keeps_only_what_is_not_learned() -> None:
    model = Learned()
    torch.manual_seed(0)
    fresh = untrained(model)
    assert not torch.equal(fresh.layer.weight, model.layer.weight)
    assert torch.equal(fresh.given.weight, model.given.weight)
    assert not torch.equal(fresh.bare, model.bare)
    assert torch.equal(fresh.bare.sort().values, model.bare)  # shuffled
    assert model.bare.tolist() == list(range(6))


def test_codes_that_are_not_learned_are_read_once(rows: list[Utterance]) -> None:
    model = Learned().eval()
    table = collect_codes(model, rows[::4], {})
    fresh = encode_again(untrained(model), table, {})
    assert np.array_equal(encode_again(model, table, {}).steps["learned"], table.steps["learned"])
    target = next(t for t in find_targets(table)[0] if t.name == "energy_db")
    found = probe_codes({"trained": table, "untrained": fresh}, [target], steps=50)
    read_codes = dict.fromkeys((f.network, f.code) for f in found)
    own = [("trained", code) for code in ("spectrogram", "learned", "given")]
    assert list(read_codes) == [*own, ("untrained", "learned")]


def test_the_report_is_whole(table: CodeTable, tmp_path: Path) -> None:
    targets = [t for t in find_targets(table)[0] if t.name == "log_f0"]
    found: list[Found] = probe_codes({TRAINED: table}, targets, steps=100)
    information = {TRAINED: shared_by_codes(table, 3, seeds=1)}
    report = Report({"model": "known"}, ["no sound"], information, found, [])
    write_report(tmp_path, report)
    saved = json.loads((tmp_path / "disentanglement.json").read_text())
    assert len(saved["probes"]) == 8
    lines = list(csv.reader((tmp_path / "disentanglement.csv").open()))
    assert len(lines) == 1 + 6 * 5 + 8 * 3
    assert "| pitch | 1.000 (" in (tmp_path / "disentanglement.md").read_text()
    assert "no sound" in (tmp_path / "index.html").read_text()
    assert (tmp_path / "probes.png").stat().st_size > 1000


def test_hand_labels_are_phones(shared: Path) -> None:
    phones = read_phones(recording(shared / "data" / "emodb" / "wav" / "03a01Fa.flac"))
    assert [p.label for p in phones[:7]] == ["_", "t", "E6", "l", "a", "p", "p"]
    assert phones[3] == ("l", 0.244223, 0.348031)
    assert phones[-1] == ("_", 1.841390, 2.0)


def test_toy_phones_have_no_stress(tmp_path: Path) -> None:
    marks = [("_", 0.0, 0.1), ("ˈɪ", 0.1, 0.3), ("n", 0.3, 0.4)]
    phones = [{"name": n, "start_s": a, "end_s": b} for n, a, b in marks]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "x.json").write_text(json.dumps({"phones": phones}))
    found = read_phones(recording(tmp_path / "audio" / "x.flac"))
    assert found == [("_", 0.0, 0.1), ("ɪ", 0.1, 0.3), ("n", 0.3, 0.4)]
    assert read_phones(recording(tmp_path / "audio" / "y.flac")) == []


def recording(path: Path) -> Utterance:
    """An utterance of two seconds."""
    return Utterance(f"x/{path.stem}", path, "0", 16_000, 32_000, "s", "x")


def test_a_run_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run"):
        disentangle(tmp_path, tmp_path / "manifest.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_known_codes_are_a_code_model(rows: list[Utterance]) -> None:
    codes: Mapping[str, Tensor] = KnownCodes(LogMel()).encode(
        Speech(torch.from_numpy(np.zeros(14 * 8 * 256, dtype=np.float32)))
    )
    assert {name: tuple(code.shape) for name, code in codes.items()} == {
        "pitch": (14, 1), "phone": (14, 3), "fixed": (14, 2),
    }  # fmt: skip
