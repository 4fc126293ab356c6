"""A commented configuration, written from the settings themselves so that it never lags behind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel

from hetdask.config.settings import Settings, SimulationSettings
from hetdask.errors import ConfigError
from hetdask.model.parameters import PARAMETERS

HEAD: Final = """\
# Configuration of hetdask. Keys that are left out keep the values shown here.
# Check it with `hetdask config check FILE`, run it with `hetdask fit FILE`.
"""


def template(
    source: str | None = None, sample: str | None = None, about: Mapping[str, str] = MappingProxyType({})
) -> str:
    """YAML text with every key, its default and what it means.

    Parameters
    ----------
    source : str, optional
        File to name as the data source.
    sample : str, optional
        Name of the folder in ``data`` with the data source, where that is not given, and in ``runs`` for the run.
    about : mapping of str to str
        What to say in comments at the top.
    """
    known: dict[str, Any] = {} if source is None else {"source": source}
    if sample is not None:
        known = {"source": str(Path("data") / sample / "scan_0001.hdf"), "folder": str(Path("runs") / sample), **known}
    lines = [HEAD, *(f"# {key}: {' '.join(text.split())}" for key, text in about.items())]
    for name, field in Settings.model_fields.items():
        if name == "parameters":
            lines += ["", "parameters:", *aligned(_parameters())]
            continue
        model = SimulationSettings if name == "simulation" else field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{name} is no section")
        # An experiment to simulate is not needed to fit one.
        mark = "# " if name == "simulation" else ""
        lines += ["", f"{mark}{name}:", *(mark + line for line in aligned(_section(model, known)))]
    return "\n".join(lines) + "\n"


def write_new(path: Path, text: str) -> None:
    """Write a new file.

    Raises
    ------
    ConfigError
        If the file exists or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{str(path)!r} exists and is not overwritten: give another name") from error
    except OSError as error:
        raise ConfigError(
            f"can't write {str(path)!r} ({error.strerror}): give a path in a folder that exists and is yours"
        ) from error


def _section(model: type[BaseModel], known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        value = field.get_default(call_default_factory=True)
        if name == "source":
            value = field.examples and field.examples[0]
        value = known.get(name, value)
        yield f"{name}: {_yaml(value)}", field.description or ""


def _parameters() -> Iterator[tuple[str, str]]:
    for spec in PARAMETERS:
        # No start values for what is free: a fit then searches for the optimum within the bounds.
        held = {"value": spec.start} if spec.fixed else {}
        entries = {**held, "min": spec.lower, "max": spec.upper}
        text = ", ".join(f"{key}: {value:g}" for key, value in entries.items())
        fixed = ", fixed: true" if spec.fixed else ""
        unit = f", {spec.unit}" if spec.unit else ""
        yield f"{spec.name}: {{{text}{fixed}}}", f"{spec.description}{unit}"


def aligned(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Indented lines with their comments, if they have any, below each other."""
    listed = list(entries)
    width = max((len(entry) for entry, comment in listed if comment), default=0)
    return [f"  {entry:<{width}}  # {comment}" if comment else f"  {entry}" for entry, comment in listed]


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return f"{{{', '.join(f'{key}: {_yaml(entry)}' for key, entry in value)}}}"
    return json.dumps(str(value) if isinstance(value, Path) else value)
