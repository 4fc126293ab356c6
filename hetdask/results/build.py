"""From a refinement to the fields of a `Result`."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import FitError
from hetdask.fitting.quality import QualityLevels, Verdict, judge
from hetdask.fitting.uncertainty import iid_uncertainty
from hetdask.model.parameters import PARAMETERS
from hetdask.results.course import LearnedSummary, Memory, MethodResult, OptimumResult, RegionResult, SearchSummary
from hetdask.results.goodness import goodness_result, outlier_result
from hetdask.results.part import finite, json_clean
from hetdask.results.result import RunFacts
from hetdask.results.values import AngleResult, Correlations, Identifiability, ParameterResult, WeakDirection
from hetdask_cluster.memory import peak_memory

if TYPE_CHECKING:
    from pydantic import JsonValue

    from hetdask.fitting import AngleFit, Refinement, Region
    from hetdask.fitting.cold_start import Rival
    from hetdask.fitting.goodness import Goodness
    from hetdask.fitting.identifiability import Determined
    from hetdask.fitting.noise_model import NoiseModel
    from hetdask.fitting.search import SearchResult
    from hetdask.fitting.uncertainty import Uncertainty
    from hetdask.learn.model import Prediction
    from hetdask.passes.plan import FitPlan
    from hetdask_cluster.runner import Runner

RECORDED_PACKAGES: Final = (
    "hetdask",
    "numpy",
    "scipy",
    "numba",
    "dask",
    "distributed",
    "zarr",
    "h5py",
    "xarray",
)


NOT_JUDGED: Final = "not judged"
"""Quality of an angle whose residuals could not be compared with noise."""

RIVALS: Final = "the search found another optimum that these data cannot tell from this one: see search.optima"
DISBELIEF: Final = (
    "the residuals are above the noise level: either the search missed a better optimum, or the model does not "
    "describe these data"
)


class StoreFacts(Protocol):
    """What a result takes over from the store: `hetdask.data.store.Store` has all of it."""

    @property
    def path(self) -> object:
        """Folder of the store."""

    @property
    def time_origin(self) -> float:
        """Time of the first frame, s."""

    @property
    def dt(self) -> float:
        """Time between frames, s."""

    @property
    def n_frames(self) -> int:
        """Number of frames."""

    @property
    def noise(self) -> NDArray[np.float64]:
        """White noise per map, (n_phi,)."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Origin of the data."""


@cache
def package_versions() -> Mapping[str, str]:
    """Versions of Python and of those packages that are installed and decide about numbers."""
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def result_fields(refinement: Refinement, store: StoreFacts, facts: RunFacts) -> dict[str, Any]:
    """Keyword arguments of `Result`; see `Result.from_refinement`."""
    stages = {name: float(seconds) for name, seconds in facts.get("timings", {}).items()}
    stages.setdefault("refine", float(refinement.seconds))
    stages.setdefault("total", sum(stages.values()))
    tried, search = facts.get("tried", (refinement,)), facts.get("search")
    uncertainty = facts.get("uncertainty") or iid_uncertainty(refinement)
    doubt = None if search is None or refinement.status != "converged" else _doubt(search)
    goodness = facts.get("goodness")
    phi = [angle.phi for angle in refinement.angles]
    verdict = None if goodness is None else judge(goodness, phi, facts.get("levels", QualityLevels()))
    return {
        "status": refinement.status if doubt is None else "ambiguous",
        "message": doubt or refinement.message,
        "method": facts.get("method", refinement.method),
        "best_method": refinement.method,
        "errors": uncertainty.kind,
        "errors_note": uncertainty.reason,
        "parameters": _parameters(refinement, uncertainty),
        "chi_squared": _number(refinement.chi_squared, "chi_squared"),
        "reduced_chi_squared": _reduced(refinement),
        "n_points": int(refinement.n_points),
        "dof": int(refinement.dof),
        "resolution": "full" if refinement.retained_information is None else "reduced",
        "angles": _judged(_angles(refinement, store, facts.get("noise")), goodness, verdict),
        "goodness": None if goodness is None or verdict is None else goodness_result(goodness, verdict),
        "outliers": [outlier_result(one, refinement.angles[one.angle]) for one in facts.get("deviations", ())],
        "correlations": _correlations(refinement.free, uncertainty),
        "identifiability": _identifiability(
            uncertainty.identifiability, uncertainty.cautions, refinement.retained_information
        ),
        "weighting": facts.get("weighting"),
        "bootstrap": facts.get("bootstrap"),
        "profiles": facts.get("profiles"),
        "search": search,
        "learned": facts.get("learned"),
        "methods": {one.method: _method(one) for one in tried},
        "timings": stages,
        "passes": sum(int(one.passes) for one in tried),
        "memory": facts.get("memory", Memory()),
        "time_origin": float(store.time_origin),
        "dt": float(store.dt),
        "n_frames": int(store.n_frames),
        "seed": facts.get("seed"),
        "provenance": _provenance(store, facts.get("cluster", {})),
    }


def _reduced(refinement: Refinement) -> float | None:
    return refinement.chi_squared / refinement.dof if refinement.dof > 0 else None


def _method(refinement: Refinement) -> MethodResult:
    return MethodResult(
        status=refinement.status,
        message=refinement.message,
        iterations=int(refinement.iterations),
        evaluations=int(refinement.evaluations),
        passes=int(refinement.passes),
        seconds=float(refinement.seconds),
        chi_squared=_number(refinement.chi_squared, "chi_squared"),
        reduced_chi_squared=_reduced(refinement),
        values=_values(refinement.values),
        worst_case=None if refinement.worst_case is None else finite(refinement.worst_case),
        outliers=None if refinement.outliers is None else [_region(refinement, one) for one in refinement.outliers],
    )


def _region(refinement: Refinement, region: Region) -> RegionResult:
    angle, (first, stop), (left, right) = refinement.angles[region.angle], region.rows, region.columns
    return RegionResult(
        phi=angle.phi,
        q=angle.q,
        frames=(first + 1, stop),
        other_frames=None if region.whole else (left + 1, right),
        weight=float(region.weight),
    )


def _doubt(search: SearchSummary) -> str | None:
    """Why the best optimum of a search may not be the answer; None if nothing speaks against it."""
    if any(one.contender for one in search.optima):
        return RIVALS
    return DISBELIEF if search.believed is False and not search.confirmed else None


def search_summary(found: SearchResult, rivals: Sequence[Rival], *, doubted: bool = False) -> SearchSummary:
    """What a search has found, and what became of its other optima at full resolution."""
    return SearchSummary(
        starts=found.starts,
        agreed=found.best.reached,
        gap=finite(found.gap),
        believed=found.believed,
        level=found.level,
        evaluations=found.evaluations,
        seconds=found.seconds,
        doubted=doubted,
        confirmed=doubted and found.given is not None and found.given.winner is not None,
        optima=[
            OptimumResult(
                values=_values(rival.refinement.values), excess=float(rival.excess), contender=bool(rival.contender)
            )
            for rival in rivals
        ],
    )


def learned_summary(prediction: Prediction, found: SearchResult) -> LearnedSummary:
    """What the learned start predicted, and what the search made of it."""
    given = found.given
    winner = None if given is None else given.winner
    return LearnedSummary(
        model=prediction.version,
        trained=prediction.trained,
        experiments=prediction.experiments,
        own=prediction.own,
        distance=prediction.distance,
        limit=prediction.limit,
        outside=prediction.outside,
        predicted=_values(prediction.starts[0]),
        starts=len(prediction.starts),
        polished=0 if given is None else given.polished,
        evaluations=0 if given is None else given.evaluations,
        sufficed=given is not None and given.sufficed and found.believed is True,
        winner=None if winner is None else prediction.origins[winner],
    )


def _values(vector: NDArray[np.float64]) -> dict[str, float]:
    return {spec.name: _number(value, spec.name) for spec, value in zip(PARAMETERS, vector, strict=True)}


def _number(value: float, name: str) -> float:
    number = finite(value)
    if number is None:
        raise FitError(
            f"the fit ended with {name} = {value}, expected a finite number: start nearer to the data, "
            f"or bound the parameters more tightly, such as min: 0.0, max: 1.0 for f0"
        )
    return number


def _parameters(refinement: Refinement, uncertainty: Uncertainty) -> dict[str, ParameterResult]:
    column = {name: index for index, name in enumerate(refinement.free)}
    errors, errors_iid = uncertainty.stderr, uncertainty.stderr_iid
    out: dict[str, ParameterResult] = {}
    for index, spec in enumerate(PARAMETERS):
        k = column.get(spec.name)
        identified = None if k is None else uncertainty.identifiability.identified[k]
        out[spec.name] = ParameterResult(
            value=_number(refinement.values[index], spec.name),
            stderr=None if k is None else finite(errors[k]),
            stderr_iid=None if k is None else finite(errors_iid[k]),
            unit=spec.unit,
            start=_number(refinement.start[index], f"the start of {spec.name}"),
            min=finite(refinement.lower[index]),
            max=finite(refinement.upper[index]),
            fixed=k is None,
            at_bound=None if k is None else refinement.at_bound[k],  # type: ignore[arg-type]
            identified=identified,
        )
    return out


def _angles(refinement: Refinement, store: StoreFacts, noise: NoiseModel | None) -> list[AngleResult]:
    free_per_point = len(refinement.free) / refinement.n_points if refinement.n_points else 0.0
    angles = [
        _angle(fit, white, free_per_point) for fit, white in zip(refinement.angles, store.noise.tolist(), strict=True)
    ]
    if noise is None:
        return angles
    return [
        angle.model_copy(
            update={
                "sigma_white": finite(noise.sigma_white[m]),
                "speckles": finite(noise.speckles[m]) if np.isfinite(noise.speckles_range[m, 1]) else None,
                "photons": finite(noise.photons[m]),
                "expected_rms": finite(noise.expected_rms[m]),
            }
        )
        for m, angle in enumerate(angles)
    ]


def _judged(angles: list[AngleResult], goodness: Goodness | None, verdict: Verdict | None) -> list[AngleResult]:
    """Angles with their level and quality."""
    if goodness is None or verdict is None:
        return angles
    return [
        angle.model_copy(
            update={
                "level": finite(goodness.level[m]),
                "level_p_value": finite(goodness.level_p_value[m]),
                "quality": verdict.angles[m] if angle.quality == NOT_JUDGED else angle.quality,
            }
        )
        for m, angle in enumerate(angles)
    ]


def _angle(fit: AngleFit, white: float, free_per_point: float) -> AngleResult:
    # The free parameters are shared by all maps: each map pays for them in proportion to its pixels, so that the maps'
    # degrees of freedom add up to those of the fit.
    dof = fit.n_points * (1.0 - free_per_point) - 2.0
    sigma = finite(fit.sigma)
    reduced = fit.sum_squares / (sigma**2 * dof) if sigma and dof > 0.0 else None
    contrast = finite(fit.contrast)
    return AngleResult(
        phi=fit.phi,
        q=fit.q,
        contrast=contrast,
        offset=finite(fit.offset),
        sigma=sigma,
        reduced_chi_squared=None if reduced is None else finite(reduced),
        residual_rms=finite(fit.residual_rms),
        expected_rms=None,
        sigma_white=finite(white),
        speckles=None,
        n_points=int(fit.n_points),
        quality=NOT_JUDGED if contrast is not None and contrast > 0.0 else "failed: contrast is not positive",
    )


def _correlations(names: Sequence[str], uncertainty: Uncertainty) -> Correlations:
    covariance, errors = uncertainty.covariance, uncertainty.stderr
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = covariance / np.outer(errors, errors)
    return Correlations(
        names=list(names),
        matrix=[[finite(entry) for entry in row] for row in matrix.tolist()],
        covariance=[[finite(entry) for entry in row] for row in covariance.tolist()],
    )


def _identifiability(found: Determined, cautions: Sequence[str], retained: float | None) -> Identifiability:
    weak = [WeakDirection(text=one.text, direction=one.direction, open=one.open) for one in found.weak]
    return Identifiability(rank=found.rank, weak=weak, cautions=list(cautions), retained_information=retained)


def _provenance(store: StoreFacts, cluster: Mapping[str, object]) -> dict[str, JsonValue]:
    origin = dict(store.provenance)
    ingest = {key: origin.pop(key) for key in ("created", "versions") if key in origin}
    record = {
        **origin,
        "store": str(store.path),
        "ingest": ingest,
        "versions": package_versions(),
        "cluster": dict(cluster),
        "created": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
    }
    return {key: json_clean(value) for key, value in record.items()}


def memory_of(runner: Runner, plan: FitPlan) -> Memory:
    """Budget, projected peaks, and the largest worker and client so far."""
    return Memory(
        budget=None if plan.memory is None else plan.memory.budget,
        projected=plan.projected,
        projected_worker=plan.projected_worker,
        peak_worker=runner.peak_worker(),
        peak_client=peak_memory(),
    )
