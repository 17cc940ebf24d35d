from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from clipes_core.demo.template_uses import TemplateUse, varied_uses

TEMPLATES = tuple(f"picture {number} of a {{}}." for number in range(82))


def test_every_template_gets_a_use_in_the_given_order():
    assert [use.template for use in varied_uses(TEMPLATES)] == list(TEMPLATES)
    assert varied_uses(()) == ()


def test_the_uses_are_always_the_same_and_depend_only_on_the_places():
    assert varied_uses(TEMPLATES) == varied_uses(TEMPLATES)
    renamed = varied_uses([template.upper() for template in TEMPLATES])
    assert [use.weight for use in renamed] == [use.weight for use in varied_uses(TEMPLATES)]


def test_a_few_templates_are_never_used_and_the_others_differ():
    uses = varied_uses(TEMPLATES)
    assert Counter(use.weight for use in uses) == {64: 26, 8: 24, 1: 24, 0: 8}
    used = [use for use in uses if use.weight]
    assert sum(use.reliability == 0.5 for use in used) == pytest.approx(len(used) / 3, abs=2)
    assert sum(use.single for use in used) == pytest.approx(len(used) / 2, abs=1)


def test_the_properties_of_the_used_templates_are_nearly_independent():
    used = [(np.log(use.weight), use.reliability, use.single) for use in varied_uses(TEMPLATES) if use.weight]
    for one, other in combinations(np.array(used, float).T, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_without_further_values_a_template_is_used_for_all_scenes():
    assert TemplateUse("a {}.") == TemplateUse("a {}.", weight=1, reliability=1, single=False)
