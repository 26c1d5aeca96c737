r"""From a strategy and its parameters to a compiled batch call, cached on disk.

::

    text  (a strategy's source, adapted)   lanes (the part that runs variants side by side)
      \\                                    /
       build: compile once, load in workers   cache: folders, seals, locks
      /                                    \\
    loop  (what a kernel runs)             core (slices, orders, rows) -> marks, accounting
"""

from sweep.kernel.build import (
    Kernel,
    KernelRef,
    build_kernel,
    load_kernel,
    new_memory,
    plain_kernel,
)
from sweep.kernel.compiled import KernelCall, Memory, Recording

__all__ = [
    "Kernel",
    "KernelCall",
    "KernelRef",
    "Memory",
    "Recording",
    "build_kernel",
    "load_kernel",
    "new_memory",
    "plain_kernel",
]
