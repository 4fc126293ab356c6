"""Calls over results that are kept on the workers, without the way of a task.

A task passes through the states of scheduler, worker and client, and messages between them wait for one another: some
ten milliseconds, as long as a pass over ten million pixels in memory. Where all items are results that workers keep,
each worker can be told in one message to go through its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, Worker

if TYPE_CHECKING:
    from dask.typing import Key

type Places = Mapping[str, Mapping[int, Key]]
"""By address of a worker: which items are its own, and under which name it keeps them."""


class KeptResults:
    """Where the items of the last call are kept.

    Parameters
    ----------
    client : distributed.Client
    deadline : float
        Seconds that a call may take.
    """

    def __init__(self, client: Client, deadline: float) -> None:
        self._client = client
        self._deadline = deadline
        self._keys: tuple[Key, ...] = ()
        self._places: Places = {}

    def call(
        self, function: Callable[..., Any], items: Sequence[Future[Any]], common: tuple[Any, ...]
    ) -> list[Any] | None:
        """Results of ``function(item, *common)`` in the order of `items`.

        None where that cannot be had in this way: an item is not finished or has gone with its worker, or a call
        failed. Tasks then compute again what is lost, and tell what is wrong.
        """
        keys = tuple(item.key for item in items)
        try:
            if keys != self._keys:
                self._places, self._keys = self._find(items), keys
            found = self._client.sync(self._broadcast, function, common, callback_timeout=self._deadline)
        except TimeoutError:
            found = {}
        results = {place: result for some in found.values() if some is not None for place, result in some.items()}
        if len(results) < len(items):
            self._keys = ()
            return None
        return [results[place] for place in range(len(items))]

    def _find(self, items: Sequence[Future[Any]]) -> Places:
        """One holder of each item."""
        if any(item.status != "finished" for item in items):
            return {}
        holders = self._client.who_has(list(items))
        places: dict[str, dict[int, Key]] = {}
        for place, item in enumerate(items):
            for address in sorted(holders.get(item.key, ()))[:1]:
                places.setdefault(address, {})[place] = item.key
        return places

    async def _broadcast(self, function: Callable[..., Any], common: tuple[Any, ...]) -> dict[str, Any]:
        """What the workers answer; those that do not are left out."""
        if not self._places:
            return {}
        found: dict[str, Any] = await self._client.run(call_kept, function, self._places, common, on_error="ignore")
        return found


async def call_kept(
    function: Callable[..., Any], places: Places, common: tuple[Any, ...], dask_worker: Worker
) -> dict[int, Any] | None:
    """On a worker: results over the items that it keeps, in as many threads as its tasks have.

    None if one of them is not there any more, or the function failed.
    """
    mine = places.get(dask_worker.address, {})
    threads, loop = dask_worker.executors["default"], asyncio.get_running_loop()
    try:
        items = [dask_worker.data[key] for key in mine.values()]
        results = await asyncio.gather(*(loop.run_in_executor(threads, function, item, *common) for item in items))
    except Exception:  # noqa: BLE001  a task meets it again, and tells
        return None
    return dict(zip(mine, results, strict=True))
