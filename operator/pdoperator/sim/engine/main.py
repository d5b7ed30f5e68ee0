"""``pd-sim-engine serve MODEL [vLLM's flags]``: one simulated engine as a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

import uvloop

from pdoperator.sim.engine.args import EngineConfig, parse_config
from pdoperator.sim.engine.engine import Engine, Life
from pdoperator.sim.engine.server import serve

DEATH_TO_EXIT_S = 1.0  # a real engine's API server outlives its core by about this

log = logging.getLogger("pd-sim-engine")


async def run(config: EngineConfig) -> int:
    """The process's life: start-up time, serving, drain on SIGTERM. Returns the exit code."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), config.startup_s / config.speed)
        return 0
    engine = Engine(config)
    await engine.start()
    runner = await serve(engine, config.host, config.port)
    log.info(
        "simulated engine %s serves %s on %s:%d",
        engine.engine_id,
        config.served_names[0],
        config.host,
        config.port,
    )
    waits = [loop.create_task(event.wait()) for event in (stop, engine.died)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if engine.life is not Life.DEAD:
        log.info("draining for at most %.0f s", config.shutdown_timeout_s)
        await engine.drain()
    else:
        await asyncio.sleep(DEATH_TO_EXIT_S)
    await engine.stop()
    await runner.cleanup()
    return 1 if engine.life is Life.DEAD else 0


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = parse_config(sys.argv[1:])
    if config.ignored:
        log.info("flags without a meaning here: %s", " ".join(config.ignored))
    sys.exit(uvloop.run(run(config)))


if __name__ == "__main__":
    main()
