from dataclasses import replace

from support.plain_reports import plain_facts
from support.plain_runs import VOCABULARY

from clipes.tasks.report.gallery.cards import Card
from clipes.tasks.report.templates import export_command, names_of, page_environment
from clipes_core.pictures.class_colours import class_styles

CARD = Card("a", (2,), "/photos/a.jpg", class_styles([2, 9]), {}, (), ())


def test_the_export_command_can_be_pasted_into_a_shell(tmp_path):
    facts = plain_facts(tmp_path)
    elsewhere = replace(facts, config=facts.config.model_copy(update={"store": "/my store"}))
    assert export_command(elsewhere) == f"clipes export {facts.config.name} --to exported --store '/my store'"


def test_names_begin_with_the_background():
    assert names_of(VOCABULARY) == ["background", *(entry.name for entry in VOCABULARY.classes)]


def test_the_looks_of_classes_are_json_that_html_cannot_change():
    shown = page_environment().from_string('<p data-styles="{{ card|styles }}">').render(card=CARD)
    assert '"' not in shown.removeprefix('<p data-styles="').removesuffix('">')
    assert "&#34;9&#34;: {&#34;colour&#34;: [0, 158, 115], &#34;pattern&#34;: &#34;plain&#34;}" in shown
