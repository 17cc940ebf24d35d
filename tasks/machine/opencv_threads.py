"""Limit the number of OpenCV's threads. OMP_NUM_THREADS does not limit it, because OpenCV ignores this variable."""

from clipes.tasks.machine.worker_state import current_worker


def limit_opencv_threads() -> None:
    """Set the number of OpenCV's threads to the number of threads that this worker may use."""
    import cv2  # imported here, because the import is slow and only some stages need OpenCV

    cv2.setNumThreads(current_worker().slot.threads)
