"""Faults of numbers that are numbers, and finite, but far beyond what anybody means; and of options that say nothing.

What they are given to has to refuse them before it begins: not to overflow, and not to work for hours or until there is
no memory left.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np
import soundfile

from faults.table import fault
from faults.world import Outcome, World

HUGE = "unexpected error: huge numbers"
IGNORED = "silently wrong: options without effect"
PASSED = "silently wrong: inputs left out"
ENVIRONMENT = "unexpected error: environment"
ARPA = (
    "\\data\\\nngram 1=4\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-0.5\tlow\n-0.5\thigh\n\n\\end\\\n"
)


def _with_run(*words: str) -> Callable[[World], Outcome]:
    """A command in which RUN, AUDIO, DATA and LM are a trained run, a recording, manifests and a language model."""

    def does(world: World) -> Outcome:
        (world.folder / "lm.arpa").write_text(ARPA)
        run = world.made / "run"
        places = {"RUN": run, "MODEL": run / "model", "AUDIO": world.recording(), "DATA": world.made / "data"}
        world.monkeypatch.chdir(world.folder)
        return world.run(*(places.get(each, each) for each in words))

    return does


for _words, _said in (
    (("decode", "RUN", "AUDIO", "--endpoint-silence", "1e300"), "at most 60"),
    (("decode", "RUN", "AUDIO", "--endpoint-silence", "100000"), "at most 60"),
    (("stream", "RUN", "AUDIO", "--endpoint-silence", "1e300"), "at most 60"),
    (("align", "RUN", "AUDIO", "lm.arpa", "--endpoint-silence", "1e300"), "at most 60"),
    (("export", "RUN", "--format", "c", "--output-folder", "c", "--endpoint-silence", "1e9"), "at most 60"),
    (("decode", "RUN", "AUDIO", "--beam", "1000000"), "at most 10000"),
    (("tune", "RUN", "--data-folder", "DATA", "--lm", "lm.arpa", "--beam", "1000000000"), "at most 10000"),
    (("decode", "RUN", "AUDIO", "--lm", "lm.arpa", "--insertion-bonus", "1e308"), "insertion_bonus"),
    (("decode", "RUN", "AUDIO", "--lm", "lm.arpa", "--lm-weight=-1e308"), "language_weight"),
    (("tune", "RUN", "--data-folder", "DATA", "--lm", "lm.arpa", "--bonuses", "1e308"), "insertion_bonus"),
    (("prepare", "fsdd", "--data-folder", "DATA", "--output-folder", "p", "train=99999999999999999999"), "train="),
    (("prepare", "fsdd", "--data-folder", "DATA", "--output-folder", "p", "--shard", "1/99999999"), "--shard 1/9+: "),
    (("decode", "RUN", "AUDIO", "--output-folder", "out", "--shard", "1/99999999999"), "--shard 1/99999999999: not a"),
    (("decode", "RUN", "AUDIO", "--output-folder", "out", f"--shard=1/{'9' * 5000}"), r"--shard 1/9+\.\.\.: not a"),
    (("analyze", "RUN", "--seed", "99999999999999999999"), "--seed"),
    (("compare", "FSDD", "--data-folder", "DATA", "--output-folder", "all", "--seeds", "99999999999"), "--seeds"),
):
    fault(HUGE, " ".join(_words)[:100], codes=2, says=_said)(_with_run(*_words))
for _pair in (
    "epochs=99999999999999999999", "batch_frames=99999999999999999999999", "patience=99999999999999999999",
    "length_curriculum=[[99999999999999999999,1]]", "learning_rate=1e300", "cooldown_epochs=1e30",
    "length_curriculum=[[100,1000000000000]]", "epochs=1000000000000", "pruning_block=9007199254740992",
    "mels=100000000", "warmup_epochs=1e30", "frame_augmentations=[{stack_shift: {frames: 99999999999999999999}}]",
    "frame_augmentations=[{filterbank_noise: {snr_low_db: 1e300, snr_high_db: 1e300}}]",
):

    def _training(world: World, pair: str = _pair) -> Outcome:
        world.data()
        return world.train("run", pair)

    _key = _pair.partition("=")[0]
    _named = "StackShift|FilterbankNoise" if _key == "frame_augmentations" else _key
    fault(HUGE, f"train {_pair}", codes=2, says=_named)(_training)

for _precision, _said in (("int8", "--engine event"), ("int4", "--engine event"), ("float16", "unknown precision")):
    fault(IGNORED, f"decode --precision {_precision} with the batch engine", codes=2, says=_said)(
        _with_run("decode", "RUN", "AUDIO", "--precision", _precision)
    )
for _words, _said in (
    (("compare", "RUN", "--encoders", "gru"), "--encoders: finished runs are not trained"),
    (("compare", "RUN", "--seeds", "3"), "--seeds: finished runs are not trained"),
    (("compare", "RUN", "--output-folder", "all"), "--output-folder: finished runs are not trained"),
    (("compare", "RUN", "--device", "cuda"), "--device: finished runs are not trained"),
    (("compare", "MODEL"), "model: the folder of a model, not of a run; give the folder that its training wrote"),
    (("stream", "RUN", "AUDIO", "--sample-rate", "8000"), "--sample-rate: a file tells its own rate"),
    (("stream", "RUN", "AUDIO", "--text", "--partial"), "--partial: text shows"),
    (("export", "RUN", "--format", "onnx", "--output-folder", "o", "--endpoint-silence", "2"), "--endpoint-silence: "),
    (("lm", "lm.arpa", "--output", "new.arpa", "--data-folder", "DATA"), "--data-folder: lm.arpa is no recipe"),
):
    fault(IGNORED, " ".join(_words), codes=2, says=_said)(_with_run(*_words))


@fault(PASSED, "OGG without its last part", codes=0, says=r"a\.ogg: its last part is missing")
def _unended(world: World) -> Outcome:
    path = world.folder / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 80000), 8000, format="OGG")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"OggS")])
    return world.run("decode", world.made / "run", path)


@fault(PASSED, "prepare fsdd beside recordings of other names", codes=0, says="1 recordings are not named .*x_ann_5")
def _other_names(world: World) -> Outcome:
    folder = world.folder / "clips"
    folder.mkdir()
    for name in ("1_ann_0", "1_ann_5", "1_ann_10", "x_ann_5"):
        soundfile.write(folder / f"{name}.wav", np.full(2400, 0.1), 8000)
    words = ("train=2", "dev=1", "test=1")
    return world.run("prepare", "fsdd", "--data-folder", folder, "--output-folder", world.folder / "out", *words)


@fault(PASSED, "a report of a run whose log is damaged", codes=0, says=r"no learning curves .*log\.jsonl")
def _damaged_log(world: World) -> Outcome:
    run = world.model_run()
    (run / "log.jsonl").write_bytes(b"\xff\xfe{")
    return world.run("compare", run, "--report", world.folder / "report.html")


@fault("data lost", "a second decode that began with the first", codes=0, says="1 transcribed, 0 failed")
def _at_once(world: World) -> Outcome:
    from snn_asr.decoding.files import output_folder

    recordings, out = world.recording("in/a.wav").parent, world.folder / "out"
    words = ("decode", world.made / "run", recordings, "--output-folder", out)
    begin = output_folder.OutputFolder.__init__

    def late(self: output_folder.OutputFolder, *given: object) -> None:
        begin(self, *given)  # type: ignore[arg-type]
        world.monkeypatch.setattr(output_folder.OutputFolder, "__init__", begin)
        assert world.run(*words).code == 0

    world.monkeypatch.setattr(output_folder.OutputFolder, "__init__", late)
    return world.run(*words)


@fault(ENVIRONMENT, "numba may not compile", codes=2, says="NUMBA_DISABLE_JIT", slow=True)
def _no_compiler(world: World) -> Outcome:
    words = ("decode", world.made / "run", world.recording())
    return world.process(*words, environment={"NUMBA_DISABLE_JIT": "1"})


@fault(ENVIRONMENT, "numba is told to use a number of threads that is none", codes=0, says="NUM_THREADS", slow=True)
def _no_number_of_threads(world: World) -> Outcome:
    return world.process("decode", world.made / "run", world.recording(), environment={"NUMBA_NUM_THREADS": "two"})


@fault(ENVIRONMENT, "matplotlib is told to draw with what it does not know", codes=2, says="MPLBACKEND", slow=True)
def _no_backend(world: World) -> Outcome:
    import pytest

    pytest.importorskip("matplotlib")
    return world.process("analyze", world.made / "run", environment={"MPLBACKEND": "bogus"})


@fault(ENVIRONMENT, "numba is told to use no thread", codes=2, says="NUMBA_NUM_THREADS=0: must be 1 or more")
def _no_threads(world: World) -> Outcome:
    world.monkeypatch.setenv("NUMBA_NUM_THREADS", "0")
    return world.run("decode", world.made / "run", world.recording())


@fault(ENVIRONMENT, "the clock is set back between two calls of decode", codes=0, says="0 transcribed, 1 already done")
def _clock_set_back(world: World) -> Outcome:
    words = ("decode", world.made / "run", world.recording(), "--output-folder", world.folder / "out")
    assert world.run(*words).code == 0
    now = time.time()
    world.monkeypatch.setattr(time, "time", lambda: now - 1e8)
    assert world.run(*words, "--beam", "2").code == 0
    return world.run(*words, "--beam", "2")


@fault(ENVIRONMENT, "too little memory for torch's libraries", codes=4, says="not enough memory", slow=True)
def _little_memory(world: World) -> Outcome:
    program = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({1500 << 20}, {resource.RLIM_INFINITY}))\n"
        "from snn_asr.cli.main import main; main()"
    )
    return world.process("decode", world.made / "run", world.recording(), program=program)
