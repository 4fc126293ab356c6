"""The table of the keys of heterodyne-analysis against the code that reads them."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import hetdask
from hetdask.cli.main import COMMANDS, cli
from hetdask.config import ConfigWarning, load_settings
from hetdask.config.original import translate
from hetdask.config.original.key import ANYTHING, Fate
from hetdask.config.original.page import page
from hetdask.config.original.reader import Reader, leaves
from hetdask.config.original.table import TABLE
from hetdask.config.original.table.optimization import CLASSICAL, FILTERING, ROBUST, SUBSAMPLING
from hetdask.errors import ConfigError

DOCS = Path(__file__).parents[2] / "docs"
TEMPLATES = "HETDASK_ORIGINAL_TEMPLATES"

ACTING = [key.path for key in TABLE.values() if key.acts]
IGNORED = [key for key in TABLE.values() if key.fate is Fate.IGNORED]

RANGES = {f"{FILTERING}.target_ranges": [{"min_angle": -10.0, "max_angle": 10.0}]}
BOUNDS = [{"name": "v0", "min": 1.0, "max": 9.0}]
NAMED = {"initial_parameters.values": [1.0, 0.1, 2.0], "initial_parameters.parameter_names": ["f0", "f3", "f1"]}
FRAMES = {"analyzer_parameters.temporal.start_frame": 2, "analyzer_parameters.temporal.end_frame": 9}
SOURCE = {"experimental_data.data_file_name": "a.hdf"}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "experimental_data.data_folder_path": ("elsewhere", SOURCE),
    "experimental_data.data_file_name": ("a.hdf", {}),
    "experimental_data.cache_file_path": ("CACHE", {**SOURCE, "experimental_data.cache_filename_template": "c.npz"}),
    "experimental_data.cache_filename_template": ("c.npz", {**SOURCE, "experimental_data.cache_file_path": "CACHE"}),
    "analyzer_parameters.temporal.start_frame": (3, FRAMES),
    "analyzer_parameters.temporal.end_frame": (8, FRAMES),
    "analyzer_parameters.computational.num_threads": (3, {}),
    "initial_parameters.values": ([1.0] * 14, {}),
    "initial_parameters.parameter_names": (["f0", "f1", "f3"], NAMED),
    "initial_parameters.active_parameters": (["v0"], {}),
    "parameter_space.bounds.name": ([{**BOUNDS[0], "name": "f1"}], {"parameter_space.bounds": BOUNDS}),
    "parameter_space.bounds.min": ([{**BOUNDS[0], "min": 2.0}], {"parameter_space.bounds": BOUNDS}),
    "parameter_space.bounds.max": ([{**BOUNDS[0], "max": 8.0}], {"parameter_space.bounds": BOUNDS}),
    f"{FILTERING}.enabled": (False, RANGES),
    f"{FILTERING}.target_ranges.min_angle": ([{"min_angle": -5.0, "max_angle": 10.0}], RANGES),
    f"{FILTERING}.target_ranges.max_angle": ([{"min_angle": -10.0, "max_angle": 5.0}], RANGES),
    f"{FILTERING}.fallback_to_all_angles": (False, RANGES),
    f"{CLASSICAL}.methods": (["Nelder-Mead"], {}),
    f"{SUBSAMPLING}.enabled": (True, {}),
    f"{ROBUST}.enabled": (False, {}),
    f"{ROBUST}.uncertainty_model": ("scenario", {}),
    "performance_settings.memory_management.low_memory_mode": (True, {}),
    "performance_settings.numba_optimization.enable_numba": (False, {}),
    "output_settings.results_directory": ("elsewhere", {}),
    "output_settings.reporting.generate_plots": (False, {}),
    f"{CLASSICAL}.method_options.Nelder-Mead.adaptive": (False, {}),
}  # fmt: skip
"""What the key says, and what stands beside it; where it is not listed, a number and nothing."""

LISTS = ("parameter_space.bounds", f"{FILTERING}.target_ranges")


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Content of a file; keys of entries are those of one entry."""
    content: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, last = path.split(".")
        place = content
        for k, section in enumerate(sections):
            if ".".join(sections[: k + 1]) in LISTS:
                place = place.setdefault(section, [{"name": "v0"}])[0]
            else:
                place = place.setdefault(section, {})
        place[last] = value
    return content


def place_of(path: str) -> str:
    """Entries of a list are given as a whole."""
    return next((name for name in LISTS if path.startswith(f"{name}.")), path)


def look(settings: dict[str, Any], native: str) -> Any:
    place: Any = settings
    for part in native.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    return place


@pytest.mark.parametrize("path", ACTING)
def test_a_key_that_acts_changes_the_native_keys_that_the_table_names(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hetdask_cluster.local.available_cores", lambda: 8)
    (tmp_path / "c.npz").touch()
    case = json.dumps(CASES.get(path, (0.5 if path.endswith("limit_gb") else 3, {})))
    value, beside = json.loads(case.replace("CACHE", str(tmp_path)))
    without = translate(nested(beside)).settings
    found = translate(nested({**beside, place_of(path): value}))
    assert TABLE[path].to
    for native in TABLE[path].to:
        assert look(found.settings, native) != look(without, native)
        assert path in found.origin[native]


def test_other_keys_change_nothing() -> None:
    content = nested(
        {key.path: "something else" for key in TABLE.values() if not key.acts and ANYTHING not in key.path}
    )
    settings = translate(content).settings
    assert settings.pop("parameters") == {"v0": {}}
    assert not any(settings.values())


def test_every_key_that_is_ignored_is_named_in_one_warning_with_its_reason() -> None:
    flat = {key.path.replace(ANYTHING, "another"): "something else" for key in IGNORED}
    with pytest.warns(ConfigWarning) as caught:
        load_settings(nested(flat))
    assert len(caught) == 1
    # "section (names): text", or the whole paths where they have no section in common.
    line = re.compile(r"^  ([\w.-]+)(?: \((.+?)\)|((?:, [\w.-]+)*)): (.+)$", re.MULTILINE)
    told = {
        path: text
        for first, names, others, text in line.findall(str(caught[0].message))
        for path in ([f"{first}.{name}" for name in names.split(", ")] if names else f"{first}{others}".split(", "))
    }
    assert told == {key.path.replace(ANYTHING, "another"): key.advice for key in IGNORED}


def test_a_key_that_asks_for_what_is_done_anyway_is_not_told() -> None:
    asked = {key.path: key.asked[0] for key in IGNORED if key.asked}
    assert len(asked) > 50
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_settings(nested(asked))
    for units, told in ((["Å²/s", "degrees"], []), (["Å²/s", "nm"], ["initial_parameters.units"])):
        notes = translate(nested({"initial_parameters.units": units})).notes
        assert [note.path for note in notes] == told


def test_what_the_table_says_to_use_exists() -> None:
    for key in TABLE.values():
        assert key.advice or key.fate is not Fate.IGNORED
        assert all(exists(name) for name in (*key.to, *key.use)), key


def exists(name: str) -> bool:
    first, *others = re.split(r"[: ]+", name)
    if first == "hetdask":
        return others[0] in COMMANDS
    if first.startswith("--"):
        return any(first in option.opts for option in cli.params)
    if first.startswith("hetdask."):
        return hasattr(hetdask, first.removeprefix("hetdask."))
    if first == "the":
        return others[0] == "variable"
    return any(path.startswith(first) for path in TABLE) or is_native(first)


def is_native(name: str) -> bool:
    try:
        load_settings({}, [(name, "?")])
    except ConfigError as error:
        return "unknown" not in str(error)
    return True


def test_nothing_is_read_that_the_table_does_not_say() -> None:
    with pytest.raises(KeyError, match="does not act"):
        Reader({}).take("performance_settings.noise_model.sigma_prior")
    with pytest.raises(KeyError):
        Reader({}).take("no.such.key")


def test_the_page_in_docs_is_the_table() -> None:
    assert (DOCS / "configuration-keys.md").read_text() == page(), "run `make keys`"


@pytest.mark.skipif(TEMPLATES not in os.environ, reason=f"{TEMPLATES} names no folder with templates")
def test_the_templates_have_no_key_that_the_table_lacks() -> None:
    files = sorted(Path(os.environ[TEMPLATES]).glob("*.json"))
    assert files
    for file in files:
        paths = [path for path, _ in leaves(json.loads(file.read_text()))]
        assert len(paths) > 200
        assert [path for path in paths if path not in TABLE] == []
