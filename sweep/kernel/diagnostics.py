"""Compile errors in the user's terms, and why LLVM did not vectorise a kernel's lanes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba

from sweep.kernel.source import MARK

__all__ = [
    "translate_error",
    "user_line",
    "why_not_vectorised",
]

_COMMON: Sequence[tuple[str, str]] = (
    (
        r"Unknown attribute '(\w+)' of type (?:_?SweepParams|_SweepParams)",
        "there is no parameter '{0}'",
    ),
    (r"Unknown attribute '(\w+)' of type (?:Tick|_SweepTick)", "a tick has no field '{0}'"),
    (r"Unknown attribute '(\w+)' of type State", "State has no field '{0}'"),
    (r"Unknown attribute '(\w+)' of type (\w+)\(", "{1} has no field or method '{0}'"),
    (r"NameError: name '(\w+)' is not defined", "the name '{0}' is not defined"),
    (r"name '(\w+)' is not defined", "the name '{0}' is not defined"),
    (r"Untyped global name '(\w+)'", "'{0}' cannot be used in compiled code"),
    (
        r"Cannot unify (.+?) and (.+?) for '([\w.]+)'",
        "'{2}' is sometimes {0} and sometimes {1}; give it one type",
    ),
    (r"missing a required argument: '(\w+)'", "the argument '{0}' is missing"),
    (r"got an unexpected keyword argument '(\w+)'", "there is no field or argument '{0}'"),
    (r"No implementation of function Function\(<.*?(\w+)>\)", "'{0}' cannot take these values"),
    (
        r"unsupported opcode \(STORE_GLOBAL\)",
        "a global variable cannot be changed; keep what is remembered in State",
    ),
    (r"Use of unsupported opcode \((\w+)\)", "this Python construct cannot be compiled ({0})"),
    (r"use of yield in a closure", "a generator expression cannot be compiled; write a loop"),
    (
        r"No definition for lowering State",
        "a State cannot be changed; return a new one: return State(...), target",
    ),
)

#: Complaints about the generated part, which calls start() and step() and takes what they
#: return: there the user's mistake lies in the ``return``.
_RETURNED: Sequence[tuple[str, str]] = (
    (r"failed to unpack", "step() must return a State and a target position on every path"),
    (
        r"Unknown attribute '\w+' of type|has no field or method",
        "start() must return State(...), and step() State(...) and a target position",
    ),
    (
        r"No implementation of function Function\(<class 'float'>\)",
        "step() must return a number as its target position",
    ),
)


def translate_error(error: Exception, kernel_path: str, strategy_path: str) -> str:
    """Return a compile error in the user's terms.

    Parameters
    ----------
    error : Exception
        What Numba raised.
    kernel_path : str
        The generated module, which begins with the user's own text.
    strategy_path : str
        The user's file.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    source = Path(kernel_path).read_text(encoding="utf-8").splitlines()
    own = source.index(MARK)
    lines = [
        int(number)
        for file, number in re.findall(r'File "([^"]+)", line (\d+)', text)
        if os.path.basename(file) == "kernel.py" and int(number) <= own
    ]
    raised = re.findall(r"Raised from (\S+) \((\d+)\)", text)
    lines += [int(number) for _, number in raised if int(number) <= own]
    line = lines[-1] if lines else 0
    tables = _COMMON if lines else (*_RETURNED, *_COMMON)
    said = next(
        (
            form.format(*found.groups())
            for pattern, form in tables
            if (found := re.search(pattern, text))
        ),
        "",
    )
    line = line or _likely_line(source[:own], said)
    if not said:
        useful = [
            part.strip()
            for part in text.splitlines()
            if part.strip() and not part.startswith(("Failed in", "During", 'File "'))
        ]
        said = useful[0] if useful else "it cannot be compiled"
        # Where Numba raised it is said by the line; the kernel's own path helps nobody.
        said = re.sub(r"\s*Raised from \S+ \(\d+\)", "", said)
    shown = f"\n    {source[line - 1].strip()}" if line else ""
    return (
        f"{strategy_path}:{line or 1}: does not compile: {said}{shown}\n"
        f"start(), step() and what they call may use numbers, tuples, math and NumPy scalars; "
        f"`sweep check` tells more"
    )


def _likely_line(source: list[str], said: str) -> int:
    """Return the line that a complaint without one is about: of the name, or of ``step``."""
    named = re.search(r"'(\w+)'", said)
    patterns = [rf"\b{named[1]}\b"] if named else []
    patterns.append(r"^def step\(")
    for pattern in patterns:
        for number, text in enumerate(source, 1):
            if re.search(pattern, text.partition("#")[0]):
                return number
    return 0


def user_line(error: BaseException, path: str) -> int:
    """Return the last line of the file ``path`` that an exception passed through, or 0."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return (lines[-1] or 0) if lines else 0


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

#: Sends a compiled loop through LLVM once more, which gives its reasons on the way.
_LISTEN = """
import sys
import llvmlite.binding as llvm

llvm.initialize_native_target()
for name in ("missed", "analysis"):
    llvm.set_option("", f"-pass-remarks-{name}=loop-vectorize")
target = llvm.Target.from_default_triple()
machine = target.create_target_machine(cpu=sys.argv[1], features=sys.argv[2], opt=3)
tuning = llvm.create_pipeline_tuning_options(speed_level=3)
passes = llvm.create_pass_builder(machine, tuning)
passes.getModulePassManager().run(llvm.parse_assembly(sys.stdin.read()), passes)
"""


def why_not_vectorised(module: types.ModuleType) -> str:
    """Return why the loop over lanes of a kernel has no vectors in it, or ``""``.

    Parameters
    ----------
    module : module
        Just compiled, not loaded from a cache.
    """
    (text,) = module._sweep_lanes_ticks.inspect_llvm().values()
    if re.search(r"<\d+ x double>", text) and "vector.body" in text:
        return ""
    settings: Any = numba.config
    processor = settings.CPU_NAME or llvm.get_host_cpu_name()
    features = settings.CPU_FEATURES or llvm.get_host_cpu_features().flatten()
    command = [sys.executable, "-c", _LISTEN, processor, features]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=600, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "LLVM does not say why"
    remarks = re.findall(r"remark: \S+: (.*)", done.stderr)
    for pattern, reason in _REASONS:
        if any(pattern in remark for remark in remarks):
            return reason
    told = [r.removeprefix("loop not vectorized: ") for r in remarks if ": " in r]
    return f"LLVM says: {told[-1]}" if told else "LLVM does not say why"
