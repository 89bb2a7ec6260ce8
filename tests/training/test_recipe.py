"""Recipes: found on disk, composed with an encoder block, overridden, copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from snn_asr.errors import DataError, UsageError
from snn_asr.training import recipe

TRAIN = """\
# Digits with a small network
data_folder: !PLACEHOLDER
output_folder: results/<encoder>
encoder: leaky
hidden_size: 16
doubled: !ref <hidden_size> * 2
tally: !new:collections.Counter
    width: !ref <hidden_size>
options: !ref <encoder_options>
"""
LEAKY = "# One threshold\nthreshold: 3\nencoder_options:\n    threshold: !ref <threshold>\n"
TWIN = "encoder_options: {}\n"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A recipe folder with two encoder blocks beside it."""
    for name, content in {
        "Digits/train.yaml": TRAIN,
        "Digits/notes.txt": "notes",
        "encoders/leaky.yaml": LEAKY,
        "encoders/twin.yaml": TWIN,
    }.items():
        path = tmp_path / "recipes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "recipes" / "Digits"


@pytest.fixture
def packaged(digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same recipe as if it came with the package."""
    monkeypatch.setattr(recipe, "recipes_folder", lambda: digits.parent)
    return digits


def test_the_chosen_block_is_composed_and_references_reach_it(digits: Path) -> None:
    values = recipe.build(digits, {"data_folder": "/data", "hidden_size": 5, "threshold": 7})
    assert values["doubled"] == 10
    assert values["tally"]["width"] == 5
    assert values["options"] == {"threshold": 7}
    assert values["data_folder"] == "/data"


def test_an_override_chooses_the_other_block(digits: Path) -> None:
    values = recipe.build(digits / "train.yaml", {"data_folder": Path("/data"), "encoder": "twin"})
    assert values["encoder"] == "twin"
    assert values["options"] == {}
    assert "threshold" not in values


def test_text_is_what_would_be_loaded(digits: Path) -> None:
    composed = recipe.text(digits, {"encoder": "twin", "hidden_size": 8})
    assert composed.startswith("# Overrides: encoder=twin hidden_size=8\n# Digits with a small network\n")
    assert composed.endswith("# Encoder block: twin\nencoder_options: {}\n")


def test_comments_change_nothing_of_what_is_built(tmp_path: Path) -> None:
    plain = "parts:\n    - !new:collections.Counter\n        width: 2\nrate: 1e-3\nname: 'a # b'\n"
    talkative = plain.replace("parts:", "parts:  # in a list\n    # of objects").replace("Counter", "Counter  # counts")
    loaded = []
    for name, body in (("plain.yaml", plain), ("talkative.yaml", talkative)):
        (tmp_path / name).write_text(body)
        loaded.append(recipe.build(tmp_path / name))
    assert loaded[0] == loaded[1] == {"parts": [{"width": 2}], "rate": 0.001, "name": "a # b"}
    assert type(loaded[1]["parts"][0]).__name__ == "Counter"


def test_a_recipe_without_encoder_key_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("size: 3\n")
    assert recipe.build(tmp_path / "plain.yaml", {"size": 1e-3}) == {"size": 0.001}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hiden_size": 4}, "unknown key 'hiden_size'; did you mean 'hidden_size'?"),
        ({"encoder": "leeky"}, "unknown encoder 'leeky'; did you mean 'leaky'?"),
        ({"encoder": "twin", "threshold": 2}, "unknown key 'threshold'"),
        ({"hidden_size": 4}, "needs a value for 'data_folder'; give data_folder=..."),
    ],
)
def test_a_wrong_override_says_what_to_do(digits: Path, overrides: dict, message: str) -> None:
    with pytest.raises(UsageError) as error:
        recipe.build(digits, overrides)
    assert message in str(error.value)
    assert str(error.value).startswith(str(digits / "train.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("size: [1, 2\n", "not YAML"),
        ("- 1\n- 2\n", "not a mapping"),
        ("size: 1\nsize: 2\n", "cannot be loaded"),
        ("thing: !new:snn_asr.no_such.Thing\n", "snn_asr.no_such.Thing"),
        ("thing: !ref <nothing>\n", "nothing"),
        ("thing: !new:collections.OrderedDict [1, 2, 3]\n", "cannot be loaded"),
    ],
)
def test_a_broken_recipe_is_a_data_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        recipe.build(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_an_error_of_ours_inside_a_recipe_passes_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("manifest: !apply:snn_asr.files.read_json [/no/such/file.json]\n")
    with pytest.raises(DataError, match="^/no/such/file.json: no such file"):
        recipe.build(path)


def test_a_key_in_both_recipe_and_block_is_refused(digits: Path) -> None:
    (digits.parent / "encoders" / "leaky.yaml").write_text("hidden_size: 3\n")
    with pytest.raises(DataError, match="'hidden_size' is also a key of"):
        recipe.build(digits, {"data_folder": "x"})


def write_preset(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_a_preset_replaces_keys_and_overrides_go_before_it(digits: Path) -> None:
    content = "# Big\nhidden_size: 64\ntally: !new:collections.Counter\n    depth: 2\nthreshold: 9\n"
    write_preset(digits.parent / "presets" / "big.yaml", content)
    values = recipe.build(digits, {"data_folder": "/data", "preset": "big"})
    assert (values["hidden_size"], values["doubled"], dict(values["tally"])) == (64, 128, {"depth": 2})
    assert values["encoder_options"] == {"threshold": 9}
    values = recipe.build(digits, {"data_folder": "/data", "preset": "big", "hidden_size": 5})
    assert (values["hidden_size"], dict(values["tally"])) == (5, {"depth": 2})
    assert "threshold" not in recipe.build(digits, {"data_folder": "/data", "preset": "big", "encoder": "twin"})


def test_the_text_of_a_preset_keeps_what_it_does_not_replace(digits: Path) -> None:
    (digits / "train.yaml").write_text(TRAIN.replace("options:", "\n# Network\noptions:"))
    write_preset(digits.parent / "presets" / "big.yaml", "tally: 3\n")
    shown = recipe.text(digits, {"preset": "big"})
    assert "tally: 3\n\n# Network\noptions: !ref" in shown and "width" not in shown
    assert shown.startswith("# Overrides: preset=big\n# Digits")


def test_a_recipes_own_preset_goes_before_that_for_all(digits: Path) -> None:
    write_preset(digits.parent / "presets" / "big.yaml", "hidden_size: 64\n")
    write_preset(digits / "presets" / "big.yaml", "hidden_size: 32\n")
    assert recipe.build(digits, {"data_folder": "/data", "preset": "big"})["hidden_size"] == 32
    assert set(recipe.presets(recipe.find(digits))) == {"big"}


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [("a: 1\n", "bog", "unknown preset 'bog'; did you mean 'big'"), ("hiden_size: 1\n", "big", "mean 'hidden_size'")],
)
def test_wrong_presets_are_named(digits: Path, content: str, name: str, message: str) -> None:
    write_preset(digits.parent / "presets" / "big.yaml", content)
    with pytest.raises(UsageError, match=message):
        recipe.build(digits, {"data_folder": "/data", "preset": name})


def test_find_takes_name_folder_and_file(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = packaged / "train.yaml"
    assert recipe.find("Digits") == recipe.find("digits") == expected
    assert recipe.find(packaged) == recipe.find(expected) == expected
    assert recipe.discover() == {"Digits": expected}
    with pytest.raises(UsageError, match="unknown recipe 'Digit'; did you mean 'Digits'?"):
        recipe.find("Digit")
    with pytest.raises(UsageError, match="no train.yaml in this folder"):
        recipe.find(packaged.parent / "encoders")


def test_a_folder_here_goes_before_a_packaged_name(packaged: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "Digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert recipe.find("Digits") == packaged / "train.yaml"
    (tmp_path / "Digits" / "train.yaml").write_text(TRAIN)
    assert recipe.find("Digits") == Path("Digits/train.yaml")


def test_encoder_blocks_beside_the_recipe_go_before_the_packaged_ones(packaged: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "Mine" / "train.yaml"
    alone.parent.mkdir(parents=True)
    alone.write_text(TRAIN)
    assert recipe.encoder_blocks(alone)["leaky"] == packaged.parent / "encoders" / "leaky.yaml"
    (tmp_path / "elsewhere" / "encoders").mkdir()
    (tmp_path / "elsewhere" / "encoders" / "mine.yaml").write_text(TWIN)
    assert list(recipe.encoder_blocks(alone)) == ["mine"]


def test_a_copy_loads_like_the_original_and_never_overwrites(packaged: Path, tmp_path: Path) -> None:
    copied = recipe.copy("Digits", tmp_path / "mine")
    assert copied == tmp_path / "mine" / "Digits"
    assert (copied / "notes.txt").read_text() == "notes"
    values = {"data_folder": "x", "encoder": "twin"}
    assert recipe.build(copied, values) == recipe.build(packaged, values)
    assert recipe.copy("Digits", tmp_path / "mine") == copied  # nothing differs: nothing to refuse
    (copied / "train.yaml").write_text("changed: 1\n")
    (copied / "notes.txt").unlink()
    with pytest.raises(UsageError, match="exists already and differs"):
        recipe.copy("Digits", tmp_path / "mine")
    assert (copied / "train.yaml").read_text() == "changed: 1\n"
    assert not (copied / "notes.txt").exists()


def test_the_summary_is_the_first_comment(digits: Path, tmp_path: Path) -> None:
    assert recipe.summary(digits / "train.yaml") == "Digits with a small network"
    (tmp_path / "silent.yaml").write_text("a: 1\n")
    assert recipe.summary(tmp_path / "silent.yaml") == ""


def test_the_recipes_that_come_along_compose_with_every_encoder() -> None:
    assert "FSDD" in recipe.discover() and recipe.ENCODERS not in recipe.discover()
    for name, path in recipe.discover().items():
        assert recipe.summary(path), f"{name} begins with a comment line that says what it trains"
        for encoder in recipe.encoder_blocks(path):
            assert recipe.text(name, {"encoder": encoder})
