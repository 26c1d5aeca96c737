"""Trials as they happened, kept where Optuna's tools read them.

The storage is a copy for optuna-dashboard, Optuna's plots and its command line, written
in the background in batches of finished trials, each in a single step: it never holds a
trial half written or running. The study itself goes on from its ledger; a storage that
lags after a kill is brought up to date by persisting all trials again.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweep.errors import LedgerError, StudyFileError, StudyLockedError, StudyMismatchError
from sweep.schema import FloatArray1D
from sweep.search.outcomes import Outcome
from sweep.strategy.parameters import Categorical, Integer, Number, Parameter, Real
from sweep.strategy.space import SearchSpace

__all__ = ["FinishedTrial", "TrialStore"]

optuna.logging.set_verbosity(optuna.logging.ERROR)

#: User attribute that holds a trial's number in the study: Optuna numbers the trials of a
#: storage without gaps, a study that stores a sample of its trials does not.
NUMBER = "trial"

#: Of the tables that `_add_together` writes to; Optuna states it in its database.
_SCHEMA = 12

#: Suffixes of paths that hold Optuna's journal; any other path is an SQLite file.
JOURNALS = (".log", ".journal", ".jsonl")


@dataclass(frozen=True)
class FinishedTrial:
    """A trial to be stored.

    Attributes
    ----------
    number : int
        In the study.
    row : ndarray of shape (n_params,), float64
        Canonical row.
    outcome : Outcome
    started, ended : int or None
        Nanoseconds since the epoch, UTC.
    attributes : mapping of str to object
        Further user attributes: numbers, texts, truth values.
    """

    number: int
    row: FloatArray1D
    outcome: Outcome
    started: int | None = None
    ended: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


class TrialStore:
    """A study's trials in an Optuna storage. Use as a context manager, or `close` it.

    Parameters
    ----------
    where : str or Path
        A path of an SQLite file (made if missing, in WAL mode), a path that ends in
        ``.log``, ``.journal`` or ``.jsonl`` (Optuna's journal), or a database URL as
        SQLAlchemy takes it.
    name : str
        Of the study in the storage; made if missing.
    directions : sequence of str
        ``"maximize"`` or ``"minimize"``, one an objective.
    space : SearchSpace
    objectives : sequence of str, optional
        Names of the objectives, shown by optuna-dashboard.
    timeout : float, optional
        Seconds to wait for another writer of an SQLite file, several times over.

    Raises
    ------
    StudyFileError
        For a URL that names no database, or whose driver is not installed.
    LedgerError
        If the storage cannot be opened: permissions, a file of another kind, a database
        of another Optuna.
    StudyLockedError
        If another process holds the database.
    StudyMismatchError
        If a study of this name has other directions.
    """

    def __init__(
        self,
        where: str | Path,
        name: str,
        directions: Sequence[str],
        space: SearchSpace,
        *,
        objectives: Sequence[str] = (),
        timeout: float = 2.0,
    ) -> None:
        self.where = str(where)
        self._distributions = {p.name: shown_distribution(p) for p in space.parameters}
        self._space = space
        wanted = [StudyDirection[d.upper()] for d in directions]
        with _explained(self.where):
            self._storage = _open(self.where, timeout)
            study = optuna.create_study(
                storage=self._storage, study_name=name, directions=wanted, load_if_exists=True
            )
            found = list(study.directions)
            if found == wanted and objectives and study.metric_names != list(objectives):
                _name_objectives(study, objectives)
            self._study_id = self._storage.get_study_id_from_name(name)
            self._tables = _tables(self._storage)
            self._stored = self._numbers()
        if found != wanted:
            self.close()
            raise StudyMismatchError(
                f"{self.where}: study {name!r} was made to "
                f"{', '.join(d.name.lower() for d in found)}, not to {', '.join(directions)}"
            )

    def __enter__(self) -> TrialStore:
        """Return the store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the storage."""
        self.close()

    @property
    def stored(self) -> frozenset[int]:
        """Numbers of the trials in the storage."""
        return frozenset(self._stored)

    def persist(self, trials: Sequence[FinishedTrial]) -> int:
        """Add the trials that are not in the storage yet.

        Each is added in a single step. Called with the same trials again, or after a kill
        with all trials told so far, it adds what is missing.

        Parameters
        ----------
        trials : sequence of FinishedTrial
            In the order of their numbers, for Optuna's numbers to be the same.

        Returns
        -------
        int
            Trials added.

        Raises
        ------
        LedgerError
            If they cannot be written: no space, no permission.
        StudyLockedError
            If another process holds the database.
        """
        missing = list({t.number: t for t in trials if t.number not in self._stored}.values())
        with _explained(self.where):
            templates = [self._template(trial) for trial in missing]
            storage, tables = self._storage, self._tables
            if (
                isinstance(storage, RDBStorage)
                and tables is not None
                and _add_together(storage, tables, self._study_id, templates)
            ):
                self._stored.update(trial.number for trial in missing)
                return len(missing)
            for trial, template in zip(missing, templates, strict=True):
                self._storage.create_new_trial(self._study_id, template)
                self._stored.add(trial.number)
        return len(missing)

    def close(self) -> None:
        """Close the storage. May be called again."""
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _numbers(self) -> set[int]:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return {int(t.user_attrs.get(NUMBER, t.number)) for t in trials}

    def _template(self, trial: FinishedTrial) -> optuna.trial.FrozenTrial:
        outcome = trial.outcome
        state, values = _told(outcome)
        active = self._space.active_names(trial.row)
        decoded = self._space.decode(trial.row)
        # The last of many steps may lie an ulp above the bound, which Optuna refuses.
        for p in self._space.parameters:
            if isinstance(p, Real):
                decoded[p.name] = min(decoded[p.name], p.high)
        intermediate = {k: v for k, v in enumerate(outcome.intermediate, 1) if math.isfinite(v)}
        frozen = create_trial(
            state=state,
            values=values,
            params={name: _plain(decoded[name]) for name in active},
            distributions={name: self._distributions[name] for name in active},
            user_attrs=_attributes(trial),
            intermediate_values=intermediate,
            constraints={str(i): c for i, c in enumerate(outcome.constraints) if math.isfinite(c)},
        )
        frozen.datetime_start = _moment(trial.started, frozen.datetime_start)
        frozen.datetime_complete = _moment(trial.ended, frozen.datetime_start)
        return frozen


def _tables(storage: BaseStorage) -> dict[str, sqlalchemy.Table] | None:
    """Return the tables of an SQLite file that hold trials, by name.

    None for any other storage, and where Optuna's schema is another than is known here.
    """
    if not isinstance(storage, RDBStorage) or storage.engine.name != "sqlite":
        return None
    found = sqlalchemy.MetaData()
    found.reflect(storage.engine)
    with storage.engine.connect() as connection:
        form = connection.execute(sqlalchemy.select(found.tables["version_info"])).mappings()
        versions = [row["schema_version"] for row in form]
    return dict(found.tables) if versions == [_SCHEMA] else None


def _add_together(
    storage: RDBStorage,
    tables: Mapping[str, sqlalchemy.Table],
    study_id: int,
    templates: Sequence[optuna.trial.FrozenTrial],
) -> bool:
    """Add trials to an SQLite file in one transaction; False where another writer was faster.

    Optuna's own way looks up a trial again for each of its parameters and attributes, some
    12 ms for each trial: more than all else that an exhaustive search does besides
    evaluating. These are the rows that it writes.
    """
    if any(template.intermediate_values for template in templates):
        return False  # pruned studies store few trials at a time
    trials = tables["trials"].c
    select, func = sqlalchemy.select, sqlalchemy.func
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        with storage.engine.begin() as connection:
            last = connection.execute(select(func.max(trials.trial_id))).scalar() or 0
            stored = select(func.count(trials.number)).where(trials.study_id == study_id)
            number = connection.execute(stored).scalar() or 0
            for place, template in enumerate(templates):
                for table, row in _rows_of(template):
                    rows.setdefault(table, []).append({"trial_id": last + 1 + place, **row})
                rows["trials"][-1] |= {"study_id": study_id, "number": number + place}
            for table, of_table in rows.items():
                connection.execute(tables[table].insert(), of_table)
    except sqlalchemy.exc.IntegrityError:
        return False
    return True


def _rows_of(template: optuna.trial.FrozenTrial) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what Optuna stores of one trial: table and row, without its number."""
    yield (
        "trials",
        {
            "state": template.state.name,
            "datetime_start": template.datetime_start,
            "datetime_complete": template.datetime_complete,
        },
    )
    for name, value in template.params.items():
        distribution = template.distributions[name]
        yield (
            "trial_params",
            {
                "param_name": name,
                "param_value": distribution.to_internal_repr(value),
                "distribution_json": distribution_to_json(distribution),
            },
        )
    for objective, value in enumerate(template.values or ()):
        yield "trial_values", {"objective": objective, "value": value, "value_type": "FINITE"}
    for kind, attributes in (("user", template.user_attrs), ("system", template.system_attrs)):
        for key, value in attributes.items():
            yield f"trial_{kind}_attributes", {"key": key, "value_json": json.dumps(value)}


def shown_distribution(p: Parameter) -> BaseDistribution:
    """Return a parameter's range as Optuna's tools show it.

    Optuna has no steps on a logarithmic scale; they are left out there.

    Parameters
    ----------
    p : Parameter

    Returns
    -------
    BaseDistribution
    """
    if isinstance(p, Categorical):
        return CategoricalDistribution(tuple(_plain(c) for c in p.choices))
    assert isinstance(p, Number)
    if isinstance(p, Integer):
        step = 1 if p.log else int(p.step or 1)
        return IntDistribution(int(p.low), int(p.high), log=p.log, step=step)
    return FloatDistribution(p.low, p.high, log=p.log, step=None if p.log else p.step)


def _told(outcome: Outcome) -> tuple[TrialState, list[float] | None]:
    if outcome.state == "pruned":
        return TrialState.PRUNED, None
    if outcome.state in ("complete", "infeasible") and outcome.values is not None:
        if all(math.isfinite(v) for v in outcome.values):
            return TrialState.COMPLETE, list(outcome.values)
    return TrialState.FAIL, None


def _attributes(trial: FinishedTrial) -> dict[str, Any]:
    outcome = trial.outcome
    attributes: dict[str, Any] = {NUMBER: trial.number, "state": outcome.state}
    if outcome.reason:
        attributes["reason"] = outcome.reason
    if outcome.metrics:
        # One attribute, as each costs a statement of its own. JSON has no NaN.
        attributes["metrics"] = {
            name: float(v) if math.isfinite(v) else None for name, v in outcome.metrics.items()
        }
    attributes.update(trial.attributes)
    return attributes


def _plain(value: Any) -> Any:
    """Return a choice as JSON has it: an enumeration's member is its number."""
    if isinstance(value, (bool, str)):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _moment(ns: int | None, default: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's stamps are local times without a zone."""
    return default if ns is None else datetime.datetime.fromtimestamp(ns / 1e9)


# -- opening ---------------------------------------------------------------------------


def _open(where: str, timeout: float) -> BaseStorage:
    if "://" not in where:
        path = Path(where)
        if path.suffix in JOURNALS:
            _mend_journal(path)
            return JournalStorage(JournalFileBackend(str(path)))
        url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    else:
        url = where
    sqlite = sqlalchemy.make_url(url).get_backend_name() == "sqlite"
    # RDBStorage fills in {SCHEMA_VERSION}; a path's braces are its own.
    storage = RDBStorage(
        url.replace("{", "{{").replace("}", "}}") if url != where else url,
        engine_kwargs={"connect_args": {"timeout": timeout}} if sqlite else {},
    )
    if sqlite and storage.engine.url.database not in (None, "", ":memory:"):
        sqlalchemy.event.listen(storage.engine, "connect", _tune_sqlite)
        storage.engine.dispose()  # connections made so far are not tuned
    return storage


def _tune_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Let readers read while we write, and commits do without waiting for the disk.

    A power cut may take the last commits; they are added again from the ledger.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _mend_journal(path: Path) -> None:
    """Cut a journal back to its last whole line, and take away a dead writer's lock.

    Optuna opens a torn journal and then fails on the first trial that is added, and it
    waits half a minute for the lock of a writer that was killed. The study's own lock
    keeps other writers away, so whatever stands here is left over.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        kept = end
        while kept > 0:
            begin = max(0, kept - 4096)
            file.seek(begin)
            newline = file.read(kept - begin).rfind(b"\n")
            kept = begin if newline < 0 else begin + newline + 1
            if newline >= 0:
                break
        if kept < end:
            file.truncate(kept)


def _name_objectives(study: optuna.Study, objectives: Sequence[str]) -> None:
    with warnings.catch_warnings(action="ignore"):  # experimental since 3.2
        study.set_metric_names(list(objectives))


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn what databases raise into what a user can act on."""
    shown = _without_password(where)
    try:
        yield
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise StudyFileError(
            f"study.storage: {shown!r} cannot be used ({_first_line(error)}); expected a path, "
            "or a URL such as sqlite:///trials.db or mysql+pymysql://user@host/name with its "
            "driver installed"
        ) from None
    except (
        optuna.exceptions.StorageInternalError,
        sqlalchemy.exc.SQLAlchemyError,
        sqlite3.Error,
    ) as error:
        text = _first_line(error.__cause__ or error)
        if "locked" in text:
            raise StudyLockedError(
                f"{shown}: another process holds this database ({text}); stop it, or give "
                "study.storage another place"
            ) from None
        raise LedgerError(f"{shown}: cannot be read or written ({text})") from None
    except OSError as error:
        raise LedgerError(f"{shown}: cannot be read or written ({error})") from None
    except RuntimeError as error:  # the schema of another Optuna
        raise LedgerError(f"{shown}: {_first_line(error)}") from None
    except json.JSONDecodeError as error:
        raise LedgerError(f"{shown}: is no journal of Optuna's ({error})") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _without_password(where: str) -> str:
    if "://" not in where:
        return where
    try:
        return sqlalchemy.make_url(where).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return where
