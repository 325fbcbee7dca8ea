"""The kill loop in short; ``make soak`` runs it at length."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.commands import Commands
from tests.integration.runs import COMMAND, ROOT, environment
from tests.integration.soak import SIGNALS, Job, leftovers, lost, same, soak, whole
from tests.integration.soak_jobs import jobs, make_ready


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Commands, dict[str, Job]]]:
    """What starts commands, and the commands by name."""
    folder = tmp_path_factory.mktemp("soak")
    work = folder / "work"
    work.mkdir()
    own = environment() | {"WANDB_MODE": "disabled"}
    commands = Commands(COMMAND, folder / "output.txt", own, ROOT)
    try:
        make_ready(commands, folder / "corpus", work, 3)
        yield commands, {job.name: job for job in jobs(folder / "corpus", work)}
    finally:
        commands.close()


@pytest.mark.parametrize("name", ["prepare", "fit", "quantize encode"])  # evaluate: test_signals
def test_an_interrupted_command_goes_on_as_if_nothing_had_happened(
    loop: tuple[Commands, dict[str, Job]], tmp_path: Path, name: str
) -> None:
    commands, known = loop
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
