"""Which engine takes this step: the one with the least predicted work of those that may, turns taken among equals.

The decode engine is picked when the prefill is done, not with it: by then queues have moved on, and so may roles.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pdoperator.api.names import Role
from pdoperator.api.router_config import RouterConfig
from pdoperator.scheduling.engines import Engine, Table
from pdoperator.scheduling.load import IDLE, Account, Load, Rotation
from pdoperator.scheduling.predict import (
    TOKENS,
    has_room,
    late,
    local_ttft_s,
    next_step_s,
    others_s,
    prompt_s,
    prompts_s,
    remote_ttft_s,
)
from pdoperator.scheduling.prefixes import Prefixes, Prompt

NONE: frozenset[str] = frozenset()


class Scheduler:
    """Picks from whatever table it is given; keeps the load, what prefix caches hold and the rotation over revisions.

    Work is predicted by the configuration's costs of an engine; without them it is compared in tokens.
    """

    def __init__(self) -> None:
        self.load = Load()
        self.prefixes = Prefixes()
        self._rotation = Rotation()

    def prefill(
        self,
        table: Table,
        now_s: float,
        config: RouterConfig,
        prompt: Prompt,
        revision: str | None = None,
        exclude: Collection[str] = NONE,
        deferred: bool = False,
    ) -> Engine | None:
        """A prefill engine of a revision that can also decode; of `revision` when given. None: serve aggregated.

        The one that has done it first: least work before the prompt (for a `deferred` one that of other deferred ones
        too) and with what of it is not in the prefix cache. Revisions share the load by their number of engines.
        """
        groups = table.complete if revision is None else [g for g in table.complete if g.revision == revision]
        open_groups = {
            group.revision: (group, engines)
            for group in groups
            if (engines := self._open(group.prefill, now_s, exclude))
            and self._open(group.decode, now_s, NONE)
        }
        if not open_groups:
            return None
        if len(open_groups) == 1:
            chosen = next(iter(open_groups))
        else:
            chosen = self._rotation.next({name: group.size for name, (group, _) in open_groups.items()})
        costs = config.costs or TOKENS

        def work(engine: str, account: Account) -> float:
            own_s = prompt_s(costs, prompt.tokens, prompt.cached_on(engine))
            return prompts_s(costs, account, deferred) + own_s

        return self._least(open_groups[chosen][1], now_s, work)

    def decode(
        self, table: Table, now_s: float, config: RouterConfig, revision: str, exclude: Collection[str]
    ) -> Engine | None:
        """A decode engine to continue a prefill of `revision`; `exclude` names at least the one that prefilled.

        The one whose steps take least time with all that it has.
        """
        group = table.groups.get(revision)
        costs = config.costs or TOKENS
        engines = [] if group is None else self._open(group.decode, now_s, exclude)
        return self._least(engines, now_s, lambda _, account: next_step_s(costs, account))

    def aggregated(
        self,
        table: Table,
        now_s: float,
        config: RouterConfig,
        prompt: Prompt,
        exclude: Collection[str] = NONE,
        doubted: Collection[str] = NONE,
        deferred: bool = False,
    ) -> Engine | None:
        """An engine for both steps: one that decodes, else one without a role, else one that prefills.

        The one that gives `prompt` its first token soonest. Engines in `doubted` come after the others of
        their kind; those that just failed come last of all, but before nothing at all.
        """
        costs = config.costs or TOKENS

        def work(engine: str, account: Account) -> float:
            return local_ttft_s(costs, account, prompt.tokens, prompt.cached_on(engine), deferred)

        tiers = [[engine for engine in tier if engine.name not in exclude] for tier in table.aggregated]
        for tier in tiers:
            if engines := self._open(tier, now_s, exclude):
                return self._least([e for e in engines if e.name not in doubted] or engines, now_s, work)
        return next((self._least(tier, now_s, work) for tier in tiers if tier), None)

    def prefills_locally(
        self, table: Table, now_s: float, config: RouterConfig, prefill: Engine, prompt: Prompt
    ) -> bool:
        """Whether `prompt` is better served by the `aggregated` engine alone than by `prefill` first.

        A valve for bursts, not a habit: only when the prefill engine is about to be late and the other one is not, and
        no prompt is crowded out: else it is no burst, and decode engines that prefill all the time miss their own
        target.
        """
        costs, target_s = config.costs, config.ttft_target_s
        waiting = self.load.account(prefill.name)
        if costs is None or not config.local_prefill or waiting.crowded_out:
            return False
        remote_s = remote_ttft_s(costs, waiting, prompt.tokens, prompt.cached_on(prefill.name))
        if not late(remote_s, target_s):
            return False
        engine = self.aggregated(table, now_s, config, prompt)
        if engine is None or engine.role is Role.PREFILL:
            return False
        account = self.load.account(engine.name)
        local_s = local_ttft_s(costs, account, prompt.tokens, prompt.cached_on(engine.name))
        return (
            local_s < remote_s
            and local_s <= target_s
            and has_room(costs, account, prompt.tokens, config.tpot_target_s)
        )

    def defers(self, config: RouterConfig, engine: Engine, prompt: Prompt, aggregated: bool) -> bool:
        """Whether a `prompt` that has just come lets others go first on `engine`: it is predicted to miss the
        TTFT target there, and in its place it would make others miss it too."""
        costs = config.costs
        if costs is None or not config.deferral_s:
            return False
        account, tokens, cached = self.load.account(engine.name), prompt.tokens, prompt.cached_on(engine.name)
        if aggregated:
            return local_ttft_s(costs, account, tokens, cached) > config.ttft_target_s
        added_s = others_s(costs, account, tokens - cached, config.tpot_target_s)
        return remote_ttft_s(costs, account, tokens, cached) + added_s > config.ttft_target_s

    def too_long(self, config: RouterConfig, engine: Engine, prompt: Prompt) -> bool:
        """Whether `prompt` is predicted to miss the TTFT target by prefill engine `engine` even if that were idle."""
        costs, cached = config.costs, prompt.cached_on(engine.name)
        return costs is not None and remote_ttft_s(costs, IDLE, prompt.tokens, cached) > config.ttft_target_s

    def _open(self, engines: Iterable[Engine], now_s: float, exclude: Collection[str]) -> list[Engine]:
        return [e for e in engines if e.name not in exclude and not self.load.shunned(e.name, now_s)]

    def _least(
        self, engines: list[Engine], now_s: float, work: Callable[[str, Account], float]
    ) -> Engine | None:
        def rank(engine: Engine) -> tuple[float, int, int]:
            account = self.load.account(engine.name)
            account.end_deferrals(now_s)
            return work(engine.name, account), account.requests, account.turn

        return min(engines, key=rank, default=None)
