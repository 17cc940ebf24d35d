from clipes.tasks.commands.check.rejects import reject_lines
from clipes.tasks.inputs.photos import Reject
from clipes_core.errors import ErrorKind


def reject(image_id, kind, reason):
    return Reject(image_id, f"/{image_id}.jpg", "manifest", kind, reason)


def test_equal_reasons_of_a_kind_are_counted_together_and_the_most_frequent_come_first():
    rejects = [
        reject("a", ErrorKind.MISSING, "no file at /a"),
        reject("b", ErrorKind.UNKNOWN_CLASS, "unknown class 'cta'"),
        reject("c", ErrorKind.UNKNOWN_CLASS, "unknown class 'dgo'"),
        reject("d", ErrorKind.UNKNOWN_CLASS, "unknown class 'dgo'"),
    ]
    assert list(reject_lines(rejects)) == [
        "3 unknown_class: unknown class 'dgo' (c and 1 more); unknown class 'cta' (b)",
        "1 missing: no file at /a (a)",
    ]


def test_only_some_reasons_are_shown_and_long_ones_are_cut_off():
    rejects = [reject(str(number), ErrorKind.MISSING, f"{number} {'x' * 300}") for number in range(9)]
    [line] = reject_lines(rejects)
    assert line.count("...") == 3
    assert line.endswith("; and 6 more")
    assert len(line) < 700


def test_without_rejects_there_are_no_lines():
    assert list(reject_lines([])) == []
