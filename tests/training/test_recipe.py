"""Recipes merged: defaults, encoder blocks, presets, overrides, in that order; what is built, shown and identified."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.errors import DataError, SnnAsrError, UsageError
from snn_asr.network import encoders
from snn_asr.training.recipes import config, key_table, recipe, recipe_files
from snn_asr.training.recipes.config import Config

TRAIN = """\
# Digits with a small network

encoder: improved_v2
hidden_size: 16       # a small one
width: 5
epochs: 3
frame_augmentations:
    # in a list
    - !new:snn_asr.data.augmentation.StackShift  # of objects
        frames: !ref <width> - 4
bits: 5
encoders:
    improved_v2: {learning_rate: 0.25, bits: 4}
    gru:
        learning_rate: 0.5  # the twin wants more
"""
BLOCKS = {
    "improved_v2": "# One\nbits: 6        # levels\n               # and signs\nsmoothing: 0.5\nlearning_rate: 0.1\n",
    "gru": "learning_rate: 0.2\n",
    "spiking_lstm": "firing: 0.1\nencoder_options: {threshold: !ref <firing>}\n",
}


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A recipe's file with three encoder blocks beside its folder."""
    recipes = tmp_path / "recipes"
    for name, block in BLOCKS.items():
        write(recipes / "encoders" / f"{name}.yaml", block)
    write(recipes / "Digits" / "notes.txt", "notes")
    return write(recipes / "Digits" / "train.yaml", TRAIN)


@pytest.fixture
def packaged(digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same recipe as if it came with the package."""
    monkeypatch.setattr(recipe_files, "recipes_folder", lambda: digits.parents[1])
    return digits


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def identity(path: Path, **overrides: object) -> dict:
    merged = recipe.merge(path, overrides)
    return merged.identity(merged.config())


def test_a_later_mapping_goes_before_an_earlier_one(digits: Path) -> None:
    spiking, twin = recipe.load(digits), recipe.load(digits, {"encoder": "gru"})
    assert (spiking.model.hidden_size, spiking.training.epochs, spiking.model.num_layers) == (16, 3, 2)
    assert spiking.model.encoder_options["bits"] == 4  # the recipe's for this encoder, before the recipe's for all
    assert spiking.model.smoothing == spiking.model.encoder_options["smoothing"] == 0.5  # the block's
    assert (spiking.training.learning_rate, twin.training.learning_rate) == (0.25, 0.5)
    assert twin.model.smoothing == 0 and "bits" not in twin.model.encoder_options
    given = recipe.load(digits, {"bits": 5, "smoothing": 0, "dropout": 0.25})
    assert {**given.model.encoder_options}.items() >= {"bits": 5, "smoothing": 0.0, "dropout": 0.25}.items()


def test_every_key_can_be_given_to_every_recipe(digits: Path) -> None:
    for name, each in config.keys().items():
        if name not in ("encoder", "encoder_options"):
            assert recipe.merge(digits, {name: each.default}).entries[name].source == recipe.GIVEN


def test_a_preset_replaces_whole_values_and_key_value_goes_before_it(digits: Path) -> None:
    content = "hidden_size: 64\nbits: 9\nfiring: 0.4\nframe_augmentations: []\nencoders:\n    gru: {dropout: 0.5}\n"
    write(digits.parents[1] / "presets" / "big.yaml", content)
    big = recipe.load(digits, {"preset": "big"})
    assert (big.model.hidden_size, big.model.encoder_options["bits"], big.model.dropout) == (64, 9, 0.1)
    assert big.augmentation.frame_augmentations == ()
    assert recipe.load(digits, {"preset": "big", "hidden_size": 5}).model.hidden_size == 5
    assert recipe.load(digits, {"preset": "big", "encoder": "gru"}).model.dropout == 0.5
    assert recipe.load(digits, {"preset": "big", "encoder": "spiking_lstm"}).model.encoder_options["threshold"] == 0.4
    write(digits.parent / "presets" / "big.yaml", "hidden_size: 32\n")
    assert recipe.load(digits, {"preset": "big"}).model.hidden_size == 32  # the recipe's own
    assert set(recipe_files.presets(digits)) == {"big"}


def test_a_preset_builds_on_another(digits: Path) -> None:
    presets = digits.parents[1] / "presets"
    write(presets / "big.yaml", "# big: many units\n\nhidden_size: 64\ndropout: 0.3\nencoders: {gru: {mels: 30}}\n")
    write(presets / "bigger.yaml", "# bigger: more\n\npreset: big\nhidden_size: 128\n")
    write(digits.parent / "presets" / "deep.yaml", "preset: bigger\nnum_layers: 3\nencoders: {gru: {dropout: 0.5}}\n")
    for encoder, dropout, mels in (("improved_v2", 0.3, 40), ("gru", 0.5, 30)):
        deep = recipe.load(digits, {"preset": "deep", "encoder": encoder})
        assert (deep.model.hidden_size, deep.model.num_layers, deep.model.dropout) == (128, 3, dropout)
        assert deep.features.mels == mels
    merged = recipe.merge(digits, {"preset": "deep"})
    assert merged.overrides == {"preset": "deep"} and merged.entries["dropout"].source == "presets/big.yaml"
    assert merged.head.endswith("# big: many units\n#\n# bigger: more")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("preset: round\n", "round.yaml: builds on itself (round <- round)"),
        ("preset: back\n", "back.yaml: builds on itself (round <- back <- round)"),
        ("preset: bock\n", "round.yaml: unknown preset 'bock'; did you mean 'back'?"),
        ("preset: [back]\n", "round.yaml: unknown preset"),
        ("encoders: {gru: {preset: back}}\n", "unknown key 'preset'"),
    ],
)
def test_a_preset_that_builds_on_nothing_is_named(digits: Path, content: str, message: str) -> None:
    write(digits.parent / "presets" / "round.yaml", content)
    write(digits.parent / "presets" / "back.yaml", "preset: round\n")
    with pytest.raises(SnnAsrError) as error:
        recipe.load(digits, {"preset": "round", "encoder": "gru"})
    assert message in str(error.value)


def test_a_mapping_that_is_given_replaces_the_one_before(digits: Path) -> None:
    write(digits, TRAIN + "tokens: sentencepiece\ntoken_options: {vocabulary_size: 256}\n")
    assert recipe.load(digits, {"tokens": "characters", "token_options": {}}).data.token_options == {}


def test_objects_are_built_with_references_whatever_comments_stand_beside_them(digits: Path) -> None:
    (shift,) = recipe.load(digits).augmentation.frame_augmentations
    assert (type(shift).__name__, shift.frames) == ("StackShift", 1)
    (shift,) = recipe.load(digits, {"width": 7}).augmentation.frame_augmentations
    assert shift.frames == 3
    by_name = recipe.load(digits, {"frame_augmentations": [{"stack_shift": {"frames": 3}}]})
    assert by_name.augmentation.frame_augmentations == (shift,)


def test_recipes_that_name_objects_for_everything_still_load(digits: Path) -> None:
    write(digits, """\
seed: 1
encoder: gru
dropout: 0.25
bidirectional: false
stack: 4
features: !new:snn_asr.data.features.FeatureSettings
    mels: 20
    stack: !ref <stack>
speeds: [1.0]
spectrogram_drops:
    - !new:speechbrain.augment.freq_domain.SpectrogramDrop
        drop_length_low: 1
        drop_length_high: 8
        drop_count_low: 0
        drop_count_high: 2
        dim: 1
optimizer: !name:torch.optim.AdamW
    weight_decay: 0.5
""")
    options = "{bidirectional: !ref <bidirectional>, dropout: !ref <dropout>}"
    write(digits.parents[1] / "encoders" / "gru.yaml", f"learning_rate: 1e-3\nencoder_options: {options}\n")
    chosen = recipe.load(digits, {"stack": 2})
    assert chosen.features == FeatureSettings(mels=20, stack=2) and chosen.training.learning_rate == 1e-3
    assert chosen.model.encoder_options["dropout"] == 0.25
    assert chosen.training.optimizer.keywords == {"weight_decay": 0.5}
    for key, value in (("mels", 40), ("weight_decay", 0.1)):
        with pytest.raises(UsageError, match=key):  # which the recipe's objects would not hear
            recipe.load(digits, {key: value})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hiden_size": 4}, "unknown key 'hiden_size'; did you mean 'hidden_size'?"),
        ({"epochs": 0}, "epochs: 0; must be a whole number from 1"),
        ({"schedule": "halfing"}, "unknown schedule 'halfing'; did you mean 'halving'?"),
        ({"device": "cuda:1"}, "unknown key 'device'; it is an option: --device cuda:1"),
        ({"output_folder": "runs"}, "unknown key 'output_folder'; it is an option: --output-folder runs"),
        ({"partial": True}, "unknown key 'partial'; 'snn-asr recipes show {recipe} --keys' lists all"),
        ({"encoder": "gro"}, "unknown encoder 'gro'; did you mean 'gru'?"),
        ({"encoder": "gru", "bits": 2}, "unknown key 'bits'"),
        ({"encoder": "spiking_lstm", "threshold": 2}, "unknown key 'threshold'"),
        ({"preset": "bog"}, "unknown preset 'bog'"),
        ({"encoders": {}}, "unknown key 'encoders'"),
    ],
)
def test_a_wrong_override_says_what_to_do(digits: Path, overrides: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        recipe.load(digits, overrides)
    of_this_recipe = f"{digits}: " if "preset" in overrides else ""  # a word of the command is no fault of the file
    assert str(error.value).startswith(of_this_recipe + message.replace("{recipe}", str(digits)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hiden: 3\n", "unknown key 'hiden'; did you mean 'hidden_size'?"),
        ("later: !PLACEHOLDER\n", "needs a value for 'later'; give later=..."),
        ("encoders: {gro: {dropout: 0.1}}\n", "unknown encoder 'gro'; did you mean 'gru'?"),
        ("encoders: {gru: {bits: 3}}\n", "unknown key 'bits'"),
    ],
)
def test_a_slip_in_a_recipe_is_named(digits: Path, line: str, message: str) -> None:
    write(digits, "encoder: gru\n" + line)
    with pytest.raises(UsageError) as error:
        recipe.load(digits)
    assert message in str(error.value) and str(digits) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epochs: [1, 2\n", "not YAML"),
        ("- 1\n- 2\n", "not a mapping"),
        ("epochs: 1\nepochs: 2\n", "key 'epochs' is given twice"),
        ("encoders: [1]\n", "not a mapping"),
        ("optimizer: !name:snn_asr.no_such.Thing\n", "snn_asr.no_such.Thing"),
        ("epochs: !ref <nothing>\n", "nothing"),
        ("tokens: !new:collections.OrderedDict [1, 2, 3]\n", "cannot be loaded"),
    ],
)
def test_a_broken_recipe_is_a_data_error(digits: Path, content: str, message: str) -> None:
    write(digits, content)
    with pytest.raises(DataError) as error:
        recipe.load(digits)
    assert message in str(error.value) and str(digits) in str(error.value) and "\n" not in str(error.value)


def test_an_error_of_ours_inside_a_recipe_passes_unchanged(digits: Path) -> None:
    write(digits, "token_options: !apply:snn_asr.files.read_json [/no/such/file.json]\n")
    with pytest.raises(DataError, match="^/no/such/file.json: no such file"):
        recipe.load(digits)


def test_what_is_shown_says_where_each_value_comes_from_and_loads_alike(digits: Path) -> None:
    shown = recipe.text(digits, {"dropout": 0.25})
    assert shown.startswith("# Digits with a small network\n")
    assert "\n# Presets (preset=NAME)\n#   binary: spikes of one magnitude" in shown
    lines = {line.partition(":")[0]: line for line in shown.splitlines()}
    assert lines["hidden_size"].endswith("# a small one [Digits/train.yaml]")
    assert lines["learning_rate"].endswith("[Digits/train.yaml, encoders: improved_v2]")
    assert lines["smoothing"].endswith("[encoders/improved_v2.yaml]") and lines["dropout"].endswith("[key=value]")
    assert lines["seed"].endswith("[default]")
    again = write(digits.parents[1] / "Again" / "train.yaml", shown)
    assert recipe.load(again) == recipe.load(digits, {"dropout": 0.25})
    assert "levels and signs" in key_table.of_recipe(recipe.merge(digits))


def test_nothing_runs_when_a_recipe_is_shown_or_copied(digits: Path, tmp_path: Path) -> None:
    write(digits, f"seed: !apply:pathlib.Path.touch [!new:pathlib.Path [{tmp_path / 'ran'}]]\n")
    recipe.text(digits)
    recipe_files.copy(digits, tmp_path / "copy")
    assert not (tmp_path / "ran").exists()


def test_the_order_of_words_comments_and_ways_to_write_a_value_do_not_make_another_run(digits: Path) -> None:
    before = identity(digits, dropout=0.2, learning_rate=1)
    assert identity(digits, learning_rate=1.0, dropout=0.2) == before
    assert list(before) == sorted(before)
    write(digits, "# Another head\n\n" + TRAIN.replace("  # the twin wants more", "").replace("16 ", "16   # or so"))
    assert identity(digits, learning_rate=1.0, dropout=0.2, feature_cache="none", loader_workers=2) == before
    nothing = {"initial_model": None, "quantize": "none", "blank_bias": 0.0, "head_epsilon": 1e-5}
    assert identity(digits, learning_rate=1.0, dropout=0.2, **nothing) == before
    assert not nothing.keys() & before.keys(), "which runs of earlier programs do not have"
    asking = identity(digits, learning_rate=1.0, dropout=0.2, initial_model="runs/v2", quantize="int4")
    assert asking == before | {"initial_model": "runs/v2", "quantize": "int4"}
    for changed in ({"dropout": 0.1}, {"seed": 2}, {"bits": 5}, {"width": 6}, {"backend": "reference"}):
        other = identity(digits, **{"learning_rate": 1.0, "dropout": 0.2} | changed)
        assert other != before and {key for key in other if other[key] != before[key]} == set(changed)


def test_find_takes_names_and_files_and_folders_only_where_they_are_trusted(packaged: Path) -> None:
    assert recipe_files.find("Digits") == recipe_files.find("digits") == recipe_files.find(packaged) == packaged
    assert recipe_files.discover() == {"Digits": packaged}
    assert recipe_files.find(packaged.parent, trust=True) == packaged
    with pytest.raises(UsageError, match="not run unasked; name .*train.yaml itself, or give --trust"):
        recipe_files.find(packaged.parent)
    with pytest.raises(UsageError, match="unknown recipe 'Digit'; did you mean 'Digits'?"):
        recipe_files.find("Digit")
    with pytest.raises(UsageError, match="no train.yaml in this folder"):
        recipe_files.find(packaged.parents[1] / "encoders", trust=True)
    with pytest.raises(UsageError, match="not a recipe by its name"):
        recipe_files.find(packaged.parent / "notes.txt")


def test_a_folder_here_is_never_taken_for_a_recipe_of_that_name(packaged: Path, tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "Digits" / "train.yaml", TRAIN)
    monkeypatch.chdir(tmp_path)
    assert recipe_files.find("Digits") == packaged
    assert recipe_files.find("Digits/train.yaml") == Path("Digits/train.yaml")
    assert (recipe_files.display_name(packaged), recipe_files.display_name(Path("Digits/train.yaml"))) == (
        "Digits", str(tmp_path / "Digits" / "train.yaml")
    )


def test_encoder_blocks_beside_the_recipe_go_before_the_packaged_ones(packaged: Path, tmp_path: Path) -> None:
    alone = write(tmp_path / "elsewhere" / "Mine" / "train.yaml", TRAIN)
    assert recipe_files.encoder_blocks(alone)["gru"] == packaged.parents[1] / "encoders" / "gru.yaml"
    write(tmp_path / "elsewhere" / "encoders" / "gru.yaml", "learning_rate: 0.7\n")
    assert list(recipe_files.encoder_blocks(alone)) == ["gru"]


@pytest.mark.parametrize("many", [{"_MOST_FILES": 3}, {"_MOST_BYTES": 1 << 20}])
def test_a_recipe_in_a_folder_full_of_other_things_is_not_copied_with_them(many, tmp_path, monkeypatch) -> None:
    recipe_file = write(tmp_path / "home" / "train.yaml", TRAIN)
    for index in range(3):
        (tmp_path / "home" / f"recording{index}.wav").write_bytes(bytes(500_000))
    (tmp_path / "home" / ".hidden").write_bytes(bytes(900_000))
    monkeypatch.setattr(recipe_files, "_MOST_BYTES", 2 << 20)
    recipe_files.copy(recipe_file, tmp_path / "before")
    for name, value in many.items():
        monkeypatch.setattr(recipe_files, name, value)
    with pytest.raises(UsageError, match="give the recipe a folder of its own"):
        recipe_files.copy(recipe_file, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() and not (tmp_path / "before" / "home" / ".hidden").exists()


@pytest.mark.parametrize(
    "overrides", [{"bits": "many"}, {"pruning_epochs": [3, 1], "pruning": 0.5}, {"epochs": 0}, {"smoothing": 2}]
)
def test_a_wrong_value_of_the_command_does_not_name_the_recipes_file(overrides) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.load("FSDD", overrides)
    assert str(caught.value).startswith(f"{next(iter(overrides))}: ") and "train.yaml" not in str(caught.value)


def test_a_copy_loads_like_the_original_and_never_overwrites(packaged: Path, tmp_path: Path) -> None:
    copied = recipe_files.copy("Digits", tmp_path / "mine")
    assert copied == tmp_path / "mine" / "Digits" / "train.yaml"
    assert (copied.parent / "notes.txt").read_text() == "notes"
    assert recipe.load(copied, {"encoder": "gru"}) == recipe.load(packaged, {"encoder": "gru"})
    assert recipe_files.copy("Digits", tmp_path / "mine") == copied  # nothing differs: nothing to refuse
    copied.write_text("changed: 1\n")
    (copied.parent / "notes.txt").unlink()
    with pytest.raises(UsageError, match="exists already and differs"):
        recipe_files.copy("Digits", tmp_path / "mine")
    assert copied.read_text() == "changed: 1\n"
    assert not (copied.parent / "notes.txt").exists()


def test_the_summary_is_the_first_comment(digits: Path, tmp_path: Path) -> None:
    assert recipe_files.summary(digits) == "Digits with a small network"
    assert recipe_files.summary(write(tmp_path / "silent.yaml", "a: 1\n")) == ""


def test_the_recipes_that_come_along_say_only_what_differs_from_the_defaults() -> None:
    assert "FSDD" in recipe_files.discover() and recipe_files.ENCODERS not in recipe_files.discover()
    defaults = {name: each.default for name, each in config.keys().items()}
    for name, path in recipe_files.discover().items():
        assert recipe_files.summary(path), f"{name} begins with a comment line that says what it trains"
        body = path.read_text()
        assert "!new" not in body and "!name" not in body, f"{name} is plain values"
        entries = recipe_files.read(path).entries
        values = {key: yaml.safe_load(yaml.serialize(each.node)) for key, each in entries.items()}
        assert [key for key, value in values.items() if defaults.get(key) == value] == []


def test_blocks_hold_options_of_their_encoders_alone() -> None:
    for name, path in recipe_files.encoder_blocks(recipe_files.find("FSDD")).items():
        block = recipe_files.read(path)
        unknown = block.entries.keys() - encoders.option_names(name) - config.keys().keys()
        assert unknown <= {"firing_threshold"}, name  # by which the spiking LSTM calls its threshold
        assert all(each.comment for key, each in block.entries.items() if key not in config.keys()), name


@pytest.mark.parametrize("encoder", ["improved_v2", "gru", "lstm"])
def test_what_the_readmes_tables_show_is_trained_without_an_option(encoder: str) -> None:
    chosen = recipe.load("AN4", {"encoder": encoder})
    wanted = {"improved_v2": (0.0025, 0.5, True), "gru": (0.0015, 0.0, False), "lstm": (0.0015, 0.0, False)}
    learning = chosen.training.learning_rate, chosen.training.activity_penalty, chosen.model.learn_smoothing
    assert learning == wanted[encoder]
    length = chosen.training.epochs, chosen.training.pruning, chosen.training.pruning_epochs
    assert length == ((200, 0.9, (0.1, 0.6)) if encoder == "improved_v2" else (36, 0.0, (0, 0)))
    quick = recipe.load("AN4", {"encoder": encoder, "preset": "quick"})
    assert (quick.training.epochs, quick.training.pruning, quick.features.mels) == (36, 0.0, 40)
    balanced = recipe.load("AN4", {"encoder": encoder, "preset": "balanced"})
    assert (balanced == chosen) == (encoder == "improved_v2") and balanced.training.pruning == 0.9
    augmented = recipe.load("FSDD", {"encoder": encoder, "preset": "augmented"})
    spiking = encoder == "improved_v2"
    assert (augmented.model.dropout, augmented.training.batch_norm_epochs) == ((0.0, 8) if spiking else (0.1, 0))
    assert isinstance(augmented, Config) and recipe.load("Demo", {"encoder": encoder}).model.smoothing == 0.3 * spiking


@pytest.mark.parametrize("name", ["encoders/piped.yaml", "presets/piped.yaml", "FSDD/presets/piped.yaml"])
def test_a_pipe_beside_a_recipe_is_named_and_not_waited_for(name, tmp_path):
    path = recipe_files.copy("FSDD", tmp_path / "mine")
    os.mkfifo(tmp_path / "mine" / name)
    reads = [lambda: recipe_files.copy(path, tmp_path / "copy"), lambda: recipe.merge(path, {"bitz": 4})]
    if "presets" in name:
        reads = [lambda: recipe.text(path), lambda: recipe.merge(path, {"preset": "piped"})]
    for each in reads:
        with pytest.raises(DataError, match="piped.yaml: no regular file"):
            each()
