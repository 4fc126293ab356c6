"""Typed settings of a run, read once at the edge: `load_settings` for files, `Settings` for what they hold.

The native format is YAML or JSON; the JSON of the package heterodyne-analysis is recognised and translated.
"""

from hetdask.config.fit import FitSettings
from hetdask.config.load import DEMO, ConfigWarning, load_settings, load_site
from hetdask.config.settings import (
    ComputeSettings,
    DataSettings,
    OutputSettings,
    ParameterSetting,
    Settings,
    SimulationSettings,
)

__all__ = [
    "DEMO",
    "ComputeSettings",
    "ConfigWarning",
    "DataSettings",
    "FitSettings",
    "OutputSettings",
    "ParameterSetting",
    "Settings",
    "SimulationSettings",
    "load_settings",
    "load_site",
]
