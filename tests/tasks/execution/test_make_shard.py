import dataclasses
from importlib.metadata import version
from pathlib import Path

import pytest
from support.plain_runs import LengthRow, Lengths, photo, run_inputs, worker_in_this_process

from clipes.tasks.execution.make_shard import cached_record, make_shard
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.plan.keys import row_digest
from clipes.tasks.plan.row_kinds import TEXT_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.shard_plan import plan_shard
from clipes.tasks.plan.stage import JointStage
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.listed_store import ListedStore
from clipes_core.errors import ArtifactError, ErrorKind, StageError

KEY = "5" * 16
LENGTHS = Lengths()


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(str(tmp_path))


def planned(store, *image_ids, stage=LENGTHS, **changes):
    photos = tuple(dataclasses.replace(photo(image_id), **changes.get(image_id, {})) for image_id in image_ids)
    inputs = run_inputs(photos)
    return inputs, plan_shard(stage, 0, KEY, inputs, ListedStore(store.uri), {}, {})


def job_of(store, *image_ids, stage=LENGTHS, **changes):
    inputs, plan = planned(store, *image_ids, stage=stage, **changes)
    return shard_job(stage, plan, store, inputs, 0)


def made(store, *image_ids, stage=LENGTHS, **changes):
    """Make a shard in this process and return its record and its rows."""
    with worker_in_this_process(stage.name):
        record = make_shard(job_of(store, *image_ids, stage=stage, **changes))
    return record, list(store.read_rows(record.uri))


def test_every_photo_has_a_row_with_its_digests(store):
    job = job_of(store, "ab", "cde")
    record, rows = made(store, "ab", "cde")

    assert [(row["image_id"], row["status"], row["length"]) for row in rows] == [("ab", "ok", 2), ("cde", "ok", 3)]
    assert {row["image_id"]: row["input_digest"] for row in rows} == job.plan.input_digests
    assert rows[0]["output_digest"] == row_digest(LengthRow(image_id="ab", length=2))
    assert record.uri == store.artifact_uri(job.plan.key)


def test_the_record_names_the_worker_and_counts_the_rows(store):
    with worker_in_this_process("lengths") as counters:
        record = make_shard(job_of(store, "ab", "cde"))
        assert counters.count("lengths") == 2

    assert (record.stage, record.shard, record.images, record.cached) == ("lengths", 0, 2, False)
    assert (record.copied, record.computed, record.rejects) == (0, 2, ())
    assert record.worker.startswith("cpu:")
    assert record.cost is not None
    assert (record.cost.rows, record.cost.peak_gpu_memory_mib, record.cost.warm) == (2, None, False)
    assert record.cost.peak_memory_mib > 1
    assert record.seconds >= 0


def test_the_footer_has_the_key_the_config_and_the_stage_s_own_entries(store):
    job = job_of(store, "ab")
    job.footer["weights"] = "12 abc"
    with worker_in_this_process("lengths"):
        record = make_shard(job)

    footer = store.footer(record.uri)
    assert footer.rows == 1
    assert footer.metadata == {
        **{"stage": "lengths", "stage_key": KEY, "content_key": job.plan.key.content_key},
        **{"config": job.config.model_dump_json(), "version": version("clipes")},
        **{"weights": "12 abc", "complete": "true", "cost": record.cost.text()},
    }


def test_unchanged_rows_are_copied_and_the_others_are_computed(store):
    _, before = made(store, "ab", "cde", "f")

    record, after = made(store, "ab", "cde", "f", "gh", cde={"fingerprint": "new"})

    assert (record.images, record.copied, record.computed) == (4, 2, 2)
    by_id = {row["image_id"]: row for row in after}
    assert by_id.keys() == {"ab", "cde", "f", "gh"}
    assert (by_id["ab"], by_id["f"]) == (before[0], before[2])
    assert by_id["cde"]["input_digest"] != before[1]["input_digest"]
    assert by_id["cde"]["output_digest"] == before[1]["output_digest"]


class Refuses(Lengths):
    """A stage that raises an error as soon as it runs."""

    def rows(self, job):
        raise StageError("there is nothing to compute")
        yield


def test_a_shard_of_copied_rows_computes_nothing(store):
    made(store, "ab", "cde")
    record, rows = made(store, "ab", stage=Refuses())
    assert (record.copied, record.computed) == (1, 0)
    assert [row["image_id"] for row in rows] == ["ab"]


def test_a_failing_stage_leaves_no_artifact(store):
    with pytest.raises(StageError, match="nothing to compute"):
        made(store, "ab", stage=Refuses())
    assert list(Path(store.uri).rglob("*.*")) == []


def test_an_unusable_photo_is_a_reject_of_the_first_stage_that_finds_it(store):
    record, rows = made(store, "gone 1", "ab", "above 2")

    assert [row["status"] for row in rows] == ["error", "ok", "error"]
    assert record.rejects == (
        Reject("gone 1", "/photos/gone 1.jpg", "lengths", ErrorKind.MISSING, "gone 1 is missing"),
    )
    assert store.footer(record.uri).metadata["complete"] == "true"


def test_an_artifact_with_a_row_to_retry_is_not_complete(store):
    record, _ = made(store, "busy 1", "ab")

    assert [reject.kind for reject in record.rejects] == [ErrorKind.NETWORK]
    assert store.footer(record.uri).metadata["complete"] == "false"
    _, plan = planned(store, "busy 1", "ab")
    assert not plan.cached


def test_the_rejects_of_copied_rows_are_reported_again(store):
    made(store, "gone 1", "ab")
    record, _ = made(store, "gone 1", "ab", "cd")
    assert (record.copied, [reject.image_id for reject in record.rejects]) == (2, ["gone 1"])


def test_a_photo_without_a_row_is_an_error_and_leaves_no_artifact(store):
    lost = [f"lost {number}" for number in range(6)]
    message = r"^lengths shard 0: 6 photos have no row: \['lost 0', 'lost 1', 'lost 2', 'lost 3', 'lost 4'\]$"
    with pytest.raises(ArtifactError, match=message):
        made(store, "ab", *lost)
    assert list(Path(store.uri).rglob("*.*")) == []


class Doubled(Lengths):
    """A stage that yields each row twice."""

    def rows(self, job):
        return (row for row in super().rows(job) for _ in range(2))


def test_a_photo_with_two_rows_is_an_error_and_leaves_no_artifact(store):
    with pytest.raises(ArtifactError, match=r"^lengths shard 0: 2 photos have more than one row: \['ab', 'cd'\]$"):
        made(store, "ab", "cd", stage=Doubled())
    assert list(Path(store.uri).rglob("*.*")) == []


class Wrong(Lengths):
    """A stage that yields a row of another class, or of a photo of another shard."""

    def __init__(self, row):
        self.wrong = row

    def rows(self, job):
        yield self.wrong


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberRow(PhotoRow):
    number: int = column("int32", 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (NumberRow(image_id="ab", number=2), "expected rows of type LengthRow, got NumberRow"),
        ({"image_id": "ab", "length": 2}, "expected rows of type LengthRow, got dict"),
        (LengthRow(image_id="xyz", length=3), "got a row of photo xyz, which is not in the shard"),
    ],
    ids=["other columns", "no row class", "other photo"],
)
def test_a_wrong_row_is_an_error_and_leaves_no_artifact(store, row, message):
    with pytest.raises(ArtifactError, match=f"^lengths shard 0: {message}$"):
        made(store, "ab", stage=Wrong(row))
    assert list(Path(store.uri).rglob("*.*")) == []


@dataclasses.dataclass(frozen=True)
class WordRow:
    """A row that stands for no photo."""

    word: str = column("string")


class Words(Lengths):
    """A stage of three texts."""

    name, row, kind = "words", WordRow, TEXT_ROWS

    def rows(self, job):
        return (WordRow(word) for word in ("cat", "dog", "sky"))


class JointWords(Words, JointStage):
    """The same rows from a joint stage."""

    def processes(self, job, devices):
        return 1

    def assist(self, job, rank):
        raise NotImplementedError

    def discard_attempts(self, job):
        raise NotImplementedError


@pytest.mark.parametrize(("stage", "counted"), [(Words(), 3), (JointWords(), 0)])
def test_text_rows_have_no_digests_and_make_shard_counts_no_joint_rows(store, stage, counted):
    with worker_in_this_process("words") as counters:
        record = make_shard(job_of(store, "ab", stage=stage))
        assert counters.count("words") == counted
    assert store.read(record.uri).to_pylist() == [{"word": "cat"}, {"word": "dog"}, {"word": "sky"}]
    assert (record.images, record.computed) == (3, 3)


def test_a_cached_shard_has_the_rejects_of_its_artifact(store):
    first, _ = made(store, "gone 1", "above 2", "ab")
    _, plan = planned(store, "gone 1", "above 2", "ab")
    assert plan.cached

    record = cached_record(LENGTHS, plan, store)

    assert (record.uri, record.rejects, record.cost) == (first.uri, first.rejects, first.cost)
    assert (record.images, record.cached, record.copied, record.computed, record.worker) == (3, True, 0, 0, "")


def test_a_cached_artifact_with_other_photos_is_reported_as_broken(store):
    made(store, "ab", "cd")
    _, plan = planned(store, "ab", "cd")
    other = dataclasses.replace(plan, photos=plan.photos[:1])
    with pytest.raises(ArtifactError, match=r"does not hold exactly the photos of its shard: delete it and run"):
        cached_record(LENGTHS, other, store)


def test_make_shard_fails_in_a_process_that_is_no_worker(store):
    with pytest.raises(RuntimeError, match="this process is not a clipes worker"):
        make_shard(job_of(store, "ab"))
