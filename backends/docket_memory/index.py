"""An ordered index: members by score, the smallest first; adding, moving and removing in logarithmic time."""

import heapq
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from docket_core.backend.clock import Micros


class Index:
    """Members (text) with a score and a tie-breaker; a member stands in it once.

    A heap whose stale entries are skipped when they come up and swept when they outnumber the rest.
    """

    __slots__ = ("_entries", "_heap")

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Micros, int, str]] = {}
        self._heap: list[tuple[Micros, int, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, member: str) -> bool:
        return member in self._entries

    def __iter__(self) -> Iterator[tuple[Micros, int, str]]:
        return iter(self._entries.values())

    def add(self, member: str, score: Micros, tie: int = 0) -> None:
        """Put `member` at `score`, wherever it was before."""
        entry = (score, tie, member)
        self._entries[member] = entry
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 64 + 2 * len(self._entries):
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def discard(self, member: str) -> None:
        """Take `member` out, if it is in."""
        if self._entries.pop(member, None) is not None and not self._entries:
            self._heap.clear()

    def first(self) -> tuple[Micros, int, str] | None:
        """The smallest (score, tie, member); None when empty."""
        heap, entries = self._heap, self._entries
        while heap:
            entry = heap[0]
            if entries.get(entry[2]) is entry:
                return entry
            heapq.heappop(heap)
        return None

    def score(self, member: str) -> Micros | None:
        """Where `member` stands; None if it is not in."""
        entry = self._entries.get(member)
        return entry[0] if entry is not None else None

    def footprint(self) -> int:
        """How many entries are kept inside, stale ones included."""
        return len(self._heap)

    def before(self, score: Micros) -> int:
        """How many members have a smaller score; looks at all of them."""
        return sum(1 for entry in self._entries.values() if entry[0] < score)


class Indexes:
    """One index per function; empty ones are not kept."""

    __slots__ = ("_by_function",)

    def __init__(self) -> None:
        self._by_function: dict[str, Index] = {}

    def add(self, function: str, member: str, score: Micros, tie: int = 0) -> None:
        index = self._by_function.get(function)
        if index is None:
            index = self._by_function[function] = Index()
        index.add(member, score, tie)

    def discard(self, function: str, member: str) -> None:
        index = self._by_function.get(function)
        if index is not None:
            index.discard(member)
            if not index:
                del self._by_function[function]

    def of(self, function: str) -> Index | None:
        return self._by_function.get(function)

    def among(self, functions: AbstractSet[str] | None) -> list[tuple[str, Index]]:
        """The non-empty indexes of these functions (None: of all)."""
        held = self._by_function
        if functions is None:
            return list(held.items())
        if len(functions) <= len(held):
            return [(name, held[name]) for name in functions if name in held]
        return [(name, index) for name, index in held.items() if name in functions]

    def earliest(self, functions: AbstractSet[str] | None) -> Micros | None:
        """The smallest score among these functions."""
        earliest: Micros | None = None
        if self._by_function:
            for _, index in self.among(functions):
                first = index.first()
                if first is not None and (earliest is None or first[0] < earliest):
                    earliest = first[0]
        return earliest

    def due(self, functions: AbstractSet[str] | None, now: Micros) -> Iterator[str]:
        """Members with a score of at most `now`, oldest first over all these functions.

        Whoever takes a member from the iterator removes it from its index, or stops.
        """
        return self._due(functions, now) if self._by_function else iter(())

    def _due(self, functions: AbstractSet[str] | None, now: Micros) -> Iterator[str]:
        heads: list[tuple[Micros, int, str, str, Index]] = []
        for name, index in self.among(functions):
            first = index.first()
            if first is not None and first[0] <= now:
                heads.append((*first, name, index))
        heapq.heapify(heads)
        while heads:
            _, _, member, name, index = heads[0]
            yield member
            first = index.first()
            if first is not None and first[0] <= now and first[2] != member:
                heapq.heapreplace(heads, (*first, name, index))
            else:
                heapq.heappop(heads)
