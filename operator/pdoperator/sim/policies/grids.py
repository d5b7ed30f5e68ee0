"""Peers get fair settings: what is tried for NAME-best, the published settings among them."""

from __future__ import annotations

GRIDS: dict[str, tuple[str, ...]] = {
    "hpa": (
        "hpa",
        *(
            f"hpa:queue={queue}:running={running}:kv=0.6:least={least}"
            for queue, running in ((5, 0), (1, 0), (1, 20), (1, 50), (1, 100))
            for least in (0.5, 1)
        ),
    ),
    "keda-queue": tuple(
        f"keda-queue:queue={queue}:least={least}" for queue in (5, 2, 1) for least in (0.5, 1)
    ),
    "aggregated-hpa": (
        "aggregated-hpa",
        *(
            f"aggregated-hpa:queue={queue}:running={running}:kv=0.6:least={least}"
            for queue, running in ((1, 0), (1, 20), (1, 50), (1, 100))
            for least in (0.5, 1)
        ),
    ),
    "dopd": ("dopd", "dopd:interval=60", "dopd:interval=180"),
    "dyn-load": ("dyn-load", "dyn-load:adjust=60", "dyn-load:adjust=30", "dyn-load:adjust=10"),
    "dyn-sla": ("dyn-sla", "dyn-sla:adjust=60", "dyn-sla:adjust=30"),
    "dynamo": (
        "dynamo",
        "dynamo:no-load",
        *(f"dynamo:adjust={adjust}:target={target}" for adjust in (60, 30) for target in (1, 0.5)),
        "dynamo:target=0.5",
    ),
    "dopd-release": ("dopd-release", "dopd-release:adjust=60", "dopd-release:adjust=30"),
    "heteroscale": tuple(f"heteroscale:load={load}" for load in (0.85, 0.7, 0.55, 0.4, 0.3)),
    "tokenscale": tuple(f"tokenscale:load={load}" for load in (1.0, 0.85, 0.7, 0.55, 0.4)),
    "wva-v2": (
        "wva-v2",
        *(f"wva-v2:grow={grow}:shrink={grow - 0.15:.2f}:least=0.5" for grow in (0.85, 0.6, 0.4, 0.2)),
    ),
}
