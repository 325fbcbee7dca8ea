"""Tables in CSV."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "@", "\t", "\r")  # how a text begins that spreadsheets compute
MINUS = re.compile(r"-(\d+(\.\d+)?)?")  # alone for what is missing, or of a number


def csv_text(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """CSV of a head and lines; ``None`` and NaN are left empty.

    Texts that a spreadsheet would run as a formula get an apostrophe, which it doesn't show.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for line in lines:
        writer.writerow(map(_cell, line))
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    """A value as a cell."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if not isinstance(value, str) or not value.startswith((*FORMULA, "-")):
        return value
    return value if MINUS.fullmatch(value) else f"'{value}"


def csv_of_records(records: Sequence[Mapping[str, Any]]) -> str:
    """CSV of records; the columns are all names in the order in which they first come."""
    head = list(dict.fromkeys(name for record in records for name in record))
    return csv_text(head, ([record.get(name) for name in head] for record in records))
