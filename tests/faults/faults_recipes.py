"""Faults of recipe files: aliases that unfold without end, keys that are none, code that ends the program; and the
folder that a command is started in."""

from __future__ import annotations

from collections.abc import Callable

from faults.table import fault
from faults.world import Outcome, World

RECIPES = "recipes"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
# What is added to a recipe: name to lines, exit codes, and what is said.
ADDED: dict[str, tuple[str, int, str]] = {
    "aliases that unfold to billions": (BOMB + "speeds: *i\n", 4, "unfold to more than"),
    "an alias of what it is part of": ("token_options: &own {a: *own}\n", 4, r"train\.yaml:\d+: an alias leads"),
    "a key that is a list": ("? [a, b]\n: 3\n", 4, "a key is not a word"),
    "code that ends the program": ("seed: !apply:sys.exit [0]\n", 4, "cannot be loaded"),
    "a tag of Python": ("note: !!python/object/apply:os.mkdir [ran]\n", 2, "unknown key 'note'"),
    "a value of a thousand letters": (f"seed: {'x' * 1000}\n", 2, r"seed: 'x{60,80}\.\.\.; must be"),
}


def _with(lines: str, *words: str) -> Callable[[World], Outcome]:
    """A command on the recipe of the world, in which the keys of ``lines`` have other values."""

    def does(world: World) -> Outcome:
        world.data()
        keys = {line.partition(":")[0] for line in lines.splitlines()}
        old = world.recipe.read_text(encoding="utf-8").splitlines(keepends=True)
        recipe = world.folder / "recipes" / "mine" / "train.yaml"
        recipe.parent.mkdir(parents=True)
        recipe.write_text("".join(each for each in old if each.partition(":")[0] not in keys) + lines)
        (world.folder / "recipes" / "encoders").symlink_to(world.recipe.parent.parent / "encoders")
        world.monkeypatch.chdir(world.folder)
        outcome = world.run(*(str(recipe) if each == "RECIPE" else each for each in words))
        assert not (world.folder / "ran").exists()
        return outcome

    return does


for _name, (_lines, _code, _said) in ADDED.items():
    fault(RECIPES, f"train a recipe with {_name}", codes=_code, says=_said)(
        _with(_lines, "train", "RECIPE", "--data-folder", "data", "--output-folder", "run", "--device", "cpu")
    )


for _given in (("--seed", "1", "seed=2"), ("--precision", "fp32", "precision=bf16")):

    @fault("options that do not work together", f"train {' '.join(_given)}", codes=2, says="is given twice")
    def _twice(world: World, given: tuple[str, ...] = _given) -> Outcome:
        return world.train("run", *given, data=world.made / "data")


@fault("unexpected error: environment", "the working folder is gone", codes=4, says="working folder is gone")
def _no_working_folder(world: World) -> Outcome:
    gone = world.folder / "gone"
    gone.mkdir()
    world.monkeypatch.chdir(gone)
    gone.rmdir()
    try:
        return world.run("decode", world.made / "run", world.folder)
    finally:
        world.monkeypatch.chdir(world.folder)
