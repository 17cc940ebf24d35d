"""The content of run.json and metrics.json, as small as it may be."""

from typing import Any

RUN: dict[str, Any] = {
    **{"name": "my run", "state": "running", "started": "2026-01-02T03:04:00+00:00", "finished": None, "error": None},
    **{"until": "masks", "host": "here", "pid": 12, "pid_started": 1.5, "model_digest": "abc", "precision": "fp32"},
    **{"stage_keys": {"masks": "0" * 16}, "photos": 3, "rejected": 0, "versions": {"clipes": "1"}, "config": {}},
}
SCORES: dict[str, Any] = {
    **{"miou": 0.5, "pixel_accuracy": 0.5, "mean_accuracy": 0.5, "fwiou": 0.5, "class_iou": {"cat": None}},
    **{"background_power": 1, "images": 3},
}
READS: dict[str, Any] = {
    **{"local": 3, "hit": 0, "fetched": 0, "fetched_mb": 0.0, "read_seconds": 0.1},
    "unusable_photos": [],
}
TRAINING: dict[str, Any] = {
    **{"iterations": 10, "resumed_at": 0, "photos": 3, "photos_without_mask": 0, "parameters": 100},
    **{"precision": "fp32", "processes": 1, "device": "cpu", "iterations_per_second": 2.0, "waited_seconds": 0.1},
    **{"peak_memory_mib": 100, "peak_gpu_memory_mib": None, "kept_fraction": 0.5},
    **{"best_miou": None, "best_iteration": None, "reads": READS},
}
