"""The numbers that stand in the column `stage`, and what they mean to a reader."""

from docket_core.backend.states import State

PENDING, PARKED, BEHIND, RUNNING, COMPLETED, FAILED, CANCELLED, HELD = range(8)
"""Stages of a part. BEHIND: pending, but a replaced run still keeps the key. HELD: that run."""

LIVE_STAGES = (PENDING, PARKED, BEHIND, RUNNING)
ENDED_STAGES = (COMPLETED, FAILED, CANCELLED)

STAGE_OF_END = {State.COMPLETED: COMPLETED, State.FAILED: FAILED, State.CANCELLED: CANCELLED}
STATE_OF_STAGE = {
    RUNNING: State.RUNNING,
    HELD: State.RUNNING,
    COMPLETED: State.COMPLETED,
    FAILED: State.FAILED,
    CANCELLED: State.CANCELLED,
    PARKED: State.SCHEDULED,
}
"""What a reader sees; PENDING and BEHIND depend on the time."""
