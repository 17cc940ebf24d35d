"""Every error that clipes raises on purpose.

ClipesError
├── UsageError              the user must correct something before a run can start; exit code 2
│   ├── ConfigError         a key or value of the configuration is invalid
│   ├── PromptError         CLIP cannot read a template or the words of a class
│   ├── DatasetError        a split, a list of photos or an annotation file is unusable as a whole
│   ├── WeightsError        weights are missing, broken or have an unknown layout
│   └── RunBusyError        a run of this name is in progress
├── ShapeError              an array or tensor does not have the documented shape
├── PhotoError              one photo is unusable; the run writes a row with the reason, and continues
├── StorageError            a disk, bucket or server refuses access, and will refuse again
├── ArtifactError           the store holds something unexpected
│   └── BrokenArtifactError an artifact is missing, broken or holds different photos; clipes can rebuild it
├── TransientError          a retry may succeed
│   └── WorkerError         a worker process died, hung or ran out of memory
└── StageError              a stage cannot continue; exit code 1
    ├── UpstreamError       a shard was skipped because an upstream shard failed
    └── StoppedError        a shard was stopped before it was complete, because the run is ending
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """The kind of failure of a row that has no result. It decides whether a retry can help."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    TOO_SMALL = "too_small"
    UNREADABLE_LABELS = "unreadable_labels"
    UNKNOWN_CLASS = "unknown_class"
    NO_OBJECTS = "no_objects"
    DUPLICATE = "duplicate"
    BAD_TRUTH = "bad_truth"
    UPSTREAM = "upstream"  # an earlier stage already reported this photo
    NETWORK = "network"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def transient(self) -> bool:
        """Return True if a retry may succeed."""
        return self in (ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.OUT_OF_MEMORY)


class ClipesError(Exception):
    """Base of all errors that clipes raises on purpose."""


class UsageError(ClipesError):
    """The user must correct something before a run can start."""


class ConfigError(UsageError):
    """A key or value of the configuration is invalid; the message has one line per key."""


class PromptError(UsageError):
    """CLIP cannot read a template or the words of a class."""


class DatasetError(UsageError):
    """A split, a list of photos or an annotation file is unusable as a whole."""


class WeightsError(UsageError):
    """Weights are missing, broken or have an unknown layout."""


class RunBusyError(UsageError):
    """A run of this name is in progress."""


class ShapeError(ClipesError):
    """An array or tensor does not have the documented shape."""


class PhotoError(ClipesError):
    """One photo is unusable; the run writes a row with the reason, and continues."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type["PhotoError"], tuple[ErrorKind, str]]:
        return type(self), (self.kind, self.reason)


class StorageError(ClipesError):
    """A disk, bucket or server refuses access, and will refuse again, for example because it is full or read-only."""


class ArtifactError(ClipesError):
    """The store holds something unexpected."""


class BrokenArtifactError(ArtifactError):
    """An artifact is missing, broken or holds different photos; clipes can rebuild it.

    Args:
        uri: URI of the artifact.
        reason: what is wrong, phrased so that it can follow the URI in the message.
        advice: what the user must do, so that clipes rebuilds the artifact.
    """

    def __init__(self, uri: str, reason: str, advice: str = "delete it and run again") -> None:
        super().__init__(f"{uri} {reason}: {advice}; clipes will rebuild it")
        self.uri = uri
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type["BrokenArtifactError"], tuple[str, str, str]]:
        return type(self), (self.uri, self.reason, self.advice)


class TransientError(ClipesError):
    """A retry may succeed."""


class WorkerError(TransientError):
    """A worker process died, hung or ran out of memory."""


class StageError(ClipesError):
    """A stage cannot continue."""


class UpstreamError(StageError):
    """A shard was skipped because an upstream shard failed."""


class StoppedError(StageError):
    """A shard was stopped before it was complete: the run is ending, or another worker of the same shard failed."""
