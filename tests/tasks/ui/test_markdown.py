import random
import re

import pytest
from support.hostile_texts import hostile_texts

from clipes.tasks.ui.markdown import code, link, plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b*c", r"a\_b\*c"),
        ("<script>", r"\<script\>"),
        ("a\n| b |", r"a \| b \|"),
        ("a\x1b[1m\udc80", r"a\\x1b\[1m\\udc80"),
    ],
)
def test_plain_text_has_no_markdown(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a|b\nc", r"`a\|b c`"), ("", "``")],
)
def test_code_has_a_longer_fence_than_its_text(text, expected):
    assert code(text) == expected


def test_a_web_address_is_a_link_whose_target_ends_at_its_end():
    assert link("https://x/a b>c|d") == r"[https://x/a b\>c\|d](<https://x/a%20b%3Ec%7Cd>)"
    assert link("/a") == "`/a`"


@pytest.mark.parametrize("seed", range(100))
def test_no_text_leaves_its_cell_of_a_table(seed):
    for text in hostile_texts(random.Random(seed), 3):
        for cell in (plain(text), code(text), link(f"http://{text}")):
            assert "\n" not in cell
            assert not re.search(r"(?<!\\)(\\\\)*\|", cell)
            cell.encode()
        assert not re.search(r"(?<!\\)(\\\\)*[<`]", plain(text))
