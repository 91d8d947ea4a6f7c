"""Behaviour of service.scoring.recipe."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from service.errors import ChecksumError, ScoreError
from service.model.loading import load
from service.scoring.layout import match
from service.scoring.reading.blocks import Decoded
from service.scoring.reading.formats import Form
from service.scoring.recipe import Recipe
from tests.service.conftest import damage, publish

ROWS = pa.record_batch({"width": np.linspace(-1, 1, 50), "height": np.linspace(3, 5, 50)})


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """What a process must know to score `ROWS`."""
    place = publish(tmp_path, "line")
    manifest = load(place, "line").manifest
    layout = match(manifest, ROWS.schema, {}, (), where="rows", form=Form("parquet", None))
    return Recipe(place, "line", "cpu", 1, manifest, 16, layout, ROWS.schema, "fail")


def test_a_recipe_that_was_sent_scores_the_same(recipe: Recipe) -> None:
    """In whatever process, with a session that is open already or with one of its own."""
    sent = pickle.loads(pickle.dumps(recipe))  # noqa: S301  # its own
    assert sent == recipe
    block = Decoded(ROWS, 0)
    expected = recipe.scorer(load(recipe.place, "line").runtime).score(block)
    assert expected.rows == len(ROWS)
    assert sent.open().score(block) == expected


def test_a_model_that_was_replaced_is_not_used(recipe: Recipe) -> None:
    """What lies at the place of one process may be another model than at that of the next."""
    other = replace(recipe, manifest=recipe.manifest.model_copy(update={"description": "another"}))
    with pytest.raises(ScoreError, match="another line lies here than where the scoring was begun"):
        other.open()


def test_a_damaged_model_is_not_used(recipe: Recipe) -> None:
    """Each process checks the model."""
    damage(recipe.place)
    with pytest.raises(ChecksumError):
        recipe.open()
