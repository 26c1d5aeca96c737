"""What is reported of a study: how a run went, its state, its winners, whether they replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweep.cli.options import note
from sweep.cli.trial_tables import best_grid, trials_table
from sweep.errors import ReplayMismatchError, SweepError
from sweep.report.document import Facts, Heading, Paragraph, Part
from sweep.study.records import FAILED, INFEASIBLE, PRUNED
from sweep.study.runner import Summary
from sweep.study.study import Study
from sweep.text import bytes_text, count, counted, duration, percent
from sweep.ticks.quality import format_stamp

__all__ = [
    "about_document",
    "about_parts",
    "holdout_fact",
    "is_running",
    "summary_document",
    "summary_parts",
    "trial_counts",
    "verdict",
    "verify",
    "why_no_winner",
    "winners_document",
    "winners_parts",
]

# -- trials and holdout ----------------------------------------------------------------


def trial_counts(study: Study) -> dict[str, int]:
    """Return the number of trials in each state, of duplicates, and of all together."""
    return {"trials": len(study.board), **study.board.counts()}


def _counts_text(study: Study) -> str:
    counts = trial_counts(study)
    total = counts.pop("trials")
    parts = [f"{count(n)} {name}" for name, n in counts.items() if n]
    return f"{count(total)}: {', '.join(parts)}" if parts else count(total)


def _holdout_text(study: Study) -> str:
    if study.manifest["holdout"] is None:
        return "none is kept (data.holdout = 0): nothing here was tested on unseen ticks"
    begin, end, _ = study.manifest["holdout"]
    n = len(study.opened)
    seen = f"opened for {counted(n, 'variant')}" if n else "not opened yet"
    caution = "; the more often, the less it says" if n else ""
    return f"{counted(end - begin, 'tick')}, {seen}{caution}"


def holdout_fact(study: Study) -> tuple[str, str]:
    """Return how often the holdout was opened, with a label."""
    return "holdout", _holdout_text(study)


# -- a run -----------------------------------------------------------------------------


def summary_parts(study: Study, summary: Summary, startup_s: float = 0.0) -> list[Part]:
    """Return how a run went; ``startup_s`` passed before the run began."""
    s = summary
    facts = [
        ("trials", f"{_counts_text(study)}; {counted(s.evaluated, 'variant')} evaluated"),
        ("time", _time_text(s, startup_s)),
        ("workers", _busy_text(s)),
    ]
    if s.uss_bytes:
        ends = min(s.uss_bytes.values()), max(s.uss_bytes.values())
        span = " to ".join(dict.fromkeys(map(bytes_text, ends)))
        shared = bytes_text(study.manifest["ticks"]["n_ticks"] * 8 * 3)
        facts.append(
            ("memory", f"{span} of its own for each worker (USS), {shared} of ticks shared")
        )
    if s.saved_share is not None:
        facts.append(("pruning", f"saved {percent(s.saved_share)} of the evaluation"))
    facts.append(holdout_fact(study))
    return [Heading(f"{study.name}: {_ending(s.reason)}"), Facts(tuple(facts))]


def _ending(reason: str) -> str:
    return reason if reason == "interrupted" else f"ended by {reason}"


def _time_text(s: Summary, startup_s: float) -> str:
    text = duration(s.elapsed_s + startup_s)
    if startup_s >= 0.05:
        text += f", {duration(startup_s)} of it for ticks and compilation"
    if s.first_trial_s == s.first_trial_s:
        text += f"; first trial after {duration(s.first_trial_s + startup_s)}"
    return text


def _busy_text(s: Summary) -> str:
    sampler, evaluation = _shares(s)
    return (
        f"{s.workers}: evaluation {percent(evaluation)}, idle {percent(s.idle_share)} of their "
        f"time; the sampler took {percent(sampler)} of one core's"
    )


def _shares(s: Summary) -> tuple[float, float]:
    elapsed = max(s.elapsed_s, 1e-9)
    return min(s.sampler_s / elapsed, 1.0), min(s.evaluation_s / (elapsed * s.workers), 1.0)


def summary_document(study: Study, summary: Summary, startup_s: float = 0.0) -> dict[str, Any]:
    """Return the same for JSON; durations in seconds, sizes in bytes, shares as fractions."""
    s = summary
    sampler, evaluation = _shares(s)
    return {
        "ended_by": s.reason,
        "startup_s": startup_s,
        "elapsed_s": s.elapsed_s,
        "first_trial_s": s.first_trial_s,
        **trial_counts(study),
        "variants_evaluated": s.evaluated,
        "workers": s.workers,
        "sampler_s": s.sampler_s,
        "evaluation_s": s.evaluation_s,
        "kernel_s": s.kernel_s,
        "cpu_s": s.cpu_s,
        "verify_cpu_s": s.verify_cpu_s,
        "worker_cpu_s": s.worker_cpu_s,
        "sampler_share": sampler,
        "evaluation_share": evaluation,
        "idle_share": s.idle_share,
        "worker_uss_bytes": [s.uss_bytes[pid] for pid in sorted(s.uss_bytes)],
        "pruning_saved_share": s.saved_share,
        "holdout_opened": len(study.opened) if study.manifest["holdout"] is not None else None,
        "warnings": list(s.messages),
    }


# -- a study ---------------------------------------------------------------------------


def is_running(folder: Path) -> bool:
    """Whether a process runs the study now."""
    path = folder / "lock"
    if not path.exists():
        return False
    lock = FileLock(str(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written to
        return False
    lock.release()
    return False


def state_of(study: Study) -> str:
    """Return ``running``, ``finished`` (its trials are done) or ``stopped``."""
    if is_running(study.folder):
        return "running"
    counts = trial_counts(study)
    wanted = study.spec.study.trials
    done = counts["trials"] - counts["invalid"]
    return "finished" if wanted is not None and done >= wanted else "stopped"


def about_parts(study: Study) -> list[Part]:
    """Return what a study is and how far it has come."""
    about, spec = study.manifest, study.spec.study
    ticks = about["ticks"]
    goals = ", ".join(
        f"{label} ({direction})"
        for label, direction in zip(study.objectives.labels, study.directions, strict=True)
    )
    begin, end, _ = about["search"]
    facts = [
        ("folder", str(study.folder)),
        ("strategy", f"{about['strategy']['path']} ({about['strategy']['digest'][:12]})"),
        ("ticks", f"{study.spec.data.source} ({ticks['content'][:12]})"),
        (
            "",
            f"{count(ticks['n_ticks'])} {ticks['kind']}, {format_stamp(ticks['first_ts'])} to "
            f"{format_stamp(ticks['last_ts'])}",
        ),
        ("search", f"{counted(end - begin, 'tick')} in {counted(about['n_slices'], 'slice')}"),
        holdout_fact(study),
        ("objective", goals),
    ]
    if spec.constraints:
        facts.append(("required", ", ".join(spec.constraints)))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    pruner = "" if spec.pruner.name == "none" else f", pruner {spec.pruner.name}"
    facts += [
        ("sampler", f"{spec.sampler.name}{pruner}, seed {spec.seed}"),
        ("settings", f"digest {about['digest'][:12]}; made with {versions}"),
        (
            "trials",
            f"{_counts_text(study)}; {counted(study.evaluations(), 'variant')} ever evaluated",
        ),
    ]
    return [Heading(f"{study.name}: {state_of(study)}"), Facts(tuple(facts))]


def about_document(study: Study) -> dict[str, Any]:
    """Return the same for JSON: everything that the study was made from."""
    return {
        "name": study.name,
        "folder": str(study.folder),
        "state": state_of(study),
        "objectives": [
            {"name": label, "direction": direction}
            for label, direction in zip(study.objectives.labels, study.directions, strict=True)
        ],
        "counts": trial_counts(study),
        "evaluations": study.evaluations(),
        "holdout_opened": len(study.opened) if study.manifest["holdout"] is not None else None,
        **{k: v for k, v in study.manifest.items() if k != "name"},
    }


# -- winners ---------------------------------------------------------------------------


def verify(study: Study, numbers: Sequence[int], *, quiet: bool = False) -> bool | None:
    """Replay trials and compare them to the bit.

    Returns
    -------
    bool or None
        True if all replayed. None if they cannot be replayed here, which the user is told:
        the ticks are gone, or others lie in their place, or the study is not trusted.

    Raises
    ------
    ReplayMismatchError
        If one differs.
    """
    try:
        for number in numbers:
            study.replay(number)
    except ReplayMismatchError:
        raise
    except SweepError as error:
        first = str(error).splitlines()[0]
        where = "" if study.not_run else "\n         --source PATH says where the ticks are now"
        note(
            f"warning: NOT VERIFIED, these figures could not be replayed: {first}{where}",
            quiet=quiet,
        )
        return None
    return True


def why_no_winner(study: Study) -> list[Sequence[str | Path]]:
    """Return the commands that say why none of a study's trials is its best."""
    listed: list[str | Path] = ["sweep", "trials", study.folder]
    counts = study.board.counts()
    state = next((s for s in (FAILED, INFEASIBLE, PRUNED) if counts[s]), None)
    if state is None:
        return [listed]
    listed += ["--state", state]
    if state == FAILED:
        for block in study.board.blocks():
            numbers = block.numbers[block.in_state(FAILED)]
            if len(numbers):
                return [["sweep", "replay", str(numbers[0]), "--study", study.folder], listed]
    return [listed]


def verdict(checked: bool | None, asked: bool, n: int) -> str:
    """Return in a few words whether what is shown was replayed."""
    if not n:
        return "no trial is complete: none meets the requirements with a defined objective"
    if not asked:
        return "not replayed"
    if checked is None:
        return "NOT VERIFIED"
    return f"{'it' if n == 1 else f'all {n}'} replayed to the bit"


def winners_parts(study: Study, numbers: Sequence[int], *, checked: str = "") -> list[Part]:
    """Return the table of the best trials; ``checked`` says whether they were replayed."""
    goals = ", ".join(study.objectives.labels)
    several = len(study.directions) > 1
    heading = Heading(f"Pareto front of {goals}" if several else f"best by {goals}", checked)
    if not numbers:
        text = "no complete trial: none meets the requirements"
        return [heading, Paragraph((text,), "yellow")]
    return [heading, best_grid(study, numbers)]


def winners_document(study: Study, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return the best trials for JSON, every column."""
    return trials_table(study, numbers).records()
