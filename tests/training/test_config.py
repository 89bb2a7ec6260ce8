"""What a recipe has to say, and that those of the package do."""

from __future__ import annotations

import pytest
from tones import write_recipe

from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.training import recipe
from snn_asr.training.config import load_settings
from snn_asr.training.run import train


def test_a_recipe_without_a_key_says_which(tones, tmp_path):
    path = write_recipe(tmp_path)
    path.write_text(path.read_text().replace("patience: 18\n", ""))
    with pytest.raises(UsageError, match=r"train\.yaml: no key 'patience'"):
        train(path, tones, tmp_path / "run")


RECIPES = [(name, preset) for name, path in recipe.discover().items() for preset in (None, *recipe.presets(path))]


@pytest.mark.parametrize(("name", "preset"), RECIPES)
def test_every_recipe_that_comes_with_the_package_describes_a_model(name, preset):
    some = ("improved_v2", "spiking_lstm", "gru")  # a preset is told what blocks there are by each of them
    for encoder in some if preset else recipe.encoder_blocks(recipe.find(name)):
        settings = load_settings(name, {"encoder": encoder, "preset": preset, "hidden_size": 8})
        size, layers = settings["hidden_size"], settings["num_layers"]
        built = encoders.build(
            encoder, settings["features"].stacked_size, size, layers, **settings["encoder_options"]
        )
        directions = 2 if settings["bidirectional"] else 1
        assert (built.output_size, len(built.layers)) == (size * directions, layers)
