"""What is done once the store has answered a verdict: it is counted, and what became of no use is taken away."""

from docket_core import instrumentation
from docket_core.backend.model import Ack, Acked, Verdict
from docket_core.docket import Docket
from docket_core.logs import get_logger
from docket_core.results import is_reference
from docket_core.worker.run import Run
from docket_core.worker.services import Services

logger = get_logger("docket_core.worker")

_ACKED = Acked.ACKED
_COUNTERS = {
    Verdict.COMPLETE: instrumentation.TASKS_SUCCEEDED,
    Verdict.FAIL: instrumentation.TASKS_FAILED,
    Verdict.CANCEL: instrumentation.TASKS_CANCELLED,
}


class Answers:
    """Takes note of the store's answers to one worker's verdicts."""

    def __init__(self, docket: Docket, services: Services) -> None:
        self._docket = docket
        self._services = services

    def note(self, run: Run, ack: Ack, reply: Acked) -> None:
        """The store has answered a verdict."""
        labels = self._docket.labels_of(run.claim.function)
        if reply is not _ACKED:
            run.superseded = True
            if ack.result is not None and is_reference(ack.result):
                self._services.spawn(self._delete_result(ack.result))
            instrumentation.TASKS_SUPERSEDED.add(1, labels)
            logger.debug("the end of %r counts for nothing: %s", run.claim.key, reply.value)
            return
        counter = _COUNTERS.get(ack.verdict)
        if counter is not None:
            instrumentation.TASKS_COMPLETED.add(1, labels)
            counter.add(1, labels)

    async def _delete_result(self, reference: bytes) -> None:
        """The ack of a result that is kept elsewhere was lost: nobody will ask for it."""
        if self._docket.results is not None:
            await self._docket.results.delete(reference)
