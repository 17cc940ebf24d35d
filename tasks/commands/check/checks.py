"""All checks of a config, in the order in which a run would meet the problems; slow checks come last."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from clipes.tasks.commands.check.photos import (
    check_labels,
    check_rejects,
    check_sample,
    check_truth,
    open_sample,
    spread,
)
from clipes.tasks.commands.check.space import check_space, check_store_access, needed_bytes
from clipes.tasks.commands.check.words import check_words
from clipes.tasks.commands.finding import Finding
from clipes.tasks.inputs.config_text.paths import path_settings
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.machine.devices import check_crf_device, clip_precision, cores, gpu_slots, training_precision
from clipes.tasks.machine.log import collect_warnings
from clipes.tasks.machine.terminal import announce
from clipes.tasks.runs.inputs.checks import check_request
from clipes.tasks.runs.inputs.photos import list_evaluation, list_photos
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary, warn_of_unknown_words
from clipes.tasks.stages.registry import run_names
from clipes.tasks.storage.user_files import exists
from clipes_core.config.run import RunConfig
from clipes_core.errors import ClipesError, TransientError
from clipes_core.vocabulary import Vocabulary

NO_CLUSTER = (
    "execution.runner.kind is {kind}: this command looks only at this machine; to ask the cluster, run clipes doctor "
    "--set execution.runner.kind={kind}"
)


def check_config(config: RunConfig) -> Iterator[Finding]:
    """Check everything about a config that can be known before a run spends time. Download nothing.

    Args:
        config: configuration of the run, with resolved paths, whose runner `check_runner` accepts.

    Yields:
        One finding per check as soon as it is known. If one of them does not work, a run cannot start or would fail.
    """
    return _Checks(config).findings()


@dataclass
class _Checks:
    """The checks of a config, and what later checks need to know from earlier ones.

    A problem that several checks meet is reported once.
    """

    config: RunConfig
    _seen: set[str] = field(default_factory=set)
    _parameters: int = 0

    def findings(self) -> Iterator[Finding]:
        """Yield the findings of all checks."""
        yield from self._run("files", self._check_files)
        yield from self._run("devices", self._check_devices)
        yield from self._run("store", lambda: check_store_access(self.config))
        vocabulary: list[Vocabulary] = []
        yield from self._run("vocabulary", lambda: self._read_vocabulary(vocabulary))
        if not vocabulary:
            return
        yield from self._run("settings", self._check_settings)
        yield from self._check_photos(vocabulary[0])

    def _run(self, what: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
        """Yield what a check finds, its error, and what it logs as warnings. Say what it checks if this takes long."""
        found: list[Finding] = []
        with collect_warnings() as warnings, announce(f"checking the {what}"):
            try:
                found += check()
            except ClipesError as exc:
                again = " (a temporary failure: try again)" if isinstance(exc, TransientError) else ""
                found.append(Finding(what, False, f"{exc}{again}"))
        for finding in (*found, *(Finding(what, None, warning) for warning in warnings)):
            if finding.detail not in self._seen:
                self._seen.add(finding.detail)
                yield finding

    def _check_files(self) -> Iterator[Finding]:
        named = [(each.key, each.value) for each in path_settings(self.config) if each.is_path and each.must_exist]
        places = [(key, place) for key, value in named for place in ([value] if isinstance(value, str) else value)]
        missing = [f"{key}: {place}" for key, place in places if not exists(place)]
        if missing:
            yield Finding(
                "files", False, "these files or folders do not exist: correct the paths\n" + "\n".join(missing)
            )
        elif places:
            yield Finding("files", True, "\n".join(f"{key}: {place}" for key, place in places))

    def _check_devices(self) -> Iterator[Finding]:
        config = self.config
        if (kind := config.execution.runner.kind) == "ray":
            yield Finding("devices", True, NO_CLUSTER.format(kind=kind))
            return
        slots = gpu_slots(config.clip, config.execution)
        if config.crf.enabled:
            check_crf_device(config.crf, slots)
        if config.train.enabled:
            training_precision(config.train, slots)
        devices = ", ".join(dict.fromkeys(slot.device for slot in slots))
        precision = clip_precision(config.clip, slots)
        yield Finding("devices", True, f"{len(slots)} workers on {devices} in {precision}, {cores()} cores for masks")

    def _read_vocabulary(self, found: list[Vocabulary]) -> Iterator[Finding]:
        vocabulary = checked_vocabulary(self.config)
        warn_of_unknown_words(self.config)
        found.append(vocabulary)
        counts = f"{len(vocabulary.classes)} classes, {len(vocabulary.background_words)} background words"
        yield Finding("vocabulary", True, counts)

    def _check_settings(self) -> Iterator[Finding]:
        check_request(self.config, run_names()[-1])
        yield from ()

    def _check_photos(self, vocabulary: Vocabulary) -> Iterator[Finding]:
        config, listings = self.config, list[Listing]()
        yield from self._run("photos", lambda: self._list(listings, vocabulary))
        with announce("opening a sample of the photos"):
            sample = open_sample(listings[0] if listings else Listing((), ()), config)
        if listings and listings[0].photos:
            yield from self._run("sample", lambda: check_sample(sample))
            yield from self._run("true masks", lambda: check_truth(listings[0].photos, sample, vocabulary, "dataset"))
        yield from self._run("prompt lengths", lambda: check_words(config, vocabulary))
        with announce("loading the checks of the weights"):
            from clipes.tasks.commands.check.weights import check_clip  # imports torch, which takes seconds

        yield from self._run("weights", lambda: check_clip(config))
        if config.train.enabled:
            yield from self._run("evaluation", lambda: self._check_evaluation(vocabulary))
            yield from self._run("training", lambda: self._check_segmenter(vocabulary))
        if listings:
            photos = listings[0].photos
            with_truth = sum(photo.has_truth for photo in photos)
            needed = needed_bytes(
                config, len(photos), sample.mean_pixels(config.dataset.max_side), with_truth, self._parameters
            )
            yield from self._run("disk", lambda: check_space(config, needed))

    def _list(self, found: list[Listing], vocabulary: Vocabulary) -> Iterator[Finding]:
        listing = list_photos(self.config)
        found.append(listing)
        yield from check_labels(listing, vocabulary, self.config)
        yield from check_rejects(listing, self.config)

    def _check_evaluation(self, vocabulary: Vocabulary) -> Iterator[Finding]:
        listing = list_evaluation(self.config)
        if not listing.photos:
            yield Finding("evaluation", True, "no photos: clipes trains a segmenter, but does not score it")
            return
        chosen = Listing(tuple(spread(listing.photos)), ())
        yield from check_rejects(listing, self.config, "evaluation")
        yield from check_truth(listing.photos, open_sample(chosen, self.config), vocabulary, "evaluation")

    def _check_segmenter(self, vocabulary: Vocabulary) -> Iterator[Finding]:
        from clipes.tasks.commands.check.weights import check_segmenter

        self._parameters, findings = check_segmenter(self.config, vocabulary)
        yield from findings
