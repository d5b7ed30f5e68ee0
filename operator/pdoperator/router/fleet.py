"""What the router knows: its configuration, the routing table, how long ago the API server was heard."""

from __future__ import annotations

from collections.abc import Iterable

from pdoperator.api.router_config import RouterConfig
from pdoperator.scheduling.engines import EMPTY, Engine, Table, build_table
from pdoperator.scheduling.pick import Scheduler


class Fleet:
    """Shared by the request path, which reads and picks, and by membership, which writes. One event loop only."""

    def __init__(self) -> None:
        self.config: RouterConfig | None = None
        self.table: Table = EMPTY
        self.scheduler = Scheduler()
        self.synced = False
        self.contact_s: float | None = None  # loop time at which the API server was last heard

    def set_engines(self, engines: Iterable[Engine]) -> None:
        """Replace the routing table."""
        self.table = build_table(engines)
        self.scheduler.load.keep(engine.name for engine in self.table.engines)
        # Who is not ready may be starting again, with an empty cache. A flip changes labels only and keeps it.
        self.scheduler.prefixes.keep(engine.name for engine in self.table.engines if engine.ready)

    def contact(self, synced: bool, now_s: float) -> None:
        """Note whether the API server could be followed just now."""
        self.synced = synced
        if synced:
            self.contact_s = now_s

    @property
    def ready(self) -> bool:
        """Whether requests can be served: configured, and with an engine."""
        return self.config is not None and self.table.usable
