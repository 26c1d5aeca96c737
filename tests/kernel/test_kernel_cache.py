"""Compiled kernels are found again, shared, rebuilt where damaged, and done without."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from study_helpers import ROOT, write_study

from sweep.kernel import cache as cache_module
from sweep.kernel.cache import seal

STRATEGY = """
from typing import NamedTuple

from sweep.strategy import Space, real


class Params(Space):
    n: float = real(2, 50, default=10)


class State(NamedTuple):
    x: float


def start(tick, params):
    return State(tick.mid)


def step(state, tick, params):
    x = state.x + (tick.mid - state.x) / params.n
    return State(x), 1.0 if tick.mid > x else -1.0
"""

#: Counts what Numba compiles, while it builds a strategy's kernel or loads it by reference.
PROBE = """
import errno, os, pickle, sys
from pathlib import Path

import numba.core.event as event


class Listener(event.Listener):
    compiled = 0

    def on_start(self, found):
        Listener.compiled += 1

    def on_end(self, found):
        pass


event.register("numba:compile", Listener())

refuse, where = os.environ.get("REFUSE"), os.environ.get("REFUSE_BELOW", "")


def hook(name, arguments):
    # Writes below a folder fail, as they do for root too where a disk is full or read-only.
    path = arguments[0] if arguments else None
    if name not in ("open", "os.mkdir", "os.remove", "os.rename") or not isinstance(path, str):
        return
    writes = name != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and all(part in path for part in where.split("|")):
        number = getattr(errno, refuse)
        raise OSError(number, os.strerror(number), path)


if refuse:
    sys.addaudithook(hook)

from sweep.kernel import build_kernel, load_kernel

if sys.argv[1].endswith(".pickle"):
    ref = pickle.loads(Path(sys.argv[1]).read_bytes())
else:
    from sweep.strategy.space import SearchSpace
    from sweep.strategy import load_strategy

    strategy = load_strategy(sys.argv[1])
    ref = build_kernel(strategy, SearchSpace.of(strategy.params))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_bytes(pickle.dumps(ref))
kernel = load_kernel(ref)
before = Listener.compiled
load_kernel(ref)
print(before, ref.path)
"""


@dataclass(frozen=True)
class Built:
    compiled: int
    folder: Path
    err: str


class Bench:
    """A cache folder, a strategy, and processes that build its kernel there."""

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder, self.cache = folder, cache or folder / "cache"
        self.strategy = folder / "mine.py"
        self.strategy.write_text(STRATEGY)
        self.probe = folder / "probe.py"
        self.probe.write_text(PROBE)

    def start(self, *arguments: Any, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.probe), *map(str, arguments or (self.strategy,))]
        own = {"SWEEP_CACHE": str(self.cache), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command,
            env={**os.environ, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Built:
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        compiled, path = out.split(maxsplit=1)
        return Built(int(compiled), Path(path.strip()).parent, err)

    def build(self, *arguments: Any, **environment: str) -> Built:
        return self.end(self.start(*arguments, **environment))

    def folders(self) -> list[Path]:
        return sorted((self.cache / "kernels").iterdir())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("kernels"))
    # Two at once, on an empty cache.
    first, second = bench.start(), bench.start(bench.strategy, bench.folder / "ref.pickle")
    built = [bench.end(first), bench.end(second)]
    assert all(b.err == "" for b in built)
    assert len({b.folder for b in built}) == 1
    assert sum(b.compiled > 0 for b in built) in (1, 2)  # one may take the core, one the kernel
    return bench


@pytest.fixture
def warm(original: Bench, tmp_path: Path) -> Bench:
    """A copy of the cache, to be spoiled."""
    shutil.copytree(original.cache, tmp_path / "cache")
    return Bench(tmp_path)


def kernel_folder(bench: Bench) -> Path:
    return next(f for f in bench.folders() if "_sweep_run" in (f / "kernel.py").read_text("utf-8"))


def core_folder(bench: Bench) -> Path:
    return next(f for f in bench.folders() if f != kernel_folder(bench))


def test_two_that_start_at_once_leave_one_whole_cache(original: Bench) -> None:
    folders = original.folders()
    assert len(folders) == 2  # the core, and the strategy's kernel
    for folder in folders:
        assert seal(folder) is not None
        assert not list(folder.rglob("*.part"))


def test_a_second_start_compiles_nothing_wherever_the_strategy_lies(warm: Bench) -> None:
    elsewhere = warm.folder / "other" / "name.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(STRATEGY)
    before = {p: p.stat().st_mtime_ns for p in warm.cache.rglob("*")}
    for path in (warm.strategy, elsewhere):
        # A user's own setting for other modules must not hide what is there.
        found = warm.build(path, NUMBA_CACHE_DIR=str(warm.folder / "numba"))
        assert (found.compiled, found.err) == (0, "")
    assert {p: p.stat().st_mtime_ns for p in warm.cache.rglob("*")} == before


def test_a_worker_loads_by_reference_and_compiles_nothing(original: Bench) -> None:
    path = original.folder / "ref.pickle"
    ref = pickle.loads(path.read_bytes())
    assert Path(ref.path).parent == kernel_folder(original)
    assert original.build(path).compiled == 0


def test_a_strategy_that_changes_is_compiled_and_the_core_is_not(warm: Bench) -> None:
    core = core_folder(warm)
    before = {p: p.stat().st_mtime_ns for p in core.rglob("*")}
    warm.strategy.write_text(STRATEGY.replace("1.0 if tick.mid", "2.0 if tick.mid"))
    found = warm.build()
    assert found.compiled > 0
    assert len(warm.folders()) == 3
    assert {p: p.stat().st_mtime_ns for p in core.rglob("*")} == before


def test_the_key_depends_on_sweep_s_own_text_and_on_what_compiles_it(monkeypatch) -> None:
    digest = cache_module.own_digest.__wrapped__
    plain = digest()
    assert digest() == plain
    monkeypatch.setattr(cache_module.numba, "__version__", "0.0")
    assert digest() != plain
    monkeypatch.undo()
    monkeypatch.setattr(cache_module.llvm, "get_host_cpu_name", lambda: "another")
    assert digest() != plain
    monkeypatch.undo()
    monkeypatch.setattr(cache_module.accounting, "__file__", __file__)
    assert digest() != plain
    monkeypatch.undo()
    # All of the compiler's own package, by the folder in which this module lies.
    monkeypatch.setattr(cache_module, "__file__", __file__)
    assert digest() != plain


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


DAMAGE = {
    "flipped": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_every_damaged_file_breaks_the_seal(warm: Bench, how: str) -> None:
    for folder in warm.folders():
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock"):
            content = path.read_bytes()
            DAMAGE[how](path)
            found = seal(folder)
            if path.name != "seal.json":
                assert found is None, path
            elif how != "flipped":
                assert found is None
            path.write_bytes(content)
            assert seal(folder) is not None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"files": {}}', '{"files": [1, 2]}', "\0"]
)
def test_a_seal_that_says_nothing_is_none(warm: Bench, content: str) -> None:
    folder = kernel_folder(warm)
    (folder / "seal.json").write_text(content)
    assert seal(folder) is None


HOLD = """
import sys, time
from filelock import FileLock

FileLock(sys.argv[1]).acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    # The core takes longest to compile, and the same function builds both.
    "damaged",
    [kernel_folder, pytest.param(core_folder, marks=pytest.mark.slow)],
)
def test_damaged_machine_code_is_built_again_past_the_lock_of_a_killed_process(
    warm: Bench, damaged: Callable[[Bench], Path]
) -> None:
    folder = damaged(warm)
    for path in folder.glob("__pycache__/*.nbc"):
        flip(path)
    command = [sys.executable, "-c", HOLD, str(folder / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    found = warm.build()
    assert (found.compiled > 0, found.err) == (True, "")
    assert all(seal(folder) is not None for folder in warm.folders())
    assert warm.build().compiled == 0


def test_a_whole_cache_that_can_only_be_read_is_used_without_a_word(warm: Bench) -> None:
    found = warm.build(REFUSE="EROFS", REFUSE_BELOW=str(warm.cache))
    assert (found.compiled, found.err) == (0, "")
    assert found.folder == kernel_folder(warm)


@pytest.mark.parametrize(
    ("number", "below"),
    # A folder that cannot be written to; a disk that is full once Numba saves what it compiled.
    [("EROFS", ""), pytest.param("ENOSPC", "|.nbc", marks=pytest.mark.slow)],
)
def test_a_cache_that_cannot_be_written_to_costs_time_and_one_line(
    warm: Bench, number: str, below: str
) -> None:
    gone = kernel_folder(warm)
    shutil.rmtree(gone)
    kernels = warm.cache / "kernels"
    found = warm.build(REFUSE=number, REFUSE_BELOW=f"{kernels}{below}")
    assert found.compiled > 0
    assert kernels not in found.folder.parents
    assert not found.folder.exists()  # removed when the process ended
    (line,) = found.err.splitlines()
    assert line.startswith(f"the kernel cache {kernels} cannot be used (")
    assert os.strerror(getattr(errno, number)) in line
    assert seal(gone) is None


@pytest.mark.slow
def test_a_study_runs_where_the_cache_cannot_be_written_to(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kernels").write_text("a file where the folder should be")
    study = write_study(tmp_path)
    command = [sys.executable, "-m", "sweep", "run", study, "--out", tmp_path / "out", "-j", "2"]
    done = subprocess.run(
        [str(c) for c in command],
        env={**os.environ, "SWEEP_CACHE": str(cache), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "kernel cache" in line]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("whose", ["another user's", "open to others"])
def test_machine_code_that_others_could_have_put_there_is_not_used(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels" / "key"
    cache_module.find_or_build(folder, "text", dict)
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    if whose == "open to others":
        folder.chmod(0o770)
    else:
        monkeypatch.setattr(os, "getuid", lambda: -1)
    with pytest.raises(PermissionError, match=r"another user|can write to"):
        cache_module.find_or_build(folder, "text", dict)
