"""A table in the Prefect UI that shows the ranking of templates."""

from dataclasses import asdict

from prefect.artifacts import create_table_artifact

from clipes.tasks.runs.templates.ranking import TemplateRanking, counted
from clipes.tasks.ui.publishing import ServerWatch, artifact_key

LISTED = 100


def show_ranking(run: str, ranking: TemplateRanking, photos_encoded: int, pooling: str) -> None:
    """Show the best templates of a ranking in the Prefect UI.

    Args:
        run: name of the run.
        ranking: ranking of the templates by sharpness.
        photos_encoded: number of photos that this run had to encode.
        pooling: value of clip.pooling, the kind of image embedding.
    """
    with ServerWatch("ranking of templates").tolerate_failures():
        create_table_artifact(
            [asdict(each) for each in ranking.ranked[:LISTED]],
            artifact_key(run, "templates"),
            f"{counted(ranking)}; {photos_encoded} photos encoded in this run; image embedding: {pooling}; "
            "lower sharpness is better",
        )
