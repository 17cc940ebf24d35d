"""Limit the threads of OpenCV, which ignores OMP_NUM_THREADS."""

from clipes.tasks.machine.worker_state import current_worker


def limit_opencv_threads() -> None:
    """Let OpenCV use as many threads as this worker may use."""
    import cv2  # imported here, because the import is slow and only some stages need OpenCV

    cv2.setNumThreads(current_worker().slot.threads)
