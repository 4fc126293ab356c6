"""Results in the formats of other programs: NPZ with the keys of heterodyne-analysis, and CSV tables."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import DataError
from hetdask.results.files import replacing_file, write_text, writing
from hetdask.results.maps import symmetric
from hetdask.results.result import Result
from hetdask.results.values import AngleResult
from hetdask.results.wording import parameter_note

if TYPE_CHECKING:
    from hetdask.data.store import Store

Array = NDArray[np.float64]

NPZ_FILE: Final = "fitted_data.npz"
"""The name that heterodyne-analysis uses."""

PARAMETERS_FILE: Final = "parameters.csv"
ANGLES_FILE: Final = "angles.csv"

type Maps = Callable[[], Iterable[Array]]
"""Maps (N, N) one after the other; called once for each pass over them."""


def stream_npz(path: Path, small: Mapping[str, object], maps: Mapping[str, Maps], shape: tuple[int, ...]) -> Path:
    """Write an NPZ file map by map, so that it never needs more memory than a few maps; returns `path`.

    Parameters
    ----------
    path : Path
        Written under a temporary name and moved into place.
    small : mapping of str to array_like
    maps : mapping of str to callable
        Large arrays of `shape`, float64.
    shape : tuple of int
        (n_phi, N, N).
    """
    with replacing_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, values in small.items():
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(values), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())
        for name, read in maps.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_maps(file, read(), shape)
    return path


def _write_maps(file: IO[bytes], maps: Iterable[Array], shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    for one in maps:
        file.write(np.ascontiguousarray(one, dtype="<f8").tobytes())


def write_npz(result: Result, path: Path, *, reduced: bool = False) -> Path:
    """Write data, model and residual as ``fitted_data.npz`` of heterodyne-analysis has them; returns `path`.

    See `Result.to_npz`.
    """
    small = _scalars(result)
    maps, n_frames, block = _reduced(result) if reduced else _full(result)
    small |= {"time_length": n_frames, "dt": result.dt * block, "frames_per_cell": block}
    with writing(path.absolute().parent):
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        return stream_npz(path, small, maps, (len(result.angles), n_frames, n_frames))


def _scalars(result: Result) -> dict[str, object]:
    frames = _frames(result)
    missing = float("nan")
    q = np.array([angle.q for angle in result.angles])
    return {
        # One number where the maps share it, as scripts expect.
        "wavevector_q": q[0] if np.all(q == q[0]) else q,
        "stator_rotor_gap": missing,
        "start_frame": frames[0],
        "end_frame": frames[1],
        "phi_angles": [angle.phi for angle in result.angles],
        "contrast_params": [missing if angle.contrast is None else angle.contrast for angle in result.angles],
        "offset_params": [missing if angle.offset is None else angle.offset for angle in result.angles],
        "parameter_names": list(result.parameters),
        "parameters": [parameter.value for parameter in result.parameters.values()],
        "stderr": [missing if one.stderr is None else one.stderr for one in result.parameters.values()],
        "time_origin": result.time_origin,
    }


def _frames(result: Result) -> tuple[int, int]:
    """First and last frame, counted from 1, as the ingest has recorded them."""
    selection = result.provenance.get("selection")
    frames = selection.get("frames") if isinstance(selection, dict) else None
    if isinstance(frames, list) and len(frames) == 2 and all(isinstance(frame, int) for frame in frames):
        return int(str(frames[0])), int(str(frames[1]))
    return 1, result.n_frames


def _reduced(result: Result) -> tuple[dict[str, Maps], int, int]:
    """Block means from the run folder: maps, their side, and frames per block."""
    contents = result.contents()
    if "data" not in contents:
        raise DataError(
            "this result holds no maps to export: load it from its run folder, such as Result.load('runs/sample-1')"
        )

    def read(name: str) -> Iterator[Array]:
        for angle in range(contents.sizes["phi"]):
            yield symmetric(contents[name][angle])

    def unscaled() -> Iterator[Array]:
        for angle, one in zip(result.angles, read("model"), strict=True):
            yield _unscaled(one, angle)

    maps: dict[str, Maps] = {
        "c2_experimental": lambda: read("data"),
        "c2_theoretical_raw": unscaled,
        "c2_theoretical_scaled": lambda: read("model"),
        "residuals": lambda: read("residual"),
    }
    return maps, contents.sizes["t1"], contents.frames_per_block


def _unscaled(model: Array, angle: AngleResult) -> Array:
    """Normalised correlation g from the model of one map."""
    if angle.contrast is None or angle.offset is None:
        return np.full_like(model, np.nan)
    return np.asarray((model - angle.offset) / angle.contrast)


def _full(result: Result) -> tuple[dict[str, Maps], int, int]:
    """Every pixel from the store, with the model beside it: maps, their side, and 1."""
    from hetdask.model import correlation

    store = _store(result)
    values = {name: parameter.value for name, parameter in result.parameters.items()}

    def data(index: int) -> Array:
        return symmetric(store.read_map(index))

    def raw(index: int) -> Array:
        return np.asarray(correlation(values, store.time, [store.phi[index]], store.q[index])[0])

    def scaled(index: int) -> Array:
        angle = result.angles[index]
        missing = float("nan")
        offset = missing if angle.offset is None else angle.offset
        return offset + (missing if angle.contrast is None else angle.contrast) * raw(index)

    def over(read: Callable[[int], Array]) -> Maps:
        return lambda: map(read, range(len(result.angles)))

    maps = {
        "c2_experimental": over(data),
        "c2_theoretical_raw": over(raw),
        "c2_theoretical_scaled": over(scaled),
        "residuals": over(lambda index: data(index) - scaled(index)),
    }
    return maps, store.n_frames, 1


def _store(result: Result) -> Store:
    """The store that was fitted.

    Raises
    ------
    DataError
        If it is gone, or holds something else.
    """
    from hetdask.data.store import Store

    path = Path(str(result.provenance.get("store", "")))
    advice = (
        "export block means instead, which the run folder holds: `--export npz-reduced`, or to_npz(…, reduced=True)"
    )
    if not path.is_dir():
        raise DataError(f"the store that was fitted, {path}, is not there; {advice}")
    store = Store.open(path)
    phi = [angle.phi for angle in result.angles]
    if store.n_frames != result.n_frames or store.phi.tolist() != phi:
        raise DataError(
            f"the store {path} holds {store.n_phi} maps of {store.n_frames} frames, not the {len(phi)} maps of "
            f"{result.n_frames} frames of this fit: it was written anew; {advice}"
        )
    return store


def write_csv(result: Result, folder: Path) -> tuple[Path, Path]:
    """Write the tables of parameters and of maps; see `Result.to_csv`."""
    folder = folder.absolute()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        parameters, angles = folder / PARAMETERS_FILE, folder / ANGLES_FILE
        write_text(parameters, _table(_parameter_rows(result)))
        write_text(angles, _table(angle.model_dump() for angle in result.angles))
    return parameters, angles


def _parameter_rows(result: Result) -> Iterator[dict[str, object]]:
    for name, parameter in result.parameters.items():
        yield {"parameter": name, **parameter.model_dump(), "note": parameter_note(parameter)}


def _table(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV with a head; None is an empty cell, numbers have all their digits."""
    entries = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(entries[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in entries)
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
