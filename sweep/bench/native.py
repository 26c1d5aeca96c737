"""The kernel bench's C arm: compiled on the spot with the system's compiler."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweep.bench.frame import BenchError
from sweep.bench.scalar import COUNTS, SUMS

__all__ = ["Native", "compile_arms", "compiler"]

#: Value-preserving all of them: results must be the same bits as everywhere else.
_FLAGS = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)


@dataclass(frozen=True)
class Native:
    """One compilation of ``lanes.c``.

    Attributes
    ----------
    name : str
        Its lanes and its vectors.
    library : ctypes.CDLL
    """

    name: str
    library: ctypes.CDLL

    def run(
        self,
        strategy: str,
        ts: Any,
        bid: Any,
        ask: Any,
        params: Any,
        capital: float,
        rate: float,
        clock: int,
        sums: Any,
        counts: Any,
    ) -> None:
        """Evaluate; the arguments are those of `sweep.bench.scalar.Arms`."""
        assert sums.shape == (len(params), len(SUMS))
        assert counts.shape == (len(params), len(COUNTS))
        params = np.ascontiguousarray(params, dtype=np.float64)
        getattr(self.library, f"run_{strategy}")(
            *(ctypes.c_void_p(array.ctypes.data) for array in (ts, bid, ask)),
            ctypes.c_int64(len(ts)),
            ctypes.c_void_p(params.ctypes.data),
            ctypes.c_int64(len(params)),
            ctypes.c_double(capital),
            ctypes.c_double(rate),
            ctypes.c_int64(clock),
            ctypes.c_void_p(sums.ctypes.data),
            ctypes.c_void_p(counts.ctypes.data),
        )


def compiler() -> str | None:
    """Return the system's C compiler: ``$CC``, gcc, clang or cc; None without one."""
    for name in (os.environ.get("CC"), "gcc", "clang", "cc"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def compile_arms(
    folder: Path, command: str, *, wide: bool, lanes: Sequence[int] = (32, 64, 128)
) -> list[Native]:
    """Compile ``lanes.c`` for several lane counts and vector widths.

    Parameters
    ----------
    folder : Path
        For the libraries.
    command : str
        The compiler.
    wide : bool
        Whether the processor has vectors of 512 bits, to be tried too.
    lanes : sequence of int, optional

    Raises
    ------
    BenchError
        If the compiler refuses.
    """
    source = Path(__file__).with_name("lanes.c")
    found = []
    for width in (256, 512) if wide else (0,):
        for count in lanes:
            library = folder / f"lanes-{count}-{width}.so"
            flags = [*_FLAGS, f"-DLANES={count}"]
            if width:
                flags.append(f"-mprefer-vector-width={width}")
            done = subprocess.run(
                [command, *flags, "-o", str(library), str(source)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(f"{command} failed on {source}:\n{done.stderr.strip()}")
            name = f"{count} lanes" + (f", {width} bits" if width else "")
            found.append(Native(name, ctypes.CDLL(str(library))))
    return found
