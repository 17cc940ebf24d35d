"""A WordNet of a few nouns, in a database of the library wn."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import wn

SENSES: dict[str, tuple[Sequence[str], str, Mapping[str, str]]] = {  # id -> words, gloss, relation -> id
    "car": (("car", "auto", "motorcar"), "a vehicle with four wheels and an engine", {"hypernym": "vehicle"}),
    "wagon": (("car", "railway car"), "a vehicle that a locomotive pulls", {}),
    "vehicle": (("motor vehicle",), "a vehicle with an engine", {"hyponym": "car"}),
    "ship": (("boat", "watercraft"), "a small vessel for travel on water", {}),
    "monitor": (("tv monitor", "television monitor"), "a display", {}),
    "person": (("Ford", "car"), "a maker of cars", {"instance_hypernym": "vehicle"}),
}


def write_small_wordnet(folder: Path) -> Path:
    """Write the nouns to a new database of wn in a folder that does not exist yet, and return the folder."""
    folder.mkdir()
    source = folder / "nouns.xml"
    source.write_text(_lmf(), encoding="utf-8")
    before = wn.config._data_directory  # reading the property would create the folder
    wn.config.data_directory = folder
    try:
        wn.add(source, progress_handler=None)
    finally:
        wn.config.data_directory = before
    return folder


def _lmf() -> str:
    words = sorted({word for forms, _, _ in SENSES.values() for word in forms})
    senses = {word: [key for key, (forms, _, _) in SENSES.items() if word in forms] for word in words}
    entries = "".join(
        f'<LexicalEntry id="small-{number}"><Lemma writtenForm="{escape(word)}" partOfSpeech="n"/>'
        + "".join(f'<Sense id="small-{number}-{key}" synset="small-{key}-n"/>' for key in senses[word])
        + "</LexicalEntry>"
        for number, word in enumerate(words)
    )
    synsets = "".join(
        f'<Synset id="small-{key}-n" ili="" partOfSpeech="n"><Definition>{escape(gloss)}</Definition>'
        + "".join(f'<SynsetRelation relType="{kind}" target="small-{other}-n"/>' for kind, other in related.items())
        + "</Synset>"
        for key, (_, gloss, related) in SENSES.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE LexicalResource SYSTEM '
        '"http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">\n'
        '<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">'
        '<Lexicon id="small" label="Small" language="en" email="nobody@example.org" license="CC0" version="1">'
        f"{entries}{synsets}</Lexicon></LexicalResource>\n"
    )
