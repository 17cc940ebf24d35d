"""Format text: the ids of the photos that have a pseudo mask, one per line."""

from clipes.tasks.commands.export.run_masks import Exported, ExportRequest, read_good_rows


def export(request: ExportRequest) -> Exported:
    """Write `<target>/masks.txt`."""
    ids = sorted(row["image_id"] for row in read_good_rows(request, "masks", (), "pseudo masks"))
    request.output.write("masks.txt", "".join(f"{image_id}\n" for image_id in ids).encode())
    return Exported(len(ids), left_out=request.run.run["photos"] - len(ids))
