import pytest
from support.ledger_records import finished, record, reject

from clipes.tasks.runs.failures import check_failure_rate, check_shards, check_upstream
from clipes.tasks.runs.ledger import Ledger
from clipes_core.errors import ConfigError, ErrorKind, FailureLimitError, StageError, UpstreamError


def test_the_report_of_any_other_error_gives_its_type():
    ledger = Ledger(10, 0)
    ledger.started("cams", 0, 1)
    ledger.failed("cams", 0, 1, KeyError("feature"))
    with pytest.raises(StageError, match=r"^cams shard 0: KeyError: 'feature'$"):
        check_shards(ledger)


def test_each_reason_has_one_line_with_its_shards():
    ledger = Ledger(10, 0)
    for shard, reason in ((10, "no"), (3, "never"), (2, "no")):
        ledger.started("cams", shard, 1)
        ledger.failed("cams", shard, 1, StageError(reason))
    with pytest.raises(StageError) as caught:
        check_shards(ledger)
    assert str(caught.value) == "cams shard 2, 10: no\ncams shard 3: never"


def test_an_error_that_the_user_can_correct_comes_first():
    ledger = Ledger(10, 0)
    for shard, failure in enumerate([StageError("no"), ConfigError("clip.device: cuda is not here")]):
        ledger.started("cams", shard, 1)
        ledger.failed("cams", shard, 1, failure)
    with pytest.raises(ConfigError, match=r"^clip\.device: cuda is not here$"):
        check_shards(ledger)


@pytest.mark.parametrize(("failed", "tolerated"), [(0, True), (1, True), (2, True), (3, False), (10, False)])
def test_a_stage_tolerates_a_share_of_failed_photos(failed, tolerated):
    ledger = Ledger(20, 0.1)
    finished(ledger, record(rejects=[reject(str(number)) for number in range(failed)]))

    if tolerated:
        check_failure_rate(ledger, "cams")
    else:
        message = (
            rf"^cams: {failed} of 20 photos failed, more than 2, the limit of execution\.max_failure_rate=0\.1 and "
            r"execution\.tolerated_failures=0; first failure: 0: .*\n"
            r"Repair these photos and rerun with --retry-errors, or raise the limit\.$"
        )
        with pytest.raises(StageError, match=message):
            check_failure_rate(ledger, "cams")
    check_failure_rate(ledger, "masks")


@pytest.mark.parametrize(("photos", "failed"), [(1, 0), (2, 1), (5, 2), (6, 3), (40, 3), (300, 3), (400, 4)])
def test_a_few_failed_photos_are_tolerated_in_a_small_set_but_never_most_of_them(photos, failed):
    ledger = Ledger(photos, 0.01, tolerated_failures=3)
    finished(ledger, record(rejects=[reject(str(number)) for number in range(failed)]))
    check_failure_rate(ledger, "cams")
    finished(ledger, record(1, rejects=[reject("one more")]))
    told = rf"more than {failed}, the limit of execution\.max_failure_rate=0\.01 and execution\.tolerated_failures=3; "
    with pytest.raises(StageError, match=told):
        check_failure_rate(ledger, "cams")


def test_a_rate_of_0_tolerates_no_failed_photo():
    ledger = Ledger(40, 0, tolerated_failures=3)
    check_failure_rate(ledger, "cams")
    finished(ledger, record(rejects=[reject("a")]))
    told = r"^cams: 1 of 40 photos failed, more than 0, the limit of execution\.max_failure_rate=0; first failure: a: "
    with pytest.raises(StageError, match=told):
        check_failure_rate(ledger, "cams")


def test_failures_add_up_over_shards():
    ledger = Ledger(20, 0.1)
    for shard in range(3):
        check_failure_rate(ledger, "cams")
        finished(ledger, record(shard, rejects=[reject(str(shard))]))
    with pytest.raises(StageError, match="3 of 20"):
        check_failure_rate(ledger, "cams")


def test_transient_failures_do_not_count():
    ledger = Ledger(20, 0)
    finished(ledger, record(rejects=[reject("a", ErrorKind.TIMEOUT)]))
    check_failure_rate(ledger, "cams")


def test_failures_of_a_cached_shard_count_too():
    ledger = Ledger(20, 0)
    finished(ledger, record(cached=True, computed=0, rejects=[reject("a")]))
    with pytest.raises(StageError, match="1 of 20"):
        check_failure_rate(ledger, "cams")


def test_the_message_names_the_first_photo_that_failed_permanently():
    ledger = Ledger(20, 0)
    finished(ledger, record(0, rejects=[reject("a", ErrorKind.NETWORK), reject("b")]))
    finished(ledger, record(1, rejects=[reject("c")]))
    with pytest.raises(StageError, match=r"^cams: 2 of 20 photos failed, .*; first failure: b: b is missing\n"):
        check_failure_rate(ledger, "cams")


def test_the_failure_rate_of_the_evaluation_is_over_its_own_photos():
    ledger = Ledger(100, 0.5, evaluated=4)
    for stage in ("cams", "segmenter_scores"):
        finished(ledger, record(stage=stage, rejects=[reject(name, stage=stage) for name in "abc"]))
    check_failure_rate(ledger, "cams")
    with pytest.raises(StageError, match=r"^segmenter_scores: 3 of 4 photos failed"):
        check_failure_rate(ledger, "segmenter_scores")


def test_a_stage_with_too_many_failed_photos_has_one_line_although_several_shards_report_it():
    ledger = Ledger(20, 0)
    for shard, name in enumerate("abc"):
        finished(ledger, record(shard, rejects=[reject(name)]))
    for shard in (1, 2):
        with pytest.raises(FailureLimitError) as caught:
            check_failure_rate(ledger, "cams")
        ledger.failed("cams", shard, 1, caught.value)
    ledger.started("masks", 0, 1)
    ledger.failed("masks", 0, 1, StageError("no room"))
    finished(ledger, record(3, rejects=[reject("d")]))
    with pytest.raises(StageError) as caught:
        check_shards(ledger)
    first, second, _ = str(caught.value).splitlines()
    assert first == "masks shard 0: no room"
    assert second.startswith("cams: 4 of 20 photos failed, more than 0, ")


def test_a_shard_is_not_run_if_a_shard_that_it_reads_has_no_artifact():
    ledger = Ledger(10, 0.1)
    finished(ledger, record(0))
    check_upstream(ledger, [("cams", 0)], ["cams"])
    for shard, failure in ((1, StageError("no")), (2, UpstreamError("not run"))):
        ledger.started("cams", shard, 1)
        ledger.failed("cams", shard, 1, failure)
    with pytest.raises(UpstreamError, match=r"^not run: it reads cams shard 1, which has failed$"):
        check_upstream(ledger, [("cams", 0), ("cams", 1)], [])
    with pytest.raises(UpstreamError, match=r"^not run: it reads cams shard 2, which was not run$"):
        check_upstream(ledger, [("cams", 2)], [])


def test_a_shard_is_not_run_if_too_many_photos_have_failed():
    ledger = Ledger(10, 0.1)
    finished(ledger, record(0, rejects=[reject("a"), reject("b")]))
    with pytest.raises(UpstreamError, match=r"^not run: too many photos failed in the stage cams$"):
        check_upstream(ledger, [("cams", 0)], ["masks", "cams"])


def test_failed_shards_are_listed_in_the_order_of_their_stages():
    ledger = Ledger(10, 0)
    for stage, shard in (("masks", 1), ("cams", 0)):
        ledger.started(stage, shard, 1)
        ledger.failed(stage, shard, 1, StageError("no"))
    ledger.planned("masks", 2)
    with pytest.raises(StageError) as caught:
        check_shards(ledger)
    assert str(caught.value) == "cams shard 0: no\nmasks shard 1: no\nmasks shard 2: the task run did not finish"
