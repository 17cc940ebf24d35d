import pytest
from support.prepared import prepared

from clipes_core.errors import ConfigError


def test_unknown_words_to_leave_out_are_reported_once(six, caplog):
    prepared(six, "texts", prompts={"leave_out": ["sky"]})
    assert "prompts.leave_out" not in caplog.text
    prepared(six, "texts", prompts={"leave_out": ["sky", "xyz"]})
    assert [message for message in caplog.messages if "prompts.leave_out" in message] == [
        "prompts.leave_out: these are no background words of the vocabulary, and are ignored: xyz"
    ]


def test_a_softmax_without_background_words_is_refused(six):
    vocabulary = six.folder / "bare.yaml"
    vocabulary.write_text("classes: [{name: cat}, {name: dog}]\n")
    bare = {"dataset": {"classes": str(vocabulary)}}
    with pytest.raises(ConfigError, match=r"bare\.yaml has no background_words"):
        prepared(six, **bare)
    assert prepared(six, **bare, cam={"softmax": False}).photos == 6
    assert prepared(six, **bare, prompts={"background": False}).photos == 6
