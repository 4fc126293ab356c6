"""From a file to `Settings`, with errors that say where and what to write instead."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hetdask.config.original import Note, grouped, is_original, translate
from hetdask.config.settings import Settings
from hetdask.errors import ConfigError
from hetdask_cluster.site import Site

SHOWN_ERRORS: Final = 8
"""More than this many mistakes of one file are only counted."""

DEMO: Final = Path(__file__).with_name("demo.yaml")
"""The configuration of `hetdask demo`: a whole experiment, simulated."""


class ConfigWarning(UserWarning):
    """A configuration says something that has no effect here."""


class _Loader(yaml.SafeLoader):
    """YAML with numbers such as 1e-8, and without keys that come twice."""


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} comes twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+\Z"),
    list("-+.0123456789"),
)


class Reading(NamedTuple):
    """Settings, and what of a file of heterodyne-analysis they leave out.

    Attributes
    ----------
    settings : Settings
    notes : list of Note
        Keys of the other package's format that have no effect here, or another one.
    original : bool
        Whether the file is in that format.
    """

    settings: Settings
    notes: list[Note]
    original: bool


def load_settings(
    config: str | Path | Mapping[str, Any] | Settings, overrides: Iterable[tuple[str, Any]] = ()
) -> Settings:
    """Read settings, native or in the JSON of the package heterodyne-analysis.

    Parameters
    ----------
    config : path, mapping or Settings
        A YAML or JSON file, or what it would hold.
    overrides : iterable of (str, value)
        Dotted keys of the native format that win over the file: ``("fit.tolerance", 1e-9)``.

    Raises
    ------
    ConfigError
        If the file is missing or malformed, or a key or value is not valid.

    Warns
    -----
    ConfigWarning
        Once, naming the keys of the other package's format that have no effect here.

    Examples
    --------
    >>> load_settings({"parameters": {"v0": {"value": 120.0}}}).parameter_table()[6].value
    120.0
    """
    settings, notes, _ = read_settings(config, overrides)
    if notes:
        what = f"{_name(config)}: {len(notes)} keys have no effect here, or another one"
        if isinstance(config, str | Path):
            what += " (`hetdask config migrate` writes a file without them)"
        warnings.warn("\n".join([f"{what}:", *grouped(notes)]), ConfigWarning, stacklevel=2)
    return settings


def read_settings(
    config: str | Path | Mapping[str, Any] | Settings, overrides: Iterable[tuple[str, Any]] = ()
) -> Reading:
    """Read settings as `load_settings` does, with notes instead of a warning."""
    if isinstance(config, Settings):
        content = config.model_dump(exclude_unset=True)
    else:
        content = dict(config) if isinstance(config, Mapping) else read_file(Path(config))
    original, notes, origin = is_original(content), list[Note](), dict[str, list[str]]()
    if original:
        content, notes, origin = translate(content)
    for key, value in overrides:
        _override(content, key, value)
    try:
        return Reading(_validated(content, Settings), notes, original)
    except ConfigError as error:
        message = str(error)
        told = [f"\n  ({key} is {', '.join(paths)} in this file)" for key, paths in origin.items() if key in message]
        raise ConfigError(f"{_name(config)}: {message}{''.join(told)}") from error.__cause__


def _name(config: str | Path | Mapping[str, Any] | Settings) -> str:
    if isinstance(config, Settings):
        return "settings"
    return "configuration" if isinstance(config, Mapping) else str(config)


def load_site(path: str | Path) -> Site:
    """Read a site file.

    Raises
    ------
    ConfigError
        If it is missing or malformed, or a key or value is not valid.
    """
    content = read_file(Path(path), kind="site file", advice="check compute.site, or the path after --site")
    try:
        return _validated(content, Site)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error.__cause__


def read_file(path: Path, *, kind: str = "configuration file", advice: str = "") -> dict[str, Any]:
    """Content of a YAML or JSON file; `kind` is what errors call it, `advice` what to do if it is not there.

    Raises
    ------
    ConfigError
        If it cannot be read, with line and column where its syntax is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {kind} {str(path)!r}: "
            + (advice or f"check the path, or write one with `hetdask config new {path}`")
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{str(path)!r} is no text; expected a configuration file in YAML or JSON: for a file with data, write one "
            f"with `hetdask config new --source {path}`"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"can't read the {kind} {str(path)!r}: {error}; expected a text file in YAML or JSON"
        ) from error
    content = _parse_json(text, path) if _looks_like_json(path, text) else _parse_yaml(text, path)
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise ConfigError(
            f"{path}: found {found}, expected sections such as data: and parameters: "
            "(`hetdask config new` writes an example)"
        )
    return content


def parse_assignment(text: str) -> tuple[str, Any]:
    """Key and value of ``key=value``, the value in YAML.

    Raises
    ------
    ConfigError
        If there is no key, or the value is not YAML.

    Examples
    --------
    >>> parse_assignment("fit.active_parameters=[v0, f0]")
    ('fit.active_parameters', ['v0', 'f0'])
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise ConfigError(f"--set: found {text!r}, expected key=value: for example --set parameters.v0.value=100")
    try:
        return key.strip(), yaml.load(value, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--set: can't read the value of {text!r} as YAML: for example --set parameters.v0.value=100"
        ) from error


def _looks_like_json(path: Path, text: str) -> bool:
    suffix = path.suffix.lower()
    return suffix == ".json" or (suffix not in {".yaml", ".yml"} and text.lstrip().startswith("{"))


def _parse_json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ConfigError(f"{path}: the key {key!r} comes twice; remove one")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}, line {error.lineno}, column {error.colno}: this is not JSON ({error.msg}); expected something "
            'like "dt": 0.1 with a comma between entries and none after the last'
        ) from error


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{path}{where}: this is not YAML ({error.problem or error.context}); expected something like `dt: 0.1`, "
            "indented with spaces below its section"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is not YAML ({error}); expected plain text such as `dt: 0.1`") from error


def _override(content: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    place = content
    for section in sections:
        inner = place.get(section)
        place[section] = dict(inner) if isinstance(inner, Mapping) else {}
        place = place[section]
    place[last] = value


def _validated[M: BaseModel](content: dict[str, Any], model: type[M]) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = _explain(error, model)
        shown = lines[:SHOWN_ERRORS]
        if len(lines) > len(shown):
            shown.append(f"and {len(lines) - len(shown)} more")
        separator = "\n  " if len(shown) > 1 else ""
        raise ConfigError(separator + separator.join(shown)) from error


def _explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each key that pydantic complains about."""
    expected: dict[tuple[str | int, ...], list[str]] = {}
    lines: dict[tuple[str | int, ...], str] = {}
    for entry in error.errors():
        location = tuple(part for part in entry["loc"] if isinstance(part, int) or _is_key(part))
        if entry["type"] == "extra_forbidden":
            lines[location] = _unknown_key(location, model)
            continue
        expected.setdefault(location, []).append(_expectation(entry["type"], entry["msg"]))
        key = ".".join(str(part) for part in location) or "the configuration"
        alternatives = " or ".join(dict.fromkeys(expected[location]))
        lines[location] = f"{key}: found {entry['input']!r}, expected {alternatives}{_example(location, model)}"
    return list(lines.values())


def _expectation(kind: str, message: str) -> str:
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return "keys of its own"
    if kind == "float_parsing":
        return "a number"
    for start in ("Input should be ", "Value should have ", "Tuple should have ", "List should have "):
        message = message.removeprefix(start)
    return message.partition(" after validation")[0]


def _unknown_key(location: tuple[str | int, ...], whole: type[BaseModel]) -> str:
    model, _ = _field(location, whole)
    known = list(model.model_fields) if model is not None else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    *sections, last = (str(part) for part in location)
    hint = f"did you mean {near[0]!r}? " if near else ""
    where = f" in {'.'.join(sections)}" if sections else ""
    return f"unknown key {last!r}{where}: {hint}Expected one of {', '.join(known)}"


def _example(location: tuple[str | int, ...], whole: type[BaseModel]) -> str:
    _, field = _field(location, whole)
    names = [part for part in location if isinstance(part, str)]
    return f": for example {names[-1]}: {json.dumps(field.examples[0])}" if field is not None and field.examples else ""


def _is_key(part: str) -> bool:
    """Whether a part of a location is a key of the file, not pydantic's name for a member of a union."""
    return part.isidentifier() and part not in {"float", "str", "int"}


def _field(location: tuple[str | int, ...], whole: type[BaseModel]) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """Model that holds the last key of a location in the model of a whole file, and its field there."""
    annotation: Any = whole
    model: type[BaseModel] | None = None
    field: FieldInfo | None = None
    for part in location:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
            continue
        models = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if models and isinstance(part, str):
            model = models[0]
            field = model.model_fields.get(part)
            annotation = None if field is None else field.annotation
    return model, field
