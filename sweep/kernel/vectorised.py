"""Whether LLVM vectorised a kernel's lanes, and if not, why not.

The optimised text tells whether. Why not, LLVM says through remarks, which it writes to
the standard error of its process and cannot be told to stop; so a process of its own
compiles the loop over lanes again and is listened to.
"""

from __future__ import annotations

import re
import subprocess
import sys
import types

__all__ = ["why_not_vectorised"]

_REASONS = (
    (
        "call instruction cannot be vectorized",
        "step() calls a function that has no vector form, such as math.exp, math.log or a power",
    ),
    (
        "cost-model indicates that vectorization is not beneficial",
        "its operations are no faster side by side, such as // and % of integers",
    ),
    (
        "early exit",
        "step() contains a loop, an index or a raise that depends on the variant",
    ),
    (
        "could not determine number of loop iterations",
        "step() contains a loop, an index or a raise that depends on the variant",
    ),
    ("loop is not the innermost loop", "step() contains a loop"),
    ("cannot prove it is safe to reorder", "step() contains a loop"),
    ("instruction cannot be vectorized", "step() converts or divides integers"),
)

_LISTEN = """
import sys, llvmlite.binding as llvm
from sweep.kernel.build import lanes_loop
function, signature = lanes_loop(sys.argv[1], int(sys.argv[2]))
import numba
options = dict(error_model="numpy")
numba.njit(signature, **options)(function)  # compiles what it calls, unheard
for name in ("missed", "analysis"):
    llvm.set_option("", f"-pass-remarks-{name}=loop-vectorize")
numba.njit(signature, **options)(function)
"""


def why_not_vectorised(module: types.ModuleType, path: str, n_features: int) -> str:
    """Return why the loop over lanes of a kernel has no vectors in it, or ``""``.

    Parameters
    ----------
    module : module
        Just compiled, not loaded from a cache.
    path : str
        Where it lies.
    n_features : int
        Its feature arrays.
    """
    texts = list(module._sweep_lanes_ticks.inspect_llvm().values())
    if any(re.search(r"<\d+ x double>", text) and "vector.body" in text for text in texts):
        return ""
    command = [sys.executable, "-c", _LISTEN, path, str(n_features)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "LLVM does not say why"
    remarks = re.findall(r"remark: \S+: (.*)", done.stderr)
    for pattern, reason in _REASONS:
        if any(pattern in remark for remark in remarks):
            return reason
    told = [r.removeprefix("loop not vectorized: ") for r in remarks if ": " in r]
    return f"LLVM says: {told[-1]}" if told else "LLVM does not say why"
