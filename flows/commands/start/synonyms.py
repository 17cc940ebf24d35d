"""The command `clipes synonyms`: rank words of classes, or background words, on the photos of a data set."""

from typing import Annotated

import typer

from clipes.flows.commands.options import (
    Config,
    Fresh,
    Json,
    RetryErrors,
    Set,
    StoreOrConfigs,
    Verify,
    location_option,
)
from clipes.flows.exit_codes import explain_resume
from clipes.flows.terminal.consoles import err, out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce


def synonyms(
    config: Config,
    classes: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLASS...", help="Classes to find words for; with --background, the classes to show."),
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="Show which background words fire on the photos of which class.")
    ] = False,
    word: Annotated[
        list[str] | None,
        typer.Option("--word", metavar="TEXT", help="Word or phrase to rank; may be given several times."),
    ] = None,
    words: Annotated[
        str | None,
        location_option(
            "--words", "FILE", "File of words to rank, one per line. Background words in it replace the shipped scenes."
        ),
    ] = None,
    wordnet: Annotated[
        bool, typer.Option("--wordnet/--no-wordnet", help="Also rank the words that WordNet gives for the classes.")
    ] = True,
    related: Annotated[
        bool, typer.Option("--related", help="Also rank WordNet's next broader and narrower words.")
    ] = False,
    overrides: Set = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the ranking; default: the name in CONFIG with -synonyms or -background appended."),
    ] = None,
    store: StoreOrConfigs = None,
    fresh: Fresh = False,
    verify: Verify = False,
    retry_errors: RetryErrors = False,
    to: Annotated[
        str | None, location_option("--to", "FILE", "Write a new vocabulary with the proposed words to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank words of classes, or background words, by their scores on the photos. To resume, repeat the command."""
    from clipes.tasks.commands.synonyms.candidates import background_request, check_lengths, class_request, read_words
    from clipes.tasks.commands.synonyms.proposals import check_target, proposed_lines, ranking_json, write_vocabulary
    from clipes.tasks.execution.runner import check_runner
    from clipes.tasks.inputs.configs import load_config
    from clipes.tasks.runs.inputs.checks import check_inputs, check_store
    from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
    from clipes.tasks.runs.words.request import check_classes, check_template

    values = {"name": name, "store": store}
    loaded = load_config(config, overrides or (), {key: value for key, value in values.items() if value is not None})
    suffix = "background" if background else "synonyms"  # so that the files of a run with the same name are kept
    loaded = loaded if name is not None else loaded.model_copy(update={"name": f"{loaded.name}-{suffix}"})
    check_runner(loaded)  # so that a mistake is reported before a server starts
    check_template(loaded)
    check_inputs(loaded)
    vocabulary, named = checked_vocabulary(loaded), tuple(dict.fromkeys(classes or ()))
    check_classes(vocabulary, named)
    if to is not None:
        check_target(to)
    own = (*(word or ()), *(read_words(words) if words is not None else ()))
    if background:
        request = background_request(vocabulary, own)
    else:
        with announce("looking up words"):
            request = class_request(vocabulary, named, own, wordnet, related)
    with announce("counting the tokens of the words"):
        check_lengths(loaded, request.words)
    check_store(loaded, writes=True)
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server, explain_resume():  # The server starts while the flow is imported.
        with announce("loading the ranking"):
            from clipes.flows.flow_runs import keep_sigterm_handler
            from clipes.flows.rankings.words import word_ranking
            from clipes.flows.terminal.rankings.word_tables import print_word_ranking

        flow = keep_sigterm_handler(word_ranking)
        ranking = server.record(lambda resumes: flow(loaded, request, fresh and not resumes, verify, retry_errors))
    if as_json:
        out.print(ranking_json(vocabulary, ranking.found, ranking.summary.uri))
    else:
        print_word_ranking(out, ranking, named, proposed_lines(vocabulary, ranking.found), verify)
    if to is not None:
        write_vocabulary(to, vocabulary, ranking.found, loaded)
        err.print(f"wrote {to}; to use it, set dataset.classes={to}")
