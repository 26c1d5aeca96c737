"""The persisted trials: complete after any kill, readable while they grow."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from kills import killed
from optuna.trial import TrialState

from sweep.errors import LedgerError, StudyFileError, StudyLockedError, StudyMismatchError
from sweep.search import designs
from sweep.search.outcomes import Outcome
from sweep.strategy import Space, categorical, real
from sweep.strategy.space import SearchSpace
from sweep.study.optuna_mirror import FinishedTrial, TrialStore
from tests.trial_helpers import BOWL, MIXED

STATES = [
    Outcome("complete", (1.5,), (-1.0, -0.5), (0.5, 1.0), {"trades": 3.0, "sharpe": 1.5}),
    Outcome("infeasible", (2.5,), (1.0, -0.5), reason="max_drawdown < 0.2"),
    Outcome("infeasible", (float("nan"),), (float("nan"), 0.0), reason="no trades"),
    Outcome("pruned", intermediate=(0.25, float("nan"), 0.125)),
    Outcome("failed", reason="ZeroDivisionError at tick 10"),
    Outcome("invalid", reason="Params.valid() is false"),
]


def trials(n: int, space: SearchSpace = MIXED) -> list[FinishedTrial]:
    rows = designs.random(space, 4).points(0, n)
    return [
        FinishedTrial(k, row, STATES[k % len(STATES)], 10**18 + k, 10**18 + k + 10**9)
        for k, row in enumerate(rows)
    ]


def load(where: str | Path, name: str = "gold") -> optuna.Study:
    """Open the storage as Optuna's tools do."""
    text = str(where)
    if "://" in text:
        return optuna.load_study(study_name=name, storage=text)
    if text.endswith((".log", ".journal")):
        backend = optuna.storages.journal.JournalFileBackend(text)
        return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(backend))
    return optuna.load_study(study_name=name, storage=f"sqlite:///{text}")


@pytest.fixture(params=["trials.db", "trials.journal", "sqlite:///{}/url.db"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if "://" in request.param:
        return str(request.param).format(tmp_path)
    return str(tmp_path / request.param)


def test_trials_are_stored_as_they_happened(where: str) -> None:
    given = trials(12)
    with TrialStore(where, "gold", ("maximize",), MIXED, objectives=("sharpe",)) as store:
        assert store.persist(given) == 12
        assert store.stored == set(range(12))
    study = load(where)
    assert study.metric_names == ["sharpe"]
    found = study.trials
    assert [t.number for t in found] == list(range(12))
    names = ["COMPLETE", "COMPLETE", "FAIL", "PRUNED", "FAIL", "FAIL"]
    assert [t.state.name for t in found] == names * 2
    for trial, frozen in zip(given, found, strict=True):
        values = MIXED.decode(trial.row)
        values["threshold"] = pytest.approx(values["threshold"], rel=1e-15)
        assert frozen.params == {n: values[n] for n in MIXED.active_names(trial.row)}
        assert frozen.user_attrs["trial"] == trial.number
        assert frozen.user_attrs["state"] == trial.outcome.state
        assert frozen.user_attrs.get("reason", "") == trial.outcome.reason
        assert frozen.datetime_start is not None
        assert frozen.datetime_start.timestamp() == pytest.approx(1e9, abs=1e-3)
        assert frozen.duration is not None
        assert frozen.duration.total_seconds() == pytest.approx(1.0, abs=1e-3)
    assert found[0].value == 1.5
    assert found[0].intermediate_values == {1: 0.5, 2: 1.0}
    assert found[0].user_attrs["metrics"] == {"trades": 3.0, "sharpe": 1.5}
    assert found[1].constraints == {"0": 1.0, "1": -0.5}
    assert found[3].intermediate_values == {1: 0.25, 3: 0.125}
    assert study.best_trial.number == 0  # the better value is infeasible


def test_persisting_again_adds_what_is_missing(where: str) -> None:
    given = trials(10)
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        assert store.persist(given[:4]) == 4
        assert store.persist(given[:6]) == 2
        assert store.persist(given[:6]) == 0
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        assert store.stored == set(range(6))
        assert store.persist(given) == 4
    assert [t.user_attrs["trial"] for t in load(where).trials] == list(range(10))


def test_a_sample_of_the_trials_keeps_their_numbers(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        store.persist(trials(100)[::10])
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        assert store.stored == set(range(0, 100, 10))
        assert store.persist(trials(100)[::10]) == 0


def test_several_objectives_are_stored(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    with TrialStore(
        where, "gold", ("maximize", "minimize"), BOWL, objectives=("sharpe", "max_drawdown")
    ) as store:
        store.persist([FinishedTrial(0, BOWL.defaults, Outcome("complete", (1.0, 0.5)))])
    study = load(where)
    assert study.metric_names == ["sharpe", "max_drawdown"]
    assert study.trials[0].values == [1.0, 0.5]
    assert len(study.best_trials) == 1


def test_studies_share_a_database_by_name(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    with (
        TrialStore(where, "gold", ("maximize",), BOWL) as gold,
        TrialStore(where, "euro", ("minimize",), BOWL) as euro,
    ):
        gold.persist(trials(3, BOWL))
        euro.persist(trials(2, BOWL))
    assert len(load(where, "gold").trials) == 3
    assert len(load(where, "euro").trials) == 2


def test_choices_of_any_kind_are_stored(tmp_path: Path) -> None:
    from enum import IntEnum

    class Side(IntEnum):
        LONG = 1
        SHORT = -1

    class Choices(Space):
        side: int = categorical(Side.LONG, Side.SHORT, default=Side.LONG)
        share: float = categorical(0.25, 0.5, default=0.25)
        x: float = real(0.1, 0.7, step=0.1, default=0.7)

    space = SearchSpace.of(Choices)
    where = tmp_path / "trials.db"
    rows = designs.grid(space).points(0, 99)
    with TrialStore(where, "gold", ("maximize",), space) as store:
        store.persist([FinishedTrial(k, r, STATES[0]) for k, r in enumerate(rows)])
    found = load(where).trials
    assert len({tuple(t.params.values()) for t in found}) == 2 * 2 * 7
    assert {t.params["side"] for t in found} == {1, -1}


_WRITER = """
import sys
from sweep.study.optuna_mirror import TrialStore
from tests.study.test_trialstore import MIXED, trials
given = trials(int(sys.argv[2]))
store = TrialStore(sys.argv[1], "gold", ("maximize",), MIXED)
print("open", flush=True)
for k in range(0, len(given), 3):
    store.persist(given[: k + 3])
    print(k, flush=True)
store.close()
"""


def writer(where: str, n: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, where, str(n)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


_KILLED = """
from sweep.study.optuna_mirror import TrialStore
from tests.study.test_trialstore import MIXED, trials

given = trials(300)

def run(step, calls):
    store = TrialStore(sys.argv[1], "gold", ("maximize",), MIXED)
    for k in range(0, len(given), 3):
        if k == 3 * step:
            kill_after(calls)
        store.persist(given[: k + 3])
"""


@pytest.mark.parametrize("file", ["trials.db", "trials.journal"])
def test_a_killed_writer_leaves_whole_trials_and_the_rest_is_added(
    file: str, tmp_path: Path
) -> None:
    draw = random.Random(file)
    given = trials(300)
    where = str(tmp_path / file)
    steps = sorted(draw.randrange(90) for _ in range(4))
    for step, _ in zip(
        steps, killed(_KILLED, ((s, draw.randrange(5_000)) for s in steps), where), strict=True
    ):
        with TrialStore(where, "gold", ("maximize",), MIXED) as store:
            n = len(store.stored)
            assert 3 * step <= n < len(given)
            assert store.stored == set(range(n))
        found = load(where).trials
        assert len(found) == n
        assert not any(t.state in (TrialState.RUNNING, TrialState.WAITING) for t in found)
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        store.persist(given)
    found = load(where).trials
    assert [t.user_attrs["trial"] for t in found] == list(range(300))
    assert [t.user_attrs["state"] for t in found] == [t.outcome.state for t in given]
    for trial, frozen in zip(given, found, strict=True):
        assert frozen.params.keys() == set(MIXED.active_names(trial.row))
        assert frozen.params["fast"] == trial.row[0]


@pytest.mark.parametrize("file", ["trials.db", "trials.journal"])
def test_readers_see_whole_trials_while_it_grows(file: str, tmp_path: Path) -> None:
    where = str(tmp_path / file)
    process = writer(where, 90)
    assert process.stdout is not None
    process.stdout.readline()
    seen = []
    while process.poll() is None:
        found = load(where).trials
        assert not any(t.state == TrialState.RUNNING for t in found)
        assert all("state" in t.user_attrs for t in found)
        seen.append(len(found))
    process.stdout.close()
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert len(load(where).trials) == 90


def test_a_torn_journal_and_a_dead_writer_s_lock_do_no_harm(tmp_path: Path) -> None:
    where = tmp_path / "trials.journal"
    given = trials(6)
    with TrialStore(where, "gold", ("maximize",), MIXED) as store:
        store.persist(given)
    whole = where.read_bytes()
    for cut in (1, 10, len(whole) - whole[:-1].rfind(b"\n") - 1):
        where.write_bytes(whole[:-cut])
        os.symlink(where, tmp_path / "trials.journal.lock")
        with TrialStore(where, "gold", ("maximize",), MIXED) as store:
            assert store.stored == set(range(5))
            assert store.persist(given) == 1
        assert len(load(where).trials) == 6


def test_closing_leaves_one_file_and_can_be_repeated(tmp_path: Path) -> None:
    store = TrialStore(tmp_path / "trials.db", "gold", ("maximize",), BOWL)
    store.persist(trials(3, BOWL))
    store.close()
    store.close()
    assert [p.name for p in tmp_path.iterdir()] == ["trials.db"]


def test_sqlite_is_written_ahead(tmp_path: Path) -> None:
    where = tmp_path / "odd {name} 100%.db"
    with TrialStore(where, "gold", ("maximize",), BOWL) as store:
        store.persist(trials(1, BOWL))
    with sqlite3.connect(where) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


# -- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["nosuchdb://host/x", "mysql+nosuchdriver://host/x", "sqlite//missing://colon", "://"]
)
def test_a_url_that_names_no_database_is_said(url: str) -> None:
    with pytest.raises(StudyFileError, match=r"study\.storage: '.*' cannot be used .*; expected"):
        TrialStore(url, "gold", ("maximize",), BOWL)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(StudyFileError) as caught:
        TrialStore("nosuchdb://me:secret@host/x", "gold", ("maximize",), BOWL)
    assert "secret" not in str(caught.value)


def test_a_locked_database_is_said(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    store = TrialStore(where, "gold", ("maximize",), BOWL, timeout=0.01)
    other = sqlite3.connect(where, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StudyLockedError, match=r"trials\.db: another process holds"):
        store.persist(trials(1, BOWL))
    other.execute("ROLLBACK")
    assert store.persist(trials(2, BOWL)) == 2
    other.close()
    store.close()
    assert len(load(where).trials) == 2


def test_a_file_of_another_kind_is_said_and_left_alone(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    where.write_text("ts,bid,ask\n" * 1000)
    with pytest.raises(LedgerError, match=r"trials\.db: cannot be read or written \(.*not a data"):
        TrialStore(where, "gold", ("maximize",), BOWL)
    assert where.read_text() == "ts,bid,ask\n" * 1000


def test_a_journal_of_another_kind_is_said(tmp_path: Path) -> None:
    where = tmp_path / "trials.log"
    where.write_text("12:00 started\n12:01 stopped\n")
    with pytest.raises(LedgerError, match=r"trials\.log: is no journal"):
        TrialStore(where, "gold", ("maximize",), BOWL)


@pytest.mark.parametrize("file", ["trials.db", "trials.journal"])
def test_a_missing_folder_is_said(file: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be read or written"):
        TrialStore(tmp_path / "missing" / file, "gold", ("maximize",), BOWL)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for the superuser")
@pytest.mark.parametrize("file", ["trials.db", "trials.journal"])
def test_a_read_only_folder_is_said(file: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerError, match="cannot be read or written"):
        TrialStore(tmp_path / file, "gold", ("maximize",), BOWL)
    tmp_path.chmod(0o700)


def test_another_optuna_s_database_is_said(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    TrialStore(where, "gold", ("maximize",), BOWL).close()
    with sqlite3.connect(where) as connection:
        connection.execute("UPDATE version_info SET schema_version = 1")
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    connection.close()
    with pytest.raises(LedgerError, match=r"trials\.db: .*optuna"):
        TrialStore(where, "gold", ("maximize",), BOWL)


def test_a_study_with_other_directions_is_said(tmp_path: Path) -> None:
    where = tmp_path / "trials.db"
    TrialStore(where, "gold", ("maximize",), BOWL).close()
    with pytest.raises(StudyMismatchError, match="was made to maximize, not to minimize, max"):
        TrialStore(where, "gold", ("minimize", "maximize"), BOWL)


def test_a_failed_batch_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added before the failure is known, so nothing is added twice."""
    store = TrialStore(tmp_path / "trials.db", "gold", ("maximize",), BOWL)
    original: Any = optuna.storages.RDBStorage.create_new_trial
    calls = np.zeros(1, dtype=int)

    def create(self: Any, study_id: int, template: Any) -> int:
        calls[0] += 1
        if calls[0] == 3:
            raise OSError(28, "No space left on device")
        return int(original(self, study_id, template))

    monkeypatch.setattr(optuna.storages.RDBStorage, "create_new_trial", create)
    with pytest.raises(LedgerError, match="No space left on device"):
        store.persist(trials(5, BOWL))
    assert store.persist(trials(5, BOWL)) == 3
    store.close()
    assert len(load(tmp_path / "trials.db").trials) == 5


def test_trials_written_together_are_the_rows_that_optuna_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep.study import optuna_mirror

    stored = {}
    whole = [replace(t, started=1, ended=2) for t in trials(12, BOWL)]
    for file in ("together.db", "one-by-one.db"):
        if file == "one-by-one.db":
            monkeypatch.setattr(optuna_mirror, "_tables", lambda storage: None)
        with TrialStore(tmp_path / file, "gold", ("maximize",), BOWL) as store:
            store.persist([t for t in whole if not t.outcome.intermediate])
        with sqlite3.connect(tmp_path / file) as connection:
            stored[file] = {
                table: connection.execute(f"SELECT * FROM {table}").fetchall()
                for (table,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
                ).fetchall()
            }
    assert len(stored["together.db"]["trials"]) > 4
    assert stored["together.db"] == stored["one-by-one.db"]
