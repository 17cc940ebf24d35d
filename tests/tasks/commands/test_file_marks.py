import io

import pytest
from PIL import Image
from support.noisy_pictures import encoded, pixels_of

from clipes.tasks.commands.file_marks import add_mark, has_mark


@pytest.mark.parametrize(("image_format", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
def test_a_mark_keeps_the_pixels_and_fits_only_the_unchanged_file(image_format, options):
    plain = encoded(image_format, **options)
    marked = add_mark(plain)
    assert (pixels_of(marked) == pixels_of(plain)).all()
    assert (has_mark(plain), has_mark(marked)) == (False, True)
    for place in range(0, len(marked), 7):
        changed = bytearray(marked)
        changed[place] ^= 1
        assert not has_mark(bytes(changed)), place
    assert not has_mark(marked[:-1])
    assert not has_mark(marked + b"\0")


def test_a_picture_saved_again_by_another_program_counts_as_the_user_s():
    again = io.BytesIO()
    Image.open(io.BytesIO(add_mark(encoded("PNG")))).save(again, "PNG", compress_level=1)
    assert not has_mark(again.getvalue())


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\xff\xff"])
def test_other_and_truncated_content_carries_no_mark(data):
    assert not has_mark(data)
    assert add_mark(data) == data
