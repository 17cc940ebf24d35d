"""Keep the files of an earlier run of the same name in the history of a run."""

import posixpath
from collections.abc import Sequence

from clipes.tasks.storage.files import move, read_file, remove_empty_folders
from clipes.tasks.storage.layout import FURTHER_PHOTOS, HISTORY, RUN_JSON, history_folder
from clipes.tasks.storage.listing import list_names
from clipes.tasks.storage.run_files import RunFiles


def further_photos(files: RunFiles, folder: str = "") -> tuple[str, ...]:
    """List the files with photos that report.html loads, as paths relative to the folder of report.html.

    Args:
        files: files of the run.
        folder: folder of report.html, as `archive` returns it; by default, the run's folder.
    """
    names = list_names(posixpath.join(files.folder, folder, FURTHER_PHOTOS))
    return tuple(f"{FURTHER_PHOTOS}/{name}" for name in names or ())


def archive(files: RunFiles, started: str, names: Sequence[str]) -> str:
    """Move the files of an earlier run of the same name, and its further photos, to the history.

    Files that do not exist are skipped.

    run.json is copied and stays in place until the caller replaces it, so that a killed process never leaves a folder
    without run.json. The next run then archives the remaining files in the same folder.

    Args:
        files: files of the run.
        started: start time of the earlier run, as written in run.json.
        names: names of the files.

    Returns:
        The folder that now contains the files, as a path relative to the run's folder.
    """
    folder = history_folder(started)
    for name in (*further_photos(files), *names):
        if files.find(name) is None:
            continue
        if name == RUN_JSON:
            files.write_bytes(f"{folder}/{name}", read_file(files.uri(name)))
        else:
            move(files.uri(name), files.uri(f"{folder}/{name}"))
    remove_empty_folders(files.uri(FURTHER_PHOTOS))
    return folder


def remove_archive(files: RunFiles, folder: str, names: Sequence[str]) -> None:
    """Remove the files of an earlier run, and its further photos, from the history. Files that are not named stay.

    Args:
        files: files of the run.
        folder: folder of the files, as `archive` returns it.
        names: names of the files. Files that do not exist are skipped.
    """
    files.remove([f"{folder}/{name}" for name in (*further_photos(files, folder), *names)])
    remove_empty_folders(files.uri(f"{folder}/{FURTHER_PHOTOS}"), files.uri(folder), files.uri(HISTORY))
