import pytest

from clipes.tasks.plan.rows import check_upstream
from clipes_core.errors import ErrorKind, PhotoError


def test_a_photo_without_an_upstream_result_is_refused_with_the_reason():
    check_upstream({"status": "ok", "error": None}, "mask")
    with pytest.raises(PhotoError, match=r"^no mask: a\.jpg is empty$") as caught:
        check_upstream({"status": "error", "error": "a.jpg is empty"}, "mask")
    assert caught.value.kind is ErrorKind.UPSTREAM
