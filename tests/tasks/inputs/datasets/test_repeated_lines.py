from clipes.tasks.inputs.datasets.repeated_lines import BAD_LINE, OTHER_LABELS, SAME_ID, unique_rows
from clipes.tasks.inputs.photos import Photo, Reject
from clipes_core.errors import ErrorKind


def photo(image_id, *class_ids, extension="jpg"):
    return Photo(image_id, f"/{image_id}.{extension}", 1, "1-1", class_ids)


def reject(image_id, kind):
    return Reject(image_id, f"/{image_id}.jpg", "manifest", kind, "why")


def outcome(*rows):
    unique = unique_rows(rows)
    assert len(unique.rows) + len(unique.merged) == len(rows)
    return [row if isinstance(row, Photo) else (row.image_id, row.kind, row.reason) for row in unique.rows]


def test_rows_with_different_ids_are_kept():
    rows = (photo("a", 1, 2), photo("b"), reject("c", ErrorKind.MISSING))
    assert unique_rows(rows).rows == rows


def test_lines_with_one_label_each_are_merged():
    unique = unique_rows([photo("a", 2), photo("b", 1), photo("a", 1), photo("a", 2), photo("c")])
    assert unique.rows == (photo("a", 2, 1), photo("b", 1), photo("c"))
    assert unique.merged == ("a", "a")


def test_a_repeated_line_is_a_duplicate():
    assert outcome(photo("a", 2, 1), photo("a", 1, 2)) == [photo("a", 2, 1), ("a", ErrorKind.DUPLICATE, SAME_ID)]
    assert outcome(photo("a", 1), photo("a", 1)) == [photo("a", 1), ("a", ErrorKind.DUPLICATE, SAME_ID)]


def test_another_photo_with_the_same_id_is_a_duplicate():
    assert outcome(photo("a", 1), photo("a", 2, extension="png")) == [
        photo("a", 1),
        ("a", ErrorKind.DUPLICATE, SAME_ID),
    ]


def test_a_photo_with_uncertain_labels_is_rejected():
    uncertain = ("a", ErrorKind.UNREADABLE_LABELS, OTHER_LABELS.format(count=2))
    assert outcome(photo("a", 1, 2), photo("b", 1), photo("a", 1)) == [uncertain, photo("b", 1), uncertain]
    assert outcome(photo("a", 1), photo("a")) == [uncertain, uncertain]


def test_a_photo_with_a_line_that_is_rejected_for_its_labels_is_rejected():
    bad = ("a", ErrorKind.UNREADABLE_LABELS, BAD_LINE)
    unknown = reject("a", ErrorKind.UNKNOWN_CLASS)
    assert outcome(photo("a", 1), unknown, photo("a", 2)) == [bad, ("a", ErrorKind.UNKNOWN_CLASS, "why"), bad]


def test_of_several_rejects_with_the_same_id_the_first_keeps_its_reason():
    assert outcome(reject("a", ErrorKind.MISSING), reject("a", ErrorKind.MISSING)) == [
        ("a", ErrorKind.MISSING, "why"),
        ("a", ErrorKind.DUPLICATE, SAME_ID),
    ]
