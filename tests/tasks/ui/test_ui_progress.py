"""Progress outside of a flow run; tests/flows/test_ui.py checks what a server receives."""

import threading

import pytest

from clipes.tasks.ui.ui_progress import show_progress_in_ui


def test_no_thread_is_started_outside_of_a_flow_run():
    before = threading.active_count()
    with show_progress_in_ui("plain", {"cams": 4}, lambda stage: pytest.fail(f"must not count {stage}"), {}):
        assert threading.active_count() == before


def test_an_error_outside_of_a_flow_run_is_raised():
    with pytest.raises(ZeroDivisionError), show_progress_in_ui("plain", {"cams": 4}, lambda stage: None, {}):
        _ = 1 / 0
