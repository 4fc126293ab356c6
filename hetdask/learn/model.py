"""The learned start: an ensemble of networks from features to coordinates, and where it may be believed.

A prediction is no single answer: two motions may look alike. So the errors of similar held-out experiments, those for
which the same was predicted, are added to it one by one, which gives a set of start values as wide as the doubt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline

from hetdask.data.reduction import Reduced
from hetdask.errors import DataError
from hetdask.fitting.coordinates import make_coordinates
from hetdask.fitting.problem import Problem
from hetdask.learn.features import N_CONDITIONS, VERSION, features_of
from hetdask.learn.history import Record
from hetdask.learn.simulated import Conditions, coordinates_from
from hetdask.model.parameters import NAMES
from hetdask.passes.tiles import Series

Array = NDArray[np.float64]
type Origin = Literal["prediction", "spread", "history"]

FORMAT: Final = f"{VERSION}.1"
"""Of the features and of the file; models of another one are trained again."""

STARTS: Final = 96
"""Start values for a data set."""

OWN_STARTS: Final = 12
"""More of them from the user's own fits, at most."""

LOOK: Final = 24
"""Principal components in which a data set is compared with those that were trained on."""

TRUSTED: Final = ("sklearn.neural_network._stochastic_optimizers.AdamOptimizer",)
"""Beyond what skops takes for safe."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How well held-out data were predicted: for a coordinate the median error, and that of the mean as a guess."""

    name: str
    median_error: float
    without_data: float


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Start values for one data set.

    Attributes
    ----------
    starts : (k, 14) float64
        Inside the bounds, the most promising first: the prediction itself, then in turns an earlier fit of the user and
        the prediction with the errors of a similar experiment.
    origins : tuple of str
        Where each comes from: "prediction", "spread" or "history".
    distance, limit : float
        From the nearest training data, in units of their distances from each other, and beyond which the data are
        unlike all of them.
    experiments, own : int
        Simulated experiments and fits of the user behind it.
    trained : str
        When, ISO 8601.
    """

    starts: Array
    origins: tuple[Origin, ...]
    distance: float
    limit: float
    experiments: int
    own: int
    trained: str

    @property
    def version(self) -> str:
        """Of features and file format."""
        return FORMAT

    @property
    def outside(self) -> bool:
        """Whether the data are unlike anything that was trained on."""
        return self.distance > self.limit

    @property
    def message(self) -> str:
        """In a sentence, for the user."""
        if self.outside:
            return (
                f"the data are unlike those that the learned start was trained on (distance {self.distance:.2f}, limit "
                f"{self.limit:.2f}): its start values are not used"
            )
        return f"the learned start knows such data (distance {self.distance:.2f}, limit {self.limit:.2f})"


@dataclass(frozen=True, slots=True, eq=False)
class StartModel:
    """Predicts start values from reduced data.

    Attributes
    ----------
    conditions : Conditions
        Under which the training data were drawn.
    components : Pipeline
        Features to standardised principal components.
    networks : tuple of MLPRegressor
    scale : (targets,) float64
        Of each target.
    range : (2, N_CONDITIONS) float64
        Smallest and largest conditions of the training data; others are taken to be at the edge.
    known : LocalOutlierFactor
        Some training data, to tell which data are unlike them.
    limit : float
        Distance from these at which that is so.
    predicted, truth : (m, targets) float32
        Of held-out experiments, over `scale`.
    validation : tuple of Validation
    experiments, own : int
        Simulated experiments and fits of the user behind it.
    trained : str
        When, ISO 8601.
    """

    conditions: Conditions
    components: Pipeline
    networks: tuple[MLPRegressor, ...]
    scale: Array
    range: Array
    known: LocalOutlierFactor
    limit: float
    predicted: NDArray[np.float32]
    truth: NDArray[np.float32]
    validation: tuple[Validation, ...]
    experiments: int
    own: int
    trained: str

    def predict(self, series: Series, reduced: Reduced, problem: Problem, history: Sequence[Record] = ()) -> Prediction:
        """Start values for reduced data, the finer the better, within the bounds of a problem.

        Those records of a history whose data looked most similar give further ones.
        """
        features, direction = features_of(series, reduced)
        features[-N_CONDITIONS:] = np.clip(features[-N_CONDITIONS:], *self.range)
        scores = self.components.transform(features[None])
        mean = mean_prediction(self.networks, scores)[0]
        similar = np.argsort(np.linalg.norm(self.predicted - mean, axis=1), kind="stable")[: STARTS - 1]
        each = np.vstack([mean[None], mean + self.truth[similar] - self.predicted[similar]]) * self.scale
        ours = make_coordinates(self.conditions.problem, series.time, series.q)
        theirs = make_coordinates(problem, series.time, series.q)
        free = list(problem.free)
        predicted, *spread = (
            ours.decode(np.clip(coordinates_from(y, ours.names, direction), ours.lower, ours.upper)) for y in each
        )
        fits = (np.array([x.parameters[name] for name in NAMES]) for x in self._similar(scores[0], history))
        earlier: list[tuple[Origin, Array]] = [("history", vector) for vector in fits]
        doubtful: list[tuple[Origin, Array]] = [("spread", vector) for vector in spread]
        others = (one for pair in zip_longest(earlier, doubtful) for one in pair if one is not None)
        turns: list[tuple[Origin, Array]] = [("prediction", predicted), *others]
        starts = []
        for _, vector in turns:
            x = theirs.encode(problem.vector(vector[free]))
            starts.append(theirs.decode(np.clip(x, theirs.lower, theirs.upper)))
        origins = tuple(origin for origin, _ in turns)
        distance = float(distances(self.known, scores)[0])
        return Prediction(np.array(starts), origins, distance, self.limit, self.experiments, self.own, self.trained)

    def _similar(self, scores: Array, history: Sequence[Record]) -> list[Record]:
        """Records of data most similar to those with these principal components; the latest of those without data."""
        seen = [x for x in history if x.has_features]
        rest = [x for x in history if not x.has_features][::-1]
        if seen:
            features = np.array([x.features for x in seen])
            features[:, -N_CONDITIONS:] = np.clip(features[:, -N_CONDITIONS:], *self.range)
            away = np.linalg.norm((self.components.transform(features) - scores)[:, :LOOK], axis=1)
            seen = [seen[k] for k in np.argsort(away, kind="stable")]
        return (seen[:OWN_STARTS] + rest)[:OWN_STARTS]

    def save(self, path: Path) -> None:
        """Write to a file, all at once.

        Raises
        ------
        DataError
            If it can't be written.
        """
        from skops.io import dump

        problem = self.conditions.problem
        content = {
            "problem": {name: getattr(problem, name) for name in ("start", "lower", "upper", "free", "sigma")},
            "conditions": {
                name: getattr(self.conditions, name) for name in ("frames", "q", "length", "origins", "phi")
            },
            "validation": [asdict(x) for x in self.validation],
        }
        content |= {name: getattr(self, name) for name in PLAIN}
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            dump(content, temporary)
            temporary.replace(path)
        except OSError as error:
            raise DataError(
                f"can't keep the learned start in {path} ({error.strerror}): set HETDASK_CACHE to a folder that can be "
                "written"
            ) from error

    @staticmethod
    def load(path: Path) -> StartModel:
        """Read what `save` wrote; nothing in the file can run code.

        Raises
        ------
        DataError
            If the file is damaged or holds what does not belong there.
        """
        from skops.io import load

        try:
            content: dict[str, Any] = load(path, trusted=list(TRUSTED))
            return StartModel(
                conditions=Conditions(Problem(**content["problem"]), **content["conditions"]),
                validation=tuple(Validation(**x) for x in content["validation"]),
                **{name: content[name] for name in PLAIN},
            )
        except Exception as error:  # a damaged file fails in any way
            raise DataError(
                f"can't read the learned start in {path} ({error}): delete it, or train again with "
                "`hetdask history train`"
            ) from error


PLAIN: Final = (
    *(
        "components",
        "networks",
        "scale",
        "range",
        "known",
        "limit",
        "predicted",
        "truth",
        "experiments",
        "own",
        "trained",
    ),
)
"""Attributes of a model that are kept as they are."""


def mean_prediction(networks: Sequence[MLPRegressor], scores: NDArray[Any]) -> Array:
    """Mean prediction of the networks (rows, targets), over the scale of the targets."""
    return np.asarray(np.mean([network.predict(scores) for network in networks], axis=0), dtype=np.float64)


def distances(known: LocalOutlierFactor, scores: NDArray[Any]) -> Array:
    """How much farther data are from the nearest training data than these are from each other, (rows,)."""
    return -np.asarray(known.score_samples(scores[:, :LOOK]), dtype=np.float64)
