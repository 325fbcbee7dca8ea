"""Values out of files, checked by the type they must have before anything uses them.

A file that was written by a program may have been cut off, edited by hand, or be another program's.
What is wrong is named with its key, so that nothing fails later and elsewhere, or trains on.
"""

import math
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from emovc.common.errors import UserError
from emovc.common.files import read_json

LONGEST_SHOWN = 60  # characters of a wrong value
LARGEST = 1e300  # of numbers; Python reads integers of any length
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class Between(NamedTuple):
    """Range of a number, both ends included, as in ``Annotated[int, Between(1)]``."""

    least: float
    most: float = math.inf

    def __str__(self) -> str:
        """The range in words."""
        if self.most == math.inf:
            return f"{self.least:g} or more"
        return f"{self.least:g} to {self.most:g}"


class _Misfit(Exception):
    """A key and what is wrong with it."""


def checked(value: Any, kind: Any, where: str | Path, remedy: str) -> Any:
    """A value as a type demands it.

    Numbers must be finite. Objects that become a :class:`~typing.NamedTuple` may have no other
    keys; those of a :class:`~typing.TypedDict` may.

    Args:
        value: What JSON, YAML or a checkpoint gave.
        kind: ``Any``, ``str``, ``int``, ``float``, ``bool``, ``None``, a union or ``Literal`` of
            these, ``list``, ``tuple`` or ``dict`` of kinds, a ``TypedDict`` or ``NamedTuple``, or
            ``Annotated`` with :class:`Between`.
        where: File, for the message.
        remedy: What mends it, for the message.

    Returns:
        The value; tuples for lists and objects where the type says so.

    Raises:
        UserError: It is something else; the first key that is wrong is named.
    """
    try:
        return _fit(value, kind, "")
    except _Misfit as misfit:
        raise UserError(f"{where}: {misfit}; {remedy}") from None
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply; {remedy}") from None


def unicode_text(text: str) -> bool:
    """Whether a text can be written; escapes of JSON can stand for half a character."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def read_checked(path: Path, kind: Any, remedy: str, nan_as_null: bool = False) -> Any:
    """Read JSON that must be of a type, see :func:`checked` and :func:`read_json`.

    Raises:
        UserError: The file is absent, no JSON, or holds something else.
    """
    return checked(read_json(path, nan_as_null), kind, path, remedy)


def read_object(path: Path) -> dict[str, Any]:
    """Read JSON that must be an object, with whatever keys.

    Raises:
        UserError: The file is absent, no JSON, or holds something else.
    """
    found: dict[str, Any] = read_checked(path, dict[str, Any], "copy or download it again")
    return found


def _fit(value: Any, kind: Any, key: str) -> Any:
    """The value, or the first misfit below ``key``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return _within(_fit(value, arguments[0], key), arguments[1:], key)
    if origin in (Required, NotRequired):
        return _fit(value, arguments[0], key)
    if origin in (Union, UnionType):
        return _fit_any(value, arguments, key)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise _misfit(value, f"one of {', '.join(map(str, arguments))}", key)
        return value
    if origin is list:
        items = _of_type(value, list, "a list", key)
        return [_fit(item, arguments[0], f"{key}[{i}]") for i, item in enumerate(items)]
    if origin is tuple:
        items = _of_type(value, list | tuple, "a list", key)
        if len(items) != len(arguments):
            raise _misfit(value, f"a list of {len(arguments)}", key)
        pairs = enumerate(zip(items, arguments, strict=True))
        return tuple(_fit(item, own, f"{key}[{i}]") for i, (item, own) in pairs)
    if origin is dict:
        items = _of_type(value, dict, "an object", key)
        return {
            _fit(k, arguments[0], f"{key} (a key)"): _fit(v, arguments[1], _below(key, k))
            for k, v in items.items()
        }
    if is_typeddict(kind):
        return _fit_keys(value, kind, kind.__required_keys__, key, spare=True)
    if isinstance(kind, type) and issubclass(kind, tuple):  # a NamedTuple
        needed = set(kind._fields) - kind._field_defaults.keys()  # type: ignore[attr-defined]
        return kind(**_fit_keys(value, kind, needed, key, spare=False))
    return _fit_plain(value, kind, key)


def _fit_plain(value: Any, kind: Any, key: str) -> Any:
    """Text, a number, true or false, or nothing."""
    if kind in (None, NoneType):
        return _of_type(value, NoneType, "null", key)
    number = kind in (int, float)
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (number and isinstance(value, bool)):
        raise _misfit(value, WORDS[kind], key)
    if kind is str and not unicode_text(value):
        raise _misfit(value, "text of Unicode", key)
    if number and not (abs(value) <= LARGEST and math.isfinite(value)):
        raise _misfit(value, "a finite number", key)
    return value


def _fit_any(value: Any, kinds: tuple[Any, ...], key: str) -> Any:
    """The value as the first kind of a union that it fits."""
    found: list[_Misfit] = []
    for kind in kinds:
        try:
            return _fit(value, kind, key)
        except _Misfit as misfit:
            found.append(misfit)
    raise found[0]


def _fit_keys(value: Any, kind: Any, needed: Any, key: str, spare: bool) -> Any:
    """An object with known keys."""
    _of_type(value, dict, "an object", key)
    kinds = get_type_hints(kind, include_extras=True)
    for name in kinds:
        if name in needed and name not in value:
            raise _Misfit(f"{_below(key, name)} is missing")
    unknown = [name for name in value if name not in kinds]
    if unknown and not spare:
        raise _Misfit(f"{_below(key, unknown[0])} is unknown")
    own = {name: _fit(value[name], kinds[name], _below(key, name)) for name in kinds & value.keys()}
    return {**value, **own}


def _within(value: Any, ranges: tuple[Any, ...], key: str) -> Any:
    """A number in its range."""
    for one in ranges:
        if isinstance(one, Between) and not one.least <= value <= one.most:
            raise _misfit(value, str(one), key)
    return value


def _of_type(value: Any, kind: Any, words: str, key: str) -> Any:
    if not isinstance(value, kind):
        raise _misfit(value, words, key)
    return value


def _below(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _misfit(value: Any, wanted: str, key: str) -> _Misfit:
    """What a key holds and what it must hold."""
    shown = repr(value)
    if len(shown) > LONGEST_SHOWN:
        shown = f"{shown[:LONGEST_SHOWN]}..."
    return _Misfit(f"{key or 'the file'} holds {shown}, which must be {wanted}")
