"""Each error has its exit code."""

import pytest

from docket_core import errors
from docket_core.cli.exit_codes import MEANINGS, ExitCode, exit_code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), ExitCode.USAGE),
        (errors.UnknownScheme("x"), ExitCode.USAGE),
        (errors.InvalidKey("x"), ExitCode.USAGE),
        (errors.BackendUnavailable("x"), ExitCode.UNAVAILABLE),
        (errors.SchemaMismatch("x"), ExitCode.UNAVAILABLE),
        (errors.CapabilityMissing("x"), ExitCode.NOT_SHARED),
        (errors.Undecodable("x"), ExitCode.DATA),
        (errors.ExecutionCancelled("x"), ExitCode.NO),
    ],
)
def test_an_error_has_its_code(error: errors.DocketError, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_every_code_has_a_meaning_that_help_shows() -> None:
    assert set(MEANINGS) == set(ExitCode)
