import pytest
from support.plain_runs import Lengths, run_inputs

from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.stage_keys import key_without_upstream, stage_keys

INPUTS = run_inputs()
BASE = Lengths({"power": 2}, name="base")
OTHER = Lengths({}, name="other")
TOP = Lengths({"words": ["a"]}, name="top", version=3, upstream=(BASE, OTHER))


def top_key(*stages):
    return stage_keys(stages, INPUTS)["top"]


def test_a_key_is_the_digest_of_name_version_settings_and_upstream_keys():
    base, other = digest(["base", 1, {"power": 2}, []]), digest(["other", 1, {}, []])
    assert stage_keys((BASE, OTHER, TOP), INPUTS) == {
        "base": base,
        "other": other,
        "top": digest(["top", 3, {"words": ["a"]}, [base, other]]),
    }


@pytest.mark.parametrize(
    "changed",
    [
        (Lengths({"power": 3}, name="base"), OTHER, TOP),
        (Lengths({"power": 2}, name="base", version=2), OTHER, TOP),
        (BASE, OTHER, Lengths({"words": ["b"]}, name="top", version=3, upstream=(BASE, OTHER))),
        (BASE, OTHER, Lengths({"words": ["a"]}, name="top", version=4, upstream=(BASE, OTHER))),
        (BASE, OTHER, Lengths({"words": ["a"]}, name="top", version=3, upstream=(OTHER, BASE))),
        (BASE, OTHER, Lengths({"words": ["a"]}, name="top", version=3, upstream=(BASE,))),
    ],
)
def test_a_key_changes_with_settings_version_or_upstream(changed):
    assert top_key(*changed) != top_key(BASE, OTHER, TOP)


def test_a_key_ignores_attributes_that_do_not_change_results():
    same = Lengths({"power": 2}, name="base", workers="gpu", enabled_by="base.enabled=true", pooled=True)
    assert stage_keys((same,), INPUTS) == stage_keys((BASE,), INPUTS)


class Waiting(Lengths):
    """A stage whose settings are not known yet."""

    def reads(self, inputs):
        return None


def test_a_stage_waiting_for_a_setting_and_its_downstream_have_no_key():
    waits = Waiting(name="waits")
    reads_it = Lengths(name="reads_it", upstream=(BASE, waits))
    reads_that = Lengths(name="reads_that", upstream=(reads_it,))
    assert list(stage_keys((BASE, waits, reads_it, reads_that, OTHER), INPUTS)) == ["base", "other"]


def test_the_key_of_a_stage_without_upstream_needs_only_that_stage():
    assert key_without_upstream(BASE, INPUTS) == stage_keys((BASE, OTHER, TOP), INPUTS)["base"]
    with pytest.raises(AssertionError):
        key_without_upstream(TOP, INPUTS)
