"""How a result came about: the methods that were tried, where they began, and what they took."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from hetdask.results.part import Part

Status = Literal["converged", "ambiguous", "not_converged", "interrupted"]
STATUS_TEXT: Final[dict[Status, str]] = {
    "converged": "Converged",
    "ambiguous": "Ambiguous: these values are a minimum, but perhaps not the answer",
    "not_converged": "Not converged: these values are not a result",
    "interrupted": "Interrupted: these values are the best so far, not a result",
}


class RegionResult(Part):
    """Part of a map to which a robust method gave little weight; frames are counted from 1, both ends included."""

    phi: float = Field(description="Azimuth of the map, degrees.")
    q: float = Field(description="Wavevector of the map, 1/Å.")
    frames: tuple[int, int] = Field(description="First and last frame of the earlier time.")
    other_frames: tuple[int, int] | None = Field(
        description="First and last frame of the later time; null where these frames are left out altogether."
    )
    weight: float = Field(description="Mean weight of its pixels, relative to the usual one of the map.")


class MethodResult(Part):
    """What one method did."""

    status: Status
    message: str
    iterations: int
    evaluations: int
    passes: int = Field(description="Passes over the data.")
    seconds: float
    chi_squared: float
    reduced_chi_squared: float | None
    values: dict[str, float] = Field(description="All parameters by name, in their units.")
    worst_case: float | None = Field(
        default=None,
        description="Value of the method's min-max problem, a root mean square in units of the noise; null for methods "
        "without.",
    )
    outliers: list[RegionResult] | None = Field(
        default=None, description="Where the data have little weight; null for methods that weight all pixels equally."
    )


class OptimumResult(Part):
    """Another minimum of χ² that a search has found, fitted at full resolution."""

    values: dict[str, float] = Field(description="All parameters by name, in their units.")
    excess: float = Field(description="Its χ² over that of the result, less one; weighted as the result is.")
    contender: bool = Field(description="Whether these data cannot decide against it.")


class SearchSummary(Part):
    """How the start values were found."""

    starts: int = Field(description="Independent starts.")
    agreed: int = Field(description="Starts that reached the best optimum.")
    gap: float | None = Field(
        description="Relative distance in χ² to the second-best distinct optimum on reduced data; null for none."
    )
    believed: bool | None = Field(
        description="Whether the residuals of the best optimum are at the noise level; null if that was not judged."
    )
    level: int = Field(description="Level of the reduced data on which optima were compared.")
    evaluations: int = Field(description="Evaluations of the model on reduced data.")
    seconds: float
    doubted: bool = Field(
        False,
        description="Whether there was a search because the given start values led to no optimum at the noise level.",
    )
    confirmed: bool = Field(
        False, description="Whether that search found no better optimum than the one the given start values lead to."
    )
    optima: list[OptimumResult] = Field(description="Distinct others that came close, best first.")


class LearnedSummary(Part):
    """What the learned start predicted, and what became of it."""

    model: str = Field(description="Version of the features and of the file format.")
    trained: str = Field(description="When the model was trained, ISO 8601.")
    experiments: int = Field(description="Simulated experiments behind the model.")
    own: int = Field(description="Fits of the user behind the model.")
    distance: float = Field(
        description="From the training data, in units of the distances between them; about 1 for familiar data."
    )
    limit: float = Field(description="Distance beyond which data count as unlike what was trained on.")
    outside: bool = Field(description="Whether they are: then the prediction was not used, and a search ran instead.")
    predicted: dict[str, float] = Field(description="The prediction itself: all parameters by name, in their units.")
    starts: int = Field(
        description="Start values, the prediction and others as wide as its doubt, that were looked at."
    )
    polished: int = Field(description="How many of them were polished on reduced data.")
    evaluations: int = Field(description="Evaluations of the model on reduced data for these.")
    sufficed: bool = Field(
        description="Whether they agreed on an optimum at the noise level; if not, a search followed."
    )
    winner: Literal["prediction", "spread", "history"] | None = Field(
        description="Where the start value that led to the best optimum came from: the prediction itself, the "
        "prediction with errors of similar experiments, or an earlier fit of the user; null if none of these did."
    )


class Memory(Part):
    """Memory of the run in bytes; null where it was not planned or not measured."""

    budget: int | None = Field(None, description="Of the whole run.")
    projected: int | None = Field(None, description="Expected peak of the whole run.")
    projected_worker: int | None = Field(None, description="Expected peak of one worker.")
    peak_worker: int | None = Field(None, description="Largest resident size of a worker, as the kernel counts it.")
    peak_client: int | None = Field(None, description="The same of the process that ran the fit.")
