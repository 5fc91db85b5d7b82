"""All requirements: `from docket_core.conformance.suite import *` in a test module puts a backend through them."""

from docket_core.conformance.test_ack import TestEnds, TestSuccessors
from docket_core.conformance.test_bounds import TestBounds
from docket_core.conformance.test_cancel import TestCancel
from docket_core.conformance.test_claim import TestAdding, TestClaiming
from docket_core.conformance.test_clear import TestClear
from docket_core.conformance.test_errors import TestErrors
from docket_core.conformance.test_events import TestEvents
from docket_core.conformance.test_fencing import TestHolds, TestZombies
from docket_core.conformance.test_history import TestHistory
from docket_core.conformance.test_isolation import TestIsolation
from docket_core.conformance.test_leases import TestLeases
from docket_core.conformance.test_limits import TestLimits
from docket_core.conformance.test_parking import TestParking
from docket_core.conformance.test_permits import TestDebouncing, TestPermits
from docket_core.conformance.test_places import TestPlaces
from docket_core.conformance.test_progress import TestProgress
from docket_core.conformance.test_records import TestRecords
from docket_core.conformance.test_recovery import TestPoison, TestRecovery
from docket_core.conformance.test_retention import TestPrune, TestRetention
from docket_core.conformance.test_strikes import TestStrikes
from docket_core.conformance.test_threads import TestThreads
from docket_core.conformance.test_transactions import TestTransactions
from docket_core.conformance.test_transitions import TestTransitions
from docket_core.conformance.test_wait import TestHandingOver, TestWait
from docket_core.conformance.test_workers import TestWorkers

__all__ = [
    "TestAdding",
    "TestBounds",
    "TestCancel",
    "TestClaiming",
    "TestClear",
    "TestDebouncing",
    "TestEnds",
    "TestErrors",
    "TestEvents",
    "TestHandingOver",
    "TestHistory",
    "TestHolds",
    "TestIsolation",
    "TestLeases",
    "TestLimits",
    "TestParking",
    "TestPermits",
    "TestPlaces",
    "TestPoison",
    "TestProgress",
    "TestPrune",
    "TestRecords",
    "TestRecovery",
    "TestRetention",
    "TestStrikes",
    "TestSuccessors",
    "TestThreads",
    "TestTransactions",
    "TestTransitions",
    "TestWait",
    "TestWorkers",
    "TestZombies",
]
