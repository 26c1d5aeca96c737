"""What the core of a path kernel works on: its frame, its arrays, and what a job is.

See `sweep.kernel.paths.core`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sweep.kernel.accounting import CARRY, FILL, TERMS
from sweep.kernel.paths.derive import PIECE
from sweep.kernel.paths.marks import SPAN
from sweep.kernel.paths.vectors import EIGHT
from sweep.schema import ROW

__all__ = ["JOB", "PATH_ARRAYS", "PATH_FRAME", "PATH_TICKS", "new_path_frame"]

# Requests to the kernel; the last two end the call.
DONE, TICKS, BEGIN, OVERFLOW = 0, 1, 2, 3

# Places of the frame that the kernel reads and writes.
LANES = 0  # width of the group
TICK = 1  # tick of the chunk from which decisions are wanted
UNTIL = 2  # after the last tick that may be decided now
FILLED = 3  # answer: rows of targets that are new, the last at tick TICK - 1
# What a call is about.
PASS = 4
STRIDE = 5
LANE_FIELD = 6
FEEDBACK = 7
SIZES = 8
STAMPS = 9
# What `run_paths` remembers.
PHASE = 10
NEXT_JOB = 11
MOST = 12  # ticks of the longest lane in this chunk
SEEING = 13
BEGINNING = 14
NEXT_EVENT = 15
NEXT_FILL = 16
SPREADS_AT = 17  # source tick of the first of the spreads that are worked out, and how many
SPREADS = 18
PATH_FRAME = 19

NEVER = 1 << 62

# Phases.
FILL_UP, RUN, WORK_OFF = 0, 1, 2

#: Ticks of a chunk. Longer ones cost less for each lane and tick, until their quotes no
#: longer stay near: 256, 512, 1,024 ticks took 0.70, 0.66, 0.68 ns (EMA crossover).
PATH_TICKS = 512

#: Ticks among which the first of a clock period is looked for.
STEP = 16

#: A variant on consecutive pieces of a path, or a part of that.
JOB = np.dtype(
    [
        ("first", "<i8"),  # piece
        ("end", "<i8"),
        ("row", "<i8"),  # place of its row
        ("variant", "<i8"),
        ("tick", "<i8"),  # number of its beginning's tick within the path
        ("group", "<i8"),  # jobs of a group run together; 0: each for itself
        ("slot", "<i8"),  # place of what is kept from one part to the next
        ("begins", "<i8"),  # whether this part is the first: begun flat
        ("ends", "<i8"),  # whether it is the last: ended flat
    ]
)

# What a lane remembers: rows of ``lane``.
OWN_JOB = 0
OWN_PIECE = 1  # piece that goes on
OWN_NEXT = 2  # source tick at which it goes on
OWN_SEEN = 3  # ticks of the job before this chunk
OWN_COUNT = 4  # its ticks in this chunk
OWN_ENDS = 5  # whether the job ends with this chunk
OWN_ORIGIN = 6  # place of the chunk's first stamp: in the source, or in ``own_ts``
OWN_SHIFT = 7
OWN_WHOLE = 8  # whether the chunk comes from one piece
OWN_DEAD = 9  # tick of the chunk with an order that is no finite number
OWN_EDGES = 10  # clock periods that begin in the chunk
OWN_FILL = 11  # tick at which the oldest order is filled
OWN_SLOT = 12  # place of its carry and its orders
OWN_FIELDS = 13

#: The arrays that `run_paths` takes after the frame: name, dtype, dimensions.
PATH_ARRAYS: tuple[tuple[str, Any, int], ...] = (
    ("terms", TERMS, 1),
    ("grid", np.float64, 1),
    ("ts", np.int64, 1),
    ("bid", np.float64, 1),
    ("ask", np.float64, 1),
    ("bid_size", np.float64, 1),
    ("ask_size", np.float64, 1),
    ("pieces", PIECE, 1),
    ("jobs", JOB, 1),
    ("warmups", np.int64, 1),
    ("rows", ROW, 1),
    ("carries", CARRY, 1),
    ("due", np.int64, 2),
    ("decided", np.int64, 2),
    ("targets", np.float64, 2),
    ("kept", np.float64, 2),
    ("kept_lane", np.int64, 2),
    ("buffer", np.float64, 1),
    ("bits", np.int64, 1),
    ("changed", np.int64, 1),
    ("ordered", np.float64, 1),
    ("ordered_bits", np.int64, 1),
    ("quotes", np.float64, 3),
    ("stamps", np.int64, 2),
    ("begins", np.int64, 1),
    ("variant", np.int64, 1),
    ("lane", np.int64, 2),
    ("level", np.float64, 2),
    ("spread", np.float64, 1),
    ("own_bid", np.float64, 2),
    ("own_ask", np.float64, 2),
    ("own_ts", np.int64, 2),
    ("worth", np.float64, 3),
    ("top", np.float64, 3),
    ("low", np.float64, 3),
    ("edges", np.int64, 2),
    ("fills", FILL, 1),
)


def new_path_frame(
    n_jobs: int,
    n_slots: int,
    width: int,
    layout: tuple[int, int, int],
    *,
    lane_fields: int,
    feedback: bool,
    sizes: bool,
    stamps: bool,
    capacity: int,
    chunk: int = PATH_TICKS,
) -> tuple[np.ndarray[Any, Any], dict[str, np.ndarray[Any, Any]]]:
    """Return the frame of a call, and the arrays that `run_paths` needs for itself.

    Parameters
    ----------
    n_jobs, n_slots, width : int
        Jobs of the call; places for what is kept of them, 0 without groups; lanes at most.
    layout : tuple of int
        Of the kernel's buffer, see `sweep.kernel.core.new_frame`.
    lane_fields : int
        Fields of a lane that the core writes and reads.
    feedback, sizes, stamps : bool
        Whether a step sees the account, the sizes, and the stamps of ticks.
    capacity : int
        Orders that a lane can have in flight.
    chunk : int, optional
        Ticks of a chunk, a multiple of `sweep.kernel.paths.marks.SPAN`.
    """
    n_fields, stride, passes = layout
    # Whole vectors, and no more lanes than a row of the buffer has room for.
    width = min(max(width // EIGHT, 1), -(-n_jobs // EIGHT), stride // EIGHT) * EIGHT
    n_slots = n_slots or width
    frame = np.zeros(PATH_FRAME + 4 * len(PATH_ARRAYS), np.int64)
    frame[LANES] = width
    frame[PASS] = passes
    frame[STRIDE] = stride
    frame[LANE_FIELD] = n_fields - passes - lane_fields + 1
    frame[FEEDBACK] = feedback
    frame[SIZES] = sizes
    frame[STAMPS] = stamps
    buffer = _aligned(n_fields * stride)
    ordered = np.zeros(width)
    lane = np.zeros((OWN_FIELDS, width), np.int64)
    lane[OWN_JOB] = -1
    lane[OWN_FILL] = NEVER
    columns = 4 if sizes else 2
    scratch = {
        "carries": np.zeros(n_slots, CARRY),
        "due": np.zeros((n_slots, capacity), np.int64),
        "decided": np.zeros((n_slots, capacity), np.int64),
        "targets": np.zeros((n_slots, capacity)),
        "kept": np.zeros((n_slots, n_fields + 1)),
        "kept_lane": np.zeros((n_slots, 1), np.int64),
        "buffer": buffer,
        "bits": buffer.view(np.int64),
        "changed": np.zeros(passes, np.int64),
        "ordered": ordered,
        "ordered_bits": ordered.view(np.int64),
        "quotes": _aligned(chunk * columns * stride).reshape(chunk, columns, stride),
        "stamps": np.zeros((chunk if stamps else 1, stride), np.int64),
        "begins": np.zeros(width, np.int64),
        "variant": np.zeros(width, np.int64),
        "lane": lane,
        "level": np.zeros((3, width)),
        "spread": np.zeros(chunk),
        "own_bid": _aligned(EIGHT * chunk).reshape(EIGHT, chunk),
        "own_ask": _aligned(EIGHT * chunk).reshape(EIGHT, chunk),
        "own_ts": np.zeros((width, chunk), np.int64),
        "worth": _aligned(2 * chunk * stride).reshape(2, chunk, stride),
        "top": np.zeros((2, stride, chunk // SPAN)),
        "low": np.zeros((2, stride, chunk // SPAN)),
        "edges": np.zeros((width, chunk), np.int64),
        "fills": np.zeros(1, FILL),  # never written
    }
    return frame, scratch


def _aligned(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return ``n`` zeros that begin with a line of the cache."""
    raw = np.zeros(n + 8)
    first = (-raw.ctypes.data % 64) // 8
    return raw[first : first + n]
