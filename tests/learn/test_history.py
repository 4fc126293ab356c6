"""The user's fits are kept once each, and those of the original package can be imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hetdask.errors import DataError
from hetdask.learn.history import append, history_path, import_history, read_history, record_of

VALUES = [300.0, -0.2, 10.0, 2500.0, 0.1, 20.0, 60.0, 0.1, 1.0, 0.5, -0.02, 0.0, 0.1, 25.0]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HETDASK_CACHE", str(tmp_path / "cache"))


def original_file(folder: Path) -> Path:
    """Like a file of the original, whose records have what their writer knew."""
    complete = {"q": 0.0054, "dt": 0.1, "start_frame": 1, "end_frame": 400, "phi_angles": [0.0, 90.0]}
    records = [
        {
            "experiment_id": "a",
            "timestamp": 1.7e9,
            "final_parameters": {"__numpy_array__": VALUES},
            "objective_value": 1.1,
        }
        | {"experimental_conditions": complete},
        {"experiment_id": "b", "final_parameters": VALUES[:7], "experimental_conditions": complete},
        {"experiment_id": "c", "final_parameters": VALUES, "experimental_conditions": {"wavevector_q": 0.006}},
        {"experiment_id": "d", "final_parameters": VALUES, "objective_value": float("inf")}
        | {"experimental_conditions": complete},
    ]
    path = folder / "optimization_history.json"
    path.write_text(json.dumps(records))
    return path


def test_a_fit_that_is_added_is_read_back_and_a_second_one_of_the_same_data_replaces_it(measure: Any) -> None:
    data = measure(np.array([0.0, 60.0]))
    append([record_of("scan", np.array(VALUES), *data), record_of("other", np.array(VALUES), *data)])
    append([record_of("scan", np.array([310.0, *VALUES[1:]]), *data)])
    other, scan = read_history()
    assert (other.source, scan.source) == ("other", "scan")
    assert scan.parameters["D0_ref"] == 310.0
    assert scan.phi == [0.0, 60.0]
    assert scan.has_features


def test_records_of_the_original_are_imported_and_others_named_with_the_reason(tmp_path: Path) -> None:
    records, skipped = import_history(original_file(tmp_path))
    (record,) = records
    assert record.parameters == dict(zip(record.parameters, VALUES, strict=True))
    assert (record.q, record.dt, record.frames, record.phi) == (0.0054, 0.1, 400, [0.0, 90.0])
    assert not record.has_features
    assert "record 2: found 7 parameters, expected 14" in skipped
    assert any("record 3: no dt, frames" in line for line in skipped)
    assert any("record 4: that fit failed" in line for line in skipped)
    more, _ = import_history(original_file(tmp_path), dt=0.2, frames=100)
    assert [(x.q, x.dt, x.frames) for x in more] == [(0.0054, 0.1, 400), (0.006, 0.2, 100)]


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"parameters": 1}')
    with pytest.raises(DataError, match="no optimization history"):
        import_history(tmp_path / "other.json")
    history_path().parent.mkdir(parents=True)
    history_path().write_text('{"source": "x"}\n')
    with pytest.raises(DataError, match="line 1"):
        read_history()


def test_reading_without_a_file_gives_nothing_and_makes_nothing() -> None:
    assert read_history() == []
    assert not history_path().parent.exists()
