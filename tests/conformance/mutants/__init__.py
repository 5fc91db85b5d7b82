"""Deliberately broken memory backends, and for each the requirements that must catch it."""

from tests.conformance.mutants.bookkeeping import BOOKKEEPING
from tests.conformance.mutants.claiming import CLAIMING
from tests.conformance.mutants.ending import ENDING
from tests.conformance.mutants.flow import FLOW
from tests.conformance.mutants.limits import LIMITS
from tests.conformance.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*CLAIMING, *ENDING, *FLOW, *BOOKKEEPING, *LIMITS)
