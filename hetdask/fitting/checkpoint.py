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

from hetdask.errors import ConfigError

Array = NDArray[np.float64]


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """Digest of what determines a fit; a checkpoint only serves the fit that wrote it."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """Recorded evaluations of one fit: numbers, by the numbers that they belong to.

    Parameters
    ----------
    path : Path or None
        File; None keeps nothing on disk.
    identity : str
        `fingerprint` of the fit.
    resume : bool
        Read what the file holds; otherwise it begins anew.

    Raises
    ------
    ConfigError
        If the file belongs to another fit.
    """

    def __init__(self, path: Path | None, identity: str, *, resume: bool = False) -> None:
        self._known: dict[bytes, Array] = {}
        self._file: BinaryIO | None = None
        self.recalled = 0
        if path is None:
            return
        end = 0
        if resume and path.exists():
            end = self._read(path, identity)
        if end:
            self._file = path.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        else:
            self._file = path.open("wb")
            np.save(self._file, np.frombuffer(identity.encode(), dtype=np.uint8), allow_pickle=False)
            self._file.flush()

    def _read(self, path: Path, identity: str) -> int:
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
                split = 1 + int(record[0])
                self._known[record[1:split].tobytes()] = record[split:]
                end = file.tell()
        return end

    def recall(self, key: Array) -> Array | None:
        """Recorded values (m,) for exactly this key (n,), if there are any."""
        values = self._known.get(key.tobytes())
        self.recalled += values is not None
        return values

    def record(self, key: Array, values: Array) -> None:
        """Keep values (m,) for a key (n,), on disk at once."""
        self._known[key.tobytes()] = values
        if self._file is not None:
            np.save(self._file, np.concatenate([[key.size], key, values]), allow_pickle=False)
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
