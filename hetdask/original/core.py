"""The engine of heterodyne-analysis by its names: configuration, data, model and χ²."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetdask.config import Settings
from hetdask.data.store import Store
from hetdask.errors import ConfigError
from hetdask.model.correlation import Parameters, correlation
from hetdask.options import open_data, problem_of
from hetdask.original.configuration import Config, Configuration
from hetdask.original.experiment import Folder, check_axis, maps_of
from hetdask.passes.chi_squared import chi_squared
from hetdask_cluster.runner import as_runner

if TYPE_CHECKING:
    from distributed import Client

    from hetdask_cluster.runner import Runner

Array = NDArray[np.float64]

CONFIG_FILE: Final = "heterodyne_config.json"
"""Read where no configuration is named, as there."""


class HeterodyneAnalysisCore:
    """Configuration and data of an experiment.

    Parameters
    ----------
    config_file : path, mapping or Settings, optional
        Native or of heterodyne-analysis. Without it and `config`, ``heterodyne_config.json``.
    config_override : mapping, optional
        Sections and keys that win over those of the configuration; in its format.
    config_path, config : optional
        Other names of `config_file`.
    client : distributed.Client, optional
        Where to compute. By default small data are fitted in this process, larger ones on a local cluster.

    Attributes
    ----------
    config : dict
        Content of the configuration; a dictionary that was given is kept, so that changes of it count.
    settings : Settings
        What it says now.
    dt : float
        Seconds between frames.
    time_length, n_time : int
        Frames.
    time_array : (N,) float64
        Times of the frames in s; the first is `data.time_origin`, 0 by default.
    wavevector_q : float
        1/Å.

    Raises
    ------
    ConfigError
        If the configuration is missing or not valid; defaults never take its place.

    Examples
    --------
    >>> core = HeterodyneAnalysisCore({"data": {"dt": 0.5, "q": 0.0054, "frames": [1, 4]}})
    >>> core.time_array.tolist(), core.calculate_heterodyne_correlation({"v0": 120.0}, 0.0).shape
    ([0.0, 0.5, 1.0, 1.5], (4, 4))
    """

    def __init__(
        self,
        config_file: Config | None = None,
        config_override: Mapping[str, Any] | None = None,
        config_path: Config | None = None,
        config: Config | None = None,
        *,
        client: Client | Runner | None = None,
    ) -> None:
        given = [one for one in (config_file, config_path, config) if one is not None]
        if len(given) > 1:
            raise ConfigError("config_file, config_path and config are names of the same: give one of them")
        self.configuration = Configuration(given[0] if given else CONFIG_FILE, config_override)
        self.client = client
        self.folder = Folder()
        self._opened: tuple[Settings, Store] | None = None
        self.configuration.settings()

    @property
    def config(self) -> dict[str, Any]:
        """Content of the configuration."""
        return self.configuration.content

    @property
    def settings(self) -> Settings:
        """What the configuration says now."""
        return self.configuration.settings()

    def open_store(self) -> Store:
        """Store of the data that the configuration names, ingested when it is first asked for.

        Raises
        ------
        ConfigError, DataError
            If it names none, or they can't be read.
        """
        settings = self.settings
        if self._opened is None or self._opened[0].data != settings.data:
            path, runner = self.folder.path, as_runner(self.client)
            self._opened = (
                settings,
                open_data(settings, folder=path, runner=runner, overwrite=settings.data.store is None),
            )
        return self._opened[1]

    def store_of(self, phi_angles: ArrayLike | None, c2_experimental: ArrayLike | None) -> Store:
        """Store of maps in memory, with dt, q and ranges of angles of the configuration; of its own data without any.

        Raises
        ------
        ConfigError, DataError
        """
        if c2_experimental is None:
            return self.open_store()
        return self.folder.store_of(c2_experimental, phi_angles, self.settings.data)

    @property
    def dt(self) -> float:
        """Seconds between frames."""
        dt = self.settings.data.dt
        return self.open_store().dt if dt is None else dt

    @property
    def time_length(self) -> int:
        """Frames: those that the configuration selects, else those of the data."""
        frames = self.settings.data.frames
        return self.open_store().n_frames if frames is None else frames[1] - frames[0] + 1

    n_time = time_length

    @property
    def time_array(self) -> Array:
        """Times of the frames, (N,) s."""
        return self.settings.data.time_origin + self.dt * np.arange(self.time_length, dtype=np.float64)

    @property
    def wavevector_q(self) -> float:
        """The wavevector, 1/Å.

        Raises
        ------
        ConfigError
            If there are several.
        """
        q = self.settings.data.q
        values = np.unique(self.open_store().q if q is None or isinstance(q, str) else q)
        if values.size > 1:
            raise ConfigError(f"the maps have {values.size} wavevectors, expected one: use hetdask.correlation")
        return float(values[0])

    def load_experimental_data(self) -> tuple[Array, int, Array, int]:
        """All maps, as `load_xpcs_data` returns them.

        Raises
        ------
        ConfigError, DataError
        """
        store = self.open_store()
        return maps_of(store), store.n_frames, store.phi.copy(), store.n_phi

    def calculate_heterodyne_correlation(self, parameters: Parameters, phi_angle: float) -> Array:
        """Normalised correlation g, (N, N), at one angle in degrees; see `hetdask.correlation`."""
        return correlation(parameters, self.time_array, [phi_angle], self.wavevector_q).reshape(2 * (self.time_length,))

    def calculate_c2_heterodyne_parallel(self, parameters: Parameters, phi_angles: ArrayLike) -> Array:
        """Normalised correlation g, (n_phi, N, N), without contrast and offset; see `hetdask.correlation`."""
        return correlation(parameters, self.time_array, phi_angles, self.wavevector_q)

    def calculate_chi_squared_optimized(
        self,
        parameters: Parameters,
        phi_angles: ArrayLike | None = None,
        c2_experimental: ArrayLike | None = None,
        *,
        return_components: bool = False,
    ) -> float | dict[str, Any]:
        """Reduced χ² of maps at given parameters, with the best contrast and offset of each.

        Every pixel above the diagonal counts once, with the white noise of its map (`fit.sigma`) as its error.

        Parameters
        ----------
        parameters : (14,) float or mapping
        phi_angles : (n_phi,) float
            Degrees.
        c2_experimental : (n_phi, N, N) float
        return_components : bool
            Return a dictionary: chi_squared (the sum), reduced_chi_squared, reduced_chi_squared_std and
            reduced_chi_squared_uncertainty (over the angles), n_optimization_angles, degrees_of_freedom,
            angle_chi_squared, angle_chi_squared_reduced, angle_data_points, phi_angles, scaling_solutions (contrast and
            offset of each angle) and valid.

        Raises
        ------
        ConfigError, DataError
        """
        store, settings = self.store_of(phi_angles, c2_experimental), self.settings
        problem = problem_of(settings, store)
        found = chi_squared(store, parameters, sigma=problem.sigma, client=self.client)
        dof = found.n_points - len(problem.free) - 2 * store.n_phi
        if not return_components:
            return found.value / dof
        points = store.tile_count.reshape(store.n_phi, -1).sum(axis=1)
        each = found.sum_squares / problem.sigma**2
        reduced = each / (points - 2 - len(problem.free) / store.n_phi)
        spread = float(np.std(reduced, ddof=1)) if store.n_phi > 1 else 0.0
        return {
            "chi_squared": found.value,
            "reduced_chi_squared": found.value / dof,
            "reduced_chi_squared_uncertainty": spread / np.sqrt(store.n_phi),
            "reduced_chi_squared_std": spread,
            "n_optimization_angles": store.n_phi,
            "degrees_of_freedom": dof,
            "angle_chi_squared": each,
            "angle_chi_squared_reduced": reduced,
            "angle_data_points": points.tolist(),
            "phi_angles": store.phi.tolist(),
            "scaling_solutions": np.stack([found.contrast, found.offset], axis=1).tolist(),
            "valid": True,
        }

    def fit(
        self,
        c2_data: ArrayLike | None = None,
        angles: ArrayLike | None = None,
        t1_array: ArrayLike | None = None,
        t2_array: ArrayLike | None = None,
    ) -> dict[str, Any]:
        """Classical fit of maps; see `ClassicalOptimizer.optimize`."""
        from hetdask.original.optimizers import ClassicalOptimizer

        return dict(ClassicalOptimizer(self).optimize(c2_data, angles, t1_array, t2_array))

    def check_axes(self, t1_array: ArrayLike | None, t2_array: ArrayLike | None) -> None:
        """Refuse times that are not those of the configuration.

        Raises
        ------
        ConfigError
        """
        for name, times in (("t1_array", t1_array), ("t2_array", t2_array)):
            check_axis(name, times, self.dt, self.settings.data.time_origin)


def load_xpcs_data(config_path: Config) -> tuple[Array, int, Array, int]:
    """Maps that a configuration names, in memory.

    For data that do not fit into memory there is `hetdask.ingest`; a fit does not need the maps in memory.

    Parameters
    ----------
    config_path : path, mapping or Settings

    Returns
    -------
    c2_experimental : (n_phi, N, N) float64
        Selected frames and angles: symmetric, the diagonal from its neighbours, NaN where a frame or pixel is no data.
    time_length : int
        N.
    phi_angles : (n_phi,) float64
        Degrees.
    num_angles : int

    Raises
    ------
    ConfigError, DataError
    """
    return HeterodyneAnalysisCore(config_path).load_experimental_data()
