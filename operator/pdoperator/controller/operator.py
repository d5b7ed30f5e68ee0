"""All services of one operator: their loops, and the watches that wake them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from kubernetes.aio.client import ApiClient

from pdoperator.api import defaults, names
from pdoperator.cluster.kube import CHILDREN, DEPLOYMENTS, PODS, Object, Resource
from pdoperator.cluster.store import Key
from pdoperator.cluster.watch import Change, Source, follow
from pdoperator.controller.service import Context, ServiceLoop

log = logging.getLogger(__name__)


class Operator:
    """Starts, wakes and ends the loops of services."""

    def __init__(self) -> None:
        self._context: Context | None = None
        self._following: asyncio.Task[None] | None = None
        self._loops: dict[Key, tuple[str, ServiceLoop, asyncio.Task[None]]] = {}

    def start(
        self, api: ApiClient, context: Context, namespaces: Sequence[str], broken: Callable[[], None]
    ) -> None:
        """Follow what belongs to services; comes before the first service is seen.

        `broken` is called when that ends by itself, which only a defect can bring about: without it nothing is right.
        """
        self._context = context
        self._following = asyncio.create_task(_follow_children(api, context, namespaces))
        self._following.add_done_callback(lambda _: broken())

    def check(self) -> None:
        """Raises what ended the watches of children, if anything but stop() did."""
        following = self._following
        if following is not None and following.done() and not following.cancelled():
            following.result()

    def seen(self, body: Object) -> None:
        """A service is there, new or changed."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        known = self._loops.get(key)
        if known is not None and known[0] == metadata["uid"]:
            known[1].update(body)
            return
        if known is not None:  # deleted and made anew while we were not looking
            known[2].cancel()
        if self._context is None:
            raise RuntimeError("start() comes first")
        loop = ServiceLoop(self._context, body)
        task = asyncio.create_task(loop.run(), name=f"service {key[0]}/{key[1]}")
        self._loops[key] = (metadata["uid"], loop, task)

    def gone(self, body: Object) -> None:
        """A service was deleted; its objects go by their owner references."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        known = self._loops.get(key)
        if known is not None and known[0] == body["metadata"]["uid"]:
            del self._loops[key]
            known[2].cancel()

    def child_changed(self, key: Key, resource: Resource) -> None:
        """A pod needs a look; any other child may have been edited or deleted by somebody."""
        known = self._loops.get(key)
        if known is not None:
            known[1].child_changed(apply=resource is not PODS)

    async def stop(self) -> None:
        """End all loops and watches."""
        loops = [loop for _, loop, _ in self._loops.values()]
        tasks = [task for _, _, task in self._loops.values()]
        tasks += [self._following] if self._following else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loops.clear()
        await _all_saved(loops)


async def _all_saved(loops: Sequence[ServiceLoop]) -> None:
    """What cannot be written by then is lost, which costs a minute of history at most."""
    try:
        async with asyncio.timeout(defaults.SAVE_LIMIT_S):
            await asyncio.gather(*(loop.save() for loop in loops), return_exceptions=True)
    except TimeoutError:
        log.warning("not every history was written before the end")


async def _follow_children(api: ApiClient, context: Context, namespaces: Sequence[str]) -> None:
    """Feed the store with pods and children of all services until cancelled; say when those that count are all in."""
    places = list(namespaces) or [""]
    missing = {(resource, place) for resource in (PODS, DEPLOYMENTS) for place in places}

    def listed(resource: Resource, place: str) -> None:
        missing.discard((resource, place))
        if not missing:
            context.synced.set()

    async with asyncio.TaskGroup() as group:
        for resource in (PODS, *CHILDREN):
            for place in places:
                group.create_task(_follow(api, context, resource, place, listed))


async def _follow(
    api: ApiClient, context: Context, resource: Resource, place: str, listed: Callable[[Resource, str], None]
) -> None:
    store = context.store

    def on_event(change: Change, body: Object) -> None:
        (store.gone if change is Change.DELETED else store.seen)(resource, body)

    def on_snapshot(bodies: list[Object]) -> None:
        store.listed(resource, bodies, place)
        listed(resource, place)

    source = Source(resource.path(place or None), label_selector=names.LABEL_SERVICE)
    await follow(api, source, on_snapshot, on_event)
