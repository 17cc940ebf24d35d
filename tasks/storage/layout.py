"""The layout of a store: build the URI of each file, and parse such URIs.

<store>/artifacts/<stage>/<stage_key>/<shard>-<content_key>.parquet
  while a worker makes the artifact, its finished rows: <shard>-<content_key>.part-<id>.parquet
  next to a segmenter's artifact: <shard>-<content_key>.safetensors, and the checkpoints
  <shard>-<content_key>.checkpoints/{<step>.pt, best.pt}
<store>/runs/<name>/{run.json, manifest.parquet, evaluation.parquet, status.parquet, ...}
<store>/runs/<name>/report/photos-<number>.js: photos that report.html loads when the reader asks for them
<store>/runs/<name>/history/<start>/...: the files of an earlier run of the same name
<store>/archive_indexes/<archive>-<version>.parquet: the members of an archive with photos; both parts are digests
<store>/claims/run/<name>/<number>.json, <store>/claims/gc/<number>.json: see `claims`
<store>/claims/...: also the files with which the runner ray checks that all machines see the same store
"""

import posixpath
import re
import uuid
from dataclasses import dataclass
from typing import NamedTuple

RUN_JSON = "run.json"
MANIFEST_FILE = "manifest.parquet"
EVALUATION_FILE = "evaluation.parquet"  # a manifest of the photos that the segmenter is scored on
STATUS_FILE = "status.parquet"
REJECTS_FILE = "rejects.parquet"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
FURTHER_PHOTOS = "report"  # folder in a run's folder with scripts that report.html loads
ESTIMATE_FILE = "estimate.json"  # only in the folders of the runs with which `clipes estimate` measures a sample
ABLATION_FILE = "ablation.json"  # only in the folders of ablations
HISTORY = "history"  # folder in a run's folder
RANKING_TABLE, RANKING_PLOT = "prompts.parquet", "prompts.png"
SYNONYMS_TABLE, BACKGROUND_TABLE = "synonyms.parquet", "background_words.parquet"
RANKING_SCORES_TABLE, RANKING_SCORES_PLOT = "prompt_scores.parquet", "prompt_scores.png"

ARTIFACT_SUFFIX, WEIGHTS_SUFFIX, CHECKPOINTS_SUFFIX = ".parquet", ".safetensors", ".checkpoints"
ARTIFACT_OR_BESIDE = re.compile(
    r".*/artifacts/(\w+)/([0-9a-f]{16})/(\d{3,}-[0-9a-f]{16})"
    r"(?:(?:\.part-[0-9a-f]{32})?\.parquet|\.safetensors|\.checkpoints/(?:\d{8}|best)\.pt)"
)
PART_NAME = re.compile(r".*-[0-9a-f]{16}\.part-[0-9a-f]{32}\.parquet")
ARTIFACT_NAME = re.compile(r"(\d{3,})-[0-9a-f]{16}\.parquet")
ARCHIVE_INDEX = re.compile(r".*/archive_indexes/[0-9a-f]{16}-([0-9a-f]{16})\.parquet")
ROW = re.compile(r"(.*/artifacts/\w+/[0-9a-f]{16}/\d{3,}-[0-9a-f]{16}\.parquet)/(.+)", re.DOTALL)
IN_STORE = re.compile(r".*/((?:artifacts/\w+/[0-9a-f]{16}|runs/[^/]+)/[^/]+)")
TEMPORARY = re.compile(r".*/\.[^/]+\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class ArtifactKey:
    """The values that identify an artifact and make up its URI."""

    stage: str
    stage_key: str
    shard: int
    content_key: str


class ArtifactPath(NamedTuple):
    """The last three parts of an artifact's URI."""

    stage: str
    stage_key: str
    file: str


def artifacts_uri(store_uri: str, *parts: str) -> str:
    """Return the URI of the folder of all artifacts; with `parts`, the URI of a file or folder below it."""
    return _join(store_uri, "artifacts", *parts)


def artifact_uri(store_uri: str, key: ArtifactKey) -> str:
    """Return the full URI of an artifact, whether or not it exists."""
    name = f"{shard_prefix(key.shard)}{key.content_key}{ARTIFACT_SUFFIX}"
    return artifacts_uri(store_uri, key.stage, key.stage_key, name)


def shard_prefix(shard: int) -> str:
    """Return the prefix of the file names of a shard's artifacts, such as `007-`."""
    return f"{shard:03d}-"


def shard_of_name(name: str) -> int | None:
    """Return the number of the shard whose artifact has this file name; None if no artifact has such a name."""
    found = ARTIFACT_NAME.fullmatch(name)
    return int(found[1]) if found else None


def parts_prefix(key: ArtifactKey) -> str:
    """Return the prefix of the names of the files with the first finished rows of an artifact."""
    return f"{shard_prefix(key.shard)}{key.content_key}.part-"


def new_part_uri(store_uri: str, key: ArtifactKey) -> str:
    """Return a new, unique URI of a file with finished rows of an artifact that a worker is still making."""
    name = f"{parts_prefix(key)}{uuid.uuid4().hex}{ARTIFACT_SUFFIX}"
    return artifacts_uri(store_uri, key.stage, key.stage_key, name)


def without_part_id(uri: str) -> str:
    """Return what the URIs of all parts of an artifact have in common: the folder and `parts_prefix`."""
    return uri[: uri.rindex(".part-")] + ".part-"


def is_part(uri: str) -> bool:
    """Return whether a URI is one that `new_part_uri` returns."""
    return artifact_of(uri) is not None and PART_NAME.fullmatch(uri) is not None


def weights_uri(artifact_uri: str) -> str:
    """Return the URI of the weights that belong to a segmenter's artifact."""
    return f"{artifact_uri.removesuffix(ARTIFACT_SUFFIX)}{WEIGHTS_SUFFIX}"


def checkpoints_uri(artifact_uri: str) -> str:
    """Return the URI of the folder of checkpoints that belong to a segmenter's artifact."""
    return f"{artifact_uri.removesuffix(ARTIFACT_SUFFIX)}{CHECKPOINTS_SUFFIX}"


def artifact_of(uri: str) -> ArtifactPath | None:
    """Return the artifact that a URI belongs to: an artifact, a part of it, its weights or a checkpoint.

    Returns:
        The artifact; None for all other URIs, and for file names that clipes does not write.
    """
    found = ARTIFACT_OR_BESIDE.fullmatch(uri)
    return ArtifactPath(found[1], found[2], f"{found[3]}{ARTIFACT_SUFFIX}") if found else None


def row_uri(artifact_uri: str, image_id: str) -> str:
    """Return the URI that stands for the row of a photo in an artifact."""
    return f"{artifact_uri}/{image_id}"


def row_of(uri: str) -> tuple[str, str] | None:
    """Return the URI of an artifact and the id of a photo if `row_uri` has returned this URI; None for all others."""
    found = ROW.fullmatch(uri)
    return (found[1], found[2]) if found else None


def location_in(store_uri: str, uri: str) -> str:
    """Return the location of a file relative to its store. It stays valid when the store moves."""
    return uri.removeprefix(_join(store_uri, ""))


def uri_in(store_uri: str, location: str) -> str:
    """Return the URI of a file of a store.

    Args:
        store_uri: URI of the store, wherever it is now.
        location: location of the file, as `location_in` returns it; or the URI that the file had when an earlier
            version of clipes wrote it.
    """
    found = IN_STORE.fullmatch(location)
    return _join(store_uri, found[1] if found else location)


def row_uri_in(store_uri: str, uri: str | None) -> str | None:
    """Return a URI of `row_uri` for a store that may have been moved since; return any other URI unchanged."""
    row = None if uri is None else row_of(uri)
    return uri if row is None else row_uri(uri_in(store_uri, row[0]), row[1])


def runs_uri(store_uri: str) -> str:
    """Return the URI of the folder of all runs."""
    return _join(store_uri, "runs")


def run_uri(store_uri: str, name: str, *parts: str) -> str:
    """Return the URI of a run's folder, or of a file in it."""
    return posixpath.join(runs_uri(store_uri), name, *parts)


def further_photos_file(number: int) -> str:
    """Return the path, within a run's folder, of a file with photos that are not in report.html.

    Args:
        number: number of the file, counted from 1.
    """
    return posixpath.join(FURTHER_PHOTOS, f"photos-{number:04d}.js")


def history_folder(started: str) -> str:
    """Return the path of the subfolder, within a run's folder, for the files of an earlier run of the same name.

    Args:
        started: start time of the earlier run, as written in its run.json.
    """
    return posixpath.join(HISTORY, started.replace(":", ""))


def archive_indexes_uri(store_uri: str, *parts: str) -> str:
    """Return the URI of the folder with the indexes of archives; with `parts`, the URI of a file in it."""
    return _join(store_uri, "archive_indexes", *parts)


def archive_index_uri(store_uri: str, archive_key: str, version_key: str) -> str:
    """Return the URI of the index of an archive.

    Args:
        store_uri: URI of the store.
        archive_key: 16 hexadecimal digits that identify the archive.
        version_key: 16 hexadecimal digits that identify its version.
    """
    return archive_indexes_uri(store_uri, f"{archive_key}-{version_key}{ARTIFACT_SUFFIX}")


def version_key_of(uri: str) -> str | None:
    """Return the version key in the URI of an archive's index; None for all other URIs."""
    found = ARCHIVE_INDEX.fullmatch(uri)
    return found[1] if found else None


def claims_uri(store_uri: str, *name: str) -> str:
    """Return the URI of the folder with the claims of a name; without a name, of the folder of all claims."""
    return _join(store_uri, "claims", *name)


def temporary_name(name: str) -> str:
    """Return a new, unique temporary name for a file that is being written."""
    return f".{name}.{uuid.uuid4().hex}.tmp"


def is_temporary(uri: str) -> bool:
    """Return whether a URI is that of a temporary file, for example of one that a killed process has left."""
    return TEMPORARY.fullmatch(uri) is not None


def _join(store_uri: str, *parts: str) -> str:
    return posixpath.join(store_uri.rstrip("/"), *parts)
