"""A run that is told to end takes its servers along."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.servers.redis_many import until

ROOT = Path(__file__).resolve().parents[2]


def test_no_server_outlives_a_run_that_is_told_to_end(tmp_path: Path) -> None:
    asked = (
        "--quick",
        "--stores",
        "redis",
        "--peers",
        "",
        "--no-limits",
        "--no-page",
        "--output",
        str(tmp_path / "out"),
    )
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *asked],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    until(lambda: bool(list(tmp_path.glob("docket-redis-*/redis.sock"))), "its server is there")
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.glob("docket-*")) == []
