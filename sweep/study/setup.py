"""From a study's settings to what is evaluated: strategy, space, ticks, slices, costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sweep.backtest.stream.plan import Sizes, check_streamable, sizes_for
from sweep.backtest.stream.reader import SourceState
from sweep.backtest.tasks import Context, Outcome, evaluate, orders_in_flight
from sweep.errors import DataError, SpaceError, StudyFileError
from sweep.kernel import KernelRef, build_kernel
from sweep.scenarios.evaluate import path_context
from sweep.scenarios.robust_trials import RobustContext, evaluate_robust, path_slices, with_restart
from sweep.schema import FloatArray2D, IntArray1D, Slice, TickHandle
from sweep.search import designs
from sweep.search.path_functionals import has_terms
from sweep.stats.metrics import METRICS
from sweep.strategy.declare import Strategy, load_strategy, strategy_from_source
from sweep.strategy.parameters import Number, Override
from sweep.strategy.space import SearchSpace
from sweep.study.file.sections import StudySection
from sweep.study.file.spec import StudySpec
from sweep.study.parts import PREFIXES, SESSIONS
from sweep.study.proposals import DESIGNS, depends_on_results
from sweep.ticks import sources
from sweep.ticks.mapped import attach
from sweep.ticks.sessions import SessionCuts, find_cuts
from sweep.ticks.slices import (
    Marks,
    Ranges,
    UnmarkedError,
    cut_by_time,
    cut_evenly,
    select,
    split_holdout,
)
from sweep.ticks.sources import SourceSpec
from sweep.ticks.store import Imported, import_ticks
from sweep.units import Duration

__all__ = ["Setup", "is_robust", "prepare", "pruning_steps", "sizes_of"]

#: Columns of a table of trials besides its parameters.
_TAKEN = (
    *METRICS,
    *(f"holdout_{m}" for m in METRICS),
    *("trial", "state", "slices", "duplicate_of", "reason", SESSIONS),
)
#: Variants drawn from a space to see how long warm-ups are.
_EXAMPLES = 64
#: Stands where a pass makes room for orders in flight by itself.
_NO_CAPACITY = 2


class StreamedSource(NamedTuple):
    """What a first pass found of a source whose ticks are not stored.

    Attributes
    ----------
    source : SourceSpec
        Read again in every pass.
    seen : SourceState
    marks : Marks
        Where its ticks are cut.
    """

    source: SourceSpec
    seen: SourceState
    marks: Marks


@dataclass(frozen=True)
class Setup:
    """Everything that a study evaluates with.

    Attributes
    ----------
    strategy : Strategy
    space : SearchSpace
        With the study's ranges.
    context : Context
    ranges : Ranges
        Search and holdout.
    slices : tuple of Slice
        Of the search range, in the order of time.
    carry_over : bool
    streamed : StreamedSource or None
        Where the ticks are read in every pass; None where they are stored.
    robust : RobustContext or None
        Where an objective holds functionals over paths: then the first slice is the search
        range, and those after it are paths.
    warnings : tuple of str
        What a user must know of the slices, or of the paths.
    """

    strategy: Strategy
    space: SearchSpace
    context: Context
    ranges: Ranges
    slices: tuple[Slice, ...]
    carry_over: bool
    streamed: StreamedSource | None = None
    robust: RobustContext | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ticks(self) -> TickHandle:
        """The ticks' handle."""
        return self.context.ticks

    @property
    def tick_slices(self) -> tuple[Slice, ...]:
        """The slices that are ticks, not paths."""
        return self.slices if self.robust is None else self.slices[:1]

    @cached_property
    def sessions(self) -> SessionCuts:
        """The sessions of the search range whose returns are kept, or why none are."""
        search = self.ranges.search
        ts = attach(self.ticks).ts if self.streamed is None else self.streamed.marks
        return find_cuts(ts, search.begin, search.end)

    @property
    def evaluation(self) -> tuple[Callable[..., Outcome], Context | RobustContext]:
        """The function that workers run on a task, and its first argument."""
        if self.robust is None:
            return evaluate, self.context
        return evaluate_robust, self.robust


def prepare(
    spec: StudySpec,
    *,
    source: str | None = None,
    progress: Callable[[int, float | None], None] | None = None,
    imported: Callable[[Any], None] | None = None,
) -> Setup:
    """Load the strategy, compile the kernel, import the ticks and cut them.

    What is wrong with the settings or the strategy is reported before ticks are read, which
    may take long.

    Parameters
    ----------
    spec : StudySpec
    source : str, optional
        Text of the strategy, instead of the file's present one.
    progress : callable, optional
        ``progress(rows, share)`` while ticks are imported.
    imported : callable, optional
        Given the store's `Imported` once the ticks are there.

    Raises
    ------
    InputError
        If the strategy, the space, the ticks or the cuts are wrong.
    """
    in_passes = spec.data.store == "stream"
    if in_passes:
        check_stream(spec)
    strategy = (
        load_strategy(spec.study.strategy)
        if source is None
        else strategy_from_source(source, spec.study.strategy)
    )
    space = bind(SearchSpace.of(strategy.params), spec.space)
    kernel = build_kernel(strategy, space)
    _check_pruning(spec, kernel)
    streamed = None
    if in_passes:
        ticks, streamed = _survey(spec, kernel, progress)
    else:
        ticks = import_ticks(
            spec.data.source_spec(),
            where="memory" if spec.data.store == "memory" else "disk",
            progress=progress,
        )
    if imported is not None:
        imported(ticks)
    return assemble(spec, strategy, space, kernel, ticks.handle, streamed)


def _check_pruning(spec: StudySpec, kernel: KernelRef) -> None:
    """Refuse a pruner that cannot decide about the study's slices."""
    independent = spec.data.slicing == "independent" or is_robust(spec.study)
    if spec.study.pruner.name == "none" or independent:
        return
    if spec.study.pruner.name == "wilcoxon":
        raise StudyFileError(
            "study.pruner: wilcoxon compares slices with each other; "
            'set data.slicing = "independent"'
        )
    if not kernel.resumable:
        raise StudyFileError(
            f"{kernel.strategy_path}: State holds arrays, which cannot be carried from slice to "
            f'slice; to prune, set data.slicing = "independent"'
        )


def _survey(
    spec: StudySpec, kernel: KernelRef, progress: Callable[[int, float | None], None] | None
) -> tuple[Imported, StreamedSource]:
    """Read a source once, to learn where its ticks are cut."""
    # Here, since few studies need it.
    from sweep.ticks.survey import survey

    check_streamable(kernel)
    run = sizes_for(spec.data.memory, kernel).run
    source = spec.data.source_spec()
    fingerprint = sources.fingerprint(source)
    stamps = {t for t in (spec.data.begin, spec.data.end) if t is not None}
    while True:
        surveyed = survey(source, stamps, run=run, progress=progress)
        try:
            _cut(spec, surveyed.marks)
            break
        except UnmarkedError as unmarked:
            stamps |= set(unmarked.stamps)
    seen = SourceState(fingerprint, surveyed.report.untouched, len(surveyed.handle.columns))
    ticks = Imported(surveyed.handle, surveyed.report, surveyed.read)
    return ticks, StreamedSource(source, seen, surveyed.marks)


def assemble(
    spec: StudySpec,
    strategy: Strategy,
    space: SearchSpace,
    kernel: KernelRef,
    handle: TickHandle,
    streamed: StreamedSource | None = None,
) -> Setup:
    """Return the setup for ticks that are imported or surveyed; see `prepare`.

    Parameters
    ----------
    spec : StudySpec
    strategy : Strategy
    space : SearchSpace
    kernel : KernelRef
    handle : TickHandle
    streamed : StreamedSource, optional
        Where the ticks are not stored.
    """
    if kernel.needs_sizes and "bid_size" not in handle.columns:
        raise DataError(
            f"{strategy.path} reads bid_size or ask_size, but the ticks have no sizes; "
            f"name their columns under data.columns, or use ticks that have them"
        )
    costs = spec.costs.to_costs()
    if costs.half_spread and handle.kind != "trades":
        raise StudyFileError(
            "costs.half_spread is for trades; these ticks are quotes and have a spread of their own"
        )
    if streamed is None:
        ticks = attach(handle)
        begin, end, ranges, slices = _cut(spec, ticks.ts)
        first_mid = 0.5 * (float(ticks.bid[begin]) + float(ticks.ask[begin]))
        capacity = orders_in_flight(ticks.ts[begin:end], costs.latency)
    else:
        begin, end, ranges, slices = _cut(spec, streamed.marks)
        first_mid = streamed.marks.mid(begin)
        capacity = _NO_CAPACITY
    context = Context(
        ticks=handle,
        kernel=kernel,
        costs=costs,
        account=spec.account.to_account(first_mid),
        capacity=capacity,
    )
    setup = Setup(
        strategy,
        space,
        context,
        ranges,
        slices,
        carry_over=spec.data.slicing == "carry",
        streamed=streamed,
        warnings=_slice_warnings(spec, slices),
    )
    return _with_paths(spec, setup) if is_robust(spec.study) else setup


def _cut(spec: StudySpec, ts: IntArray1D | Marks) -> tuple[int, int, Ranges, tuple[Slice, ...]]:
    """Return the study's first tick, its end, its ranges and slices."""
    begin, end = select(ts, spec.data.begin, spec.data.end)
    share, start = spec.data.holdout_split(int(ts[end - 1]))
    ranges = split_holdout(ts, begin, end, share=share, start=start)
    cuts = spec.data.slices
    if isinstance(cuts, Duration):
        return begin, end, ranges, cut_by_time(ts, ranges.search, cuts.ns)
    return begin, end, ranges, cut_evenly(ranges.search, cuts)


def _slice_warnings(spec: StudySpec, slices: Sequence[Slice]) -> tuple[str, ...]:
    """Warn of a duration that cuts nothing, which would otherwise only show in what is missing."""
    width = spec.data.slices
    if not isinstance(width, Duration) or len(slices) > 1:
        return ()
    return (
        f'data.slices = "{width}" leaves the search range in 1 slice: slices end at multiples of '
        f"it since 1970, and none lies within; use a shorter one, or a number of slices",
    )


def _with_paths(spec: StudySpec, setup: Setup) -> Setup:
    """Return the setup with the paths that the study's objectives are about."""
    if len(setup.slices) > 1:
        raise StudyFileError(
            "data.slices: an objective over paths takes the search range as one slice; leave "
            "slices out (a pruner decides after every monte_carlo.step paths)"
        )
    search = setup.slices[0]
    resampling, warnings = with_restart(
        setup.context,
        spec.monte_carlo.resampling(spec.study.seed),
        _example_points(setup.space, spec.study.seed),
        search.begin,
        search.end,
    )
    paths = path_context(
        setup.context, setup.strategy, setup.space, resampling, search.begin, search.end
    )
    return replace(
        setup,
        slices=path_slices(setup.ticks.n_ticks, search, spec.monte_carlo.n_paths),
        carry_over=False,
        robust=RobustContext(setup.context, paths, search),
        warnings=(*warnings, *paths.resampler.warnings),
    )


def _example_points(space: SearchSpace, seed: int) -> FloatArray2D:
    """Return points from all over a space, whose warm-ups stand for those of a search.

    All trials are treated alike: one that had to start again within its warm-up would not trade
    on paths, and look safe.
    """
    drawn = designs.random(space, seed).points(0, _EXAMPLES)
    ends = [space.defaults]
    for i, p in enumerate(space.parameters):
        if isinstance(p, Number):
            for end in (p.low, p.high):
                row = space.defaults.copy()
                row[i] = end
                ends.append(space.canonical(row))
    wide = np.stack(ends)
    points: FloatArray2D = np.concatenate([wide[space.valid_points(wide)], drawn])
    return points


def is_robust(study: StudySection) -> bool:
    """Whether an objective or a constraint holds functionals over paths."""
    return any(has_terms(text) for text in (*study.objective, *study.constraints))


def sizes_of(setup: Setup, memory: int, edges: tuple[int, ...] = ()) -> Sizes:
    """Return what a pass of a study may hold at a time.

    Parameters
    ----------
    setup : Setup
    memory : int
    edges : tuple of int, optional
        Of the sessions at whose ends equity is kept.

    Raises
    ------
    InputError
        See `sweep.backtest.stream.plan.sizes_for`.
    """
    n_slices = len(setup.slices)
    return sizes_for(
        memory,
        setup.context.kernel,
        columns=len(setup.ticks.columns),
        n_slices=n_slices,
        # An edge of a session or of a slice parts two cells.
        n_cells=n_slices + len(edges) if edges else 0,
    )


def check_stream(spec: StudySpec) -> None:
    """Refuse what cannot be done in passes over the source.

    Raises
    ------
    StudyFileError
        The text names what would work instead.
    """
    instead = 'or set data.store = "disk", which maps ticks larger than memory too'
    name = spec.study.sampler.name
    if is_robust(spec.study):
        raise StudyFileError(
            f"study.objective: paths are drawn from ticks that are mapped, and with "
            f'data.store = "stream" they lie nowhere; leave the functionals out, {instead}'
        )
    if depends_on_results(spec.study):
        what = f"the sampler {name} learns from" if name not in DESIGNS else "a pruner goes by"
        raise StudyFileError(
            f'data.store = "stream" evaluates as many variants as it can in each pass over the '
            f"source, and {what} each result; use study.sampler = "
            f'"grid", "random" or "qmc" and no pruner, {instead}'
        )
    if spec.study.live_holdout:
        raise StudyFileError(
            f"study.live_holdout looks at the holdout while the study runs, which with "
            f'data.store = "stream" is a pass over the source each time; leave it out, {instead}'
        )


def bind(space: SearchSpace, overrides: tuple[tuple[str, Override], ...]) -> SearchSpace:
    """Return the strategy's space with the study's ranges.

    Raises
    ------
    SpaceError
        If a range names no parameter or does not fit it.
    """
    for name in space.names:
        if name in _TAKEN or name.startswith(PREFIXES):
            raise SpaceError(
                f"parameter {name}: a table of trials has a column of that name already; "
                f"give the parameter another one"
            )
    for name, override in overrides:
        space = space.restrict(name, override)
    return space


def starting_points(spec: StudySpec, space: SearchSpace) -> list[dict[str, Any]]:
    """Return the points that are evaluated first: the defaults, or the rows of a CSV.

    Of a grid, only the rows of a CSV come first: its points are given already.

    Raises
    ------
    StudyFileError
        If the CSV cannot be read, names a column that is no parameter, or holds a value
        outside the space; the text names file and line.
    """
    start = spec.study.start
    if start is False or (start is True and spec.study.sampler.name == "grid"):
        return []
    if start is True:
        return [space.decode(space.defaults)] if space.is_valid(space.defaults) else []
    return _read_points(Path(str(start)), space)


def _read_points(path: Path, space: SearchSpace) -> list[dict[str, Any]]:
    import csv

    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            names = [n for n in reader.fieldnames or [] if n in space.names]
            if not names:
                raise StudyFileError(
                    f"{path}:1: no column names a parameter; expected {', '.join(space.names)}"
                )
            points = []
            for row in reader:
                try:
                    values = {
                        n: space.parameters[space.index(n)].parse(row[n])
                        for n in names
                        if row[n] not in (None, "")
                    }
                    if not space.is_valid(space.encode(values)):
                        raise SpaceError("these values contradict Params.valid()")
                except SpaceError as error:
                    raise StudyFileError(f"{path}:{reader.line_num}: {error}") from None
                points.append(values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyFileError(f"{path}: cannot be read as CSV: {error}") from None
    if not points:
        raise StudyFileError(f"{path}: holds no starting point; add a line, or set study.start")
    return points


def pruning_steps(spec: StudySpec, count: int) -> int:
    """Return how many decisions a pruner takes about a trial of ``count`` slices."""
    if not is_robust(spec.study):
        return count
    return -(-(count - 1) // spec.monte_carlo.step)


def slice_order(spec: StudySpec, count: int) -> tuple[int, ...]:
    """Return the order in which slices are evaluated.

    In time where state is carried over; shuffled by the study's seed where slices are
    independent, since the first regime would otherwise decide what is pruned. The history
    comes before paths of it, which are alike in any order.
    """
    plain = spec.data.slicing == "carry" or spec.study.pruner.name == "none"
    if plain or is_robust(spec.study):
        return tuple(range(count))
    stream = np.random.default_rng(np.random.SeedSequence(spec.study.seed, spawn_key=(0x534C49,)))
    return tuple(int(k) for k in stream.permutation(count))
