"""A training whose photos and store are on a real S3 server."""

from support.pool_calls import worker_pool
from support.prepared import prepare_run
from support.small_runs import all_stage_shards, make_stage_shards
from support.small_trainings import SmallTraining

from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.models.segmenter_file import load_segmenter
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.stages.segmenter import read_training_facts
from clipes.tasks.storage.layout import checkpoints_uri, weights_uri
from clipes.tasks.storage.listing import list_names
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.config.run import parse_config

ITERATIONS, BATCH = 8, 4


def test_each_file_is_fetched_once_and_all_output_is_written_to_s3(tiny, s3_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values = SmallTraining(tiny).config(train={"iterations": ITERATIONS, "validate_every": 0}).model_dump()
    for path in tiny.folder.glob("*.png"):
        write_bytes(f"{s3_folder}/photos/{path.name}", path.read_bytes())
    dataset = {**values["dataset"], "root": f"{s3_folder}/photos"}
    run = prepare_run(parse_config({**values, "dataset": dataset, "store": f"{s3_folder}/store"}), "segmenter")
    ledger = Ledger(run.photos, run.evaluated)
    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as own:
        for work in all_stage_shards(run, ledger, own):
            make_stage_shards(work, run)

    uri, masks = ledger.record("segmenter", 0).uri, ledger.records("masks")
    reads = read_training_facts(uri)["reads"]
    files = run.photos + len(masks)
    assert uri.startswith(f"{s3_folder}/store/")
    assert (reads["local"], reads["fetched"], reads["hit"]) == (0, files, 2 * ITERATIONS * BATCH - files)
    assert set(list_names(checkpoints_uri(uri))) == {"00000005.pt", "00000008.pt"}
    assert load_segmenter(weights_uri(uri), "cpu").classes == tuple(
        entry.name for entry in run.inputs.vocabulary.classes
    )
