import dataclasses
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.prepared import prepare_run
from support.small_runs import make_or_reuse_shard, make_run, planned

from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.stages.registry import STAGES
from clipes_core.errors import ArtifactError, TransientError


def prepared(tiny, until="masks", reuse=REUSE_ALL, **sections):
    return prepare_run(tiny.config(**sections), until, reuse)


def run_stages(tiny, pool, until="masks", reuse=REUSE_ALL, **sections):
    return make_run(prepared(tiny, until, reuse, **sections), pool)


@pytest.fixture
def four(tiny):
    """Return four photos, of which `d` has no objects."""
    for name, labels in {"a": "cat", "b": "cat;dog", "c": "dog", "d": ""}.items():
        tiny.add(name, labels)
    return tiny


def test_an_empty_store_computes_all_rows(four, pool):
    first = run_stages(four, pool)

    assert first.counts() == {"cams": (4, 0, 4), "masks": (4, 0, 4)}
    for stage in ("cams", "masks"):
        (record,) = first.of(stage)
        rows = first.rows(stage)
        assert rows.keys() == set("abcd")
        assert {row["status"] for row in rows.values()} == {"ok"}
        assert (record.cached, record.rejects) == (False, ())
        assert record.seconds > 0
        assert record.worker.startswith("cpu:")


def test_an_identical_second_run_is_cached(four, pool):
    first, second = run_stages(four, pool), run_stages(four, pool)

    assert second.counts() == {"cams": (4, 0, 0), "masks": (4, 0, 0)}
    assert all(record.cached for record in second.records.values())
    assert [record.uri for record in second.of("masks")] == [record.uri for record in first.of("masks")]


@pytest.mark.parametrize("change", ["pixels", "labels"])
def test_only_a_changed_photo_is_recomputed(four, pool, change):
    before = run_stages(four, pool)
    if change == "pixels":
        four.add("b", "cat;dog", size=(80, 48))
    else:
        four.label("b", "dog;cat")

    after = run_stages(four, pool)

    assert after.counts() == {"cams": (4, 3, 1), "masks": (4, 3, 1)}
    for stage in ("cams", "masks"):
        old, new = before.rows(stage), after.rows(stage)
        assert {image_id for image_id in old if old[image_id] != new[image_id]} == {"b"}
        assert old["b"]["input_digest"] != new["b"]["input_digest"]
        assert old["b"]["output_digest"] != new["b"]["output_digest"]


def test_only_an_added_photo_is_computed(four, pool):
    before = run_stages(four, pool)
    four.add("e", "cat")

    after = run_stages(four, pool)

    assert after.counts() == {"cams": (5, 4, 1), "masks": (5, 4, 1)}
    assert {image_id: row for image_id, row in after.rows("cams").items() if image_id != "e"} == before.rows("cams")


def test_removing_a_photo_computes_nothing(four, pool):
    before = run_stages(four, pool)
    four.remove("b")

    after = run_stages(four, pool)

    assert after.counts() == {"cams": (3, 3, 0), "masks": (3, 3, 0)}
    assert after.rows("masks").items() <= before.rows("masks").items()
    assert after.rows("masks").keys() == set("acd")


def test_a_crf_setting_recomputes_masks_but_not_cams(four, pool):
    before = run_stages(four, pool)

    after = run_stages(four, pool, crf={"enabled": False})

    assert after.counts() == {"cams": (4, 0, 0), "masks": (4, 0, 4)}
    assert before.rows("masks") != after.rows("masks")


def test_a_mask_is_reused_if_its_recomputed_cams_are_equal(four, pool):
    before = run_stages(four, pool)
    Path(before.of("cams")[0].uri).unlink()

    assert run_stages(four, pool).counts() == {"cams": (4, 0, 4), "masks": (4, 0, 0)}


def test_fresh_recomputes_all_rows(four, pool):
    before = run_stages(four, pool)

    after = run_stages(four, pool, reuse=Reuse(fresh=True))

    assert after.counts() == before.counts()
    assert after.rows("masks") == before.rows("masks")
    assert [record.uri for record in after.of("masks")] == [record.uri for record in before.of("masks")]


def test_rows_do_not_depend_on_the_number_of_shards(four, pool):
    for name in "efghij":
        four.add(name)
    before = run_stages(four, pool)

    after = run_stages(four, pool, execution={"shards": 3})

    assert len(after.of("cams")) == 3
    assert after.rows("cams") == before.rows("cams")
    assert after.rows("masks") == before.rows("masks")
    assert {stage: images for stage, (images, _, _) in after.counts().items()} == {"cams": 10, "masks": 10}


def test_an_unusable_photo_is_a_row_with_an_error(four, pool):
    (four.folder / "b.png").write_bytes(b"<html>gone</html>")
    photos = prepared(four, "mask_scores")
    (four.folder / "c.png").unlink()

    result = make_run(photos, pool)

    cams, masks = result.rows("cams"), result.rows("masks")
    assert [cams[name]["error_kind"] for name in "abcd"] == [None, "undecodable", "missing", None]
    assert cams["b"]["error"].startswith(f"{four.folder}/b.png (17 bytes) cannot be decoded")
    assert cams["b"]["class_ids"] == [8, 12]
    assert [masks[name]["status"] for name in "abcd"] == ["ok", "error", "error", "ok"]
    assert [masks[name]["error_kind"] for name in "abcd"] == [None, "upstream", "upstream", None]
    assert masks["c"]["error"] == f"no CAMs: {four.folder}/c.png does not exist"


def test_a_photo_is_rejected_only_by_the_stage_that_could_not_use_it(four, pool):
    photos = prepared(four)
    (four.folder / "b.png").unlink()

    result = make_run(photos, pool)

    (cams,), (masks,) = result.of("cams"), result.of("masks")
    (reject,) = cams.rejects
    assert (reject.image_id, reject.stage, reject.kind) == ("b", "cams", "missing")
    assert reject.uri == f"{four.folder}/b.png"
    assert masks.rejects == ()
    cams.check()
    masks.check()


def test_a_photo_that_failed_permanently_is_not_retried(four, pool):
    photos = prepared(four)
    (four.folder / "b.png").unlink()
    first = make_run(photos, pool)

    second = make_run(photos, pool)

    assert second.counts() == {"cams": (4, 0, 0), "masks": (4, 0, 0)}
    assert second.of("cams")[0].rejects == first.of("cams")[0].rejects


class Photos(BaseHTTPRequestHandler):
    """A request handler that serves the server's folder, or answers 503 while the server is busy."""

    def do_GET(self):
        content = (self.server.folder / self.path.lstrip("/")).read_bytes()
        self.send_response(503 if self.server.busy else 200)
        self.send_header("Content-Length", str(0 if self.server.busy else len(content)))
        if self.server.busy:
            self.send_header("Retry-After", "3600")  # so that the worker does not repeat the request
        self.end_headers()
        if not self.server.busy:
            self.wfile.write(content)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def server(four):
    """Yield a web server of the four photos that is busy at first."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Photos) as server:
        server.folder, server.busy = four.folder, True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def over_the_network(run, server, name):
    """Return the run with one photo read from the server."""
    uri = f"http://127.0.0.1:{server.server_port}/{name}.png"
    (photos,) = run.inputs.shards.values()
    moved = tuple(
        dataclasses.replace(each, uri=uri, fingerprint="served") if each.image_id == name else each for each in photos
    )
    return dataclasses.replace(run, inputs=dataclasses.replace(run.inputs, shards={0: moved}))


def test_a_photo_with_a_transient_failure_is_retried(four, pool, server):
    run = over_the_network(prepared(four, "cams"), server, "b")

    first = make_run(run, pool)

    (record,) = first.of("cams")
    (reject,) = record.rejects
    assert (reject.image_id, reject.kind, reject.kind.transient) == ("b", "network", True)
    assert "503" in reject.reason
    with pytest.raises(TransientError, match=r"^1 photos failed for a transient cause; first reason: "):
        record.check()
    assert first.run.store.footer(record.uri).metadata["complete"] == "false"

    server.busy = False
    second = make_run(run, pool)

    assert second.counts() == {"cams": (4, 3, 1)}
    second.of("cams")[0].check()
    assert {row["status"] for row in second.rows("cams").values()} == {"ok"}


def test_a_missing_upstream_artifact_fails_the_stage(four, pool):
    cams = run_stages(four, pool, "cams")
    run = prepared(four)
    plan = planned(run, STAGES["masks"], 0, cams.records)
    Path(cams.of("cams")[0].uri).unlink()

    with pytest.raises(ArtifactError, match=r"\.parquet is missing: run again"):
        make_or_reuse_shard(run, STAGES["masks"], plan, pool)
    assert not Path(run.store.artifact_uri(plan.key)).exists()


def test_a_job_sent_to_a_worker_holds_the_photos_to_compute(four, pool):
    run_stages(four, pool, "cams")
    four.add("e")
    grown = prepared(four, "cams")
    plan = planned(grown, STAGES["cams"], 0, {})
    job = shard_job(STAGES["cams"], plan, grown.store, grown.inputs, 0)

    sent = pickle.loads(pickle.dumps(job))

    assert [photo.image_id for photo in sent.photos] == ["e"]
    assert sent.plan == job.plan


def test_a_job_reads_only_the_upstream_rows_of_photos_to_compute(four, pool):
    cams = run_stages(four, pool, "cams")
    run = prepared(four)
    whole = planned(run, STAGES["masks"], 0, cams.records)
    part = dataclasses.replace(whole, copies={"earlier": ("a", "d")})
    job = shard_job(STAGES["masks"], part, run.store, run.inputs, 0)

    assert list(job.upstream_rows(STAGES["cams"], ["image_id"])) == [{"image_id": "b"}, {"image_id": "c"}]
