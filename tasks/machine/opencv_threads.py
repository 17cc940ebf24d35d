"""Limit the threads of OpenCV, which ignores OMP_NUM_THREADS."""

from clipes.tasks.machine.worker import current_worker


def limit_opencv_threads() -> None:
    """Let OpenCV use as many threads as this worker may use."""
    import cv2  # imported here, because it takes long and only some stages need it

    cv2.setNumThreads(current_worker().slot.threads)
