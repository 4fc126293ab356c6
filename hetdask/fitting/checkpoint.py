"""Every evaluation of a fit, on disk as it is made, so that an interrupted fit goes on where it stopped.

A resumed fit takes the same steps again with the recorded evaluations instead of passes over the data, and
so arrives at the same answer, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError, DataError
from hetdask.passes.normal import Projection

Array = NDArray[np.float64]


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """Digest of what determines a fit; a checkpoint only serves the fit that wrote it."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _pack(vector: Array, result: Projection) -> Array:
    return np.concatenate([vector, *(np.ravel(x) for x in _fields(result))])


def _fields(result: Projection) -> tuple[Array, ...]:
    return (
        result.n_points,
        result.contrast,
        result.offset,
        result.sum_squares,
        result.gradient,
        result.gauss_newton,
    )


def _unpack(record: Array, n_phi: int, n_free: int) -> tuple[Array, Projection]:
    shapes = [(n_phi,)] * 4 + [(n_phi, n_free), (n_phi, n_free, n_free)]
    ends = np.cumsum([14, *(int(np.prod(shape)) for shape in shapes)])
    if record.size != ends[-1]:
        raise DataError(f"a checkpoint record holds {record.size} numbers, expected {ends[-1]}; start without --resume")
    vector, *parts = np.split(record, ends[:-1])
    return vector, Projection(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


class Checkpoint:
    """Recorded evaluations of one fit.

    Parameters
    ----------
    path : Path or None
        File; None keeps nothing on disk.
    identity : str
        `fingerprint` of the fit.
    n_phi, n_free : int
        Shapes of the evaluations.
    resume : bool
        Read what the file holds; otherwise it begins anew.

    Raises
    ------
    ConfigError
        If the file belongs to another fit.
    """

    def __init__(self, path: Path | None, identity: str, n_phi: int, n_free: int, *, resume: bool = False) -> None:
        self._known: dict[bytes, Projection] = {}
        self._file: BinaryIO | None = None
        self.recalled = 0
        if path is None:
            return
        end = 0
        if resume and path.exists():
            end = self._read(path, identity, n_phi, n_free)
        if end:
            self._file = path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._file = path.open("wb")
            np.save(self._file, np.frombuffer(identity.encode(), dtype=np.uint8), allow_pickle=False)
            self._file.flush()

    def _read(self, path: Path, identity: str, n_phi: int, n_free: int) -> int:
        """Fill the memory from a file; returns where its last whole record ends."""
        size = path.stat().st_size
        with path.open("rb") as file:
            try:
                found = np.load(file, allow_pickle=False).tobytes().decode(errors="replace")
            except (ValueError, EOFError):
                return 0
            if found != identity:
                raise ConfigError(
                    f"{path} belongs to a fit with other data, start values, bounds or noise: "
                    "start without --resume, or choose another output folder with -o"
                )
            end = file.tell()
            while end < size:
                try:
                    record = np.load(file, allow_pickle=False)
                except (ValueError, EOFError):
                    break
                vector, result = _unpack(record, n_phi, n_free)
                self._known[vector.tobytes()] = result
                end = file.tell()
        return end

    def recall(self, vector: Array) -> Projection | None:
        """Recorded evaluation at exactly this parameter vector (14,), if there is one."""
        result = self._known.get(vector.tobytes())
        self.recalled += result is not None
        return result

    def record(self, vector: Array, result: Projection) -> None:
        """Keep an evaluation, on disk at once."""
        self._known[vector.tobytes()] = result
        if self._file is not None:
            np.save(self._file, _pack(vector, result), allow_pickle=False)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
