"""The kill loop in short; ``make soak`` runs it at length."""

from pathlib import Path

import pytest
from tests.integration.commands import Commands
from tests.integration.soak import SIGNALS, Job, leftovers, lost, same, soak, whole
from tests.integration.soak_jobs import jobs


@pytest.fixture(scope="module")
def known(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """The commands by name; evaluate would need a run, and is stopped in test_signals."""
    corpus, work = toy.parent.parent / "audio", tmp_path_factory.mktemp("soak")
    return {job.name: job for job in jobs(corpus, toy, work) if job.name != "evaluate"}


@pytest.mark.parametrize("name", ["prepare", "fit", "quantize encode"])
def test_an_interrupted_command_goes_on_as_if_nothing_had_happened(
    commands: Commands, known: dict[str, Job], tmp_path: Path, name: str
) -> None:
    tallies, ends = soak(commands, known[name], tmp_path, len(SIGNALS), seed=1)
    assert not [p for tally in tallies.values() for p in tally.problems]
    assert [len(tally.moments) for tally in tallies.values()] == [1, 1, 1] and ends > 0


def test_the_loop_sees_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"half"')
    (tmp_path / "b.flac").write_bytes(b"fLaC")
    (tmp_path / ".c.123.tmp.json").touch()
    assert len(whole(tmp_path)) == 2 and leftovers(tmp_path) == {".c.123.tmp.json"}
    assert lost({"a": "x", "b": "y", "step": 8}, {"a": "x", "step": 4}) == [
        "b is lost", "step is lost",
    ]  # fmt: skip
    assert not same({"a": 1}, {"a": 1, "b": 2}) and not same({"a": {"b": 1}}, {"a": {"b": 2}})
