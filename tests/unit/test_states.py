"""The table of transitions: total where it must be, and without a dead end."""

from collections import Counter

import pytest

from docket_core.backend.states import LIVE, PENDING, TERMINAL, TRANSITIONS, Stage, State, Trigger

ENDED = {Stage.ABSENT, Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED}
TABLE = {(row.source, row.trigger): row.target for row in TRANSITIONS}


def reachable(source: Stage) -> set[Stage]:
    found, border = {source}, {source}
    while border:
        border = {row.target for row in TRANSITIONS if row.source in border} - found
        found |= border
    return found


def test_no_row_stands_twice_and_no_pair_has_two_outcomes() -> None:
    pairs = Counter((row.source, row.trigger) for row in TRANSITIONS)
    assert not [pair for pair, times in pairs.items() if times > 1]


def test_pending_live_and_terminal_states_are_all_there_are() -> None:
    assert PENDING | {State.RUNNING} == LIVE
    assert set(State) == LIVE | TERMINAL
    assert not LIVE & TERMINAL


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_reached_from_nothing_and_leads_back_to_nothing(stage: Stage) -> None:
    assert stage in reachable(Stage.ABSENT)
    assert Stage.ABSENT in reachable(stage)


@pytest.mark.parametrize("stage", sorted(set(Stage) - ENDED))
def test_every_live_stage_can_end_in_every_way(stage: Stage) -> None:
    assert {Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED} <= reachable(stage)


@pytest.mark.parametrize("stage", Stage)
def test_what_a_reader_sees(stage: Stage) -> None:
    expected = {Stage.ABSENT: None, Stage.PARKED: "scheduled", Stage.CANCELLING: "running", Stage.LAPSED: "running"}
    assert stage.state == expected.get(stage, stage.value)


@pytest.mark.parametrize("trigger", Trigger)
def test_everything_that_can_happen_happens_somewhere(trigger: Trigger) -> None:
    assert [row for row in TRANSITIONS if row.trigger is trigger]


@pytest.mark.parametrize("stage", sorted(ENDED))
def test_only_an_add_or_its_retention_moves_what_has_ended(stage: Stage) -> None:
    moving = {trigger for source, trigger in TABLE if source is stage}
    adds = {Trigger.ADD_NOW, Trigger.ADD_LATER, Trigger.REPLACE_NOW, Trigger.REPLACE_LATER}
    assert moving == adds | (set() if stage is Stage.ABSENT else {Trigger.EXPIRE})


@pytest.mark.parametrize("stage", sorted(set(Stage) - ENDED))
def test_a_live_key_is_not_added_again(stage: Stage) -> None:
    assert not {(stage, Trigger.ADD_NOW), (stage, Trigger.ADD_LATER)} & set(TABLE)


def test_only_a_claim_leads_to_running() -> None:
    assert {row.trigger for row in TRANSITIONS if row.target is Stage.RUNNING} == {Trigger.CLAIM}


def test_only_a_holder_acks_and_every_holder_may_ack_anything() -> None:
    acks = {trigger for trigger in Trigger if trigger.name.startswith("ACK_")}
    for stage in Stage:
        held = stage.state is State.RUNNING
        assert {trigger for source, trigger in TABLE if source is stage and trigger in acks} == (
            acks if held else set()
        )


def test_a_requested_cancel_lets_nothing_go_on() -> None:
    targets = {row.target for row in TRANSITIONS if row.source is Stage.CANCELLING and "replace" not in row.trigger}
    assert targets <= ENDED
