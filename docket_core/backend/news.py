"""Optional helpers for `subscribe`: which topic an event belongs to, what a record shows, and what is unread."""

from docket_core.backend.records import CancelRequested, Event, ProgressMade, Record, StateChanged, Topic

TOPIC_OF: dict[type[Event], Topic] = {
    StateChanged: Topic.STATE,
    ProgressMade: Topic.PROGRESS,
    CancelRequested: Topic.CANCEL,
}


def events_of(record: Record) -> list[Event]:
    """The events that led to a record, as far as it shows them, the older part first."""
    key, live, last, hold = record
    events: list[Event] = []
    if last is not None:
        events.append(
            StateChanged(
                key,
                last.run,
                last.generation,
                last.state,
                last.when,
                last.worker,
                last.started_at,
                last.completed_at,
                last.error,
            )
        )
    if live is not None:
        events.append(StateChanged(key, live.run, live.generation, live.state, live.when, live.worker, live.started_at))
        if live.progress is not None:
            events.append(ProgressMade(key, live.run, live.generation, live.progress))
    events += [
        CancelRequested(key, part.generation, part.token)
        for part in (live, hold)
        if part is not None and part.cancel_requested and part.token is not None
    ]
    return events


class Unread:
    """What a subscriber has not read yet: of each kind, key and state the newest, in the order of their news.

    So a slow reader costs what there is to tell, and not how often it was told.
    """

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: dict[tuple[object, ...], Event] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def put(self, event: Event) -> None:
        """Add an event, in place of an older one that told the same."""
        state = event.state if isinstance(event, StateChanged) else None
        slot = (type(event), event.key, state)
        self._events.pop(slot, None)
        self._events[slot] = event

    def pop(self) -> Event:
        """Take the oldest out.

        Raises:
            StopIteration: there is none.
        """
        return self._events.pop(next(iter(self._events)))
