"""Describe the training of a segmenter in words, for the report and the Prefect UI."""

from collections.abc import Iterator
from typing import Any

from clipes.tasks.report.facts import RunFacts
from clipes_core.config.segmenter import TrainConfig


def describe_training(facts: RunFacts) -> dict[str, str]:
    """Return the facts about a run's training, as name -> text; empty if the run has no segmenter or has not ended."""
    training = (facts.status.metrics or {}).get("training")
    return dict(_facts(training, facts.config.train)) if training else {}


def _facts(training: dict[str, Any], config: TrainConfig) -> Iterator[tuple[str, str]]:
    resumed, speed = training["resumed_at"], training["iterations_per_second"]
    processes, gpu = training["processes"], training["peak_gpu_memory_mib"]
    on = f"{processes} process{'es' if processes > 1 else ''} on {training['device']}"
    yield "Network", f"{config.mmseg_config}, {training['parameters'] / 1e6:.2f} M parameters"
    yield "Loss", "cross entropy" if config.loss == "ce" else f"confidence-guided, mu {config.mu}"
    yield "Iterations", f"{training['iterations']}" + (f", resumed at {resumed}" if resumed else "")
    yield "Speed", "not measured, because no iterations remained" if speed is None else f"{speed:.2f} iterations/s"
    yield "Time spent waiting for photos", f"{training['waited_seconds']:.1f} s"
    yield "Precision", f"{training['precision']}, {on}"
    yield "Peak memory", f"{training['peak_memory_mib']} MiB" + (f", {gpu} MiB on the GPU" if gpu is not None else "")
    yield "Trained on", _photos(training)
    yield "Pixels kept", f"{training['kept_fraction']:.1%} of the labelled pixels"
    if training["best_miou"] is not None:
        yield "Best mIoU during training", f"{training['best_miou']:.1%} at iteration {training['best_iteration']}"
    yield "Files read", _reads(training["reads"])


def _photos(training: dict[str, Any]) -> str:
    left_out = training["photos_without_mask"]
    return f"{training['photos']} photos" + (f" (left out because they have no mask: {left_out})" if left_out else "")


def _reads(reads: dict[str, Any]) -> str:
    counts = [f"{reads['local']} local"] if reads["local"] else []
    if reads["hit"] or reads["fetched"]:
        counts += [f"{reads['hit']} from the cache", f"{reads['fetched']} fetched ({reads['fetched_mb']:.1f} MB)"]
    return ", ".join(counts or ["none"]) + f", in {reads['read_seconds']:.1f} s"
