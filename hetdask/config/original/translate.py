"""Native settings from the content of a file of heterodyne-analysis 1.0.

What becomes of each key is said in the table; here is what more than copying a value needs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from hetdask.config.original import legacy
from hetdask.config.original.reader import Note, Reader
from hetdask.config.original.table import TABLE
from hetdask.config.original.table.experiment import BOUNDS, COMPUTATIONAL, DATA, INITIAL, TEMPORAL
from hetdask.config.original.table.optimization import CLASSICAL, FILTERING, ROBUST, SUBSAMPLING
from hetdask.config.original.table.performance import CACHING, ENVIRONMENT, MEMORY
from hetdask.errors import ConfigError
from hetdask.model.parameters import NAMES
from hetdask_cluster.memory import parse_memory

MARKS: Final = frozenset(
    {
        "analyzer_parameters",
        "experimental_data",
        "initial_parameters",
        "parameter_space",
        "optimization_config",
        "performance_settings",
        "advanced_settings",
        "output_settings",
        "validation_rules",
        "workflow_integration",
    }
)
"""Sections that no native configuration has."""

METHODS: Final = {"Nelder-Mead": "nelder-mead", "Gurobi": "trust-region"}
"""Methods by their names here; what goes by the name of the solver Gurobi is a bounded trust region."""

ROBUST_METHODS: Final = ("wasserstein", "scenario", "ellipsoidal")
"""Robust methods of that package, in its order."""

PERFORMANCE_MODE: Final = "HETERODYNE_PERFORMANCE_MODE"
"""With the value 1, limits of threads and of data in memory in a configuration do not count; its memory limit does."""

SUBSAMPLING_DEFAULTS: Final = {"max_data_points": 100_000, "time_subsample_factor": 4, "angle_subsample_factor": 2}
"""Of the other package, where its section leaves them out."""

MEMORY_LIMIT_GB: Final = f"{COMPUTATIONAL}.memory_limit_gb"


class Translation(NamedTuple):
    """What a file says here.

    Attributes
    ----------
    settings : dict
        What `Settings` takes; not validated yet.
    notes : list of Note
        Keys without an effect, or with another one.
    origin : dict
        Paths in the file from which each native key has its value.
    """

    settings: dict[str, Any]
    notes: list[Note]
    origin: dict[str, list[str]]


def is_original(content: Mapping[str, Any]) -> bool:
    """Whether a configuration is in the format of heterodyne-analysis."""
    return not MARKS.isdisjoint(content)


def translate(content: Mapping[str, Any]) -> Translation:
    """Translate the content of a JSON file.

    Raises
    ------
    ConfigError
        If a key that acts holds something else than it should.
    """
    reader = Reader(content)
    settings: dict[str, Any] = {
        section: {} for section in ("data", "parameters", "fit", "quality", "compute", "output")
    }
    for key in TABLE.values():
        if key.copied and (value := reader.take(key.path)) is not None:
            for native in key.to:
                _put(settings, native, value)
    settings["data"] |= _data(reader)
    names, origin = _names(reader), reader.origin()
    settings["parameters"] |= _parameters(reader, names, origin)
    settings["fit"] |= _fit(reader)
    if reader.take(f"{INITIAL}.values") is not None:
        settings["fit"]["start"] = "checked"
    settings["compute"] |= _compute(reader)
    notes = [*_earlier_model(reader, settings, names), *_gauge(settings), *_uncapped(settings)]
    return Translation(settings, [*notes, *reader.without_effect()], origin)


def _put(settings: dict[str, Any], native: str, value: Any) -> None:
    *sections, last = native.split(".")
    place = settings
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value


def _without_none(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _data(reader: Reader) -> dict[str, Any]:
    data: dict[str, Any] = {}
    first, last = reader.take(f"{TEMPORAL}.start_frame"), reader.take(f"{TEMPORAL}.end_frame")
    if (first is None) != (last is None):
        raise ConfigError(f"{TEMPORAL}: found only one of start_frame and end_frame, expected both or none")
    if first is not None:
        data["frames"] = [first, last]
    folder, name = reader.take(f"{DATA}.data_folder_path", "."), reader.take(f"{DATA}.data_file_name")
    if name is not None:
        data["source"] = str(Path(folder) / name)
        if not Path(data["source"]).exists() and (cache := _cache(reader, first, last)) is not None:
            # The frames were selected when the cache was written.
            data["source"] = str(cache)
            data.pop("frames", None)
    ranges = reader.take_entries(f"{FILTERING}.target_ranges", "min_angle", "max_angle")
    if reader.take(f"{FILTERING}.enabled", True) and ranges:
        data["angles"] = [[entry.get("min_angle", -180.0), entry.get("max_angle", 180.0)] for entry in ranges]
        data["angle_fallback"] = reader.take(f"{FILTERING}.fallback_to_all_angles", True)
    return data


def _cache(reader: Reader, first: Any, last: Any) -> Path | None:
    """The other package's cache of the selected frames, if there is one."""
    folder, template = reader.take(f"{DATA}.cache_file_path"), reader.take(f"{DATA}.cache_filename_template")
    if folder is None or template is None:
        return None
    name = str(template).replace("{start_frame}", str(first)).replace("{end_frame}", str(last))
    path = Path(folder) / name
    return path if path.is_file() else None


def _names(reader: Reader) -> list[str]:
    """Names of the start values in their order, as the file has them or as many as it has values."""
    names, values = reader.take(f"{INITIAL}.parameter_names"), reader.take(f"{INITIAL}.values")
    if names is None:
        names = list(legacy.BY_COUNT.get(len(values), NAMES) if isinstance(values, list) else NAMES)
    if values is not None and not (isinstance(values, list) and isinstance(names, list) and len(values) == len(names)):
        raise ConfigError(
            f"{INITIAL}.values: found {_count(values)} for {_count(names)} names, expected a list with one value for "
            f"each of parameter_names, which are {', '.join(NAMES)} where they are not given"
        )
    return [str(name) for name in names] if isinstance(names, list) else list(NAMES)


def _count(values: Any) -> str:
    return f"{len(values)} entries" if isinstance(values, list) else repr(values)


def _bounds(reader: Reader) -> list[Mapping[str, Any]]:
    entries = reader.take_entries(BOUNDS, "name", "min", "max")
    for entry in entries:
        if "name" not in entry:
            raise ConfigError(f"{BOUNDS}: found {dict(entry)!r}, expected a name in each entry")
    return entries


def _parameters(reader: Reader, names: list[str], origin: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    parameters: dict[str, dict[str, Any]] = {}
    values = reader.take(f"{INITIAL}.values", [])
    for k, (name, value) in enumerate(zip(names, values, strict=False)):
        for here in legacy.present(name):
            parameters[here] = {"value": value}
            origin.setdefault(f"parameters.{here}", []).append(f"{INITIAL}.values[{k}]")
    for k, entry in enumerate(_bounds(reader)):
        limits = {key: entry[key] for key in ("min", "max") if entry.get(key) is not None}
        for here in legacy.present(str(entry["name"])):
            parameters.setdefault(here, {}).update(limits)
            origin.setdefault(f"parameters.{here}", []).append(f"{BOUNDS}[{k}]")
    return parameters


def _earlier_model(reader: Reader, settings: dict[str, Any], names: list[str]) -> list[Note]:
    """Tell that start values are those of an earlier model; what it does not have is searched for."""
    every = [*names, *(str(entry["name"]) for entry in _bounds(reader))]
    text = legacy.explain(every)
    if text is None:
        return []
    if not legacy.SHEAR.keys().isdisjoint(every):
        settings["fit"]["start"] = "search"
    return [Note(f"{INITIAL}.values", text, reader.take(f"{INITIAL}.values"))]


def _fit(reader: Reader) -> dict[str, Any]:
    methods = reader.take(f"{CLASSICAL}.methods")
    active = reader.take(f"{INITIAL}.active_parameters") or None
    return _without_none(
        {
            "classical": [METHODS.get(name, name) for name in methods] if isinstance(methods, list) else methods,
            "active_parameters": legacy.free(active) if isinstance(active, list) else active,
            "reduction": _reduction(reader),
            "robust": _robust(reader),
        }
    )


def _reduction(reader: Reader) -> dict[str, Any] | None:
    """Subsampling, as means over blocks instead of every n-th frame."""
    values = {key: reader.take(f"{SUBSAMPLING}.{key}") for key in SUBSAMPLING_DEFAULTS}
    enabled = reader.take(f"{SUBSAMPLING}.enabled")
    if enabled is False or (enabled is None and not _without_none(values)):
        return None
    known = {**SUBSAMPLING_DEFAULTS, **_without_none(values)}
    return dict(zip(("max_points", "time_factor", "angle_factor"), known.values(), strict=True))


def _robust(reader: Reader) -> list[Any] | None:
    """Robust methods; the other package has three, of which `uncertainty_model` counts first."""
    model, enabled = reader.take(f"{ROBUST}.uncertainty_model"), reader.take(f"{ROBUST}.enabled")
    if enabled is False:
        return []
    if model is None:
        return None if enabled is None else list(ROBUST_METHODS)
    return [model, *(name for name in ROBUST_METHODS if name != model)]


def _compute(reader: Reader) -> dict[str, Any]:
    from hetdask_cluster.local import available_cores

    compute: dict[str, Any] = {}
    threads = reader.take(f"{COMPUTATIONAL}.num_threads", "auto")
    limits = [reader.take(f"{COMPUTATIONAL}.max_threads_limit"), reader.take(f"{ENVIRONMENT}.max_threads")]
    most = min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)
    if threads != "auto":
        compute["workers"] = threads
    elif most is not None and most < available_cores():
        compute["workers"] = most
    cache = reader.take(f"{CACHING}.cache_size_limit_mb")
    if reader.take(f"{MEMORY}.low_memory_mode"):
        compute["resident_limit"] = 0
    elif cache is not None:
        compute["resident_limit"] = f"{cache}MB"
    if _performance_mode():
        compute.clear()
    size = reader.take(MEMORY_LIMIT_GB)
    if size is not None:
        compute["memory_limit"] = f"{size}GiB"
    return compute


def _performance_mode() -> bool:
    """Whether the environment asks for all cores, and for as many data in memory as the budget allows."""
    value = os.environ.get(PERFORMANCE_MODE, "")
    if value not in {"", "0", "1"}:
        raise ConfigError(f"{PERFORMANCE_MODE}: found {value!r}, expected 1 or 0: export {PERFORMANCE_MODE}=1")
    return value == "1"


def _uncapped(settings: dict[str, Any]) -> list[Note]:
    """Drop a memory limit beyond what the machine has: it limits nothing."""
    limit = settings["compute"].get("memory_limit")
    if limit is None or not str(limit).endswith("GiB"):
        return []
    try:
        parse_memory(limit)
    except ConfigError as error:
        if "but this machine gives" not in str(error):
            raise
        del settings["compute"]["memory_limit"]
        text = f"{limit} is more than this machine has; the default, 0.9 of it, is the budget"
        return [Note(MEMORY_LIMIT_GB, text, limit)]
    return []


def _gauge(settings: dict[str, Any]) -> list[Note]:
    """Hold f2: the model knows only f0·exp(-f1·f2), so a fit of f0, f1 and f2 together has no single answer."""
    active = settings["fit"].get("active_parameters")
    if active is None or "f2" not in active:
        return []
    settings["fit"]["active_parameters"] = [name for name in active if name != "f2"]
    key = TABLE[f"{INITIAL}.active_parameters"]
    return [Note(key.path, key.text, active)]
