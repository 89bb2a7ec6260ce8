"""A plugin of pytest (``-p lesser_processor``) that makes this processor one with AVX2 and nothing wider.

What the kernels choose by the processor's features they choose as there. The variable NUMBA_CPU_NAME has to be haswell,
so that numba compiles for one, too.
"""

from __future__ import annotations

from llvmlite import binding

WIDER = ("avx512", "avxvnni", "avx10", "evex512", "amx")

_found = binding.get_host_cpu_features()
for _name in list(_found):
    if _name.startswith(WIDER):
        _found[_name] = False
binding.get_host_cpu_features = lambda: _found
