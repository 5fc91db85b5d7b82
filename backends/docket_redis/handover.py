"""What adds hand over: a worker that waits asks for the next task, and need not come for it.

The server keeps the latest ask only. It is served by an add, ended by the next claim of whoever asked, or withdrawn.
That claim names it: what was handed over and got lost on the way comes with its answer.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from secrets import token_hex
from typing import NamedTuple

from docket_core.backend.clock import SECOND, Clock, Micros
from docket_core.backend.kit import MAX_WAIT
from docket_core.backend.model import Claim, Take
from docket_redis.client import Client

_IN_FORCE: Micros = MAX_WAIT + SECOND // 2
"""How long an ask is in force: a little longer than a wait."""
_WORTHWHILE: Micros = SECOND // 4
"""Who waits for less does not ask."""
_GRACE = 0.1
"""Seconds within which the claim comes that follows a wait; after that what was handed over is given back."""
_MOST_FUNCTIONS = 100
"""Nor does who knows very many functions: the server looks through them at each add."""


class Mark(NamedTuple):
    """What a claim gives to the wait that follows it."""

    bells: int
    """How many had rung before the claim was sent."""
    worker: str
    lease: Micros
    has_room: bool
    """Whether it might have brought more."""


class Ask:
    """What one wait has asked for."""

    __slots__ = ("handed", "is_awaited", "name", "served", "take", "worker")

    def __init__(self, name: str, worker: str, served: asyncio.Event, take: Take) -> None:
        self.name = name
        self.worker = worker
        self.served = served
        self.take: Take | None = take
        """Called with what was handed over; None: a claim that ends the ask is under way, and brings it."""
        self.handed: list[Claim] = []
        """What came meanwhile."""
        self.is_awaited = True
        """Whether that wait, or such a claim, is under way."""


class Handovers:
    """The asks of one backend's workers, and who gets what is handed over.

    Args:
        client: the docket's calls.
        clock: the store's time.
        give_back: told of claims that nobody takes.
        withdraw: told of an ask that no claim ends.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        give_back: Callable[[Sequence[Claim]], None],
        withdraw: Callable[[Ask], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._give_back = give_back
        self._withdraw = withdraw
        self._id = token_hex(8)
        self.channel = f"a:{self._id}"
        self._count = 0
        self._asks: dict[str, Ask] = {}
        """Of each worker the latest, as long as it may be in force."""
        self._fetched = deque[int](maxlen=100)
        """Tokens of what came with a claim, because its message had not come."""

    def ask(
        self,
        mark: Mark,
        functions: AbstractSet[str] | None,
        until: Micros | None,
        served: asyncio.Event,
        take: Take | None,
    ) -> Ask | None:
        """An ask for the next task, to be sent; None where it is not worth it.

        Args:
            mark, functions, until, take: of the wait.
            served: set once `take` was called, or if something can be claimed already.
        """
        if take is None or not mark.has_room:
            return None
        if functions is not None and not 0 < len(functions) <= _MOST_FUNCTIONS:
            return None
        if until is not None and until - self._clock.now() < _WORTHWHILE:
            return None
        if (before := self._asks.get(mark.worker)) is not None and before.handed:
            self._give_back(before.handed)
        self._count += 1
        ask = self._asks[mark.worker] = Ask(f"{self._id}.{self._count}", mark.worker, served, take)
        return ask

    async def send(self, ask: Ask, lease: Micros, functions: AbstractSet[str] | None) -> None:
        """Make it known to the server.

        Raises:
            BackendUnavailable: the server cannot be reached.
        """
        how = (ask.name, ask.worker, lease, _IN_FORCE, int(functions is None))
        if not await self._client.run("ask", *how, *(functions or ())):
            self._is_over(ask)
            ask.served.set()

    def leave(self, ask: Ask, *, cancelled: bool) -> None:
        """The wait has ended: the ask is left to the claim that follows. After one that was cancelled none may."""
        ask.is_awaited = False
        if cancelled:
            asyncio.get_running_loop().call_soon(self._end, ask)

    def close(self) -> None:
        """Withdraw all asks."""
        for ask in list(self._asks.values()):
            ask.is_awaited = False
            self._end(ask)

    def ending(self, worker: str) -> Ask | None:
        """The ask that this worker's claim ends, if there is one."""
        ask = self._asks.get(worker)
        if ask is not None:
            ask.is_awaited, ask.take = True, None
        return ask

    def ended(self, ask: Ask, claims: Sequence[Claim]) -> None:
        """The claim that ended an ask has brought this; what was handed over besides nobody will see."""
        tokens = {claim.token for claim in claims}
        self._fetched.extend(tokens)
        self._is_over(ask)
        if left := [claim for claim in ask.handed if claim.token not in tokens]:
            self._give_back(left)

    def heard(self, channel: str, data: bytes) -> None:
        """An add has handed something over."""
        del channel
        _, worker, at, until, token, key, function, run, attempt, size, content = data.split(b"\x1f", 10)
        if self._fetched and int(token) in self._fetched:
            return
        cut, moment = int(size), int(at)
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
        ask = self._asks.get(worker.decode())
        if ask is None:
            self._give_back([claim])
        elif not ask.is_awaited:
            ask.handed.append(claim)
            asyncio.get_running_loop().call_later(_GRACE, self._end, ask)
        elif ask.take is None:
            ask.handed.append(claim)
        else:
            self._is_over(ask)
            ask.take([claim], self._clock.now())
            ask.served.set()  # after that: what begins has its turn before the worker waits again

    def restored(self) -> None:
        """The connection was lost: what was missed comes with the next claim."""

    def _is_over(self, ask: Ask) -> bool:
        """Whether it was the latest of its worker; it is so no more."""
        if self._asks.get(ask.worker) is not ask:
            return False
        del self._asks[ask.worker]
        return True

    def _end(self, ask: Ask) -> None:
        """Withdraw it, unless a claim ends it."""
        if not ask.is_awaited and self._is_over(ask):
            self._withdraw(ask)
