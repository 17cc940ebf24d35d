import httpx
import pytest

from clipes.tasks.ui.publishing import ServerWatch, artifact_key, in_flow_run

NOBODY = "http://127.0.0.1:9/"  # no server listens on the discard port


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("demo", "cams"), "demo-cams"),
        (("demo", "mask_scores", "progress"), "demo-mask-scores-progress"),
        (("VOC.2012_b-", "gallery"), "voc-2012-b-gallery"),
    ],
)
def test_artifact_keys_are_lower_case_with_dashes(parts, key):
    assert artifact_key(*parts) == key


def test_an_unreachable_server_is_logged_once_without_raising(caplog):
    watch = ServerWatch("progress")
    for _ in range(2):
        with watch.tolerate_failures():
            httpx.get(NOBODY)
            pytest.fail("the block must end at the first failure")
    (told,) = caplog.messages
    assert told.startswith("the Prefect UI does not show the progress: the Prefect server at ")
    assert "stopped answering (ConnectError: " in told


def test_other_errors_are_raised():
    with pytest.raises(ZeroDivisionError), ServerWatch("progress").tolerate_failures():
        _ = 1 / 0


def test_in_flow_run_is_false_outside_of_a_flow_run():
    assert not in_flow_run()
