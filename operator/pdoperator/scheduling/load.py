"""What each engine has to do for us now. The one thing here that changes; it belongs to one router process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pdoperator.api import defaults
from pdoperator.api.names import Role

NEVER = float("-inf")


@dataclass(slots=True)
class Account:
    """What one engine has of us. Tokens are whole numbers, so that sums do not drift."""

    prefill: int = 0  # requests, by the role in which it was given them
    decode: int = 0
    prompts: int = 0  # those of them whose prompt is still to be computed there
    prompt_kv_tokens: int = 0  # what these prompts will hold
    prompt_tokens: int = 0  # what of them is to be computed: all but what the prefix cache has
    prompt_squares: int = 0  # attention costs the square of a prompt's tokens, less that of those cached
    deferred_tokens: int = 0  # of those prompts, the ones that let others go first
    deferred_squares: int = 0
    crowded_out: int = 0  # deferred prompts that would be in time if the engine had nothing else to do
    context_tokens: int = 0  # of the requests that decode, or are about to
    exports: int = 0
    turn: int = 0  # when it was last given a request, counted in requests
    failures: int = 0  # since it last served a request
    shunned_until_s: float = NEVER
    deferrals: deque[Claim] = field(default_factory=deque, compare=False)  # in the order in which they end

    @property
    def requests(self) -> int:
        """All of them."""
        return self.prefill + self.decode

    @property
    def batch(self) -> int:
        """Those that decode, or are about to."""
        return self.requests - self.prompts

    def end_deferrals(self, now_s: float) -> None:
        """Prompts that have yielded long enough go before all that come from now on: none starves."""
        while self.deferrals and self.deferrals[0].yields_until_s <= now_s:
            self.deferrals.popleft().yield_no_more()


class Claim:
    """One request on an engine, from `Load.acquire` to `release`: first its prompt waits, then its context is read."""

    __slots__ = (
        "_account", "_crowded_out", "_fresh", "_role", "_squares", "_tokens", "_waits", "yields_until_s"
    )  # fmt: skip

    def __init__(
        self,
        account: Account,
        role: Role,
        tokens: int,
        cached: int,
        waits: bool,
        yields_until_s: float,
        crowded_out: bool,
    ) -> None:
        self._account, self._role, self._tokens, self._waits = account, role, tokens, waits
        self._fresh, self._squares = tokens - cached, tokens**2 - cached**2
        self.yields_until_s, self._crowded_out = yields_until_s, crowded_out
        if role is Role.PREFILL:
            account.prefill += 1
        else:
            account.decode += 1
        if waits:
            account.prompts += 1
            account.prompt_kv_tokens += tokens
            account.prompt_tokens += self._fresh
            account.prompt_squares += self._squares
            if yields_until_s > NEVER:
                account.deferred_tokens += self._fresh
                account.deferred_squares += self._squares
                account.crowded_out += crowded_out
                account.deferrals.append(self)
        else:
            account.context_tokens += tokens

    def generated(self, tokens: int) -> None:
        """So many output tokens more; with the first its prompt is done, if the engine had to compute it."""
        self._computed()
        self._tokens += tokens
        self._account.context_tokens += tokens

    def release(self) -> None:
        """It has finished there, however it did. Once."""
        self._computed()
        account = self._account
        account.context_tokens -= self._tokens
        if self._role is Role.PREFILL:
            account.prefill -= 1
        else:
            account.decode -= 1

    def yield_no_more(self) -> None:
        """Its prompt goes before those that come from now on, if it still waits."""
        if self.yields_until_s > NEVER:
            self.yields_until_s = NEVER
            self._account.deferred_tokens -= self._fresh
            self._account.deferred_squares -= self._squares
            self._account.crowded_out -= self._crowded_out

    def _computed(self) -> None:
        if self._waits:
            self._waits = False
            self.yield_no_more()
            account, tokens = self._account, self._tokens
            account.prompts -= 1
            account.prompt_kv_tokens -= tokens
            account.prompt_tokens -= self._fresh
            account.prompt_squares -= self._squares
            account.context_tokens += tokens


class Load:
    """The accounts of all engines: outstanding work, whose turn it was, and who failed a moment ago."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._turns = 0

    def acquire(
        self,
        engine: str,
        role: Role,
        tokens: int,
        computed: bool = False,
        yields_until_s: float = NEVER,
        cached: int = 0,
        crowded_out: bool = False,
    ) -> Claim:
        """Count a request handed to `engine`; `role` is what it is used for, prefill or decode. The engine is to
        compute its prompt of so many tokens but for those `cached`, unless it gets their KV `computed`. A deferred
        prompt lets others go first until then; it is `crowded_out` where it is for their sake that it would miss."""
        account = self._kept(engine)
        self._turns += 1
        account.turn = self._turns
        return Claim(account, role, tokens, cached, not computed, yields_until_s, crowded_out)

    def account(self, engine: str) -> Account:
        """What `engine` has of us now; to read only."""
        return self._accounts.get(engine, IDLE)

    def export(self, engine: str) -> None:
        """Count a prefill that `engine` has finished: it keeps the KV until a decode engine has taken it."""
        self._kept(engine).exports += 1

    def taken(self, engine: str) -> None:
        """Count it as taken, or as not wanted any more. Once for each export."""
        self._accounts[engine].exports -= 1

    def failed(self, engine: str, now_s: float, unreachable: bool) -> None:
        """A request failed there. Who cannot be reached, or failed several in a row, is shunned for a while: what fails
        at once always looks least busy."""
        account = self._kept(engine)
        account.failures += 1
        if unreachable or account.failures >= defaults.FAILURES_IN_A_ROW:
            account.shunned_until_s = now_s + defaults.SHUN_S

    def served(self, engine: str) -> None:
        """It did its part for a request."""
        self._kept(engine).failures = 0

    def shunned(self, engine: str, now_s: float) -> bool:
        """Whether it is to be avoided now."""
        return self.account(engine).shunned_until_s > now_s

    def outstanding(self, engine: str) -> dict[Role, int]:
        """Requests outstanding on it, by the role it is used in."""
        account = self.account(engine)
        return {Role.PREFILL: account.prefill, Role.DECODE: account.decode}

    def engines(self) -> list[str]:
        """Names of all engines it keeps an account of."""
        return list(self._accounts)

    def keep(self, engines: Iterable[str]) -> None:
        """Forget the engines not named, but for those that still have a request."""
        named = set(engines)
        self._accounts = {
            name: account
            for name, account in self._accounts.items()
            if name in named or account.requests or account.exports
        }

    def _kept(self, engine: str) -> Account:
        """The account of `engine`, to be changed: a new one where there is none."""
        account = self._accounts.get(engine)
        if account is None:
            account = self._accounts[engine] = Account()
        return account


IDLE = Account()


class Rotation:
    """Smooth weighted round robin (nginx's): shares turns in proportion to weight, as evenly spread as can be."""

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def next(self, weights: dict[str, int]) -> str:
        """Whose turn it is among `weights` (not empty, all positive)."""
        credit = {name: self._credit.get(name, 0) + weight for name, weight in weights.items()}
        chosen = max(credit, key=lambda name: (credit[name], name))
        credit[chosen] -= sum(weights.values())
        self._credit = credit
        return chosen
