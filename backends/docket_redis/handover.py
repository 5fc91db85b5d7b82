"""What adds hand over: a worker that has nothing to do asks for the next task, and need not come for it.

The server keeps the latest ask only. It is served by an add, ended by the next claim of whoever asked, or withdrawn.
That claim names it: what was handed over and got lost on the way comes with its answer. Every message is taken for what
it says, whatever has become of the ask meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from secrets import token_hex
from typing import NamedTuple

from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.kit import MAX_WAIT
from docket_core.backend.model import Claim, Claimed
from docket_redis.client import Client

_IN_FORCE: Micros = MAX_WAIT + SECOND // 2
"""How long an ask is in force: a little longer than a wait."""
_WORTHWHILE: Micros = SECOND // 4
"""Who waits for less does not ask."""
_MOST_FUNCTIONS = 100
"""Nor does who knows very many functions: the server looks through them at each add."""
_ROUND = 1.0
"""Seconds between the rounds in which what nobody waits for is withdrawn and given back. A timer for each message would
cost what a message may save."""


class Mark(NamedTuple):
    """What a claim gives to the wait that follows it."""

    bells: int
    """How many had rung before the claim was sent."""
    worker: str
    lease: Micros
    asks: bool
    """Whether it had room for more."""


class _Ask:
    """What one wait has asked for."""

    __slots__ = ("is_waited_for", "mark", "name", "served", "until")

    def __init__(self, name: str, mark: Mark, until: Micros | None, served: asyncio.Event) -> None:
        self.name = name
        self.mark = mark
        self.until = until
        self.served = served
        self.is_waited_for = True


class Handovers:
    """The asks of one backend's workers, and what has been handed over to them and was not claimed yet.

    Args:
        client: the docket's calls.
        clock: the store's time.
        give_back: told of claims that nobody has come for.
        withdraw: told of a worker and its ask that no claim has ended.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        give_back: Callable[[Sequence[Claim]], None],
        withdraw: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._give_back = give_back
        self._withdraw = withdraw
        self._id = token_hex(8)
        self.channel = f"a:{self._id}"
        self._count = 0
        self._asks: dict[str, _Ask] = {}
        """Of each worker the latest, as long as it may be in force."""
        self._handed: dict[str, list[Claim]] = {}
        self._served: dict[str, _Ask] = {}
        """Of each worker the ask that the first of these has served, or that was in force when it came."""
        self._fetched = deque[int](maxlen=100)
        """Tokens of what came with a claim, because its message had not come."""
        self._round: asyncio.TimerHandle | None = None

    async def ask(
        self, mark: Mark, functions: AbstractSet[str] | None, until: Micros | None, served: asyncio.Event
    ) -> None:
        """Ask for the next task, where that is worth it; `served` is set once it is here, or if something is ready.

        Raises:
            BackendUnavailable: the server cannot be reached.
        """
        if not mark.asks or (functions is not None and not 0 < len(functions) <= _MOST_FUNCTIONS):
            return
        if until is not None and until - self._clock.now() < _WORTHWHILE:
            return
        self._count += 1
        ask = self._asks[mark.worker] = _Ask(f"{self._id}.{self._count}", mark, until, served)
        self._watch()
        what = (ask.name, mark.worker, mark.lease, _IN_FORCE, int(functions is None), *(functions or ()))
        if not await self._client.run("ask", *what):
            self._forget(mark.worker, ask.name)
            served.set()

    def left(self, worker: str, *, cancelled: bool) -> None:
        """A wait has ended: an ask that no claim ends is to be withdrawn."""
        ask = self._asks.get(worker)
        if ask is not None:
            ask.is_waited_for = False
            if cancelled:  # a claim may follow at once
                asyncio.get_running_loop().call_soon(self._end_ask, worker, ask.name)

    def leave(self, worker: str) -> None:
        """This worker claims no more: withdraw what it has asked for, and give back what was handed over."""
        ask = self._asks.get(worker)
        if ask is not None:
            self._end_ask(worker, ask.name)
        self._put_back(worker)

    def end(self) -> None:
        """Nobody claims any more."""
        for worker in {*self._asks, *self._handed}:
            self.leave(worker)
        if self._round is not None:
            self._round.cancel()

    def named(self, worker: str) -> str:
        """The ask that this worker's claim ends; empty if there is none."""
        ask = self._asks.pop(worker, None)
        return "" if ask is None else ask.name

    def fetched(self, worker: str, claims: Sequence[Claim]) -> None:
        """These have come with the claim that ended an ask: their messages say nothing new."""
        tokens = {claim.token for claim in claims}
        self._fetched.extend(tokens)
        left = [claim for claim in self._handed.pop(worker, ()) if claim.token not in tokens]
        if left:
            self._handed[worker] = left

    def waits_for(self, worker: str) -> bool:
        """Whether something has been handed over to this worker."""
        return worker in self._handed

    def take(self, worker: str, functions: AbstractSet[str] | None, limit: int, lease: Micros) -> Claimed | None:
        """What has been handed over to this worker, as the answer to its claim; None if it must be sent.

        What does not suit the claim is given back, and so is what has lain here so long that a good part of its lease
        is over.
        """
        handed, ask, now = self._handed.pop(worker), self._served.pop(worker, None), self._clock.now()
        taken = [
            claim
            for claim in handed
            if (functions is None or claim.function in functions)
            and claim.lease_until - claim.claimed_at == lease
            and claim.lease_until - now > lease * 2 // 3
        ]
        del taken[limit:]
        if len(taken) < len(handed):
            self._give_back([claim for claim in handed if claim not in taken])
            if not taken:
                return None
        if ask is None:  # what else there is was not asked lately: the wait is to end at once
            return Claimed(taken, now, now, Mark(-1, worker, lease, asks=True))
        next_at = taken[0].lease_until
        return Claimed(taken, now, next_at if ask.until is None else min(next_at, ask.until), ask.mark)

    def heard(self, channel: str, data: bytes) -> None:
        """An add has handed something over."""
        del channel
        name, worker, at, until, token, key, function, run, attempt, size, content = data.split(b"\x1f", 10)
        if self._fetched and int(token) in self._fetched:
            return
        cut, moment, whose = int(size), int(at), worker.decode()
        claim = Claim(
            key.decode(),
            1,
            int(token),
            function.decode(),
            content[:cut],
            content[cut:],
            run.decode(),
            moment,
            1,
            int(attempt),
            moment,
            int(until),
        )
        if whose in self._handed:
            self._handed[whose].append(claim)
        else:
            self._handed[whose] = [claim]
        ask = self._asks.get(whose)
        if ask is None:
            self._watch()
            return
        self._served[whose] = ask
        ask.served.set()
        if ask.name == name.decode():
            del self._asks[whose]

    def restored(self) -> None:
        """The connection was lost: what was missed comes with the next claim."""

    def _put_back(self, worker: str) -> None:
        self._served.pop(worker, None)
        if worker in self._handed:
            self._give_back(self._handed.pop(worker))

    def _forget(self, worker: str, name: str) -> bool:
        """Whether that ask was the latest of its worker; it is so no more."""
        ask = self._asks.get(worker)
        if ask is None or ask.name != name:
            return False
        del self._asks[worker]
        return True

    def _end_ask(self, worker: str, name: str) -> None:
        """Withdraw this ask, unless a claim has ended it."""
        if self._forget(worker, name):
            self._withdraw(worker, name)

    def _watch(self) -> None:
        if self._round is None:
            self._round = asyncio.get_running_loop().call_later(_ROUND, self._look_round)

    def _look_round(self) -> None:
        """Withdraw and give back what nobody waits for."""
        self._round = None
        for worker in list(self._handed):
            self._put_back(worker)
        for worker, ask in list(self._asks.items()):
            if not ask.is_waited_for:
                self._end_ask(worker, ask.name)
        if self._asks:
            self._watch()
