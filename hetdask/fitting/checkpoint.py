"""Every evaluation of a fit, on disk as it is made, so that an interrupted fit goes on where it stopped.

A resumed fit takes the same steps again with the recorded evaluations instead of passes over the data, and
so arrives at the same answer, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import ConfigError, DataError

Array = NDArray[np.float64]


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """Digest of what determines a fit; a checkpoint only serves the fit that wrote it."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class RecordFile:
    """File of records that are on disk as soon as they are written.

    Parameters
    ----------
    path : Path
    keep : int
        Bytes that stay of what the file holds; the rest is cut off.

    Raises
    ------
    DataError
        If it can't be written, here and later.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self._path = path
        try:
            # Without a buffer, closing does not try once more to write what a full disk has refused.
            self._file = path.open("r+b" if keep else "wb", buffering=0)
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as error:
            raise self._refusal(error) from error

    def write(self, record: bytes) -> None:
        """Append a record."""
        left = memoryview(record)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> DataError:
        return DataError(
            f"can't write {self._path}: {error.strerror}. Make room or give write permission, then go on from the last "
            "checkpoint with --resume"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
    DataError
        If it can't be written.
    """

    def __init__(self, path: Path | None, identity: str, *, resume: bool = False) -> None:
        self._known: dict[bytes, Array] = {}
        self._file: RecordFile | None = None
        self.recalled = 0
        if path is None:
            return
        end = 0
        if resume and path.exists():
            end = self._read(path, identity)
        self._file = RecordFile(path, end)
        if not end:
            self._save(np.frombuffer(identity.encode(), dtype=np.uint8))

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
        self._save(np.concatenate([[key.size], key, values]))

    def _save(self, array: NDArray[np.generic]) -> None:
        if self._file is not None:
            record = BytesIO()
            np.save(record, array, allow_pickle=False)
            self._file.write(record.getvalue())

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
