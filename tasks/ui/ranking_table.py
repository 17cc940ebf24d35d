"""A ranking of templates in the Prefect UI."""

from dataclasses import asdict

from prefect.artifacts import create_table_artifact

from clipes.tasks.runs.ranking import TemplateRanking, counted
from clipes.tasks.ui.publishing import ServerWatch, artifact_key

LISTED = 100


def show_ranking(run: str, ranking: TemplateRanking, photos_encoded: int, pooling: str) -> None:
    """Show the sharpest templates of a ranking in the Prefect UI.

    Args:
        run: its name.
        ranking: of the templates.
        photos_encoded: how many photos had to be encoded for it.
        pooling: what the image embedding is.
    """
    with ServerWatch("ranking of templates").publishing():
        create_table_artifact(
            [asdict(each) for each in ranking.ranked[:LISTED]],
            artifact_key(run, "templates"),
            f"{counted(ranking)}; {photos_encoded} photos encoded now; embedding: {pooling}; lower sharpness is better",
        )
