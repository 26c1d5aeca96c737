"""`sweep mc`: what could have happened instead, for variants of a study."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from sweep.cli.options import (
    force_option,
    format_option,
    hint,
    no_color_option,
    note,
    open_study,
    quiet_option,
    setting_options,
    source_option,
    trust_of,
    trust_option,
)
from sweep.montecarlo.request import ALL_METHODS, MonteCarlo, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sweep.montecarlo.compare import Comparison
    from sweep.montecarlo.finding import Finding
    from sweep.report.status_line import StatusLine
    from sweep.study.study import Study

__all__ = ["mc"]

#: Endings that the options for files take.
_ENDINGS = {"csv": ".csv", "parquet": ".parquet", "png": ".png", "html": ".html"}


def _split(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    names = [name.strip() for text in value for name in text.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def _numbers(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    return tuple(map(_number, value))


def _number(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if equals:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise click.UsageError(f"--model {text}: expected NAME=NUMBER, as in volatility=0.3")


@click.command()
@click.argument("trial", required=False, type=int, metavar="[TRIAL]")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A variant by its values; the rest are the trial's if one is named, else the defaults.",
)
@click.option(
    "--compare", multiple=True, type=int, metavar="TRIAL", help="Further trials; may be repeated."
)
@click.option("--top", type=click.IntRange(1), metavar="N", help="The N best trials.")
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    callback=_split,
    metavar="NAME[,NAME...]",
    help=f"What is drawn: {', '.join(ALL_METHODS)}; the study's method by default.",
)
@setting_options(MonteCarlo)
@click.option(
    "--model",
    multiple=True,
    callback=_numbers,
    metavar="NAME=VALUE",
    help="Models: a parameter set by hand instead of fitted, as in volatility=0.3.",
)
@click.option("--csv", metavar="FILE", help="Write all paths.")
@click.option("--parquet", metavar="FILE", help="Write all paths.")
@click.option("--png", metavar="FILE", help="Draw a picture (needs the extra: plots).")
@click.option("--html", metavar="FILE", help="Write a report that needs nothing else.")
@click.option(
    "--export",
    nargs=2,
    type=(int, str),
    metavar="PATH FILE",
    help="Write the ticks of one path to a Parquet file, and evaluate nothing.",
)
@click.option("-j", "--workers", type=click.IntRange(1), metavar="N", help="Every core by default.")
@click.option("--study", "folder", metavar="FOLDER", help="The latest under results by default.")
@force_option
@source_option
@trust_option
@quiet_option
@no_color_option
@format_option
def mc(
    trial: int | None,
    params: tuple[str, ...],
    compare: tuple[int, ...],
    top: int | None,
    export: tuple[int, str] | None,
    workers: int | None,
    folder: str | None,
    force: bool,
    source: str | None,
    trust: bool,
    quiet: bool,
    no_color: bool,
    fmt: str,
    **given: Any,
) -> None:
    """Evaluate variants on other histories, under worse execution, and with other parameters.

    TRIAL is the best one by default. Several methods give one table, the cheapest first.
    Paths depend on their number and the seed alone: more of them add to those there, and
    what an interrupted run has finished is not evaluated again.
    """
    from sweep.cli.replay import refuse_existing, values_of
    from sweep.engines.choose import make_engine
    from sweep.montecarlo.compare import comparisons_of
    from sweep.montecarlo.run import run_methods
    from sweep.montecarlo.subject import subjects_of

    files = {name: given.pop(name) for name in _ENDINGS}
    _check_endings(files)
    refuse_existing({**files, "export": export[1] if export is not None else None}, force)
    if files["png"]:
        from sweep.montecarlo.report.plots import need_matplotlib

        need_matplotlib()
    study = open_study(folder, source, trust=trust, quiet=quiet)
    request = request_of(study, {k: v for k, v in given.items() if v not in (None, ())})
    if export is not None:
        _export(study, request, export, quiet=quiet)
        return
    trials = [] if trial is None else [trial]
    if top is not None:
        trials += study.best(top)
    if compare and not trials and not params:
        trials += study.best(1)
    trials += compare
    subjects = subjects_of(study, trials, values_of(study, params) if params else None)
    from sweep.cli.interrupts import Interrupts
    from sweep.report.status_line import StatusLine

    compute = study.spec.compute
    study.mapped  # noqa: B018 - bad ticks or a bad strategy are said before workers start
    engine = make_engine(compute.engine, workers or compute.workers)
    with Interrupts() as interrupts, StatusLine(quiet=quiet, no_color=no_color) as status:
        progress = _Progress(status)
        interrupts.counting = True
        try:
            findings = run_methods(
                study,
                subjects,
                engine,
                request,
                progress=progress,
                interrupted=interrupts,
                stage=progress.stage,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "interrupted; paths that were finished are kept, and the same command continues"
            ) from None
        finally:
            interrupts.counting = False
            engine.close(cancel=True)
    comparisons = comparisons_of(findings, study.spec.study.objective[0], study.directions[0])
    _write(findings, comparisons, files, force=force, quiet=quiet)
    _show(study, findings, comparisons, fmt, no_color=no_color)
    if not any(files.values()):
        words = ["sweep", "mc", *([] if trial is None else [str(trial)])]
        words += ["--study", str(study.folder), "-m", ",".join(request.methods)]
        hint([*words, "--html", "mc.html", *trust_of(study)], quiet=quiet)


def _check_endings(files: dict[str, str | None]) -> None:
    from sweep.errors import InputError

    for name, path in files.items():
        if path is not None and not path.lower().endswith(_ENDINGS[name]):
            raise InputError(f"--{name} {path}: the name must end in {_ENDINGS[name]}")


def _export(study: Study, request: Any, export: tuple[int, str], *, quiet: bool) -> None:
    from sweep.montecarlo.methods.ticks import export_ticks

    number, file = export
    rows = export_ticks(study, request, number, file)
    note(f"{file}: {rows:,} ticks of path {number} by {request.methods[0]}", quiet=quiet)
    hint(["sweep", "data", "info", file], quiet=quiet)


def _write(
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    files: dict[str, str | None],
    *,
    force: bool,
    quiet: bool,
) -> None:
    from sweep.montecarlo.report.tables import paths_table
    from sweep.report.table import write_csv, write_parquet

    if files["csv"] or files["parquet"]:
        table = paths_table(findings)
        if files["csv"]:
            write_csv(files["csv"], table, force=force)
        if files["parquet"]:
            write_parquet(files["parquet"], table, force=force)
    if files["png"]:
        from sweep.montecarlo.report.plots import write_png

        write_png(files["png"], findings, force=force)
    if files["html"]:
        from sweep.montecarlo.report.document import page_parts
        from sweep.report.html import write_page

        write_page(files["html"], "Robustness", page_parts(findings, comparisons), force=force)
    for path in files.values():
        if path:
            note(f"written: {path}", quiet=quiet)


def _show(
    study: Study,
    findings: Sequence[Finding],
    comparisons: Sequence[Comparison],
    fmt: str,
    *,
    no_color: bool,
) -> None:
    from sweep.montecarlo.report.tables import findings_document, summary_with_comparisons
    from sweep.report.table import emit, json_text

    if fmt == "json":
        head = {"study": study.name, "folder": study.folder}
        sys.stdout.write(json_text({**head, **findings_document(findings, comparisons)}))
        return
    if fmt == "csv":
        emit(summary_with_comparisons(findings, comparisons), "csv")
        return
    from sweep.montecarlo.report.document import screen_parts
    from sweep.report.terminal import lines_of, print_lines, screen_width

    lines = lines_of(screen_parts(findings, comparisons), screen_width())
    print_lines(lines, no_color=no_color)


class _Progress:
    """Shows which method is under way, its rate, the time left and running quantiles."""

    def __init__(self, status: StatusLine, clock: Callable[[], float] = time.monotonic) -> None:
        self._status = status
        self._clock = clock
        self._method = ""
        self._began = 0.0
        self._first = 0

    def __call__(self, method: str, done: int, total: int, profits: Any) -> None:
        now = self._clock()
        begins = method != self._method
        if begins:
            self._method, self._began, self._first = method, now, done
        if self._status.due() or (begins and self._status.on_terminal):
            self._status.show(self._line(done, total, now - self._began, profits))

    def stage(self, method: str, text: str) -> None:
        """Show what is being done before there are paths: on a terminal, where one waits."""
        if self._status.on_terminal:
            self._status.show(f"{method}: {text}")

    def _line(self, done: int, total: int, elapsed: float, profits: Any) -> str:
        from sweep.text import duration, short

        parts = [f"{self._method}: {done:,} of {total:,}"]
        fresh = done - self._first
        if fresh > 0 and elapsed > 0.2:
            rate = fresh / elapsed
            parts.append(f"{short(rate)}/s")
            if done < total:
                parts.append(f"{duration((total - done) / rate)} left")
        if profits is not None and len(profits) > 1:
            import numpy as np

            low, middle, high = np.quantile(profits, (0.05, 0.5, 0.95), method="inverted_cdf")
            parts.append(f"net profit 5 % {low:,.4g}, 50 % {middle:,.4g}, 95 % {high:,.4g}")
        return ", ".join(parts)
