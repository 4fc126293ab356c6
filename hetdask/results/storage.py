"""``result.zarr`` on disk: by zarr alone, since loading xarray takes longer than a small fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.results.dataset import LEFT, Contents, Variable, described
from hetdask.results.maps import AngleMaps, block_size, block_times, cut_frames
from hetdask.results.result import SCHEMA

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

METADATA: Final = "zarr.json"

MAP_NAMES: Final = {
    "data": "measured two-time correlation, block mean",
    "model": "fitted two-time correlation, block mean over the same pixels",
    "residual": "data - model",
}
CUT_NAMES: Final = {
    "cut_data": "measured two-time correlation against lag",
    "cut_model": "fitted two-time correlation against lag",
    "cut_pixels": "pixels in the mean at each lag",
}


def map_coordinates(time: Array, limit: int) -> dict[str, Variable]:
    """Axes of the block-averaged maps and of the cuts.

    Parameters
    ----------
    time : (N,) float64
        Frame times, s.
    limit : int
        Most blocks along one side of a map.
    """
    block = block_size(time.size, limit)
    centres = block_times(time, block)
    waiting = np.array([time[first:stop].mean() for first, stop in cut_frames(time.size)])
    return {
        "t1": described("t1", centres, "s", "time of the first frame of a pair", frames_per_block=block),
        "t2": described("t2", centres, "s", "time of the second frame of a pair", frames_per_block=block),
        "waiting_time": described("waiting_time", waiting, "s", "time of the first frame of a pair, mean of the cut"),
        "lag": described("lag", time - time[0], "s", "lag"),
    }


def write_contents(folder: Path, contents: Contents, maps: Iterable[AngleMaps] = (), limit: int = 0) -> None:
    """Write a Zarr v3 group that xarray opens; maps go to disk one by one as the iterable yields them.

    Parameters
    ----------
    folder : Path
        Must not exist.
    contents : Contents
    maps : iterable of AngleMaps
        One per map, in order; only used with a `limit`.
    limit : int
        Most blocks along one side of a map; 0 writes no maps.
    """
    coordinates = dict(contents.coordinates)
    if limit:
        coordinates |= map_coordinates(coordinates["time"].values, limit)
    beside = [name for name, one in coordinates.items() if one.dims != (name,)]
    attrs = contents.attrs | ({"coordinates": " ".join(beside)} if beside else {})
    group = zarr.create_group(folder, zarr_format=3, attributes=attrs)
    with warnings.catch_warnings():
        # Strings of one length are no part of the specification yet; xarray writes them in this way.
        warnings.simplefilter("ignore", zarr.errors.UnstableSpecificationWarning)
        for name, variable in (contents.variables | coordinates).items():
            _write(group, name, variable)
    if not limit:
        return
    size = {name: one.values.size for name, one in coordinates.items() if one.dims == (name,)}
    arrays = {}
    for names, dims in ((MAP_NAMES, ("phi", "t1", "t2")), (CUT_NAMES, ("phi", "waiting_time", "lag"))):
        shape = tuple(size[dim] for dim in dims)
        for name, long_name in names.items():
            arrays[name] = group.create_array(
                name,
                shape=shape,
                chunks=(1, *shape[1:]),
                dtype="int32" if name == "cut_pixels" else "float32",
                fill_value=0 if name == "cut_pixels" else float("nan"),
                dimension_names=dims,
                attributes={"units": "", "long_name": long_name},
            )
    for index, reduced in enumerate(maps):
        for name, array in arrays.items():
            array[index] = getattr(reduced, name)


def _write(group: zarr.Group, name: str, variable: Variable) -> None:
    """Write a variable as one chunk, maps as one each."""
    values = np.asarray(variable.values)
    chunks = (1, *values.shape[1:]) if values.ndim > 2 else values.shape
    options: dict[str, Any] = {"fill_value": float("nan")} if values.dtype.kind == "f" else {}
    group.create_array(
        name,
        data=values,
        chunks=tuple(max(n, 1) for n in chunks),
        dimension_names=variable.dims,
        attributes=dict(variable.attrs),
        **options,
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what zarr raises for files that are damaged or can't be read into a `DataError` that says what is left."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path} can't be read, it may be damaged ({reason}); {LEFT}") from error


class StoredArray:
    """An array on disk that is read where it is indexed."""

    def __init__(self, path: Path, array: zarr.Array[Any]) -> None:
        self.shape = array.shape
        self._path, self._array = path, array

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with _reading(self._path):
            return np.asarray(self._array[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)


def read_contents(group: Path) -> Contents:
    """What a result.zarr holds: maps and cuts are read when they are indexed, everything else now.

    Raises
    ------
    DataError
        If it is damaged; of maps and cuts when they are indexed.
    """
    parts: tuple[dict[str, Variable], dict[str, Variable]] = ({}, {})
    with _reading(group):
        for path in group.iterdir():
            if path.is_dir() and not (path / METADATA).is_file():
                raise FileNotFoundError(f"{path.name} has no {METADATA}")
        opened = zarr.open_group(group, mode="r")
        attrs = dict(opened.attrs)
        if attrs.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {attrs.get('schema')!r}, expected {SCHEMA!r}")
        beside = str(attrs.pop("coordinates", "")).split()
        for name, array in opened.arrays():
            dims: tuple[str, ...] = tuple(getattr(array.metadata, "dimension_names", None) or ())
            stored: Any = StoredArray(group / name, array)
            values = stored if array.ndim > 2 else stored[...]
            parts[dims == (name,) or name in beside][name] = Variable(dims, values, dict(array.attrs))
    return Contents(*parts, attrs)


def open_dataset(group: Path) -> xr.Dataset:
    """Open a result.zarr in xarray; values are read when they are used.

    Raises
    ------
    DataError
        If it is damaged; of values that are read later xarray tells.
    """
    import xarray as xr

    with _reading(group):
        dataset: xr.Dataset = xr.open_zarr(group, consolidated=False, chunks=None)
    return dataset
