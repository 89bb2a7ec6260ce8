"""Compiles the CUDA kernels for the GPU at hand by NVRTC, keeps them on disk, and launches them on torch's stream."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy
import torch
from cuda.bindings import driver, nvrtc
from cuda.core import LEGACY_DEFAULT_STREAM, LaunchConfig, ObjectCode, Program, ProgramOptions, Stream, launch
from torch import Tensor

from snn_asr import files
from snn_asr.errors import SnnAsrError

Argument = Tensor | int | float | None
ATTRIBUTES = driver.CUfunction_attribute


@cache
def source(name: str) -> str:
    """The text of a .cu file beside this module, in which the files that it includes from this folder are inserted."""
    folder = resources.files(__package__)
    text = folder.joinpath(name).read_text(encoding="utf-8")
    return re.sub(r'#include "([\w.]+)"\n', lambda found: source(found[1]), text)


def compiled(name: str, definitions: Mapping[str, object], architecture: str) -> bytes:
    """The machine code of a .cu file for an architecture (``sm_90``), with macros defined, from disk if it is there."""
    text = source(name)
    version = ".".join(map(str, nvrtc.nvrtcVersion()[1:]))
    key = hashlib.sha256(repr((text, sorted(definitions.items()), architecture, version)).encode()).hexdigest()
    for folder in _folders():
        try:
            return (folder / f"{key}.cubin").read_bytes()
        except OSError:
            continue
    options = ProgramOptions(
        arch=architecture, std="c++17", fma=False, define_macro=[(key, str(each)) for key, each in definitions.items()]
    )
    code = bytes(Program(text, "c++", options).compile("cubin", logs=io.StringIO()).code)
    for folder in _folders():
        try:
            files.write_bytes(folder / f"{key}.cubin", code)
        except (OSError, SnnAsrError):
            continue
        break
    return code


def _folders() -> list[Path]:
    """The folders for compiled kernels: the user's cache, and one for temporary files if that cannot be written."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [Path(home) / "snn-asr" / "cuda", Path(tempfile.gettempdir()) / f"snn-asr-cuda-{user}"]


def kernel(
    name: str, definitions: Mapping[str, object], device: int, threads: int, shared: int, cluster: int
) -> Callable[..., None]:
    """The function ``walk`` of a .cu file, ready to be launched: ``run(clusters, *arguments)``.

    Tensors are handed over as addresses (0 for None), and numbers as int or float of 32 bits. The function is kept for
    the whole process. Raises RuntimeError if the device cannot run such a kernel.
    """
    return _kernel(name, tuple(sorted(definitions.items())), device, threads, shared, cluster)


@cache
def _kernel(
    name: str, definitions: tuple[tuple[str, object], ...], device: int, threads: int, shared: int, cluster: int
) -> Callable[..., None]:
    with torch.cuda.device(device):
        major, minor = torch.cuda.get_device_capability(device)
        code = compiled(name, dict(definitions), f"sm_{major}{minor}")
        found = ObjectCode.from_cubin(code).get_kernel("walk")
        place = _checked(driver.cuDeviceGet(device))
        _checked(driver.cuKernelSetAttribute(
            ATTRIBUTES.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared, found.handle, place
        ))
        _checked(driver.cuKernelSetAttribute(
            ATTRIBUTES.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1, found.handle, place
        ))

    def run(clusters: int, *arguments: Argument) -> None:
        with torch.cuda.device(device):
            launch(
                _stream(torch.cuda.current_stream(device).cuda_stream),
                LaunchConfig(grid=clusters, cluster=cluster, block=threads, shmem_size=shared),
                found, *map(_passed, arguments),
            )

    return run


def _checked(result: tuple) -> object:
    """The results of a call of the driver, without its error code. Raises RuntimeError for an error."""
    error, *values = result
    if error != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"the CUDA driver refuses: {error.name}")
    return values[0] if values else None


@cache
def _stream(handle: int) -> Stream:
    return Stream.from_handle(handle) if handle else LEGACY_DEFAULT_STREAM


def _passed(argument: Argument) -> object:
    if argument is None:
        return 0
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    return numpy.int32(argument) if isinstance(argument, int) else numpy.float32(argument)


@cache
def say_once(message: str) -> None:
    """Log a line, but only once, however often it is asked for."""
    logging.getLogger(__name__).info(message)
