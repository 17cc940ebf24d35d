import pytest
from support.ledger_records import finished, record, reject

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.record.recorder import RunSummary
from clipes.tasks.ui.result_message import result_message


@pytest.fixture
def ledger():
    """Return a ledger with 20 masks, of which two failed: one in the stage cams, one in the stage masks."""
    ledger = Ledger(20, 1)
    finished(ledger, record(0, rejects=[reject("a")]))
    finished(ledger, record(0, "masks", rejects=[reject("b", stage="masks")]))
    finished(ledger, record(1, "masks"))
    finished(ledger, record(0, "mask_scores", rejects=[reject("c", stage="mask_scores")]))
    return ledger


def summary(to_check=None, **metrics):
    return RunSummary("demo", "/store/runs/demo", 3, metrics, to_check=to_check)


def test_the_message_states_the_masks_their_score_that_of_the_segmenter_and_what_to_check(ledger):
    scores = {"pseudo_mask": {"miou": 0.4781}, "segmenter": {"miou": 0.459}, "refined_cam": {"miou": 0.4}}
    assert result_message(summary(22, **scores), ledger) == "18 masks, mIoU 47.8 %, segmenter 45.9 %; 22 to check"


def test_the_message_leaves_out_what_is_not_known(ledger):
    assert result_message(summary(), ledger) == "18 masks"
    assert result_message(summary(0), ledger) == "18 masks; 0 to check"
    assert result_message(summary(), Ledger(20, 1)) == "no masks"


def test_the_message_of_a_ranking_names_the_best_template():
    ranking = {"prompts": {"template": "a {}.", "templates": 82, "sharpness": 0.1}}
    assert result_message(summary(**ranking), Ledger(20, 1)) == "best of 82 templates: a {}."


def test_the_message_of_a_ranking_of_words_states_their_number():
    assert result_message(summary(words={"words": 24}), Ledger(20, 1)) == "24 words ranked"
