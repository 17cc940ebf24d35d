"""Tables in the Prefect UI that show the rankings of templates and words."""

from dataclasses import asdict

from prefect.artifacts import create_table_artifact

from clipes.tasks.runs.templates.ranking import TemplateRanking, counted
from clipes.tasks.runs.words.ranking import WordFindings
from clipes.tasks.runs.words.record import background_rows, synonym_rows
from clipes.tasks.ui.publishing import ServerWatch, artifact_key

LISTED = 100
MOST_WORDS = 500


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


def show_words(run: str, found: WordFindings) -> None:
    """Show the scores of words in the Prefect UI: all candidates of classes, or the background words that fire.

    Args:
        run: name of the run.
        found: scores of the words.
    """
    firing = [each for each in found.seen if each.firing.fires > 0]
    rows = [*synonym_rows(found.classes), *background_rows(firing)][:MOST_WORDS]
    with ServerWatch("ranking of words").tolerate_failures():
        create_table_artifact(rows, artifact_key(run, "words"), "the scores are those of the docs, Choosing words")
