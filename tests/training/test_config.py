"""What a recipe may say: types, limits and defaults of every key, and that the recipes of the package hold to them."""

from __future__ import annotations

import pytest
from marks import graded

from snn_asr.errors import UsageError
from snn_asr.network import encoders
from snn_asr.training.recipes import config, recipe, recipe_files
from snn_asr.training.recipes.config import Config

RECIPES = [
    (name, preset)
    for name, path in recipe_files.discover().items() for preset in (None, *recipe_files.presets(path))
]
GOING_ON = ["accurate_int4"]  # presets that ask for a trained model
WRONG = [None, "x", [1], {"a": 1}, 1.5, -1, float("nan"), float("inf"), True, 10**30, "", [[]], [None]]


@pytest.mark.parametrize(("name", "preset"), graded(RECIPES, fast=[each for each in RECIPES if not each[1]]))
def test_every_recipe_that_comes_with_the_package_describes_a_model(name, preset):
    some = ("improved_v2", "spiking_lstm", "gru")  # a preset is told what blocks there are by each of them
    for encoder in some if preset else recipe_files.encoder_blocks(recipe_files.find(name)):
        trained = {"initial_model": "an4-letters"} if preset in GOING_ON else {}
        chosen = recipe.load(name, {"encoder": encoder, "preset": preset, "hidden_size": 8} | trained)
        size, layers = chosen.model.hidden_size, chosen.model.num_layers
        built = encoders.build(encoder, chosen.features.stacked_size, size, layers, **chosen.model.encoder_options)
        directions = 2 if chosen.model.bidirectional else 1
        assert (built.output_size, len(built.layers)) == (size * directions, layers)


def test_every_key_has_a_default_that_it_takes_and_a_line_of_help():
    assert Config.read({name: each.default for name, each in config.keys().items()}) == Config()
    for name, each in config.keys().items():
        assert each.help and each.kind.words and "\n" not in each.help + each.kind.words, name


def test_a_model_is_built_from_what_the_keys_say():
    chosen = Config.read({"head_bias": False, "head_normalization": "output", "hidden_size": 7, "mels": 8, "stack": 2})
    settings = chosen.model_settings
    assert (settings.head_bias, settings.head_normalization, settings.hidden_size) == (False, "output", 7)
    assert (settings.encoder, settings.task, settings.features.stacked_size) == ("improved_v2", "transcription", 16)


@pytest.mark.parametrize("key", config.keys())
def test_a_value_of_a_wrong_type_is_one_line_that_names_the_key(key):
    refused = 0
    for value in WRONG:
        try:
            Config.read({key: value}, "train.yaml")
        except UsageError as error:
            refused += 1
            assert key in str(error) or "option of encoder improved_v2 'a'" in str(error)
            assert "\n" not in str(error)
    assert refused >= 3


def test_numbers_are_read_as_what_they_are():
    chosen = Config.read({"learning_rate": 1, "speeds": [1], "dropout": 0, "epochs": 3, "length_curriculum": [[9, 2]]})
    assert type(chosen.training.learning_rate) is float and chosen.augmentation.speeds == (1.0,)
    assert type(chosen.training.epochs) is int and chosen.batches.length_curriculum == ((9, 2),)
    for value in (1.5, 3.0, "3"):
        with pytest.raises(UsageError, match="epochs: .*; must be a whole number from 1"):
            Config.read({"epochs": value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary_size": "x"}, "token_options: vocabulary_size: 'x'; must be a whole number"),
        ({"vocabulary_size": 1.5}, "token_options: vocabulary_size: 1.5"),
        ({"algorithm": 3}, "token_options: algorithm '3'; choose from: bpe, unigram"),
    ],
)
def test_options_of_the_tokens_are_checked_too(options, words):
    with pytest.raises(UsageError, match=words):
        Config.read({"token_options": options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": "x"}, "bits: 'x'; must be a whole number"),
        ({"bits": 1}, "bits"),
        ({"fixed_range": float("nan")}, "fixed_range: nan; must be a number"),
        ({"learn_smoothing": 1}, "learn_smoothing: 1; must be true or false"),
        ({"candidate": 3}, "candidate: 3; must be a name"),
        ({"candidate": "rely"}, "did you mean 'relu'"),
        ({"bitz": 3}, "did you mean 'bits'"),
    ],
)
def test_options_of_an_encoder_are_checked_before_anything_is_built(options, words):
    with pytest.raises(UsageError, match=words):
        Config.read({"encoder_options": options})


@pytest.mark.parametrize("other", [{"task": "classification"}, {"head_bias": False}])
def test_a_bias_of_the_blank_needs_a_blank_and_a_bias(other):
    with pytest.raises(UsageError, match="blank_bias=3"):
        Config.read({"blank_bias": 3, **other}, "train.yaml")
    Config.read({"blank_bias": 3, "head_bias": False, "head_normalization": "output"})
