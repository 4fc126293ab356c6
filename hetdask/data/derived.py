"""Arrays that follow from a store's pixels and are kept in it, so that they need not be computed again.

They can always be computed again: what cannot be written is not kept, and what does not match its checksums or the
pixels counts as not there. Nothing that others have open is touched.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from hetdask.data.shardfile import checksum
from hetdask.data.store import Store

logger = logging.getLogger(__name__)


def recall(store: Store, name: str, recipe: Mapping[str, int]) -> dict[str, NDArray[Any]] | None:
    """Arrays that were kept under this name, or None.

    Parameters
    ----------
    store : Store
    name : str
        Path inside the store, for example "reduced/2".
    recipe : mapping
        What the arrays depend on beside the pixels. Those of another recipe are not returned.
    """
    folder = store.path / name
    if not folder.exists():
        return None
    try:
        group = zarr.open_group(folder, mode="r")
        arrays = {key: np.asarray(array[...]) for key, array in group.arrays()}
        fits = group.attrs["made_from"] == _made_from(store, recipe)
        intact = group.attrs["checksums"] == {key: checksum(values) for key, values in arrays.items()}
    except (OSError, KeyError, ValueError) as error:
        logger.warning("%s cannot be read (%s) and is computed again", folder, error)
        return None
    if fits and not intact:
        logger.warning("%s does not match its checksums and is computed again", folder)
    return arrays if fits and intact else None


def keep(
    store: Store, name: str, recipe: Mapping[str, int], arrays: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]
) -> None:
    """Keep arrays under this name, all or nothing, in place of what was there.

    Parameters
    ----------
    store : Store
    name : str
        Path inside the store: a folder and a name in it.
    recipe : mapping
        See `recall`.
    arrays : mapping of str to (tuple of str, array)
        Dimensions and values of each.
    """
    folder = store.path / name
    partial = folder.with_name(f"{folder.name}.partial-{secrets.token_hex(4)}")
    try:
        zarr.open_group(folder.parent, mode="a")
        group = zarr.open_group(partial, mode="w-")
        for key, (dimensions, values) in arrays.items():
            chunks = tuple(max(side, 1) for side in values.shape)
            group.create_array(key, data=values, chunks=chunks, compressors=None, dimension_names=dimensions)
        group.attrs.update(
            {
                "made_from": _made_from(store, recipe),
                "checksums": {key: checksum(values) for key, (_, values) in arrays.items()},
            }
        )
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        logger.info("%s is not kept: %s", folder, error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _made_from(store: Store, recipe: Mapping[str, int]) -> dict[str, int]:
    return {**recipe, "pixels": checksum(store.tile_checksum)}
