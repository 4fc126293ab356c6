"""The learned start: an ensemble of networks from features to coordinates, and where it may be believed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from hetdask.data.reduction import Reduced
from hetdask.errors import DataError
from hetdask.fitting.coordinates import make_coordinates
from hetdask.fitting.problem import Problem
from hetdask.learn.features import N_CONDITIONS, VERSION, features_of
from hetdask.learn.history import Record
from hetdask.learn.simulated import Conditions, coordinates_from, simulate, targets
from hetdask.model.parameters import NAMES
from hetdask.passes.tiles import Series
from hetdask_cluster.runner import InlineRunner

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]
type OnStep = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what they are."""

FORMAT: Final = f"{VERSION}.1"
"""Of the features and of the file; models of another one are trained again."""

EXPERIMENTS: Final = 12_000
BATCH: Final = 100
"""Simulated experiments, and how many of them one task simulates."""

HELD_OUT: Final = 0.1
"""Share of the batches that no network sees."""

NETWORKS: Final = 4
HIDDEN: Final = (512, 256)
COMPONENTS: Final = 200
"""Principal components of the features that the networks see."""

KNOWN: Final = 4000
LOOK: Final = 24
"""Training data that a new data set is compared with, and in how many principal components."""

FALSE_ALARMS: Final = 0.003
"""Share of held-out data that count as unlike the training data: this sets the limit."""

OWN_WEIGHT: Final = 20
"""Simulated rows that one of the user's own data sets outweighs."""

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
        Inside the bounds; the mean of the networks first, then each network's own: they differ where the data leave
        room.
    distance, limit : float
        From the nearest training data, and beyond which the data are unlike all of them.
    """

    starts: Array
    distance: float
    limit: float

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
    known : NearestNeighbors
        Some training data, to tell which data are unlike them.
    limit : float
        Distance from these at which that is so.
    validation : tuple of Validation
    experiments, own : int
        Simulated experiments and fits of the user behind it.
    """

    conditions: Conditions
    components: Pipeline
    networks: tuple[MLPRegressor, ...]
    scale: Array
    range: Array
    known: NearestNeighbors
    limit: float
    validation: tuple[Validation, ...]
    experiments: int
    own: int

    def predict(self, series: Series, reduced: Reduced, problem: Problem) -> Prediction:
        """Start values for reduced data, the finer the better, within the bounds of a problem."""
        features, direction = features_of(series, reduced)
        features[-N_CONDITIONS:] = np.clip(features[-N_CONDITIONS:], *self.range)
        scores = self.components.transform(features[None])
        distance = float(self.known.kneighbors(scores[:, :LOOK])[0][0, 0])
        each = np.concatenate([network.predict(scores) for network in self.networks]) * self.scale
        ours = make_coordinates(self.conditions.problem, series.time, series.q)
        theirs = make_coordinates(problem, series.time, series.q)
        free = list(problem.free)
        starts = []
        for y in (each.mean(axis=0), *each):
            x = np.clip(coordinates_from(y, ours.names, direction), ours.lower, ours.upper)
            vector = problem.vector(ours.decode(x)[free])
            starts.append(theirs.decode(np.clip(theirs.encode(vector), theirs.lower, theirs.upper)))
        return Prediction(np.array(starts), distance, self.limit)

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
            "format": FORMAT,
            "problem": {name: getattr(problem, name) for name in ("start", "lower", "upper", "free", "sigma")},
            "conditions": {name: getattr(self.conditions, name) for name in ("frames", "q", "length", "origins", "phi")},
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
            If the file is damaged, of another format, or holds what does not belong there.
        """
        from skops.io import load

        try:
            content: dict[str, Any] = load(path, trusted=list(TRUSTED))
            found = content["format"]
            if found != FORMAT:
                raise DataError(f"{path} has format {found}, expected {FORMAT}: train again with `hetdask history train`")
            return StartModel(
                conditions=Conditions(Problem(**content["problem"]), **content["conditions"]),
                validation=tuple(Validation(**x) for x in content["validation"]),
                **{name: content[name] for name in PLAIN},
            )
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 (a damaged file fails in any way)
            raise DataError(
                f"can't read the learned start in {path} ({error}): delete it, or train again with "
                "`hetdask history train`"
            ) from error


PLAIN: Final = ("components", "networks", "scale", "range", "known", "limit", "experiments", "own")
"""Attributes of a model that are kept as they are."""


def train(
    conditions: Conditions,
    history: Sequence[Record] = (),
    *,
    runner: Runner | None = None,
    experiments: int = EXPERIMENTS,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> StartModel:
    """Train on simulated experiments, and on the user's own fits where there are any.

    Parameters
    ----------
    conditions : Conditions
    history : sequence of Record, optional
        Half of the experiments are drawn around them; those with features are also learned from directly.
    runner : Runner, optional
        Where experiments are simulated; default in this process.
    experiments : int
    seed : int
    on_step : callable, optional
    """
    runner = runner or InlineRunner()
    said = on_step or (lambda *_: None)
    batches = max(2, round(experiments / BATCH))
    steps = batches + NETWORKS
    done = 0

    def step(*_: Any) -> None:
        nonlocal done
        done += 1
        said(done, steps, "simulated batches" if done <= batches else "networks")

    # Features of a record are none of the simulation's business: they would travel with every task.
    bare = [record.model_copy(update={"features": None}) for record in history]
    seeds = [(seed, index) for index in range(batches)]
    parts = runner.map(simulate, seeds, BATCH, conditions, bare, on_done=step)
    first = max(1, round(HELD_OUT * batches))
    held, rest = parts[:first], parts[first:]
    features, wanted = _with_own(*(np.concatenate(x) for x in zip(*rest, strict=True)), conditions, history)
    unseen, truth = (np.concatenate(x) for x in zip(*held, strict=True))
    scale = np.maximum(wanted.std(axis=0), 1e-6)
    components = make_pipeline(
        StandardScaler(), PCA(min(COMPONENTS, len(features) // 2), svd_solver="covariance_eigh")
    ).set_output(transform="default")
    scores = components.fit_transform(features).astype(np.float32)
    networks = []
    for index in range(NETWORKS):
        networks.append(_network(scores, wanted / scale, seed + index))
        step()
    known = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(scores[:: max(1, len(scores) // KNOWN), :LOOK])
    seen = components.transform(unseen)
    distances = known.kneighbors(seen[:, :LOOK])[0][:, 0]
    predicted = np.mean([network.predict(seen) for network in networks], axis=0) * scale
    return StartModel(
        conditions=conditions,
        components=components,
        networks=tuple(networks),
        scale=scale,
        range=np.stack([features[:, -N_CONDITIONS:].min(axis=0), features[:, -N_CONDITIONS:].max(axis=0)]),
        known=known,
        limit=float(np.quantile(distances, 1.0 - FALSE_ALARMS)),
        validation=_validate(predicted, truth, wanted.mean(axis=0), conditions),
        experiments=batches * BATCH,
        own=len(history),
    )


def _network(scores: NDArray[np.float32], wanted: Array, seed: int) -> MLPRegressor:
    network = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        learning_rate_init=1.5e-3,
        alpha=1e-3,
        max_iter=12,
        early_stopping=True,
        n_iter_no_change=3,
        random_state=seed,
    )
    with warnings.catch_warnings():
        # Stopping after some epochs is what keeps training short; held-out data show how good it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(scores, wanted.astype(np.float32))


def _with_own(
    features: Array, wanted: Array, conditions: Conditions, history: Sequence[Record]
) -> tuple[Array, Array]:
    """Training rows with those of the user's own data."""
    for record in history:
        if record.has_features and record.features is not None and record.direction is not None:
            time_axis = record.time_origin + record.dt * np.arange(record.frames)
            coordinates = make_coordinates(conditions.problem, time_axis, record.q)
            vector = coordinates.canonical(np.array([record.parameters[name] for name in NAMES]))
            y = targets(coordinates.encode(vector), coordinates.names, record.direction)
            features = np.vstack([features, *[np.array(record.features)] * OWN_WEIGHT])
            wanted = np.vstack([wanted, *[y] * OWN_WEIGHT])
    return features, wanted


def _validate(predicted: Array, truth: Array, guess: Array, conditions: Conditions) -> tuple[Validation, ...]:
    names = make_coordinates(conditions.problem, np.arange(1.0, 101.0), 1.0).names
    found = []
    for k, name in enumerate(names):
        if name == "direction":
            error, blind = (np.abs(_angle(y[:, -2:]) - _angle(truth[:, -2:])) for y in (predicted, guess[None]))
            error, blind = (np.minimum(x, np.pi - x) for x in (error, blind))
        else:
            error, blind = np.abs(predicted[:, k] - truth[:, k]), np.abs(guess[k] - truth[:, k])
        found.append(Validation(name, float(np.median(error)), float(np.median(blind))))
    return tuple(found)


def _angle(y: Array) -> Array:
    return np.asarray(0.5 * np.arctan2(y[:, 1], y[:, 0]) % np.pi)
