import httpx
import pytest

from clipes.tasks.ui.publishing import ServerWatch, artifact_key, in_flow_run

NOBODY = "http://127.0.0.1:9/"  # the discard port: no server listens


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("demo", "cams"), "demo-cams"),
        (("demo", "mask_scores", "progress"), "demo-mask-scores-progress"),
        (("VOC.2012_b-", "gallery"), "voc-2012-b-gallery"),
    ],
)
def test_keys_are_lower_case_with_dashes(parts, key):
    assert artifact_key(*parts) == key


def test_a_server_that_does_not_answer_is_told_once_and_ends_nothing(caplog):
    watch = ServerWatch("progress")
    for _ in range(2):
        with watch.publishing():
            httpx.get(NOBODY)
            pytest.fail("the block goes on")
    (told,) = caplog.messages
    assert told.startswith("progress not shown in the Prefect UI: ConnectError: ")


def test_what_has_nothing_to_do_with_the_server_is_raised():
    with pytest.raises(ZeroDivisionError), ServerWatch("progress").publishing():
        _ = 1 / 0


def test_there_is_no_flow_run_here():
    assert not in_flow_run()
