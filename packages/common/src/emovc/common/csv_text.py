"""Tables in CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """CSV of a head and lines; ``None`` and NaN are left empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for line in lines:
        writer.writerow("" if isinstance(v, float) and math.isnan(v) else v for v in line)
    return buffer.getvalue()


def csv_of_records(records: Sequence[Mapping[str, Any]]) -> str:
    """CSV of records; the columns are all names in the order in which they first come."""
    head = list(dict.fromkeys(name for record in records for name in record))
    return csv_text(head, ([record.get(name) for name in head] for record in records))
