"""The folder of an ablation: run.json, the results of its runs in ablation.json, and its table."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from clipes.tasks.ablation.files import write_files
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun, result_json, result_of_json
from clipes.tasks.ablation.variant_runs import PlannedVariantRun
from clipes.tasks.runs.record.contents import begun_json, time_now
from clipes.tasks.runs.record.recorder import State, closed_if_it_fails
from clipes.tasks.runs.record.start import ADVICE
from clipes.tasks.stages.registry import MANIFEST
from clipes.tasks.storage.claims import Claim, claimed
from clipes.tasks.storage.layout import ABLATION_FILE, RUN_JSON, claims_uri
from clipes.tasks.storage.run_files import RunFiles, read_ablation
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError, UsageError

EarlierRuns = Sequence[tuple[PlannedVariantRun, VariantRun]]
NOTHING_MADE: dict[str, Any] = {"model_digest": "", "precision": "", "stage_keys": {}, "rejected": 0, "seals": {}}


class AblationRecord:
    """Collects the results of the runs of an ablation; writes them and their table after each run.

    Args:
        config: config that the runs have in common, with the name of the ablation.
        grid: the grid.
        runs: the runs that start now.
        earlier: other runs of the grid that earlier calls have completed, with their results.
        claim: claim of the name of the ablation.
    """

    def __init__(
        self, config: RunConfig, grid: Grid, runs: Sequence[PlannedVariantRun], earlier: EarlierRuns, claim: Claim
    ) -> None:
        self._files, self._claim = RunFiles(config.store, config.name), claim
        places = {variant.label: place for place, variant in enumerate(grid.all_variants)}
        self._grid = grid
        self._runs = sorted([*runs, *(run for run, _ in earlier)], key=lambda run: places[run.variant.label])
        self._done = {result.name: result for _, result in earlier}
        self._begun = {
            **begun_json(config, grid.last_stage),
            **NOTHING_MADE,
            "photos": 0,
            "claim": claim.number,
            "ablation": {"grid": grid.name, "runs": [run.config.name for run in self._runs]},
        }
        self._files.write_json(RUN_JSON, self._begun)

    @property
    def result(self) -> AblationResult:
        """The results so far."""
        found: dict[str, VariantResult] = {}
        for run in self._runs:
            if run.config.name in self._done:
                label = run.variant.label
                before = found[label].runs if label in found else ()
                found[label] = VariantResult(run.variant, (*before, self._done[run.config.name]))
        files = self._files
        return AblationResult(self._grid, files.name, files.folder, self._data(), tuple(found.values()))

    def add(self, run: VariantRun) -> None:
        """Add the result of a run, and write the results and the table.

        Raises:
            RunBusyError: another process has claimed the name of the ablation.
            StorageError: the store refuses the write.
            TransientError: the store does not answer.
        """
        self._done[run.name] = run
        self._claim.confirm()
        self._files.write_json(ABLATION_FILE, result_json(self.result))
        write_files(self.result, self._files)

    def close(self, state: State, error: str | None = None) -> None:
        """Write the outcome to run.json.

        Args:
            state: completed, failed or cancelled.
            error: why it failed; None if it did not.

        Raises:
            RunBusyError, StorageError and TransientError, as for `add`.
        """
        self._claim.confirm()
        end = {"state": state, "finished": time_now(), "error": error, "photos": max(self._photos(), default=0)}
        self._files.write_json(RUN_JSON, {**self._begun, **end})

    def _photos(self) -> list[int]:
        """Return the numbers of photos of the runs that have completed."""
        counts = (run.metrics.get("stages", {}).get(MANIFEST, {}).get("images") for run in self._done.values())
        return sorted({count for count in counts if count is not None})

    def _data(self) -> str:
        counts = " or ".join(f"{count:,}" for count in self._photos()) or "no"
        dataset = self._runs[0].config.dataset
        return f"{counts} {'scenes' if dataset.format == 'scenes' else f'photos ({dataset.format}, {dataset.split})'}"


@contextmanager
def record_ablation(
    config: RunConfig, grid: Grid, runs: Sequence[PlannedVariantRun], earlier: EarlierRuns = ()
) -> Iterator[AblationRecord]:
    """Write run.json of an ablation before the block, and its outcome after the block, even if the block fails.

    The arguments are those of `AblationRecord`.

    Raises:
        ConfigError: the name is that of an ordinary run.
        RunBusyError: an ablation of this name is already running.
    """
    last = RunFiles(config.store, config.name).read_run()
    if last is not None and "ablation" not in last:
        raise ConfigError(
            f"{config.name} is the name of a run, whose files the ablation would replace: choose another --name"
        )
    with claimed(claims_uri(config.store, "run", config.name), f"ablation {config.name}", ADVICE) as claim:
        record = AblationRecord(config, grid, runs, earlier, claim)
        with closed_if_it_fails(record.close):
            yield record
        failure = record.result.failure
        record.close("failed" if failure else "completed", failure)


def read_result(store_uri: str, name: str) -> AblationResult | None:
    """Read the results of an ablation; return None if none of its runs has ended.

    Raises:
        BrokenArtifactError: the file is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    found = read_ablation(RunFiles(store_uri, name))
    return None if found is None else result_of_json(found)


def write_tables(store_uri: str, name: str) -> str:
    """Write the table of an ablation again, and return the URI of its report.html.

    Raises:
        UsageError: none of its runs has ended.
        BrokenArtifactError, StorageError and TransientError, as for `read_result`.
    """
    result = read_result(store_uri, name)
    if result is None:
        raise UsageError(f"none of the runs of the ablation {name} has ended: run it again")
    return write_files(result, RunFiles(store_uri, name))
