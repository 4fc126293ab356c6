"""The result of a fit and its JSON contract, ``result.json``.

The models below are the contract: field order is file order, field descriptions are the published schema. A number that
does not exist is null in the file and None here, never NaN; the description of each field says what its absence means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, PrivateAttr, ValidationError

from hetdask.errors import DataError
from hetdask.results.course import LearnedSummary, Memory, MethodResult, SearchSummary, Status
from hetdask.results.goodness import GoodnessResult, OutlierResult
from hetdask.results.intervals import BootstrapResult, ProfilesResult
from hetdask.results.part import Part
from hetdask.results.values import AngleResult, Correlations, Identifiability, ParameterResult
from hetdask.results.weighting import WeightingResult

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from hetdask.fitting import HistoryEntry, Refinement
    from hetdask.fitting.deviations import Deviation
    from hetdask.fitting.goodness import Goodness
    from hetdask.fitting.noise_model import NoiseModel
    from hetdask.fitting.quality import QualityLevels
    from hetdask.fitting.uncertainty import Uncertainty
    from hetdask.results.build import StoreFacts
    from hetdask.results.dataset import Contents
    from hetdask.results.plots import PlotKind, Width

SCHEMA: Final = "hetdask.result/1"
RESULT_FILE: Final = "result.json"
DATASET_FOLDER: Final = "result.zarr"


class RunFacts(TypedDict, total=False):
    """What is recorded with a fit besides the fit itself; everything may be left out.

    Attributes
    ----------
    method : str
        What was asked for, such as "classical"; the refinement's own method where it is missing.
    tried : sequence of Refinement
        All methods that were tried, the one whose values count among them.
    search : SearchSummary
        How the start was found.
    learned : LearnedSummary
        What the learned start did.
    noise : NoiseModel or None
        What the residuals say about the noise.
    goodness : Goodness or None
        What they say about the model.
    levels : QualityLevels
        When that is good; the defaults where it is missing.
    deviations : tuple of Deviation
        Frames and regions with large residuals.
    uncertainty : Uncertainty
        Errors and what is determined; those of independent pixels where it is missing.
    weighting : WeightingResult
        What came of weights that were asked for.
    bootstrap : BootstrapResult
        Scatter of refits of simulated experiments.
    profiles : ProfilesResult
        Profiles of some parameters.
    refitted : (B, 14) float64
        All parameters of these refits.
    timings : mapping of str to float
        Seconds by stage; the refinement's own time is added as "refine" where it is missing.
    memory : Memory
    seed : int
    cluster : mapping
        Description of the workers, for the provenance.
    """

    method: str
    tried: Sequence[Refinement]
    search: SearchSummary
    learned: LearnedSummary
    noise: NoiseModel | None
    goodness: Goodness | None
    levels: QualityLevels
    deviations: tuple[Deviation, ...]
    uncertainty: Uncertainty
    weighting: WeightingResult
    bootstrap: BootstrapResult
    profiles: ProfilesResult
    refitted: NDArray[np.float64]
    timings: Mapping[str, float]
    memory: Memory
    seed: int
    cluster: Mapping[str, object]


class Result(Part):
    """A fit's outcome: parameters with units and errors, scaling of every map, and how it came about.

    Made by `Result.from_refinement` or `Result.load`; immutable.

    Examples
    --------
    >>> result = Result.load("run")                              # doctest: +SKIP
    >>> result.parameters["v0"].value, result.parameters["v0"].unit   # doctest: +SKIP
    (19.87, 'Å/s^(β+1)')
    """

    schema_name: Literal["hetdask.result/1"] = Field(default=SCHEMA, alias="schema")
    status: Status
    message: str = Field(description="Why the fit ended.")
    method: str = Field(description="The method that was asked for.")
    best_method: str = Field(
        description="The method that gave these values: of those that converged, or of all where none did, the "
        "classical one with the lowest chi_squared, else the first robust one."
    )
    errors: Literal["speckle", "iid"] = Field(
        default="iid",
        description="Where stderr comes from. speckle: the scatter that white and speckle noise of the measured "
        "strengths cause. iid: pixels taken as independent, which understates the scatter of repeated experiments "
        "several times.",
    )
    errors_note: str = Field(
        default="", description="Why these errors, and whether the correlation of the residuals supports them."
    )
    parameters: dict[str, ParameterResult]
    chi_squared: float = Field(description="Sum over maps and pixels above the diagonal of (residual / sigma)².")
    reduced_chi_squared: float | None = Field(
        description="chi_squared / dof: a number to report, not a verdict, since sigma holds no speckle noise. "
        "Null if dof is not positive."
    )
    n_points: int
    dof: int = Field(description="Points less free parameters less two per map.")
    resolution: Literal["full", "reduced"]
    angles: list[AngleResult]
    goodness: GoodnessResult | None = Field(
        default=None, description="Verdict on the residuals; null where the noise could not be told from them."
    )
    outliers: list[OutlierResult] = Field(
        default_factory=list,
        description="Frames and regions whose residuals are far larger than those of the rest of their map.",
    )
    correlations: Correlations
    identifiability: Identifiability
    weighting: WeightingResult | None = Field(
        default=None, description="Weights with the covariance of the noise; null where none were asked for."
    )
    bootstrap: BootstrapResult | None = Field(
        default=None, description="Refits of experiments simulated from the fit; null where none were asked for."
    )
    profiles: ProfilesResult | None = Field(
        default=None, description="Profiles of chi-squared along parameters; null where none were asked for."
    )
    search: SearchSummary | None = Field(
        default=None, description="How start values were found; null where they were given."
    )
    learned: LearnedSummary | None = Field(
        default=None, description="What the learned start did; null where none was asked for."
    )
    methods: dict[str, MethodResult] = Field(description="Every method that was tried, by name, in their order.")
    timings: dict[str, float] = Field(description="Seconds by stage.")
    passes: int = Field(description="Passes over the data, all methods together.")
    memory: Memory
    time_origin: float = Field(description="Time t of the first frame in J(t), v(t) and s(t), s.")
    dt: float = Field(description="Time from frame to frame, s.")
    n_frames: int
    seed: int | None = Field(description="Seed of the random numbers of the fit; null where it was not given.")
    provenance: dict[str, JsonValue]

    _history: tuple[HistoryEntry, ...] = PrivateAttr(default=())
    _refitted: NDArray[np.float64] | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    def __eq__(self, other: object) -> bool:
        """Equal content; where it was loaded from does not matter."""
        return isinstance(other, Result) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_refinement(
        cls,
        refinement: Refinement,
        store: StoreFacts,
        **facts: Unpack[RunFacts],
    ) -> Self:
        """Result of a finished or interrupted refinement.

        Parameters
        ----------
        refinement : hetdask.fitting.Refinement
            The one whose values count.
        store : Store
            The data that were fitted; read for time axis, noise and provenance only.
        **facts
            What else there is to record, see `RunFacts`.

        Raises
        ------
        FitError
            If a value of the refinement is not a finite number.
        """
        from hetdask.results.build import result_fields

        result = cls.model_validate(result_fields(refinement, store, facts))
        result._history = refinement.history
        result._refitted = facts.get("refitted")
        return result

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Result of a run folder, or of a result.json file.

        Raises
        ------
        DataError
            If there is none, or it does not follow the contract.
        """
        folder = Path(folder)
        path = folder if folder.suffix == ".json" else folder / RESULT_FILE
        if not path.is_file():
            raise DataError(
                f"no {RESULT_FILE} in {path.parent}: a run folder of 'hetdask fit' was expected, such as runs/sample-1"
            )
        try:
            result = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(
                f"{path} is not a result of schema {SCHEMA}: {where}: {first['msg']}. "
                "Use the file as hetdask wrote it, or run the fit again"
            ) from error
        result._folder = path.parent
        return result

    def save(self, folder: str | Path) -> Path:
        """Write result.json and result.zarr into `folder`, which is made where it is missing; returns the folder.

        Raises
        ------
        DataError
            If the folder can't be written.
        """
        from hetdask.results.files import save_result

        return save_result(self, Path(folder))

    def to_json(self) -> str:
        """Text of result.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def to_xarray(self) -> xr.Dataset:
        """Everything as an `xarray.Dataset` with units.

        Parameters, scaling of the maps, dynamics and history; the block-averaged maps too if this result belongs
        to a run folder (they are read from there when they are used).
        """
        from hetdask.results.storage import open_dataset

        group = self._group()
        return self.contents().to_xarray() if group is None else open_dataset(group)

    def contents(self) -> Contents:
        """What `to_xarray` gives, as plain arrays: for figures and files of our own, without xarray."""
        from hetdask.results.dataset import light_contents
        from hetdask.results.storage import read_contents

        group = self._group()
        return light_contents(self, self._history, self._refitted) if group is None else read_contents(group)

    def _group(self) -> Path | None:
        """The result.zarr of the run folder that this result belongs to, if there is one."""
        group = None if self._folder is None else self._folder / DATASET_FOLDER
        return group if group is not None and group.is_dir() else None

    def to_npz(self, path: str | Path, *, reduced: bool = False) -> Path:
        """Write data, model and residual with the keys that heterodyne-analysis gives ``fitted_data.npz``.

        Keys: ``c2_experimental``, ``c2_theoretical_raw`` (g), ``c2_theoretical_scaled`` and ``residuals``, each
        (n_phi, N, N) float64, symmetric, with the diagonal from its neighbours; ``phi_angles``, ``contrast_params``,
        ``offset_params`` (n_phi,); ``wavevector_q``, ``dt``, ``start_frame``, ``end_frame``, ``time_length``,
        ``stator_rotor_gap`` (NaN: not known here). Beyond those: ``parameters``, ``stderr``, ``parameter_names``,
        ``time_origin`` and ``frames_per_cell``. Maps are written one by one.

        Parameters
        ----------
        path : str or Path
        reduced : bool
            Block means of the run folder (at most 256 cells a side, `dt` is the time per cell) instead of every pixel
            of the store.

        Raises
        ------
        DataError
            If the store that was fitted is gone or another one, or the file can't be written.
        """
        from hetdask.results.export import write_npz

        return write_npz(self, Path(path), reduced=reduced)

    def to_csv(self, folder: str | Path) -> tuple[Path, Path]:
        """Write parameters.csv and angles.csv into `folder`, which is made where it is missing; returns their paths.

        Columns are the fields of `ParameterResult` and `AngleResult`; what does not exist is an empty cell.

        Raises
        ------
        DataError
            If the files can't be written.
        """
        from hetdask.results.export import write_csv

        return write_csv(self, Path(folder))

    def plot(self, kind: PlotKind = "maps", angle: int = 0, width: Width = "screen") -> Figure:
        """Figure of one aspect of the result.

        Parameters
        ----------
        kind : {"maps", "cuts", "dynamics", "history", "overview", "correlations", "profile"}
            Data, model and residual of one map; its one-time cuts; rates, velocity and fraction; the way of the fit;
            scaling and residuals of all maps; correlations of the parameters; χ² along one parameter.
        angle : int
            Index of the map, for "maps" and "cuts", or of the parameter among those with profiles.
        width : {"screen", "single", "double"}
            For screens, or for one or two columns of a journal page (3.4 and 7 inches).

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        DataError
            If the result has no maps because it was not written to a run folder, or no such angle.
        """
        from hetdask.results.plots import plot

        return plot(self.contents(), kind, angle, width)

    def __repr__(self) -> str:
        """Status, quality and parameters in a few lines."""
        from hetdask.results.summary import brief

        return brief(self)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Table for notebooks."""
        from hetdask.results.summary import brief_html

        return brief_html(self)


def result_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of result.json.

    Examples
    --------
    >>> result_schema()["title"]
    'hetdask result'
    """
    schema = Result.model_json_schema(by_alias=True, mode="serialization")
    schema["title"] = "hetdask result"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = SCHEMA
    return schema
