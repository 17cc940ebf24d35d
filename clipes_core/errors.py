"""Every error that clipes raises on purpose.

ClipesError
├── UsageError              the user can mend it before anything runs: exit 2
│   ├── ConfigError         a key or value of the configuration
│   ├── PromptError         a template or class words that CLIP cannot read
│   ├── DatasetError        a split, list or annotation file that cannot be used at all
│   ├── WeightsError        CLIP weights that are missing, broken or of an unknown layout
│   └── RunBusyError        a run of this name is going on now
├── ShapeError              an array or tensor of another shape than documented
├── PhotoError              one photo cannot be used: becomes a row, never ends a run
├── StorageError            a disk, bucket or server refuses, and will refuse again
├── ArtifactError           the store holds what it should not
│   └── BrokenArtifactError an artifact is missing, broken or of other photos: it can be made again
├── TransientError          worth another attempt
│   └── WorkerError         a worker process died, hung or ran out of memory
└── StageError              a stage cannot go on: exit 1
    └── UpstreamError       a shard is not run, for one that it reads has failed
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """Why a row has no result; decides whether trying again can help."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    TOO_SMALL = "too_small"
    UNREADABLE_LABELS = "unreadable_labels"
    UNKNOWN_CLASS = "unknown_class"
    NO_OBJECTS = "no_objects"
    DUPLICATE = "duplicate"
    BAD_TRUTH = "bad_truth"
    UPSTREAM = "upstream"  # an earlier stage already reports this photo
    NETWORK = "network"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def transient(self) -> bool:
        """True where the same work may succeed when it is tried again."""
        return self in (ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.OUT_OF_MEMORY)


class ClipesError(Exception):
    """Base of all errors that clipes raises on purpose."""


class UsageError(ClipesError):
    """The user can mend it before anything runs."""


class ConfigError(UsageError):
    """A key or value of the configuration cannot be used; one line per bad key."""


class PromptError(UsageError):
    """A template or class words that CLIP cannot read."""


class DatasetError(UsageError):
    """A split, list or annotation file that cannot be used at all."""


class WeightsError(UsageError):
    """Weights that are missing, broken or of an unknown layout."""


class RunBusyError(UsageError):
    """A run of this name is going on now."""


class ShapeError(ClipesError):
    """An array or tensor of another shape than documented."""


class PhotoError(ClipesError):
    """One photo cannot be used; the pipeline writes a row that says why."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type["PhotoError"], tuple[ErrorKind, str]]:
        return type(self), (self.kind, self.reason)


class StorageError(ClipesError):
    """A disk, bucket or server refuses, and will refuse again: no permission, no bucket, full, read-only."""


class ArtifactError(ClipesError):
    """The store holds what it should not."""


class BrokenArtifactError(ArtifactError):
    """An artifact is missing, broken or of other photos; it can be made again."""

    def __init__(self, uri: str, reason: str, advice: str = "delete it and run again") -> None:
        super().__init__(f"{uri} {reason}: {advice}, it will be made")
        self.uri = uri
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type["BrokenArtifactError"], tuple[str, str, str]]:
        return type(self), (self.uri, self.reason, self.advice)


class TransientError(ClipesError):
    """The same work may succeed when it is tried again."""


class WorkerError(TransientError):
    """A worker process died, hung or ran out of memory."""


class StageError(ClipesError):
    """A stage cannot go on."""


class UpstreamError(StageError):
    """A shard is not run, for one that it reads has failed."""
