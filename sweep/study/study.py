"""A study: a folder with settings, ledger and trials, and what can be asked of it.

The folder holds ``study.json`` (settings, hashes, versions), ``strategy.py`` (the
strategy as it was), ``ledger.bin`` (every finished row that lies in no part), ``trials``
(Parquet parts, where the search is exhaustive), ``sampler.bin`` (the sampler's state),
``optuna.db`` (trials for Optuna's tools) and ``lock``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweep.backtest.tasks import OR_REPORT, Replay, Task, differences, replay
from sweep.errors import (
    InputError,
    LedgerError,
    ReplayMismatchError,
    StudyFileError,
    StudyMismatchError,
)
from sweep.scenarios.robust_trials import evaluate_robust
from sweep.schema import FloatArray1D, IntArray1D, Rows, Ticks
from sweep.search.objective import Objectives
from sweep.stats.metrics import METRICS, metrics_of
from sweep.strategy.declare import Strategy
from sweep.strategy.space import SearchSpace
from sweep.study.exhaustive_state import finished_block, spans_of
from sweep.study.file.spec import StudySpec, from_settings
from sweep.study.folder import (
    compare,
    declared_space,
    describe,
    identity,
    is_begun,
    read_manifest,
    saved_strategy,
    write,
    write_manifest,
)
from sweep.study.judge import Judge
from sweep.study.ledger import Ledger
from sweep.study.parts import Layout, read_part
from sweep.study.proposals import (
    DesignProposer,
    Points,
    Proposer,
    depends_on_results,
    make_points,
    make_proposer,
)
from sweep.study.records import (
    FAILED,
    INVALID,
    ExtraEvaluations,
    Finished,
    HoldoutLook,
    Part,
    Partial,
    Record,
    TrialSpan,
)
from sweep.study.session_returns import SessionReturns, gather
from sweep.study.setup import (
    Setup,
    assemble,
    bind,
    is_robust,
    prepare,
    pruning_steps,
    sizes_of,
    slice_order,
    starting_points,
)
from sweep.study.trial_archive import LOST, Archive, lost_block
from sweep.study.trials import Board, TrialBlock, TrialTable
from sweep.text import STATES, counted
from sweep.ticks.mapped import attach, require_intact
from sweep.ticks.store import import_ticks

__all__ = ["ReplayResult", "Study", "difference", "metrics_of_row"]


@dataclass(frozen=True)
class ReplayResult:
    """A replay with its metrics.

    Attributes
    ----------
    params : dict
        Values by name.
    metrics : dict of str to float
    replay : Replay
    on : str
        ``"search"`` or ``"holdout"``.
    """

    params: dict[str, Any]
    metrics: dict[str, float]
    replay: Replay
    on: str


def metrics_of_row(row: Rows, periods_per_year: float) -> dict[str, float]:
    """Return every metric of one row."""
    found = metrics_of(np.asarray(row).reshape(1), periods_per_year)
    return {name: float(values[0]) for name, values in found.items()}


class Study:
    """A study's folder, opened.

    Made by `Study.create`, which begins a study or goes on with one, or by
    `Study.open`, which reads one.

    Attributes
    ----------
    folder : Path
    spec : StudySpec
    space : SearchSpace
    board : TrialTable
        Finished trials.
    exhaustive : bool
        Whether its points depend on nothing, so that its trials lie in Parquet parts.
    damaged : list of str
        Parts that are gone or damaged: `sweep run` evaluates their trials again.
    lost : list of range
        Trials whose records are damaged, and that stand between others that are whole.
    not_run : str
        Why nothing in the folder is executed, so that nothing can be evaluated; empty where it
        may be.
    repaired : str
        What was found damaged and is written again; empty if nothing was.
    opened : dict of int to HoldoutLook
        Trials evaluated on the holdout.
    extra_evaluations : dict of str to int
        Variants evaluated elsewhere on the search range, by where.
    objectives : Objectives
    """

    def __init__(
        self,
        folder: Path,
        spec: StudySpec,
        space: SearchSpace,
        manifest: dict[str, Any],
        setup: Setup | None,
        *,
        not_run: str = "",
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.space = space
        self.manifest = manifest
        self.not_run = not_run
        self.repaired = ""
        self.objectives = Objectives(spec.study, execute=not not_run)
        self.opened: dict[int, HoldoutLook] = {}
        self.partials: dict[bytes, list[Partial]] = {}
        self.exhaustive = not depends_on_results(spec.study) and not self.objectives.terms
        self.spans: list[Part | TrialSpan] = []
        self.damaged: list[str] = []
        self.lost: list[range] = []
        self.ledger = Ledger(folder / "ledger.bin", identity(manifest))
        self.board: TrialTable = self.new_board()
        self.extra_evaluations: dict[str, int] = {}
        self._recorded: set[int] = set()
        self._setup = setup
        #: How the strategy would be executed, where which parameters count is not known.
        #: Whether somebody else made it, or it was made elsewhere: commands that run its
        #: strategy want ``--trust``.
        self.foreign = False
        self._guessed: str | None = None

    # -- making and opening ------------------------------------------------------------

    @classmethod
    def create(
        cls,
        spec: StudySpec,
        folder: str | Path | None = None,
        *,
        progress: Callable[[int, float | None], None] | None = None,
        imported: Callable[[Any], None] | None = None,
    ) -> Study:
        """Begin a study in ``folder``, or go on with the one that lies there.

        Parameters
        ----------
        spec : StudySpec
        folder : str or Path, optional
            ``results/NAME`` by default.
        progress, imported : callable, optional
            See `sweep.study.setup.prepare`.

        Returns
        -------
        Study

        Raises
        ------
        InputError
            If the strategy, the ticks or the settings are wrong; nothing is written then.
        StudyMismatchError
            If the folder holds a study of other ticks, another strategy or settings.
        """
        folder = Path(folder) if folder is not None else Path("results") / spec.study.name
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; a study needs a folder of its own")
        setup = prepare(spec, progress=progress, imported=imported)
        # Refuses what a sampler, a pruner or an objective cannot take, before a file is made.
        Objectives(spec.study)
        starts = starting_points(spec, setup.space)
        proposer: Proposer | Points
        if depends_on_results(spec.study) or is_robust(spec.study):
            steps = pruning_steps(spec, len(setup.slices))
            proposer = make_proposer(spec.study, setup.space, starts, steps)
        else:
            proposer = make_points(spec.study, setup.space, starts)
        _check_end(spec, setup.space, proposer)
        study = cls.of_setup(spec, setup, folder)
        if setup.streamed is not None:
            # Refuses too little memory before a file is made.
            sizes_of(setup, spec.data.memory, study.session_edges)
        return study

    @classmethod
    def of_setup(cls, spec: StudySpec, setup: Setup, folder: Path) -> Study:
        """Begin a study of what its caller has set up, or go on with the one in ``folder``.

        Parameters
        ----------
        spec : StudySpec
        setup : Setup
            With slices that the caller may have cut; those are not compared with what the
            folder's study had.
        folder : Path

        Raises
        ------
        InputError, StudyMismatchError
            As `create`.
        """
        manifest = describe(spec, setup)
        path = folder / "study.json"
        begun = Ledger(folder / "ledger.bin").heading() == identity(manifest)
        known, repaired = manifest, ""
        if path.exists():
            try:
                known, _ = read_manifest(path)
            except InputError:
                if not begun:
                    raise
                repaired = "study.json was damaged, and is written again"
            compare(folder, known, manifest)
        elif begun:
            repaired = "study.json was missing, and is written again"
        elif folder.is_dir() and not is_begun(folder, setup.strategy.source):
            raise InputError(
                f"{folder}: holds other files but no study; choose another folder with --out"
            )
        fresh = {name: manifest[name] for name in ("settings", "space")}
        study = cls(folder, spec, setup.space, {**known, **fresh}, setup)
        study.repaired = repaired
        study._load()
        return study

    def begin(self) -> None:
        """Write the study's own files, so that the folder is a study."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / "strategy.py", self.setup.strategy.source)
            write_manifest(self.folder / "study.json", self.manifest)
        except OSError as error:
            raise LedgerError(f"{self.folder}: cannot be written: {error.strerror}") from None

    @classmethod
    def open(cls, folder: str | Path, *, trust: bool = False) -> Study:
        """Read a study, also while it runs.

        Of a study that this user made on this machine, the strategy and objectives that are
        functions are executed. Of any other one everything is read and nothing is executed:
        what would have to evaluate variants raises `InputError`.

        Parameters
        ----------
        folder : str or Path
        trust : bool, optional
            Execute what a study from elsewhere holds or names, as if it were the user's own.

        Raises
        ------
        InputError
            If the folder holds no study.
        """
        folder = Path(folder)
        path = folder / "study.json"
        if not path.exists():
            raise InputError(
                f"{folder}: holds no study; run one with: sweep run STUDY.toml --out {folder}"
            )
        manifest, ours = read_manifest(path)
        spec = from_settings(manifest["settings"])
        space, conditional = declared_space(manifest, path)
        not_run = ""
        if ours or trust:
            try:
                strategy = saved_strategy(folder, spec, manifest["strategy"]["digest"])
                space = bind(SearchSpace.of(strategy.params), spec.space)
            except InputError as error:
                not_run = str(error)
        else:
            not_run = (
                f"{folder} was not made by this user on this machine, so nothing in it is "
                f"executed. Evaluating it runs its strategy.py, and functions that are its "
                f"objectives: look at them, then give --trust"
            )
        study = cls(folder, spec, space, manifest, None, not_run=not_run)
        study.foreign = not ours
        if conditional and not_run:
            study._guessed = "" if ours or trust else " without --trust"
        study._load(gaps=True)
        return study

    def new_board(self) -> Board | Archive:
        """Return an empty board of this study's shape."""
        if self.exhaustive:
            return Archive(self.folder / "trials", self.layout)
        return Board(
            len(self.space.parameters), len(self.directions), len(self.objectives.constraints)
        )

    @property
    def layout(self) -> Layout:
        """The columns of its Parquet parts."""
        constraints = tuple(c.text for c in self.objectives.constraints)
        return Layout(self.space, self.objectives.labels, constraints)

    def _load(self, *, gaps: bool = False) -> None:
        """Read the ledger.

        Parameters
        ----------
        gaps : bool, optional
            Go on after trials whose records are lost, which are there as invalid ones. By
            default what comes after the first of them is left out, as if never evaluated.
        """
        self.board, self.partials, self.opened, self.spans = self.new_board(), {}, {}, []
        self.extra_evaluations, self._recorded, self.lost = {}, set(), []
        trials: list[Finished | None] = []
        for record in self.ledger.read():
            if not isinstance(record, Finished):
                self.take(record)
                continue
            if record.duplicate_of < 0 and record.state != INVALID:
                self._recorded.add(record.number)
            if record.number > len(trials):
                if not gaps:
                    continue
                trials += [None] * (record.number - len(trials))
            # One that comes again was evaluated again, after a gap: so were those after it.
            trials[record.number :] = [record]
        if isinstance(self.board, Archive):
            self.spans = spans_of(self.spans)
            self._fill(self.board, gaps=gaps)
        else:
            self._fill_board(self.board, trials)

    def take(self, record: Record) -> None:
        """Add one record of the ledger that is no finished trial."""
        if isinstance(record, HoldoutLook):
            self.opened[record.number] = record
        elif isinstance(record, ExtraEvaluations):
            self.extra_evaluations[record.source] = max(
                record.count, self.extra_evaluations.get(record.source, 0)
            )
        elif isinstance(record, Partial):
            self.partials.setdefault(record.params.tobytes(), []).append(record)
        elif isinstance(record, Part | TrialSpan):
            self.spans.append(record)

    def _fill_board(self, board: Board, trials: list[Finished | None]) -> None:
        for number, trial in enumerate(trials):
            if trial is None:
                self.lost.append(range(number, number + 1))
                block = lost_block(self.layout, number, 1)
                board.add(block.trial(0))
            elif len(trial.params) != len(self.space.parameters):
                raise LedgerError(f"{self.ledger.path}: its trials have other parameters")
            elif trial.values and len(trial.values) != len(self.directions):
                raise LedgerError(f"{self.ledger.path}: its trials have other objectives")
            else:
                board.add(trial)
                self.partials.pop(trial.params.tobytes(), None)

    def _fill(self, board: Archive, *, gaps: bool) -> None:
        """Fill the archive with the trials from the first to the first that is missing.

        With ``gaps``, go on after what is missing, unless it may be that it was not evaluated
        yet.
        """
        parts = [span for span in self.spans if isinstance(span, Part)]
        self.damaged = [p.name for p in parts if not _has_size(board.folder / p.name, p.size)]
        gaps = gaps and bool(self.damaged or self.ledger.damage)
        for span in self.spans:
            if isinstance(span, Part) and span.name in self.damaged:
                continue
            if span.first > len(board):
                if not gaps:
                    return
                self.lost.append(range(len(board), span.first))
                board.skip(span.first - len(board))
            if isinstance(span, TrialSpan):
                board.append(self.finished_block(span))
            elif board.unwritten:
                if not gaps:
                    return
                board.append(read_part(board.folder, span, board.layout))
            else:
                board.adopt(span)

    def remarks(self) -> tuple[str, ...]:
        """Return what whoever reads the study must know: what is damaged, and what is guessed."""
        found = []
        if self.lost or self.damaged:
            shown = [
                f"{r.start:,}" if len(r) == 1 else f"{r.start:,} to {r.stop - 1:,}"
                for r in self.lost
            ]
            shown += [f"{s.first:,} on" for s in self.spans if s.first == len(self.board)]
            names = self.damaged or [self.ledger.path.name]
            found.append(
                f"{', '.join(names)}: missing or damaged; lost trials: {', '.join(shown)}. The "
                f"study's own sweep run evaluates them again"
            )
        damage = self.ledger.damage
        if looks := damage.lost["holdout look"]:
            found.append(
                f"ledger.bin: {counted(looks, 'holdout look')} cannot be read: the holdout was "
                f"opened more often than is shown"
            )
        if counts := damage.lost["evaluation count"]:
            found.append(
                f"ledger.bin: {counted(counts, 'evaluation count')} cannot be read: more variants "
                f"were evaluated than is shown"
            )
        if damage.unknown:
            found.append(
                f"ledger.bin: {counted(damage.unknown, 'record')} of an unknown kind cannot be "
                f"read: there may have been more looks at the holdout"
            )
        if self._guessed is not None:
            found.append(
                f"which parameters count in a trial only its strategy knows, which is not "
                f"executed{self._guessed}: those that do not count are shown with their defaults"
            )
        return tuple(found)

    def finished_block(self, stretch: TrialSpan) -> TrialBlock:
        """Return the trials of a stretch that follows on the board, judged."""
        return finished_block(stretch, self.judge, int(self.manifest["n_slices"]), self.known)

    def known(self, numbers: IntArray1D) -> tuple[Rows, NDArray[np.object_]]:
        """Return the rows of trials, and why each failed (empty if it did not)."""
        found = self.board.select(numbers)
        failed = found.in_state(FAILED) | (found.reasons == LOST)
        return found.rows, np.where(failed, found.reasons, "")

    # -- what it is --------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The study's name."""
        return self.spec.study.name

    @property
    def directions(self) -> tuple[str, ...]:
        """``"maximize"`` or ``"minimize"``, one an objective."""
        return self.spec.study.directions

    @cached_property
    def setup(self) -> Setup:
        """Strategy, ticks and slices, loaded when first asked for.

        Raises
        ------
        StudyMismatchError
            If the ticks are not those that the study was made with.
        """
        if self._setup is not None:
            return self._setup
        setup = prepare(self.spec, source=self.strategy.source)
        compare(self.folder, self.manifest, describe(self.spec, setup))
        return setup

    @cached_property
    def strategy(self) -> Strategy:
        """The strategy that the study was begun with.

        Raises
        ------
        InputError
            If it is not there, or the study is not the user's own.
        """
        if self.not_run:
            raise InputError(self.not_run)
        return saved_strategy(self.folder, self.spec, self.manifest["strategy"]["digest"])

    @cached_property
    def mapped(self) -> Setup:
        """The same with ticks in the store: a replay shows every tick."""
        setup = self.setup
        if setup.streamed is None:
            return setup
        source = setup.streamed.source
        ticks = import_ticks(source).handle
        if ticks.content != setup.ticks.content:
            raise StudyMismatchError(
                f"{source.name}: holds other ticks than when the study was begun"
            )
        return assemble(self.spec, setup.strategy, setup.space, setup.context.kernel, ticks)

    @property
    def mapped_ticks(self) -> Ticks:
        """The ticks, mapped; from the store also where a study reads them in passes."""
        return attach(self.mapped.ticks)

    @property
    def periods_per_year(self) -> float:
        """Clock periods in a year."""
        return float(self.manifest["periods_per_year"])

    @cached_property
    def judge(self) -> Judge:
        """The function from rows to what they are worth."""
        return Judge(self.objectives, self.periods_per_year)

    # -- what it found -----------------------------------------------------------------

    def best(self, count: int | None = None) -> list[int]:
        """Return the numbers of the best trials, `spec.study.top` by default.

        Those of the Pareto front where there are several objectives.
        """
        return self.board.best(self.directions, count or self.spec.study.top)

    def metrics(self, number: int) -> dict[str, float]:
        """Return the metrics of a trial, over the search range."""
        return metrics_of_row(self.board.trial(number).row, self.periods_per_year)

    def holdout_metrics(self, number: int) -> dict[str, float] | None:
        """Return the metrics of a trial on the holdout, or None if it was not opened for it."""
        found = self.opened.get(self._first(number))
        if found is None or found.reason:
            return None
        return metrics_of_row(found.row, self.periods_per_year)

    def _first(self, number: int) -> int:
        duplicate = self.board.trial(number).duplicate_of
        return duplicate if duplicate >= 0 else number

    def params(self, number: int) -> dict[str, Any]:
        """Return the values of a trial's parameters; those that do not count are left out."""
        trial = self.board.trial(number)
        if trial.reason == LOST:
            return {}
        row = trial.params
        values = self.space.decode(row)
        return {name: values[name] for name in self.space.active_names(row)}

    def columns(self, numbers: Iterable[int] | None = None) -> dict[str, list[Any]]:
        """Return trials as columns: number, state, objectives, parameters, metrics, holdout.

        Parameters
        ----------
        numbers : iterable of int, optional
            All trials by default.

        Returns
        -------
        dict of str to list
            ``trial``, ``state``, one column an objective that is no metric, the
            parameters, the metrics, ``holdout_`` metrics where opened, ``slices``,
            ``duplicate_of``, ``reason``.
        """
        chosen = range(len(self.board)) if numbers is None else list(numbers)
        found = self.columns_of(self.board.select(np.array(chosen, np.int64)))
        return {n: v if isinstance(v, list) else v.tolist() for n, v in found.items()}

    def columns_of(self, block: TrialBlock) -> dict[str, list[Any] | NDArray[Any]]:
        """Return a block of trials as the columns of `columns`; numbers as arrays."""
        columns: dict[str, list[Any] | NDArray[Any]] = {
            "trial": block.numbers,
            "state": [STATES[code] for code in block.codes],
        }
        for j, label in enumerate(self.objectives.labels):
            if label not in METRICS:
                columns[label] = block.values[:, j]
        _, active = self.space.settled(block.params)
        active = active & (block.reasons != LOST)[:, None]
        for i, values in enumerate(self.space.decoded(block.params)):
            shown = zip(values, active[:, i].tolist(), strict=True)
            columns[self.space.names[i]] = [value if counts else None for value, counts in shown]
        empty = block.n_slices == 0
        for name, figures in metrics_of(block.rows, self.periods_per_year).items():
            columns[name] = np.where(empty, np.nan, figures)
        columns |= self._holdout_columns(block)
        columns["slices"] = block.n_slices
        columns["duplicate_of"] = [None if d < 0 else d for d in block.duplicate_of.tolist()]
        columns["reason"] = block.reasons.tolist()
        return columns

    def _holdout_columns(self, block: TrialBlock) -> dict[str, NDArray[Any]]:
        """Return the metrics on the holdout, NaN where it was not opened; none if it never was."""
        if not self.opened:
            return {}
        columns = {f"holdout_{name}": np.full(len(block), np.nan) for name in METRICS}
        first = np.where(block.duplicate_of >= 0, block.duplicate_of, block.numbers)
        for place in np.flatnonzero(np.isin(first, list(self.opened))):
            held = self.opened[int(first[place])]
            if not held.reason:
                for name, value in metrics_of_row(held.row, self.periods_per_year).items():
                    columns[f"holdout_{name}"][place] = value
        return columns

    def trials(self) -> Any:
        """Return all trials as a pandas DataFrame, one row a trial.

        The columns have the names of `sweep trials -f csv`: times in seconds end in ``_s``.
        An exhaustive search may have more trials than memory holds this way; its Parquet
        parts, in the folder ``trials`` of the study, can be read piece by piece.
        """
        import pandas as pd

        units = {name: f"{name}_s" for name, m in METRICS.items() if m.unit == "s"}
        units |= {f"holdout_{name}": f"holdout_{key}" for name, key in units.items()}
        pieces = [self.columns_of(block) for block in self.board.blocks()]
        columns: dict[str, Any] = {}
        for name in (pieces or [self.columns_of(self.board.select(np.zeros(0, np.int64)))])[0]:
            parts: list[Any] = [piece[name] for piece in pieces]
            if parts and isinstance(parts[0], np.ndarray):
                columns[units.get(name, name)] = np.concatenate(parts)
            else:
                columns[units.get(name, name)] = [value for part in parts for value in part]
        return pd.DataFrame(columns)

    def session_returns(self) -> SessionReturns:
        """Return what every distinct variant that was evaluated returned in each session.

        Read part by part; the result takes 8 bytes for each variant and session.

        Raises
        ------
        InputError
            If it cannot be said, because trials were evaluated before it was kept, or because
            there are more sessions than are kept.
        LedgerError
            If a part is missing or damaged: `sweep run` evaluates its trials again.
        """
        board = self.board
        assert isinstance(board, Board | Archive)
        if self.damaged:
            raise LedgerError(
                f"{self.folder / 'trials'}: {', '.join(self.damaged)} missing or damaged, so that "
                f"not all returns are there; `sweep run` evaluates those trials again"
            )
        return gather(self.manifest, board, self.ledger)

    @property
    def session_edges(self) -> tuple[int, ...]:
        """Ticks at which sessions begin, and the end of the last; empty where none are kept."""
        kept = self.manifest["sessions"]
        if kept["reason"]:
            return ()
        setup = self.setup
        if setup.streamed is not None:
            # A pass is cut where the survey saw sessions, or not at all.
            return setup.sessions.edges if list(setup.sessions.stamps) == kept["edges"] else ()
        # Those that the study was begun with, whatever is taken for a session by now.
        begins = np.searchsorted(attach(setup.ticks).ts, kept["edges"][:-1])
        return (*begins.tolist(), setup.ranges.search.end)

    def evaluations(self) -> int:
        """Return how many distinct variants were ever evaluated, over all runs of the study.

        A variant counts once, however often it was proposed, cut into slices, or evaluated
        again because a file was damaged; also if it failed or was pruned. What folds or
        other searches on the same ticks tried besides is added, as far as it was put on
        record (`sweep.study.amend.record_evaluations`). What a run was still at when it ended,
        so that nobody saw it, is not counted; nor are replays of variants by hand.
        """
        # What is on record counts also where a file of it is damaged.
        own = sum(map(_own_trials, self.spans)) if self.exhaustive else len(self._recorded)
        gone = sum(s.count for s in self.spans if isinstance(s, Part) and s.name in self.damaged)
        lost = max(sum(map(len, self.lost)) - gone, 0)
        return max(own, self.board.evaluated()) + lost + sum(self.extra_evaluations.values())

    # -- replay and holdout ------------------------------------------------------------

    def replay(self, variant: int | Mapping[str, Any], *, on: str = "search") -> ReplayResult:
        """Evaluate one variant alone, with its fills and its equity at every tick.

        Parameters
        ----------
        variant : int or mapping
            A trial's number, or values by parameter (the rest take their defaults).
        on : str, optional
            ``"search"``, or ``"holdout"``, which is counted as opening it.

        Returns
        -------
        ReplayResult

        Raises
        ------
        ReplayMismatchError
            If a trial's replay differs from its row in any bit.
        StrategyError, SpaceError
        """
        setup = self.mapped
        if isinstance(variant, (int, np.integer)):
            number = int(variant)
            try:
                trial = self.board.trial(number)
            except IndexError as error:
                raise InputError(f"{self.folder}: {error}") from None
            params = trial.params
        else:
            trial = None
            params = self.space.encode(variant)
        if on == "holdout":
            row, result = self._replay_holdout(params)
        else:
            slices = setup.tick_slices if trial is None else self._evaluated_slices(trial)
            result = replay(
                setup.context,
                params,
                slices,
                carry_over=setup.carry_over,
                # A trial that was stopped on the way keeps its position open.
                close_out=slices[-1] == setup.tick_slices[-1],
            )
            row = result.row
            require_intact(setup.ticks)
            if trial is not None and row.tobytes() != trial.row.tobytes():
                raise ReplayMismatchError(difference(trial, row))
        values = self.space.decode(params)
        return ReplayResult(values, metrics_of_row(row, self.periods_per_year), result, on)

    def verify_paths(self, number: int) -> None:
        """Evaluate a trial's paths again, it alone, and compare what they are worth.

        Nothing where the study's objectives are not over paths.

        Raises
        ------
        ReplayMismatchError
            If a value differs in any bit.
        """
        setup = self.setup
        if setup.robust is None:
            return
        trial = self.board.trial(number)
        task = Task(0, trial.params[None], setup.slices[1 : trial.n_slices], carry_over=False)
        found = evaluate_robust(setup.robust, task)
        if found.error or found.failures:
            raise ReplayMismatchError(
                f"trial {number} cannot be evaluated again: {found.error or found.failures[0][1]}"
            )
        worth = self.judge(np.asarray(trial.row).reshape(1), [found.rows[0]])[0]
        if np.array(worth.values).tobytes() != np.array(trial.values).tobytes():
            raise ReplayMismatchError(
                f"TRIAL {number} DOES NOT REPLAY: over its paths it is worth {worth.values} now, "
                f"and {trial.values} in the search. Do not use this study's results. {OR_REPORT}."
            )

    def _evaluated_slices(self, trial: Finished) -> tuple[Any, ...]:
        if trial.n_slices == 0:
            raise InputError(
                f"{self.folder}: trial {trial.number} is {trial.state} and was not evaluated"
            )
        if self.setup.robust is not None:
            return self.setup.tick_slices
        slices = self.setup.slices
        order = slice_order(self.spec, len(slices))
        return tuple(slices[k] for k in sorted(order[: trial.n_slices]))

    def _replay_holdout(self, params: FloatArray1D) -> tuple[Rows, Replay]:
        holdout = self.setup.ranges.holdout
        if holdout is None:
            raise InputError("this study keeps no holdout; data.holdout sets one")
        found = replay(self.mapped.context, params, (holdout,), carry_over=False)
        require_intact(self.mapped.ticks)
        return found.row, found


def _own_trials(span: Part | TrialSpan) -> int:
    if isinstance(span, Part):
        return span.count - span.counts["duplicates"]
    return int((span.duplicate_of < 0).sum())


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _check_end(spec: StudySpec, space: SearchSpace, proposer: Proposer | Points) -> None:
    """Raise `StudyFileError` for a study that nothing would end."""
    study = spec.study
    if any(rule is not None for rule in (study.trials, study.time_limit, study.patience)):
        return
    if isinstance(proposer, Points):
        finite = proposer.expected is not None
    else:
        finite = isinstance(proposer, DesignProposer) and proposer.size() is not None
    if not finite and space.exact_size() is None:
        raise StudyFileError(
            f"{spec.path or 'the study'}: nothing ends this study: its space has no end; set "
            f"study.trials (or --trials), study.time_limit or study.patience"
        )


def difference(trial: Finished, row: Rows) -> str:
    """Return what to say of a trial whose row, evaluated again, is another one."""
    shown = differences(np.asarray(trial.row)[()], "in the search", row, "now")
    return (
        f"TRIAL {trial.number} DOES NOT REPLAY: {shown}. Its figures cannot be trusted. "
        f"Do not use this study's results. {OR_REPORT}."
    )
