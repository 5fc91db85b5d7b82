"""Progress: how far the present grant of a task has come."""

from docket_core.backend.clock import SECOND
from docket_core.backend.model import Ack, ProgressReply, ProgressUpdate
from docket_core.backend.records import Progress
from docket_core.conformance.marks import Requirements
from docket_core.conformance.subject import LEASE, Subject


async def progress_of(subject: Subject) -> Progress | None:
    record = await subject.record()
    assert record is not None
    assert record.live is not None
    return record.live.progress


class TestProgress(Requirements):
    async def test_increments_add_up(self, subject: Subject) -> None:
        """Increments add up; None leaves a figure as it is."""
        claim = await subject.running()
        answers = await subject.backend.progress(
            [ProgressUpdate(claim, 2, 10, "begun"), ProgressUpdate(claim, 3), ProgressUpdate(claim)]
        )
        assert list(answers) == [ProgressReply.RECORDED] * 3
        assert await progress_of(subject) == Progress(5, 10, "begun", subject.now)
        await subject.advance(SECOND)
        await subject.backend.progress([ProgressUpdate(claim, total=20, message="on")])
        assert await progress_of(subject) == Progress(5, 20, "on", subject.now)
        await subject.backend.progress([ProgressUpdate(claim, 1, clear_message=True)])
        assert await progress_of(subject) == Progress(6, 20, None, subject.now)

    async def test_each_grant_begins_from_zero(self, subject: Subject) -> None:
        """Fenced progress of a grant, from zero at its claim."""
        zombie = await subject.running()
        await subject.backend.progress([ProgressUpdate(zombie, 7, 10, "first")])
        await subject.advance(LEASE)
        holder = await subject.take("key")
        assert await progress_of(subject) in (None, Progress())
        answers = await subject.backend.progress([ProgressUpdate(zombie, 7), ProgressUpdate(holder, 1)])
        assert list(answers) == [ProgressReply.LOST, ProgressReply.RECORDED]
        assert await progress_of(subject) == Progress(1, None, None, subject.now)

    async def test_gone_at_its_end(self, subject: Subject) -> None:
        """Gone at its end: a task that waits for its retry has none, and its old grant writes none."""
        claim = await subject.running()
        await subject.backend.progress([ProgressUpdate(claim, 7)])
        await subject.ack(Ack.retry(claim, attempt=2))
        assert await progress_of(subject) in (None, Progress())
        assert list(await subject.backend.progress([ProgressUpdate(claim, 1)])) == [ProgressReply.SUPERSEDED]
        await subject.end(await subject.take("key"))
        await subject.advance(subject.retention)
        assert list(await subject.backend.progress([ProgressUpdate(claim, 1)])) == [ProgressReply.GONE]

    async def test_any_text_is_a_message(self, subject: Subject) -> None:
        """A message is just text."""
        claim = await subject.running()
        for message in ("", "ä\n\t", "a'b\"c\\d%s{e}", "\U0001f600\u202e"):
            await subject.backend.progress([ProgressUpdate(claim, message=message)])
            assert await progress_of(subject) == Progress(0, None, message, subject.now)
