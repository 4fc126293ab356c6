"""Training of the learned start: on simulated experiments, and on the user's own fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from hetdask.fitting.coordinates import make_coordinates
from hetdask.learn.features import N_CONDITIONS
from hetdask.learn.history import Record
from hetdask.learn.model import LOOK, StartModel, Validation, distances, mean_prediction
from hetdask.learn.simulated import Conditions, simulate, targets
from hetdask.model.parameters import NAMES
from hetdask_cluster.runner import InlineRunner

if TYPE_CHECKING:
    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]
type OnStep = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what they are."""

EXPERIMENTS: Final = 16_000
BATCH: Final = 100
"""Simulated experiments, and how many of them one task simulates."""

HELD_OUT: Final = 0.1
"""Share of the batches that no network sees."""

NETWORKS: Final = 4
HIDDEN: Final = (256, 128)
COMPONENTS: Final = 200
"""Principal components of the features that the networks see."""

KNOWN: Final = 4000
NEIGHBOURS: Final = 20
"""Training data that a new data set is compared with, and with how many of them."""

FALSE_ALARMS: Final = 0.003
"""Share of held-out data that count as unlike the training data: this sets the limit."""

OWN_WEIGHT: Final = 20
"""Simulated rows that one of the user's own data sets outweighs."""


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
    predicted = mean_prediction(networks, seen)
    return StartModel(
        conditions=conditions,
        components=components,
        networks=tuple(networks),
        scale=scale,
        range=np.stack([features[:, -N_CONDITIONS:].min(axis=0), features[:, -N_CONDITIONS:].max(axis=0)]),
        known=known,
        limit=float(np.quantile(distances(known, seen), 1.0 - FALSE_ALARMS)),
        predicted=predicted.astype(np.float32),
        truth=(truth / scale).astype(np.float32),
        validation=_validate(predicted * scale, truth, wanted.mean(axis=0), conditions),
        experiments=batches * BATCH,
        own=len(history),
        trained=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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
