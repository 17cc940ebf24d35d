"""Photos without labels."""

from support.own_photos import doubts_of, write_photos

from clipes.tasks.commands.init.writing import initialise


def test_the_list_and_the_vocabulary_are_to_be_filled_in(photos):
    write_photos(photos, ["a.jpg", "b.webp"])
    done = initialise(str(photos))
    config, vocabulary, listed = done.files
    assert listed.read_text() == "image,labels\na.jpg,\nb.webp,\n"
    assert "classes: []  # replace [] by your classes" in vocabulary.read_text()
    assert "format: list" in config.read_text()
    assert doubts_of(done)[0].startswith("no labels were found")
