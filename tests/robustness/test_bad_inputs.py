"""Whatever is wrong with an input: a right result, or one line; nothing half-written or changed."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.robustness.bad_inputs import KINDS, attempt, make_world
from tests.robustness.running import GOOD, RIGHT, Case, run

EXAMPLES = 4  # of each kind; ``python -m tests.robustness.bad_inputs`` tries as many as you like


class Drawn:
    """Choices that hypothesis makes, so that a failure is shown in its smallest form."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def choice(self, options: Sequence[Any]) -> Any:
        """One of some options."""
        return options[self.randrange(len(options))]

    def randrange(self, stop: int) -> int:
        """A number below ``stop``."""
        return self.data.draw(st.integers(0, stop - 1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world") / "good")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # of handlers that tests left behind


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_right_result_or_one_line(kind: str, world: Path, data: st.DataObject) -> None:
    outcome = attempt(kind, world, world.parent / "bad", Drawn(data))
    assert outcome.kind in GOOD, f"{outcome.kind}: {outcome.said}"


@pytest.mark.parametrize("kind", KINDS)
def test_good_inputs_give_right_results(
    kind: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the rule would be kept by commands that take nothing."""
    nothing = "tests.robustness.bad_inputs.wrong_"
    monkeypatch.setattr(f"{nothing}value", lambda value, choose: value)
    monkeypatch.setattr(f"{nothing}bytes", lambda data, choose: data)
    monkeypatch.setattr(f"{nothing}weight", lambda weights, choose: None)
    outcome = attempt(kind, world, tmp_path / "bad", First())
    assert outcome.kind == RIGHT, outcome.said


class First:
    """Choices that spoil nothing by themselves."""

    def choice(self, options: Sequence[Any]) -> Any:
        """The first."""
        return options[0]

    def randrange(self, stop: int) -> int:
        """The first."""
        return 0


def test_the_judge_sees_what_breaks_the_rule(tmp_path: Path, monkeypatch: Any) -> None:
    """A command that writes, leaves a part behind, or ends in a traceback is not called good."""
    out = tmp_path / "out"
    out.mkdir()
    (out / ".a.7.tmp.wav").touch()
    absent = ["check", str(tmp_path / "none.jsonl")]
    assert run(Case(absent, [out], lambda: True)).kind == "half-written"
    (out / ".a.7.tmp.wav").unlink()
    assert run(Case(absent, [out], lambda: True)).kind == "one line, exit 2"
    (out / "a.wav").touch()
    assert run(Case(absent, [out], lambda: True)).kind == "half-written"
    assert run(Case(["corpora"], [], lambda: False)).kind == "wrong result"

    def broken(command: str, args: list[str]) -> None:
        raise KeyError(command)

    monkeypatch.setattr("emovc.common.check.main", broken)
    assert run(Case(absent, [], lambda: True)).kind == "traceback"
