"""The table of all keys in the documentation is the program's."""

from __future__ import annotations

from pathlib import Path

from snn_asr.training.recipes import config, key_table, recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
BEGIN, END = "<!-- keys: written by snn_asr/training/recipes/key_table.py -->\n", "<!-- end of keys -->"


def test_the_documentation_lists_every_key() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert written == key_table.markdown(), "write key_table.markdown() between the marks of docs/recipes.md"


def test_the_table_of_a_recipe_holds_the_keys_of_its_encoder_too() -> None:
    merged = recipe.merge("FSDD", {"encoder": "lif"})
    rows = [line.split() for line in key_table.of_recipe(merged).splitlines() if line.startswith("  ")]
    assert [row[0] for row in rows] == [*config.keys(), *merged.block]
    assert ["decay", "0.8"] in [row[:2] for row in rows] and ["epochs", "10"] in [row[:2] for row in rows]
