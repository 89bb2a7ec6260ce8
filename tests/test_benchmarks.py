"""The benchmarks run, and their arithmetic is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def timing(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import _timing

    return _timing


def test_steps_run_in_turns_after_one_that_is_not_timed(timing):
    calls = []
    seconds = timing.in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert {name: len(each) for name, each in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_of_the_rounds_own(timing):
    assert timing.ratio([1.0, 9.0, 30.0], [2.0, 10.0, 10.0]) == 0.9


def test_peak_sees_what_is_freed_again(timing):
    before = timing.reset_peak()
    if before is None:
        pytest.skip("the system does not tell")
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert 50 < timing.peak() - before < 90


@pytest.mark.parametrize("threads", [1, 2])
def test_quick_run_prints_a_table_and_writes_rows(threads, timing, tmp_path, capsys):
    import torch
    import train_step

    arguments = ["--tiny", "--no-memory", "--threads", str(threads), "--encoders", "lif,gru"]
    before = torch.get_num_threads()
    try:
        train_step.main([*arguments, "--backends", "cpu,reference", "--json", str(tmp_path / "rows.json")])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    rows, printed = json.loads((tmp_path / "rows.json").read_text()), capsys.readouterr().out
    plain = ["torch.nn.LSTM", "torch.nn.GRU"]
    baselines = plain if threads == 1 else [*plain, *(f"{each} 1 thread" for each in plain)]
    assert [row["name"] for row in rows] == [*baselines, "lif/cpu", "lif/reference", "gru/auto"]
    assert [row["threads"] for row in rows[: len(baselines)]] == ([1, 1] if threads == 1 else [2, 2, 1, 1])
    assert all(row["name"] in printed for row in rows)
    assert 1.0 in [row["ratio"] for row in rows[: len(baselines)]]
    assert all(0 < each < 1 for each in rows[len(baselines)]["density"])


def test_growth_has_the_exponent_of_its_values_and_time_per_frame(timing):
    import _growth

    assert _growth.exponent([100, 200, 800], [3.0, 12.0, 192.0]) == pytest.approx(2)
    assert _growth.exponent([1, 2], [0.5, 0.5]) == pytest.approx(0)
    table = _growth.growth_table("frames", "2 x 3", {"a": {100: 0.002, 400: 0.008}, "b": {100: 0.01, 400: 0.02}})
    heading, columns, a, b = table.split("\n")
    assert heading == "Growth with frames, 2 x 3: ms a step" and columns.split()[:3] == ["100", "400", "exponent"]
    assert a.split() == ["a", "2.0", "8.0", "1.00", "1.00"] and b.split() == ["b", "10.0", "20.0", "0.50", "0.50"]


@pytest.mark.thorough
def test_sweeps_are_printed_drawn_and_written(timing, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    import torch
    import train_step

    threads, sweeps = str(torch.get_num_threads()), ["--sweep", "frames=5,10,20", "--sweep", "units=8,16"]
    words = ["--tiny", "--rounds", "1", "--no-memory", "--threads", threads, "--clock", "processor", *sweeps]
    train_step.main([*words, "--encoders", "lif", "--backends", "cpu,reference", "--plot", str(tmp_path)])
    printed = capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "rows.json", "tables.txt", "train-step-frames.png", "train-step-units.png"
    }
    assert (tmp_path / "tables.txt").read_text().strip() == printed.strip()
    assert "Growth with frames, 2 x 32, batch 4, 1 thread" in printed or torch.get_num_threads() > 1
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in rows[:4]] == ["torch.nn.LSTM", "torch.nn.GRU", "lif/cpu", "lif/reference"]
    swept = [(row["frames"], row["units"]) for row in rows[4:] if row["name"] == "lif/cpu"]
    assert swept == [(5, 32), (10, 32), (20, 32), (20, 8), (20, 16)]
    assert not any(row["name"] == "lif/reference" for row in rows[4:])


def test_a_sweep_of_nothing_known_is_refused(timing, capsys):
    import train_step

    for words in (["--sweep", "layers"], ["--sweep", "frames=100"]):
        with pytest.raises(SystemExit) as left:
            train_step.parse(words)
        assert left.value.code == 2 and f"--sweep {words[1].partition('=')[0]}" in capsys.readouterr().err


def test_what_is_given_goes_before_the_quick_settings(timing):
    import train_step

    quick, own = train_step.parse(["--quick"]), train_step.parse(["--quick", "--rounds", "7", "--encoders", "gru"])
    assert (quick.encoders, quick.rounds) == (train_step.QUICK["encoders"], 3) and quick.sizes == "2x256,2x550,4x1024"
    assert (own.encoders, own.rounds) == ("gru", 7)
    assert quick.sweeps["frames"] == [100, 200, 400, 800, 1600] and quick.sweeps["batch"] == [8, 16, 32, 64]


def test_time_under_way_on_a_device_counts_once(timing):
    import gpu_training

    assert gpu_training.covered([(5, 6), (0, 2), (1, 3), (1, 2)]) == 4
    assert gpu_training.covered([]) == 0


def test_generated_lengths_are_those_of_a_hundred_hours(timing):
    import _generated

    data = _generated.HundredHours(0.01)
    assert len(data) == 28_539 and max(data.counts) <= 2450 and min(data.counts) > 100
    assert sum(data.counts) / 360_000 == pytest.approx(100.6, abs=1)


@pytest.mark.slow
def test_whole_trainings_are_timed(timing, tmp_path, capsys):
    import gpu_training

    written = tmp_path / "rows.json"
    arguments = ["--parts", "an4", "--encoders", "gru", "--utterances", "12", "--json", str(written)]
    gpu_training.main(["--device", "cpu", *arguments])
    (row,) = json.loads(written.read_text())["an4"]
    assert len(row["seconds"]) == 2 and min(row["seconds"]) > 0 and row["busy"] is None
    assert "gru" in capsys.readouterr().out


def test_times_of_words_are_held_against_marks(timing, recognizer, tmp_path):
    import word_times
    from tones import RATE_HZ, speak, tone_times

    from snn_asr.data.audio import write_audio

    for seed in range(2):
        samples = speak(["low", "high"], seed)
        write_audio(tmp_path / f"{seed}.wav", samples, RATE_HZ)
        lines = [
            f"{int(16000 * begin)} {int(16000 * end)} {word.upper() if seed else word}\n"
            for word, (begin, end) in zip(["low", "high"], tone_times(samples), strict=True)
        ]
        (tmp_path / f"{seed}.WRD").write_text("".join(lines))
    recordings = sorted(tmp_path.glob("*.wav"))
    recordings.append(write_unmarked(tmp_path))
    marked = word_times.marks(recordings[0], recognizer)
    assert [label for label, *_ in marked] == ["low", "high"] and word_times.marks(recordings[-1], recognizer) == []
    shifted = [(label, begin + 0.1, end - 0.2) for label, begin, end in marked]
    rows = word_times.differences([shifted[0], ("mid", 0.0, 0.0), shifted[1]], marked)
    assert [pytest.approx(each) for each in rows] == [(0.1, -0.2)] * 2
    figures = word_times.summary(rows, of=3)
    assert (figures["words"], figures["of"]) == (2, 3)
    assert (figures["begin median"], figures["end 95 %"], figures["ends within 0.1 s"]) == (0.1, 0.2, 0.0)
    assert word_times.summary([], of=1) == {"words": 0, "of": 1}


def write_unmarked(folder: Path) -> Path:
    """A recording without marks."""
    (folder / "unmarked").mkdir()
    path = folder / "unmarked" / "silence.wav"
    path.write_bytes((folder / "0.wav").read_bytes())
    return path
