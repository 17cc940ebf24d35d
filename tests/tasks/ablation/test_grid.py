"""Grids: their variants, the choice of some of them, and the names of their runs."""

import pytest

from clipes.tasks.ablation.grid import chosen_variants, slug
from clipes_core.errors import ConfigError

REFINEMENT = """
title: Refinement
about: >
  MHSA and CAA,
  with and without a CRF
settings: {train.enabled: false}
axes:
  refinement: {none: {cam.refine: none}, MHSA: {cam: {refine: mhsa, power: 1}}}
  CRF: {without CRF: {crf.enabled: false}, CRF: }
seeds: {train.seed: [0, 1], dataset.seed: [5, 6]}
reference: MHSA, CRF
show: [refined_cam, pseudo_mask.boat, cams.seconds]
"""


def test_the_variants_are_the_product_of_the_axes(grid_of):
    grid = grid_of(REFINEMENT)
    found = {variant.label: variant.settings for variant in grid.all_variants}
    assert list(found) == ["none, without CRF", "none, CRF", "MHSA, without CRF", "MHSA, CRF"]
    assert found["MHSA, without CRF"] == {"cam.refine": "mhsa", "cam.power": 1, "crf.enabled": False}
    assert grid.all_variants[0].labels == {"refinement": "none", "CRF": "without CRF"}
    assert grid.name == "mine"
    assert grid.about == "MHSA and CAA, with and without a CRF"
    assert grid.last_stage == "mask_scores"
    assert grid.reference_label == "MHSA, CRF"
    assert grid.all_seeds == ({"train.seed": 0, "dataset.seed": 5}, {"train.seed": 1, "dataset.seed": 6})


def test_a_label_of_an_axis_chooses_all_variants_with_it(grid_of):
    grid = grid_of(REFINEMENT)
    assert [each.label for each in chosen_variants(grid, ("MHSA",))] == ["MHSA, without CRF", "MHSA, CRF"]
    assert [each.label for each in chosen_variants(grid, ("none, CRF",))] == ["none, CRF"]
    assert len(chosen_variants(grid, ())) == 4
    with pytest.raises(ConfigError, match="--only MHSE: the grid mine has no such label; did you mean MHSA"):
        chosen_variants(grid, ("MHSE",))


def test_a_label_becomes_part_of_the_name_of_a_run():
    assert slug("MHSA, single-scale + CRF") == "mhsa-single-scale-crf"
    assert slug("λ = 0.4") == "0.4"
    assert slug("Größe") == "grosse"
    assert slug("λ") == "variant"


def test_variants_whose_labels_give_the_same_part_of_a_name_are_numbered(grid_of):
    variants = "{单尺度: {}, CAA: {cam.power: 1}, 多尺度: {cam.power: 3}, c a a: {cam.power: 4}, C-A-A: {cam.power: 5}}"
    grid = grid_of(f"title: T\nvariants: {variants}\nshow: [initial_cam]")
    assert list(grid.slugs.values()) == ["variant-1", "caa", "variant-3", "c-a-a-4", "c-a-a-5"]
