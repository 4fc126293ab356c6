"""What ``result.zarr`` and the `xarray.Dataset` of a result hold.

Dimensions: ``parameter`` (14, in the model's order), ``phi`` (maps, in the order of the store; q beside it), ``time``
(frames), ``t1`` and ``t2`` (blocks of frames), ``waiting_time`` and ``lag`` (one-time cuts), ``evaluation`` (history),
``other`` (the parameters once more, for their correlations), ``method``, ``optimum`` (others of a search), ``stage``,
``refit`` (of the bootstrap), ``profiled`` (parameters with profiles), ``step`` (of a profile, NaN beyond its last),
``end`` (of an interval), ``check`` and ``outlier`` (of the residuals).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.model.dynamics import Dynamics, dynamics
from hetdask.model.parameters import NAMES
from hetdask.results.goodness import GoodnessResult, OutlierResult
from hetdask.results.intervals import INTERVALS
from hetdask.results.result import SCHEMA, Result

if TYPE_CHECKING:
    import xarray as xr

    from hetdask.fitting import HistoryEntry

Array = NDArray[np.float64]

CURVES: Final = (
    ("J_ref", "j_ref", "Å²/s", "transport rate of the reference"),
    ("J_sample", "j_sample", "Å²/s", "transport rate of the sample"),
    ("velocity", "velocity", "Å/s", "velocity"),
    ("fraction", "fraction", "", "sample fraction"),
)
"""What follows from the parameters at every frame: name, attribute of `Dynamics`, unit, in words."""

ALONG: Final = 1e-3
"""Share of its parts by which a curve moves along an open direction, where these cancel except for rounding."""


LEFT: Final = "result.json still holds parameters, errors and verdict; for figures and maps run the fit again"
"""What can be done without a result.zarr."""


class Variable(NamedTuple):
    """Values with named dimensions; the maps of a run folder are read when they are indexed."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attrs: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Variables by name, those that are coordinates apart: a dataset without xarray, which takes long to load.

    ``contents[name]`` are the values of either, or a `DataError` where there is none.
    """

    variables: dict[str, Variable]
    coordinates: dict[str, Variable]
    attrs: dict[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.variables or name in self.coordinates

    def __getitem__(self, name: str) -> NDArray[Any]:
        for part in (self.variables, self.coordinates):
            if name in part:
                return part[name].values
        raise DataError(
            f"there is no {name} in the result: its result.zarr has lost it, or another version wrote it; {LEFT}"
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dimension."""
        every = (*self.variables.values(), *self.coordinates.values())
        return {dim: size for one in every for dim, size in zip(one.dims, one.values.shape, strict=True)}

    @property
    def frames_per_block(self) -> int:
        """Frames along one side of a cell of the maps."""
        return int(self.coordinates["t1"].attrs["frames_per_block"])

    def to_xarray(self) -> xr.Dataset:
        """The dataset."""
        import xarray as xr

        variables, coordinates = (
            {name: xr.Variable(*variable) for name, variable in part.items()}
            for part in (self.variables, self.coordinates)
        )
        return xr.Dataset(variables, coords=coordinates, attrs=self.attrs)


def frame_times(result: Result) -> Array:
    """Times of the frames, s."""
    return np.asarray(result.time_origin + result.dt * np.arange(result.n_frames))


def curve_errors(result: Result, rates: Dynamics) -> dict[str, Array]:
    """Standard errors (N,) of the curves in `CURVES`, by attribute of `Dynamics`.

    To first order, from the full covariance: a rate may be well known where its amplitude and offset are not.
    NaN where a direction that the data leave open moves the curve, or where there is no covariance.
    """
    covariance = np.array(result.correlations.covariance, dtype=np.float64)
    columns = [NAMES.index(name) for name in result.correlations.names]
    out = {}
    for name, gradient in rates.curve_gradients().items():
        if not columns:
            out[name] = np.zeros(rates.time.size)
            continue
        slope = gradient[columns]
        with np.errstate(invalid="ignore", over="ignore"):  # rates that diverge at t = 0
            error = np.sqrt(np.maximum(np.einsum("kt,kl,lt->t", slope, covariance, slope), 0.0))
            for weak in result.identifiability.weak:
                if weak.open:
                    change = np.array([[weak.direction.get(x, 0.0)] for x in result.correlations.names]) * slope
                    error[np.abs(change.sum(axis=0)) > ALONG * np.abs(change).sum(axis=0)] = np.nan
        out[name] = error
    return out


def _column(entries: Iterable[Any], name: str) -> Array:
    """One field of every entry as float64; None becomes NaN."""
    return np.array([getattr(entry, name) for entry in entries], dtype=np.float64)


def _plain(dims: str | tuple[str, ...], values: Any, **attrs: Any) -> Variable:
    return Variable((dims,) if isinstance(dims, str) else dims, np.asarray(values), attrs)


def described(dims: str | tuple[str, ...], values: Any, units: str, long_name: str, **attrs: Any) -> Variable:
    """A variable with its unit, its name in words, and what else there is to say of it."""
    return _plain(dims, values, units=units, long_name=long_name, **attrs)


def light_contents(result: Result, history: Sequence[HistoryEntry], refitted: Array | None = None) -> Contents:
    """Everything but the maps.

    Parameters
    ----------
    result : Result
    history : sequence of HistoryEntry
        Evaluations of the fit, in their order; may be empty.
    refitted : (B, 14) float64, optional
        Parameters of the refits of the bootstrap.
    """
    parameters, angles = result.parameters.values(), result.angles
    time = frame_times(result)
    rates = dynamics({name: parameter.value for name, parameter in result.parameters.items()}, time)
    variables: dict[str, Variable] = {
        "unit": _plain("parameter", [parameter.unit for parameter in parameters]),
        "fixed": _plain("parameter", [parameter.fixed for parameter in parameters]),
        "at_bound": _plain("parameter", [parameter.at_bound or "" for parameter in parameters]),
        "identified": _plain("parameter", [bool(parameter.identified) for parameter in parameters]),
    }
    for name in ("value", "stderr", "stderr_iid", "start", "min", "max"):
        text = "see the variable unit"
        variables[name] = described("parameter", _column(parameters, name), text, name)
    for name, units, long_name in (
        ("contrast", "", "contrast"),
        ("offset", "", "offset"),
        ("sigma", "", "standard deviation of one pixel, as chi-squared uses it"),
        ("sigma_white", "", "white noise of one pixel"),
        ("speckles", "", "effective number of speckles"),
        ("photons", "", "photons of a speckle in a frame where one component is alone"),
        ("residual_rms", "", "root mean square residual"),
        ("expected_rms", "", "root mean square residual that white and speckle noise predict"),
        ("level", "", "mean square residual over the expected one"),
        ("level_p_value", "", "probability of such a level or a higher one by chance"),
        ("reduced_chi_squared", "", "chi-squared per degree of freedom"),
    ):
        variables[name] = described("phi", _column(angles, name), units, long_name)
    variables["n_points"] = described("phi", np.array([angle.n_points for angle in angles]), "", "fitted pixels")
    errors = curve_errors(result, rates)
    for name, curve, units, long_name in CURVES:
        variables[name] = described("time", getattr(rates, curve), units, long_name)
        variables[f"{name}_stderr"] = described("time", errors[curve], units, f"standard error of the {long_name}")
    variables["quality"] = _plain("phi", [angle.quality for angle in angles])
    names, correlations = result.correlations.names, result.correlations
    for name, matrix, text in (
        ("correlation", correlations.matrix, "correlation coefficient; NaN where there is none"),
        ("covariance", correlations.covariance, "covariance, in the units of both parameters; NaN where there is none"),
    ):
        variables[name] = described(("parameter", "other"), _of_all(names, matrix), "", text)
    variables.update(_history(history))
    variables.update(_methods(result))
    variables.update(_optima(result))
    variables.update(_weighting(result))
    variables.update(_bootstrap(result, refitted))
    variables.update(_profiles(result))
    variables.update(_goodness(result.goodness))
    variables.update(_outliers(result.outliers))
    variables["seconds"] = described("stage", list(result.timings.values()), "s", "time spent")
    return Contents(
        variables,
        {
            "parameter": _plain("parameter", NAMES),
            "other": _plain("other", NAMES),
            "method": _plain("method", list(result.methods)),
            "stage": _plain("stage", list(result.timings)),
            "phi": described("phi", _column(angles, "phi"), "deg", "azimuth"),
            "q": described("phi", _column(angles, "q"), "1/Å", "wavevector"),
            "time": described("time", time, "s", "time"),
        },
        attrs={
            "schema": SCHEMA,
            "status": result.status,
            "method": result.best_method,
            "resolution": result.resolution,
            "errors": result.errors,
            "weights": "plain" if result.weighting is None else result.weighting.used,
            "message": result.message,
            "chi_squared": result.chi_squared,
            "reduced_chi_squared": float("nan") if result.reduced_chi_squared is None else result.reduced_chi_squared,
            "n_points": result.n_points,
            "errors_note": result.errors_note,
            "dof": result.dof,
            "passes": result.passes,
            "provenance": json.dumps(result.provenance, ensure_ascii=False),
        },
    )


def _of_all(names: Sequence[str], matrix: Sequence[Sequence[float | None]]) -> Array:
    """A matrix of the free parameters as one of all parameters, (14, 14)."""
    full = np.full((len(NAMES), len(NAMES)), np.nan)
    place = [NAMES.index(name) for name in names]
    full[np.ix_(place, place)] = np.array(matrix, dtype=np.float64).reshape(len(place), -1)
    return full


def _methods(result: Result) -> dict[str, Variable]:
    methods = result.methods.values()
    values = np.array([[method.values[name] for name in NAMES] for method in methods])
    return {
        "method_values": described(("method", "parameter"), values, "see the variable unit", "values by each method"),
        "method_chi_squared": described("method", _column(methods, "chi_squared"), "", "chi-squared"),
        "method_seconds": described("method", _column(methods, "seconds"), "s", "time spent"),
        "method_status": _plain("method", [method.status for method in methods]),
    }


def _optima(result: Result) -> dict[str, Variable]:
    optima = [] if result.search is None else result.search.optima
    if not optima:
        return {}
    values = np.array([[one.values[name] for name in NAMES] for one in optima])
    return {
        "optimum_values": described(("optimum", "parameter"), values, "see the variable unit", "other optima"),
        "optimum_excess": described("optimum", _column(optima, "excess"), "", "their chi-squared over this, less 1"),
        "optimum_contender": _plain("optimum", [one.contender for one in optima]),
    }


def _weighting(result: Result) -> dict[str, Variable]:
    """Estimates of ordinary least squares beside weighted ones."""
    if result.weighting is None or not result.weighting.plain:
        return {}
    text, plain = "see the variable unit", result.weighting.plain
    known = [plain.get(name) for name in NAMES]
    values = [np.nan if one is None else one.value for one in known]
    errors = [np.nan if one is None or one.stderr is None else one.stderr for one in known]
    return {
        "plain_value": described("parameter", values, text, "value by ordinary least squares"),
        "plain_stderr": described("parameter", errors, text, "its standard error"),
    }


def _bootstrap(result: Result, refitted: Array | None) -> dict[str, Variable]:
    if result.bootstrap is None or not result.bootstrap.parameters:
        return {}
    text, found = "see the variable unit", result.bootstrap.parameters
    errors = [found[name].stderr if name in found else np.nan for name in NAMES]
    variables = {"bootstrap_stderr": described("parameter", errors, text, "standard deviation of refits")}
    for name in INTERVALS:
        ends = [getattr(found[x], name) if x in found else (np.nan, np.nan) for x in NAMES]
        long_name = f"interval that holds {name.removeprefix('interval_')} % of the refits"
        variables[f"bootstrap_{name}"] = described(("parameter", "end"), ends, text, long_name)
    if refitted is not None:
        variables["bootstrap_values"] = described(("refit", "parameter"), refitted, text, "refits of simulated data")
    return variables


def _goodness(found: GoodnessResult | None) -> dict[str, Variable]:
    """The checks as variables of a dataset."""
    if found is None:
        return {}
    variable = described(
        "check",
        [check.p_value for check in found.checks],
        "",
        "probability that noise alone looks as bad or worse",
        quality=found.quality,
        overall=found.p_value,
        verdict=found.text,
        recommendations=" ".join(found.recommendations),
    )
    return {"check_p_value": variable, "check": _plain("check", [check.name for check in found.checks])}


def _profiles(result: Result) -> dict[str, Variable]:
    found = {} if result.profiles is None else result.profiles.parameters
    if not found:
        return {}
    text, most = "see the variable unit", max(len(one.values) for one in found.values())
    rows = {name: np.full((len(found), most), np.nan) for name in ("values", "deviance")}
    for name, row in rows.items():
        for place, one in zip(row, found.values(), strict=True):
            place[: len(one.values)] = getattr(one, name)
    variables = {
        "profiled": _plain("profiled", list(found)),
        "profile_values": described(("profiled", "step"), rows["values"], text, "values held"),
        "profile_deviance": described(
            ("profiled", "step"), rows["deviance"], "", "rise of chi-squared in units of its noise"
        ),
    }
    for name in INTERVALS:
        ends = np.array([getattr(one, name) for one in found.values()], dtype=np.float64)
        long_name = f"interval of {name.removeprefix('interval_')} %; NaN where it is open"
        variables[f"profile_{name}"] = described(("profiled", "end"), ends, text, long_name)
    return variables


def _outliers(found: Sequence[OutlierResult]) -> dict[str, Variable]:
    if not found:
        return {}
    none = (np.nan, np.nan)
    return {
        "outlier_phi": described("outlier", _column(found, "phi"), "deg", "azimuth of the map"),
        "outlier_q": described("outlier", _column(found, "q"), "1/Å", "wavevector of the map"),
        "outlier_excess": described("outlier", _column(found, "excess"), "", "mean square residual over the usual one"),
        "outlier_frames": described(
            ("outlier", "end"), [one.frames for one in found], "", "first and last frame of the earlier time, from 1"
        ),
        "outlier_other_frames": described(
            ("outlier", "end"),
            [one.other_frames or none for one in found],
            "",
            "first and last frame of the later time; NaN where the frames deviate from all others",
        ),
    }


def _history(history: Sequence[HistoryEntry]) -> dict[str, Variable]:
    values = np.array([[entry.values[name] for name in NAMES] for entry in history]).reshape(len(history), len(NAMES))
    return {
        "history_chi_squared": described("evaluation", _column(history, "chi_squared"), "", "chi-squared"),
        "history_round": _plain("evaluation", np.array([entry.round for entry in history], dtype=np.int64)),
        "history_iteration": _plain("evaluation", np.array([entry.iteration for entry in history], dtype=np.int64)),
        "history_improved": _plain("evaluation", np.array([entry.improved for entry in history], dtype=np.bool_)),
        "history_seconds": described("evaluation", _column(history, "seconds"), "s", "time since the fit began"),
        "history_values": described(("evaluation", "parameter"), values, "see the variable unit", "parameter values"),
    }
