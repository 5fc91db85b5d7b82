"""How many tasks wait is told to metrics, by function: also those that no worker here knows."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, json, sys
from datetime import timedelta
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))

from docket_core import Docket, Worker

async def stranger() -> None: ...
async def known() -> None: ...

def depths():
    found = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name.endswith("_depth"):
                    for point in metric.data.data_points:
                        found[f"{metric.name} {point.attributes['docket.task']}"] = point.value
    return found

async def main(url):
    async with Docket("depths", url) as theirs, Docket("depths", url) as ours:
        for _ in range(3):
            await theirs.add(stranger)()
        await theirs.add(known, when=timedelta(hours=1))()
        ours.register(known)
        async with Worker(ours) as worker:
            running = asyncio.create_task(worker.run_forever())
            async with asyncio.timeout(20):
                while not depths():
                    await asyncio.sleep(0.02)
            worker.stop()
            await running
    print(json.dumps(depths()))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.requirement("R-085")
def test_tasks_that_nobody_here_knows_are_counted(docket_url: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, docket_url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["docket_queue_depth stranger"] == 3
    assert told["docket_schedule_depth known"] == 1
    assert told["docket_queue_depth known"] == 0
