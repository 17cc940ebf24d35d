"""Stores with artifacts and runs, and what clipes gc finds in them."""

import time

import pyarrow as pa
from support.run_contents import RUN
from support.small_runs import make_all_shards

from clipes.tasks.commands.garbage import DAY, HOUR, find_garbage
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import STATUS_SCHEMA

A, B = "a" * 16, "b" * 16


def artifact(store, stage, stage_key=A, shard=0):
    """Write an artifact without rows and return its URI."""
    key = ArtifactKey(stage, stage_key, shard, "c" * 16)
    with store.writer(key, STAGES[stage].schema, {}):
        pass
    return store.artifact_uri(key)


def run(store, name="voc12", state="completed", artifacts=None, **said):
    """Write the files of a run; write its status only if `artifacts` is given."""
    begun = {**RUN, "name": name, "state": state, "host": "elsewhere", "stage_keys": {}, "candidates": []}
    files = RunFiles(store.uri, name)
    files.write_json("run.json", {**begun, **said})
    if artifacts is not None:
        named = [(uri.rsplit("/", 3)[1], uri) for uri in artifacts]
        rows = [{"stage": stage, "shard": 0, "state": "completed", "artifact": uri} for stage, uri in named]
        files.write_table("status.parquet", pa.Table.from_pylist(rows, schema=STATUS_SCHEMA))


def found(store, older_than_s=HOUR, age=DAY):
    """Return the garbage at the given age, as stage/key/file."""
    files = [file for each in find_garbage(store.uri, older_than_s, time.time() + age).values() for file in each]
    return sorted("/".join(file.uri.rsplit("/", 3)[1:]) for file in files)


def short_names(*uris):
    return sorted("/".join(uri.rsplit("/", 3)[1:]) for uri in uris)


def recorded_artifacts(run, pool):
    """Run and record all stages, and return the URIs of the artifacts."""
    with record_run(run) as record:
        made = make_all_shards(run, pool)
        for each in made.records():
            record.ledger.started(each.stage, each.shard, 1)
            record.ledger.finished(each, 1)
    return [each.uri for each in made.records()]
