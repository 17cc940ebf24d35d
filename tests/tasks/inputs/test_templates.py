import logging

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from clipes.tasks.inputs.templates import PAPER_TEMPLATES, read_templates, shipped_templates
from clipes_core.errors import PromptError


@pytest.fixture
def templates_of(tmp_path):
    """Return a function that writes a file of templates and reads it."""

    def templates_of(content):
        path = tmp_path / "own.txt"
        path.write_bytes(content)
        return read_templates(str(path))

    return templates_of


def test_shipped_templates_are_those_of_the_paper_and_of_imagenet():
    for_imagenet = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    assert list(shipped_templates()) == [*PAPER_TEMPLATES, *for_imagenet]
    assert len(set(shipped_templates())) == 82


def test_a_file_has_one_template_per_line_with_any_line_end(templates_of):
    assert templates_of(b"\xef\xbb\xbfa {}.\r\n\r\n  the {} \n\t\n\xe4\xb8\x80 {}") == ("a {}.", "the {}", "一 {}")


def test_a_repeated_template_is_used_once_with_a_warning(templates_of, caplog):
    with caplog.at_level(logging.WARNING):
        assert templates_of(b"a {}.\nthe {}.\n\na {}. \n") == ("a {}.", "the {}.")
    assert "own.txt: line 4 repeats the template of line 1, 'a {}.': the repetition is ignored" in caplog.text


def test_every_line_without_exactly_one_placeholder_is_reported(templates_of):
    with pytest.raises(PromptError) as caught:
        templates_of(b"a {}.\na photo.\n\n{} and {}.\n")
    first, second = str(caught.value).splitlines()
    assert first.endswith("own.txt, line 2: 'a photo.' must contain {} exactly once, where the class words go")
    assert second.endswith("own.txt, line 4: '{} and {}.' must contain {} exactly once, where the class words go")


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_file_without_templates_is_an_error(templates_of, content):
    with pytest.raises(PromptError, match=r"own\.txt: has no template"):
        templates_of(content)


def test_a_file_that_cannot_be_read_is_an_error(templates_of, tmp_path):
    with pytest.raises(PromptError, match=r"none\.txt: this template file does not exist"):
        read_templates(str(tmp_path / "none.txt"))
    with pytest.raises(PromptError, match="this template file does not exist"):
        read_templates(str(tmp_path))
    with pytest.raises(PromptError, match=r"own\.txt: not UTF-8 text"):
        templates_of("a café {}.".encode("latin-1"))


def test_templates_may_be_read_from_a_uri(tmp_path):
    (tmp_path / "own.txt").write_text("a {}.")
    assert read_templates(f"file://{tmp_path}/own.txt") == ("a {}.",)
