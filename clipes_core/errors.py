"""Every error that clipes raises on purpose.

ClipesError
├── UsageError              the user must correct something before a run can start; exit code 2
│   ├── ConfigError         a key or value of the configuration is invalid
│   ├── PromptError         a template or template file is unusable, or a prompt is too long for CLIP
│   ├── DatasetError        a data set as a whole, or a file or folder that the user named, is unusable
│   ├── WeightsError        weights are missing, broken or have an unknown layout
│   └── RunBusyError        a run is in progress, and the command would disturb it
├── ShapeError              an array or tensor does not have the documented shape
├── PhotoError              one photo is unusable; the stage records the reason in the photo's row, and continues
├── StorageError            a disk, bucket or server refuses access, and a retry cannot help
├── ArtifactError           an artifact, a run file or the result of a stage has unexpected content
│   └── BrokenArtifactError an artifact is missing, is broken or holds the wrong photos; clipes can rebuild it
├── TransientError          a temporary failure; a retry may succeed
│   ├── ReplacedError       another run replaced a file while it was being read
│   └── WorkerError         a worker process died, hung or ran out of memory
│       └── NodeLostError   the machine of a worker was lost
└── StageError              a stage or a run cannot continue; exit code 1
    ├── FailureLimitError   more photos failed in a stage than the run permits
    ├── NotRunError         a shard was not made, although it has not failed itself
    │   ├── UpstreamError   it was skipped, because an upstream shard or too many photos failed
    │   └── StoppedError    it was stopped before it was complete
    └── ServerLostError     the Prefect server stopped answering during a run
"""

from enum import StrEnum


class ErrorKind(StrEnum):
    """The kind of failure that left a photo without a result. Some kinds are transient: a retry may succeed."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"  # for the standard deviations of the CRF
    UNREADABLE_LABELS = "unreadable_labels"
    UNKNOWN_CLASS = "unknown_class"
    NO_OBJECTS = "no_objects"
    DUPLICATE = "duplicate"
    BAD_TRUTH = "bad_truth"
    NOT_FINITE = "not_finite"  # NaN or infinity in a result of a network or of the method
    NOT_PERMITTED = "not_permitted"  # a line of a list may not name this file, or its URI may contain a password
    UPSTREAM = "upstream"  # the photo already failed in an earlier stage
    CHANGED = "changed"  # the file has changed since the run listed it, so that its content belongs to another key
    NETWORK = "network"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def transient(self) -> bool:
        """Return True if a failure of this kind is transient, so that a retry may succeed."""
        return self in (ErrorKind.CHANGED, ErrorKind.NETWORK, ErrorKind.TIMEOUT, ErrorKind.OUT_OF_MEMORY)


class ClipesError(Exception):
    """Base of all errors that clipes raises on purpose."""


class UsageError(ClipesError):
    """The user must correct something before a run can start."""


class ConfigError(UsageError):
    """A key or value of the configuration is invalid; the message has one line per key."""


class PromptError(UsageError):
    """A template or template file is unusable, or a prompt is too long for CLIP."""


class DatasetError(UsageError):
    """A data set as a whole, or a file or folder that the user named, is unusable."""


class WeightsError(UsageError):
    """Weights are missing, broken or have an unknown layout."""


class RunBusyError(UsageError):
    """A run is in progress, and the command would disturb it."""


class ShapeError(ClipesError):
    """An array or tensor does not have the documented shape."""


class PhotoError(ClipesError):
    """One photo is unusable; the stage records the reason in the photo's row, and continues."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type["PhotoError"], tuple[ErrorKind, str]]:
        return type(self), (self.kind, self.reason)


class StorageError(ClipesError):
    """A disk, bucket or server refuses access, and a retry cannot help. For example, a disk is full or read-only."""


class ArtifactError(ClipesError):
    """An artifact, a run file or the result of a stage has unexpected content."""


class BrokenArtifactError(ArtifactError):
    """An artifact is missing, is broken or holds the wrong photos; clipes can rebuild it.

    Args:
        uri: URI of the artifact.
        reason: what is wrong, as a phrase that follows the URI in the message, such as "fails its checksum".
        advice: what the user must do before clipes can rebuild the artifact.
    """

    def __init__(self, uri: str, reason: str, advice: str = "delete it and run again") -> None:
        super().__init__(f"{uri} {reason}: {advice}; clipes will rebuild it")
        self.uri = uri
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[type["BrokenArtifactError"], tuple[str, str, str]]:
        return type(self), (self.uri, self.reason, self.advice)


class TransientError(ClipesError):
    """A temporary failure; a retry may succeed.

    Attributes:
        retry_after_s: how long the server asks to wait before the next attempt [s].
    """

    retry_after_s: float = 0.0


class ReplacedError(TransientError):
    """Another run replaced a file while it was being read, so that its parts do not fit together. It is not damaged."""


class WorkerError(TransientError):
    """A worker process died, hung or ran out of memory."""


class NodeLostError(WorkerError):
    """The machine of a worker was lost. An attempt survives three such losses, as clusters take machines away."""


class StageError(ClipesError):
    """A stage or a run cannot continue."""


class FailureLimitError(StageError):
    """More photos failed in a stage than the run permits."""


class NotRunError(StageError):
    """A shard was not made, although it has not failed itself. It is made when the run is resumed."""


class UpstreamError(NotRunError):
    """A shard was skipped, because an upstream shard or too many photos failed."""


class StoppedError(NotRunError):
    """A shard was stopped before it was complete: the run is ending, or another worker of the same shard failed."""


class ServerLostError(StageError):
    """The Prefect server stopped answering during a run, so what Prefect has not sent yet cannot be sent."""
