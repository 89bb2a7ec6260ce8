"""Every loader of files from outside, with files that it reads, from which damaged ones are made."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from snn_asr.data.audio import read_audio
from snn_asr.data.feature_settings import FeatureSettings
from snn_asr.data.manifest import read_manifest
from snn_asr.data.normalization import Normalization
from snn_asr.data.tokens import WordTokens
from snn_asr.data.transcripts import read_transcripts
from snn_asr.decoding.language_models.arpa import read_arpa
from snn_asr.events.quantization import quantize_folder
from snn_asr.files import read_json, sha256, write_json
from snn_asr.files.journals import read_journal
from snn_asr.network import model_folder
from snn_asr.network.model import AcousticModel, ModelSettings
from snn_asr.network.model_folder import CHECKED, CHECKSUMS, save_model
from snn_asr.scoring.alternatives import choose_readings
from snn_asr.scoring.speakers import read_speakers
from snn_asr.training.recipes import recipe_files

ARPA = (
    "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.1\n-1\t</s>\n-0.5\tlow\n-0.5\thigh\n"
    "\n\\2-grams:\n-0.3\t<s> low\n\n\\end\\\n"
)
TRANSCRIPTS = {
    "trn": "i saw { an / the } owl (s1-1)\n(uh) well (s1-2)\n",
    "ctm": ";; words\na 1 0.00 0.50 one 0.9\na 1 0.60 0.50 two\n",
    "stm": "a 1 s 0.00 2.00 <o,f0> one two\nb 1 s 0.00 1.00\n",
    "srt": "1\n00:00:00,500 --> 00:00:02,000\n<i>one</i> two\n\n2\n00:00:03,000 --> 00:00:04,000\nthree\n",
    "vtt": "WEBVTT\n\nNOTE x\n\n00:01.000 --> 00:02.000\n<v A>one &amp; two\n",
    "csv": 'ID,duration,wav,wrd\na,1.0,a.wav,"one, two"\nb,1.0,b.wav,three\n',
    "tsv": "client_id\tpath\tsentence\ns\tclips/a.mp3\tone two\n",
    "json": '{"a": {"text": "one", "phones": [["w", 0.1]], "speaker": "s"}, "b": {"text": "\\u00e9"}}',
    "jsonl": '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n',
    "txt": "u1 one two\nu2 three\n",
}
RECIPE = (
    "# A recipe\nencoder: gru\nhidden_size: 16\nencoders:\n  gru:\n    dropout: 0.1\nfeatures: !new:dict\n  mels: 40\n"
)


@dataclass(frozen=True)
class Loader:
    """``load`` reads a file named ``name``, of which ``seeds`` are good contents."""

    name: str
    load: Callable[[Path], object]
    seeds: tuple[bytes, ...]


def loaders(folder: Path) -> Iterator[Loader]:
    """All of them; ``folder`` takes what they need beside the file."""
    for suffix, text in TRANSCRIPTS.items():
        yield Loader(f"transcripts.{suffix}", _transcripts, (text.encode(), text.encode("utf-16")))
    yield Loader("manifest.json", read_manifest, (_manifest(folder),))
    yield Loader("utt2spk", read_speakers, (b"u1 s1\nu2 s2\n",))
    yield Loader("lm.arpa", read_arpa, (ARPA.encode(), gzip.compress(ARPA.encode(), mtime=0)))
    yield Loader("any.json", read_json, (json.dumps({"a": [1, 2.5, None, True, {"b": "\u00e9"}]}).encode(),))
    yield Loader("decoded.jsonl", read_journal, (b'{"name": "a", "finished": 1.5}\n{"name": "b"}\n',))
    yield Loader("train.yaml", recipe_files.read, (RECIPE.encode(),))
    for suffix, content in _sounds().items():
        yield Loader(f"sound.{suffix}", read_audio, (content,))
    model = _model(folder / "model")
    for name in (*CHECKED, CHECKSUMS):
        yield Loader(f"model-{name}", _model_with(model, name), ((model / name).read_bytes(),))
    quantize_folder(model, folder / "int4", "int4")
    for name in ("config.json", "weights.safetensors"):  # what differs from those of float32
        yield Loader(f"int4-{name}", _model_with(folder / "int4", name), ((folder / "int4" / name).read_bytes(),))


def _transcripts(path: Path) -> None:
    for unit in ("word", "phone"):
        texts = read_transcripts(path, unit)
        choose_readings(texts, texts)


def _manifest(folder: Path) -> bytes:
    (folder / "a.wav").write_bytes(_sounds()["wav"])
    entry = {"wav": str(folder / "a.wav"), "duration": 0.05, "speaker": "s", "text": "one"}
    return json.dumps({"u1": {**entry, "phones": [["w", 0.02], ["n", 0.05]]}, "u2": entry}).encode()


def _sounds() -> dict[str, bytes]:
    samples = np.sin(np.arange(400) / 7) / 2
    kinds = {
        "wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "au": ("AU", "PCM_16"),
        "aiff": ("AIFF", "PCM_16"), "sph": ("NIST", "PCM_16"), "w64": ("W64", "PCM_16"),
        "mp3": ("MP3", "MPEG_LAYER_III"),
    }
    contents = {}
    for suffix, (file_format, subtype) in kinds.items():
        file = io.BytesIO()
        soundfile.write(file, samples, 8000, subtype=subtype, format=file_format)
        contents[suffix] = file.getvalue()
    return contents


def _model(folder: Path) -> Path:
    features, tokens = FeatureSettings(sample_rate=8000, mels=12, stack=3), WordTokens(["one", "two"])
    settings = ModelSettings(features, "improved_v2", 8, 2, {})
    model = AcousticModel(settings, Normalization(torch.zeros(12), torch.ones(12)), tokens.size)
    save_model(folder, model, tokens, {"unit": "word"}, "# a recipe\n")
    return folder


def _model_with(model: Path, name: str) -> Callable[[Path], object]:
    """Load the model with another file in the place of ``name``, and checksums that fit it."""
    good = (model / name).read_bytes()

    def load(path: Path) -> object:
        try:
            (model / name).write_bytes(path.read_bytes())
            if name != CHECKSUMS:
                write_json(model / CHECKSUMS, {each: sha256(model / each) for each in CHECKED})
            return model_folder.load(model)
        finally:
            (model / name).write_bytes(good)

    return load
