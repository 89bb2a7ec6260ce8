"""The table of ``profile --energy``: the work in a second of speech and its energy, beside that of a dense network."""

from __future__ import annotations

from snn_asr.efficiency.energy import DRAM_PICOJOULES, EnergyEstimate, Line, PricedWork
from snn_asr.efficiency.stream_profile import StreamProfile
from snn_asr.network.integers import FLOAT32

_PLACES = {"sram": "weights in SRAM", "one_by_one": "sums in memory", "dram": "weights in DRAM"}


def describe_energy(result: StreamProfile) -> str:
    """Return the energy in a profile as text. The model must be one that has an estimate."""
    energy = result.energy
    assert energy is not None
    columns, features = (energy.events, energy.every_product), energy.features
    rows = [_row(name, *(each.lines[key] for each in columns)) for key, name in _names(energy.precision).items()]
    return "\n".join([
        f"encoder              {result.encoder}, {energy.precision}, as the event engine runs it",
        f"audio                {result.files} files, {result.seconds:.1f} s, {result.frames} frames",
        f"{'of a second of speech, an estimate (45 nm)':<44}{'event by event':>23}{'every product taken':>27}",
        *rows,
        *(_total(name, energy, key) for key, name in _totals().items()),
        f"memory               {_memories(energy.events)}; of every product {_memories(energy.every_product)}",
        f"features, apart      {features.microjoules:.2f} µJ without their memory: "
        f"{features.multiplications / 1e6:.2f} M multiplications, {features.additions / 1e6:.2f} M additions",
        *_verdict(energy),
    ])


def _names(precision: str) -> dict[str, str]:
    whole = precision != FLOAT32
    return {
        "multiplications": f"multiplications by weights, {precision}",
        "additions": f"additions to sums, {'int32' if whole else precision}",
        "unit_multiplications": "multiplications in units, float32",
        "unit_additions": "additions in units, float32",
        "weights": "weights fetched",
        "constants": "offsets, scales, neurons' own",
        "values": "events or values sent and read",
        "states": "states read and written",
        "sums": "sums written and read",
    }


def _totals() -> dict[str, str]:
    least, most = (f"{each / 1000:g}" for each in DRAM_PICOJOULES)
    return {
        "sram": "in all, weights in SRAM",
        "one_by_one": "in all, sums in memory, each event alone",
        "dram": f"in all, weights in DRAM ({least} to {most} nJ)",
    }


def _row(name: str, *lines: Line) -> str:
    unit = " " if "tions" in name else "B"
    columns = [f"{each.per_second / 1e6:>{width}.3f} M{unit}{each.microjoules:>9.2f} µJ"
               for each, width in zip(lines, (8, 12), strict=True)]
    return f"  {name:<42}" + "".join(columns)


def _total(name: str, energy: EnergyEstimate, place: str) -> str:
    columns = ""
    for each, width in zip((energy.events, energy.every_product), (23, 27), strict=True):
        found = getattr(each.microjoules, place)
        text = " to ".join(f"{one:.0f}" for one in found) if isinstance(found, list) else f"{found:.2f}"
        columns += f"{text + ' µJ':>{width}}"
    return f"  {name:<42}{columns}"


def _memories(work: PricedWork) -> str:
    weights, rest = work.weights_memory_bytes / 1e3, work.state_memory_bytes / 1e3
    return f"{weights:.1f} kB of weights, {rest:.1f} kB of all else"


def _verdict(energy: EnergyEstimate) -> list[str]:
    """Return where spiking saves energy and where it does not, by the figures of this model."""
    density, dense, without = energy.density, energy.microjoules_dense, energy.microjoules_without_events
    if not density:
        return ["density of events    none: no layer sent lists of events, so there is nothing that spiking saves"]
    rows = [
        f"without an event     {without['sram']:.2f} µJ, in DRAM {without['dram']:.0f}: states, sums, constants and "
        "values that are no events come with every frame",
        f"density of events    {density:.3f}. Every product in {energy.dense_precision} takes more than events do, "
        "where their density is below",
    ]
    for key, place in _PLACES.items():
        limit = energy.break_even_density[key]
        assert limit is not None  # since there is a density
        if limit <= 0:
            pays = "none: spiking does not pay"
        elif limit >= 1:
            pays = "any"
        else:
            pays = f"{limit:.3f}" + ("" if density < limit else ": spiking does not pay here")
        rows.append(f"  {place + f' ({dense[key]:.2f} µJ)':<42}{pays}")
    return rows
