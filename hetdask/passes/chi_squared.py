"""χ² of a store at given parameters, one vector or many, with gradient and Gauss-Newton matrix, in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.compilation import explained
from hetdask.data.store import Store
from hetdask.errors import ConfigError
from hetdask.model.correlation import Parameters
from hetdask.model.parameters import NAMES, as_vector
from hetdask.passes.normal import NormalSums, project
from hetdask.passes.run import Passes
from hetdask_cluster.runner import as_runner

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client

    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ChiSquared:
    """χ² with the best contrast and offset of each angle, and its derivatives.

    Attributes
    ----------
    value : float
        Σ over angles of sum_squares/sigma².
    gradient : (14,) float64
        Derivative of `value` with respect to every parameter, in the order of `hetdask.model.NAMES`.
    gauss_newton : (14, 14) float64
        Gauss-Newton approximation of the Hessian of `value`.
    contrast, offset : (n_phi,) float64
    sum_squares : (n_phi,) float64
        Squared residuals of each angle, in units of c2.
    n_points : int
        Pixels: pairs i < j of valid frames, each once.
    """

    value: float
    gradient: Array
    gauss_newton: Array
    contrast: Array
    offset: Array
    sum_squares: Array
    n_points: int

    def __float__(self) -> float:
        return self.value


def noise_levels(store: Store, sigma: ArrayLike | None) -> Array:
    """Noise per angle (n_phi,): as given, or the store's estimate of the white noise.

    Raises
    ------
    ConfigError
        For a sigma that is not positive or of the wrong length.
    """
    values = store.noise if sigma is None else np.asarray(sigma, dtype=np.float64)
    if values.ndim > 1 or values.size not in (1, store.n_phi):
        raise ConfigError(f"found {values.size} values of sigma, expected one or one for each of {store.n_phi} angles")
    values = np.broadcast_to(values, (store.n_phi,)).astype(np.float64)
    if not (np.all(np.isfinite(values)) and np.all(values > 0.0)):
        raise ConfigError(
            f"sigma must be positive; found {values.min():g}. A map without any noise has no estimate: "
            "give one, for example sigma: 0.01"
        )
    return values


@explained()
def chi_squared(
    store: Store | str | Path,
    parameters: Parameters,
    *,
    sigma: ArrayLike | None = None,
    client: Client | Runner | None = None,
) -> ChiSquared:
    """χ² of a data set at full resolution, exact, with exact derivatives.

    Parameters
    ----------
    store : Store or path
    parameters : mapping or (14,) sequence
        Model parameters, see `hetdask.model.PARAMETERS`.
    sigma : float or (n_phi,) float64, optional
        Noise in units of c2; default the store's estimate from neighbouring pixels.
    client : distributed.Client, optional
        Where the shards are summed; default in this process.

    Returns
    -------
    ChiSquared

    Raises
    ------
    ConfigError, DataError, KernelError
    """
    vector = as_vector(parameters)
    passes, levels = _passes(store, sigma, client)
    return _chi_squared(passes, passes(vector, _ALL), levels)


@explained()
def chi_squared_scan(
    store: Store | str | Path,
    points: Iterable[Parameters],
    *,
    sigma: ArrayLike | None = None,
    client: Client | Runner | None = None,
) -> list[ChiSquared]:
    """χ² at many parameter vectors, as `chi_squared`, in one pass over the data: they are read once.

    Parameters
    ----------
    store : Store or path
    points : iterable of mappings or (14,) sequences
        Model parameters, such as the rows of a (K, 14) array.
    sigma, client
        As in `chi_squared`.

    Returns
    -------
    list of ChiSquared

    Raises
    ------
    ConfigError, DataError, KernelError

    Examples
    --------
    >>> around = [{**fitted, "v0": v0} for v0 in np.linspace(100.0, 140.0, 9)]  # doctest: +SKIP
    >>> [found.value for found in hetdask.chi_squared_scan(store, around)]  # doctest: +SKIP
    """
    vectors = np.array([as_vector(parameters) for parameters in points]).reshape(-1, len(NAMES))
    passes, levels = _passes(store, sigma, client)
    found = passes.batch(vectors, _ALL) if len(vectors) else []
    return [_chi_squared(passes, sums, levels) for sums in found]


_ALL: Final = tuple(range(len(NAMES)))


def _passes(store: Store | str | Path, sigma: ArrayLike | None, client: Client | Runner | None) -> tuple[Passes, Array]:
    """Passes that keep nothing, and the noise of each angle."""
    if not isinstance(store, Store):
        store = Store.open(store)
    return Passes(store, as_runner(client), resident_bytes=0), noise_levels(store, sigma)


def _chi_squared(passes: Passes, sums: NormalSums, levels: Array) -> ChiSquared:
    result = project(sums)
    value, gradient, gauss_newton = result.weighted(levels)
    return ChiSquared(
        value=value,
        gradient=2.0 * gradient,
        gauss_newton=2.0 * gauss_newton,
        contrast=result.contrast,
        offset=result.offset + passes.store.baseline,
        sum_squares=result.sum_squares,
        n_points=passes.n_points,
    )
