"""One value, byte or weight of a good input made wrong, in a place that is drawn."""

from collections.abc import Sequence
from typing import Any, Protocol

VALUES: list[Any] = [
    None, True, -1, 0, 3, 2**31, 10**30, 0.5, -1e300, float("nan"), float("inf"), "", "x", "nan",
    "x" * 400, "../../../escaped", "a\0b", "a\nb", "\u2028", "\x1b[31m", "=1+1", "\ud800", [],
    [None], {}, {"class_path": "os.system"}, {"a": {"b": [1]}}, [[[[[]]]]],
]  # fmt: skip


class Choices(Protocol):
    """Where choices come from: a seeded generator, or hypothesis, which makes failures small."""

    def choice(self, options: Sequence[Any], /) -> Any:
        """One of some options."""

    def randrange(self, stop: int, /) -> int:
        """A number below ``stop``."""


def wrong_value(value: Any, choose: Choices) -> Any:
    """Nested values of which one is replaced, left out, or joined by one too many."""
    places = _places(value)
    holder, key = choose.choice(places)
    what = choose.randrange(4)
    if what == 0 and isinstance(holder, dict):
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[choose.choice(["spare", "", "../x", "naem"])] = choose.choice(VALUES)
    else:
        holder[key] = choose.choice(VALUES)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place below a value that can be assigned to, as its holder and key."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys:
            pairs += [(value, key), *_places(value[key])]
    return pairs


def wrong_bytes(data: bytes, choose: Choices) -> bytes:
    """A file cut off, emptied, overwritten in one place, doubled, or of other content."""
    at = choose.randrange(max(1, len(data)))
    return choose.choice(
        [
            data[:at],
            b"",
            data[:at] + bytes([choose.randrange(256)]) + data[at + 1 :],
            data[:at] + b"\xff\xfe\0" + data[at:],
            data + data,
            b"version https://git-lfs.github.com/spec/v1\n",
            bytes(64),
        ]
    )


def wrong_weight(weights: dict[str, Any], choose: Choices) -> None:
    """Weights of which one is NaN, of another shape or type, absent, or too many."""
    name = choose.choice(sorted(weights))
    own = weights[name].clone()
    if own.is_floating_point():
        own.view(-1)[:1] = choose.choice([float("nan"), float("inf"), 0.5])
    bad = [own, own.reshape(-1)[:0], own.reshape(-1)[None], own.int(), "text", None]
    weights[choose.choice([name, name, name, "spare"])] = bad[choose.randrange(len(bad))]
