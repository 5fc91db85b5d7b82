"""The figures that scenarios answer: what they are called, their units, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One figure."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = False


def _rate(key: str, title: str) -> Metric:
    return Metric(key, title, "tasks/s", higher_is_better=True)


METRICS = (
    _rate("add", "add, one by one"),
    _rate("add-together", "add, 100 at a time"),
    _rate("add-many", "add_many(1000)"),
    _rate("drain-10", "drain, concurrency 10"),
    _rate("drain-100", "drain, concurrency 100"),
    _rate("drain-100-info", "drain, concurrency 100, log at INFO"),
    _rate("processes-1", "drain, 1 process"),
    _rate("processes-2", "drain, 2 processes"),
    _rate("processes-4", "drain, 4 processes"),
    _rate("bare-10", "store alone, claims and acks of 10"),
    _rate("bare-100", "store alone, claims and acks of 100"),
    Metric("latency-p50", "latency, idle worker, p50", "ms"),
    Metric("latency-p99", "latency, idle worker, p99", "ms"),
    Metric("lateness-p50", "lateness, spread in time, p50", "ms"),
    Metric("lateness-p99", "lateness, spread in time, p99", "ms"),
    Metric("at-once", "all due at one instant: last start, by the time they take to drain", "x"),
    Metric("idle-commands", "idle worker, store commands", "/s"),
    Metric("idle-cpu", "idle worker, CPU", "%"),
    Metric("depth", "claim where many wait, by the same at 1,000", "x"),
    Metric("bytes", "stored per queued task", "bytes"),
    Metric("memory", "worker's memory after the soak", "MiB"),
    Metric("memory-growth", "worker's memory, growth per 1,000 tasks", "KiB"),
    Metric("redelivery", "start again after SIGKILL, lease of 2 s", "s"),
)
"""All of them, in the order of tables."""
BY_KEY = {metric.key: metric for metric in METRICS}
