"""The learned start: an ensemble of networks from features to coordinates, and where it may be believed.

A prediction is no single answer: two motions may look alike. So the errors of similar held-out experiments, those for
which the same was predicted, are added to it one by one, which gives a set of start values as wide as the doubt.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

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
type Origin = Literal["prediction", "spread", "history"]
type OnStep = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what they are."""

FORMAT: Final = f"{VERSION}.1"
"""Of the features and of the file; models of another one are trained again."""

EXPERIMENTS: Final = 16_000
BATCH: Final = 100
"""Simulated experiments, and how many of them one task simulates."""

HELD_OUT: Final = 0.1
"""Share of the batches that no network sees."""

NETWORKS: Final = 4
HIDDEN: Final = (256, 128)
COMPONENTS: Final = 200
"""Principal components of the features that the networks see."""

STARTS: Final = 96
"""Start values for a data set."""

OWN_STARTS: Final = 12
"""More of them from the user's own fits, at most."""

KNOWN: Final = 4000
LOOK: Final = 24
NEIGHBOURS: Final = 20
"""Training data that a new data set is compared with, in how many principal components, and with how many of them."""

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
        mean = _mean(self.networks, scores)[0]
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
        distance = float(_distances(self.known, scores)[0])
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
    features, wanted = (np.concatenate(x) for x in zip(*rest, strict=True))
    simulated = len(features)
    features, wanted = _with_own(features, wanted, conditions, history)
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
    known = LocalOutlierFactor(n_neighbors=NEIGHBOURS, algorithm="brute", novelty=True)
    chosen = np.r_[0 : simulated : max(1, simulated // KNOWN), simulated : len(scores) : OWN_WEIGHT]
    known.fit(scores[chosen, :LOOK])
    seen = components.transform(unseen)
    predicted = _mean(networks, seen)
    return StartModel(
        conditions=conditions,
        components=components,
        networks=tuple(networks),
        scale=scale,
        range=np.stack([features[:, -N_CONDITIONS:].min(axis=0), features[:, -N_CONDITIONS:].max(axis=0)]),
        known=known,
        limit=float(np.quantile(_distances(known, seen), 1.0 - FALSE_ALARMS)),
        predicted=predicted.astype(np.float32),
        truth=(truth / scale).astype(np.float32),
        validation=_validate(predicted * scale, truth, wanted.mean(axis=0), conditions),
        experiments=batches * BATCH,
        own=len(history),
        trained=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _mean(networks: Sequence[MLPRegressor], scores: NDArray[Any]) -> Array:
    """Mean prediction of the networks (rows, targets), over the scale of the targets."""
    return np.asarray(np.mean([network.predict(scores) for network in networks], axis=0), dtype=np.float64)


def _distances(known: LocalOutlierFactor, scores: NDArray[Any]) -> Array:
    """How much farther data are from the nearest training data than these are from each other, (rows,)."""
    return -np.asarray(known.score_samples(scores[:, :LOOK]), dtype=np.float64)


def _network(scores: NDArray[np.float32], wanted: Array, seed: int) -> MLPRegressor:
    network = MLPRegressor(
        hidden_layer_sizes=HIDDEN,
        learning_rate_init=1.5e-3,
        alpha=1.0,
        max_iter=12,
        early_stopping=True,
        n_iter_no_change=3,
        random_state=seed,
    )
    with warnings.catch_warnings(), threadpool_limits(1):
        # Minibatches are too small for several threads, whose sums vary besides. Stopping after some epochs is what
        # keeps training short; held-out data show how good it is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(scores, wanted.astype(np.float32))


def _with_own(features: Array, wanted: Array, conditions: Conditions, history: Sequence[Record]) -> tuple[Array, Array]:
    """Training rows with those of the user's own data."""
    for record in history:
        if record.has_features and record.features is not None and record.direction is not None:
            time_axis = record.time_origin + record.dt * np.arange(record.frames, dtype=np.float64)
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
