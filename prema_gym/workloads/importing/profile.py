"""Measured networks: a table of layers with latency and live bytes for each batch size, from real hardware or another simulator."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prema_gym.errors import ModelError, shown
from prema_gym.workloads.importing.text import read_text
from prema_gym.workloads.models.measured import MeasuredLayer, MeasuredModel

COLUMNS = ("layer", "batch", "cycles", "microseconds", "live_bytes")
"""Of a profile: ``cycles`` or ``microseconds`` say how long a layer takes, ``live_bytes`` what a checkpoint after it saves."""
MOST_ROWS = 1_000_000


def from_profile(source: str | Path | Sequence[Mapping[str, Any]], *, name: str | None = None) -> MeasuredModel:
    """Return a measured network from a CSV file, or from rows of its columns.

    Columns: ``layer`` (its name), ``batch`` (1 if left out), ``cycles`` or ``microseconds`` (how long it takes), ``live_bytes``
    (what lies on the chip when it ends and would have to be saved; 0 if left out). Rows of one batch are in the order of execution.

    Raises :class:`ModelError` with the line and the column where something is wrong.
    """
    given: Any = source
    if isinstance(given, (str, Path)):
        path = Path(given)
        rows, title = _read(path), name or path.stem
        where = str(path)
    else:
        if isinstance(given, (bytes, Mapping)) or not isinstance(given, Sequence):
            raise ModelError(f"from_profile({shown(given)}): must be the name of a CSV file, or a list of rows.")
        rows, title, where = list(given), name or "profile", "profile"
    if not rows:
        raise ModelError(f"{where}: has no layers.")
    if len(rows) > MOST_ROWS:
        raise ModelError(f"{where}: has {len(rows)} rows: at most {MOST_ROWS} are supported.")
    return MeasuredModel(title, tuple(_row(where, number, row) for number, row in enumerate(rows, start=2)), f"measured, {where}")


def _read(path: Path) -> list[Mapping[str, Any]]:
    reader = csv.DictReader(read_text(path).splitlines(), skipinitialspace=True)
    fields = [field.strip() for field in reader.fieldnames or ()]
    unknown = [field for field in fields if field not in COLUMNS]
    if unknown or "layer" not in fields:
        raise ModelError(f"{path}:1: header {', '.join(fields)!r}: expected 'layer' and some of {', '.join(COLUMNS[1:])}.")
    reader.fieldnames = fields
    return list(reader)


def _row(where: str, number: int, row: Mapping[str, Any]) -> MeasuredLayer:
    at = f"{where}:{number}"
    if not isinstance(row, Mapping):
        raise ModelError(f"{at}: {shown(row)}: must be a mapping with {', '.join(COLUMNS)}.")
    given = {str(key): value for key, value in row.items() if value is not None and not (isinstance(value, str) and value == "")}
    unknown = [key for key in given if key not in COLUMNS]
    if unknown:
        raise ModelError(f"{at}: unknown column {unknown[0]!r}. Allowed: {', '.join(COLUMNS)}.")
    if ("cycles" in given) == ("microseconds" in given):
        raise ModelError(f"{at}: must have one of cycles and microseconds.")
    cycles = _number(at, "cycles", given["cycles"], 1, whole=True) if "cycles" in given else None
    micros = _number(at, "microseconds", given["microseconds"], 0) if "microseconds" in given else None
    return MeasuredLayer(
        layer=_layer_name(at, given.get("layer", f"layer{number - 1}")),
        batch=int(_number(at, "batch", given.get("batch", 1), 1, whole=True)),
        cycles=None if cycles is None else int(cycles),
        microseconds=micros,
        live_bytes=int(_number(at, "live_bytes", given.get("live_bytes", 0), 0, whole=True)),
    )


def _layer_name(at: str, value: Any) -> str:
    if not isinstance(value, (str, int)):
        raise ModelError(f"{at}: layer = {shown(value)}: must be a name.")
    return str(value) if isinstance(value, str) else shown(value)


def _number(at: str, column: str, value: Any, least: float, *, whole: bool = False) -> float:
    kind = "a whole number" if whole else "a number"
    try:
        number = float(value)
    except Exception:  # what stands behind __float__ is the caller's
        number = math.nan
    if isinstance(value, bool) or not least <= number < 1 << 40 or (whole and not number.is_integer()):
        raise ModelError(f"{at}: {column} = {shown(value)}: must be {kind} from {least:g} to 2^40.")
    return number
