"""YAML out of files: small, of plain values, and no larger than it looks."""

from pathlib import Path
from typing import Any

import yaml

from emovc.common.errors import UserError

LARGEST = 4_000_000  # bytes of a file
MOST = 200_000  # values, those that aliases repeat counted each time


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        UserError: The file is absent, no YAML, or grows by aliases beyond all measure.
    """
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise UserError(f"{path}: is too large for a YAML file of emovc; is it another file?")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); name a YAML file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no YAML (not UTF-8); name a text file") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Read a text as YAML of plain values.

    Args:
        text: The text.
        where: File or option, for messages.

    Raises:
        UserError: It is no YAML, or grows by aliases beyond all measure.
    """
    try:
        value = yaml.safe_load(text)
        count = _count(value, {}, set())
    except yaml.YAMLError as error:
        raise UserError(f"{where}: is no YAML ({' '.join(str(error).split())[:200]})") from None
    except RecursionError:
        raise UserError(f"{where}: is nested too deeply, or in itself; write it flat") from None
    except (ValueError, TypeError) as error:  # of dates, of keys that are lists
        raise UserError(f"{where}: is no YAML of plain values ({error})") from None
    if count > MOST:
        raise UserError(f"{where}: its aliases repeat into {count:.0e} values; write them out")
    return value


def _count(value: Any, known: dict[int, int], above: set[int]) -> int:
    """Values in all, as if aliases were written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in above:
        raise RecursionError
    if id(value) not in known:
        inside = above | {id(value)}
        items = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known, inside) for item in items)
    return known[id(value)]
