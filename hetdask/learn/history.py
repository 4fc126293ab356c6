"""The user's own fits, one JSON line each, for the learned start to train on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, ValidationError, field_validator

from hetdask.data.reduction import Reduced
from hetdask.errors import DataError
from hetdask.learn.features import VERSION, features_of
from hetdask.learn.folder import user_folder
from hetdask.model.parameters import NAMES
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]

HISTORY_FILE: Final = "history.jsonl"

SYNONYMS: Final = {
    "q": ("q", "wavevector_q", "q_value", "q_magnitude", "wavevector"),
    "dt": ("dt", "time_step", "frame_time"),
    "frames": ("frames", "n_frames", "num_frames", "time_length"),
    "phi": ("phi", "phi_angles", "angles"),
}
"""Names under which an imported record, whose format prescribes none, may have its conditions."""


class Record(BaseModel):
    """One converged fit.

    Attributes
    ----------
    source : str
        What was fitted; a source is kept once.
    date : str
        ISO 8601.
    parameters : dict of str to float
        All 14.
    q, dt, time_origin : float
        1/Å, s, s.
    frames : int
    phi : list of float
        Degrees; empty where nobody knows.
    features : list of float, optional
        Of the data, where they were at hand, with their version and the apparent flow direction in radians.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    date: str
    parameters: dict[str, FiniteFloat]
    q: PositiveFloat
    dt: PositiveFloat
    frames: Annotated[int, Field(ge=3)]
    time_origin: Annotated[FiniteFloat, Field(ge=0.0)] = 0.0
    phi: list[FiniteFloat] = []
    features: list[FiniteFloat] | None = None
    direction: FiniteFloat | None = None
    features_version: int | None = None

    @field_validator("parameters")
    @classmethod
    def _complete(cls, parameters: dict[str, float]) -> dict[str, float]:
        if set(parameters) != set(NAMES):
            raise ValueError(f"expected the {len(NAMES)} parameters {', '.join(NAMES)}")
        return parameters

    @property
    def has_features(self) -> bool:
        """Whether it can be learned from directly."""
        return self.features is not None and self.features_version == VERSION


def record_of(source: str, vector: Array, series: Series, reduced: Reduced) -> Record:
    """Record of a fit: what was fitted, its parameters (14,) and its data."""
    features, direction = features_of(series, reduced)
    return Record(
        source=source,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        parameters=dict(zip(NAMES, vector.tolist(), strict=True)),
        q=float(np.sqrt(np.mean(series.q**2))),
        dt=float(series.time[1] - series.time[0]),
        frames=series.time.size,
        time_origin=float(series.time[0]),
        phi=series.phi.tolist(),
        features=features.tolist(),
        direction=direction,
        features_version=VERSION,
    )


def history_path() -> Path:
    """File of the user's history."""
    return user_folder() / HISTORY_FILE


def read_history() -> list[Record]:
    """All records, oldest first; of several with the same source the last.

    Raises
    ------
    DataError
        If a line is no record.
    """
    path = history_path()
    if not path.exists():
        return []
    records: dict[str, Record] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            record = Record.model_validate_json(line)
        except ValidationError as error:
            raise DataError(
                f"line {number} of {path} is no record ({error.errors()[0]['msg']}): delete that line"
            ) from error
        records.pop(record.source, None)
        records[record.source] = record
    return list(records.values())


def append(records: Sequence[Record]) -> None:
    """Add records to the history.

    Raises
    ------
    DataError
        If the file can't be written.
    """
    path = history_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(record.model_dump_json() + "\n" for record in records))
    except OSError as error:
        raise DataError(
            f"can't write the history {path} ({error.strerror}): set HETDASK_CACHE to a folder that can be written"
        ) from error


def import_history(
    path: Path, *, q: float | None = None, dt: float | None = None, frames: int | None = None
) -> tuple[list[Record], list[str]]:
    """Records of an optimization_history.json, and why others were left out.

    Such a file is a list of objects with `final_parameters` and free-form `experimental_conditions`; arrays are objects
    with the key `__numpy_array__`.

    Parameters
    ----------
    path : Path
    q, dt, frames : optional
        Conditions of the records that do not have them.

    Raises
    ------
    DataError
        If the file can't be read or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_hook=_plain)
    except (OSError, ValueError) as error:
        raise DataError(f"can't read {str(path)!r} as JSON: {error}") from error
    if not (isinstance(found, list) and all(isinstance(x, dict) and "final_parameters" in x for x in found)):
        raise DataError(
            f"{str(path)!r} is no optimization history: expected a list of records such as "
            '[{"final_parameters": [14 values], "experimental_conditions": {"q": 0.0054, "dt": 0.1, "frames": 400}}]'
        )
    given = {"q": q, "dt": dt, "frames": frames}
    records, skipped = [], []
    for number, entry in enumerate(found, 1):
        try:
            records.append(_imported(entry, f"{path.name}#{entry.get('experiment_id', number)}", given))
        except (DataError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            skipped.append(f"record {number}: {reason}")
    return records, skipped


def _plain(entry: dict[str, Any]) -> Any:
    """Arrays as lists."""
    return entry.get("__numpy_array__", entry)


def _imported(entry: dict[str, Any], source: str, given: dict[str, Any]) -> Record:
    values = entry["final_parameters"]
    if not isinstance(values, list) or len(values) != len(NAMES):
        count = len(values) if isinstance(values, list) else "no"
        raise DataError(f"found {count} parameters, expected {len(NAMES)}")
    objective = entry.get("objective_value")
    if isinstance(objective, float) and not np.isfinite(objective):
        raise DataError("that fit failed")
    noted = entry.get("experimental_conditions")
    conditions = {**given, **dict(_conditions(noted if isinstance(noted, dict) else {}))}
    missing = [name for name in given if conditions[name] is None]
    if missing:
        raise DataError(f"no {', '.join(missing)} among its conditions: give " + " ".join(f"--{x}" for x in missing))
    return Record(
        source=source,
        date=datetime.fromtimestamp(float(entry.get("timestamp", 0.0)), UTC).isoformat(timespec="seconds"),
        parameters=dict(zip(NAMES, values, strict=True)),
        **conditions,
    )


def _conditions(noted: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a record says of its experiment, under our names."""
    for name, synonyms in SYNONYMS.items():
        for synonym in synonyms:
            if synonym in noted:
                yield name, noted[synonym]
                break
    if "start_frame" in noted and "end_frame" in noted:
        yield "frames", noted["end_frame"] - noted["start_frame"] + 1
