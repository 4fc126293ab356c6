"""A configuration that a script may change between two runs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hetdask.config import ConfigWarning, Settings, load_settings
from hetdask.config.load import read_file

type Config = str | Path | Mapping[str, Any] | Settings
"""A YAML or JSON file, its content, or settings; native or of heterodyne-analysis."""


class Configuration:
    """Content of a configuration, read anew for every run, with its warnings given once for the same content.

    Parameters
    ----------
    config : path, mapping or Settings
        A dictionary is kept, not copied: scripts change it.
    changes : mapping, optional
        Laid over a copy of it, section by section.
    """

    def __init__(self, config: Config, changes: Mapping[str, Any] | None = None) -> None:
        if isinstance(config, Settings):
            content = config.model_dump(exclude_unset=True)
        elif isinstance(config, Mapping):
            content = config if isinstance(config, dict) else dict(config)
        else:
            content = read_file(Path(config))
        self.content: dict[str, Any] = merged(content, changes) if changes else content
        self._told: dict[str, Any] | None = None

    def settings(self, overrides: Iterable[tuple[str, Any]] = ()) -> Settings:
        """Settings of the content as it is now; `overrides` are dotted native keys and their values.

        Raises
        ------
        ConfigError
            If a key or value is not valid.

        Warns
        -----
        ConfigWarning
            About keys without effect, where the content is not the same as in the call before.
        """
        with warnings.catch_warnings():
            if self.content == self._told:
                warnings.simplefilter("ignore", ConfigWarning)
            settings = load_settings(self.content, overrides)
        self._told = copy.deepcopy(self.content)
        return settings


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of nested sections with the values of `changes` in place of, or beside, their own."""
    result = copy.deepcopy(dict(content))
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            result[key] = merged(inner, value)
        else:
            result[key] = copy.deepcopy(value)
    return result
