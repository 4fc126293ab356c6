"""The 14 parameters of the model: names, units, default bounds."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """What is known about a parameter before any data are seen.

    Attributes
    ----------
    name, unit, description : str
    lower, upper : float
        Default bounds, in `unit`.
    start : float
        Value for a parameter that a configuration does not mention.
    fixed : bool
        Held constant unless a configuration says otherwise.
    """

    name: str
    unit: str
    lower: float
    upper: float
    start: float
    description: str
    fixed: bool = False


PARAMETERS: Final = (
    ParameterSpec("D0_ref", "Å²/s^(α+1)", 1.0, 1e6, 1e3, "transport coefficient of the reference"),
    ParameterSpec("alpha_ref", "", -2.0, 2.0, 0.0, "transport exponent of the reference"),
    ParameterSpec("D_offset_ref", "Å²/s", -1e4, 1e4, 0.0, "constant transport rate of the reference"),
    ParameterSpec("D0_sample", "Å²/s^(α+1)", 1.0, 1e6, 1e3, "transport coefficient of the sample"),
    ParameterSpec("alpha_sample", "", -2.0, 2.0, 0.0, "transport exponent of the sample"),
    ParameterSpec("D_offset_sample", "Å²/s", -1e4, 1e4, 0.0, "constant transport rate of the sample"),
    ParameterSpec("v0", "Å/s^(β+1)", -1e4, 1e4, 10.0, "velocity coefficient"),
    ParameterSpec("beta", "", -2.0, 2.0, 0.0, "velocity exponent"),
    ParameterSpec("v_offset", "Å/s", -1e3, 1e3, 0.0, "constant velocity"),
    ParameterSpec("f0", "", 0.0, 1.0, 0.4, "amplitude of the sample fraction"),
    ParameterSpec("f1", "1/s", -1.0, 1.0, 0.0, "growth rate of the sample fraction"),
    ParameterSpec("f2", "s", -1e3, 1e3, 0.0, "time origin of the sample fraction", fixed=True),
    ParameterSpec("f3", "", 0.0, 1.0, 0.1, "constant part of the sample fraction"),
    ParameterSpec("phi0", "deg", -180.0, 180.0, 0.0, "flow direction"),
)
"""All parameters, in the order of every parameter vector."""

NAMES: Final = tuple(spec.name for spec in PARAMETERS)
SPECS: Final = {spec.name: spec for spec in PARAMETERS}


def unknown_name(name: str) -> ConfigError:
    """Error for a name that is not a parameter, with the nearest one that is."""
    near = difflib.get_close_matches(name, NAMES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ConfigError(f"unknown parameter {name!r}: {hint}The parameters are {', '.join(NAMES)}.")


def as_vector(parameters: Mapping[str, float] | Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Parameter vector in the order of `NAMES`.

    Parameters
    ----------
    parameters : mapping of str to float, or sequence of 14 floats
        A mapping may leave out parameters; those get their default start value.

    Returns
    -------
    (14,) float64

    Raises
    ------
    ConfigError
        For an unknown name, a wrong length or a value that is not finite.
    """
    if isinstance(parameters, Mapping):
        for name in parameters:
            if name not in SPECS:
                raise unknown_name(name)
        vector = np.array([float(parameters.get(spec.name, spec.start)) for spec in PARAMETERS])
    else:
        vector = np.array(parameters, dtype=np.float64)
        if vector.shape != (len(NAMES),):
            raise ConfigError(
                f"found parameter values of shape {vector.shape}, expected {len(NAMES)} values: {', '.join(NAMES)}"
            )
    if not np.all(np.isfinite(vector)):
        bad = [name for name, value in zip(NAMES, vector, strict=True) if not np.isfinite(value)]
        raise ConfigError(f"parameter {', '.join(bad)} is not a finite number; give a value such as {bad[0]}: 1.0")
    return vector
