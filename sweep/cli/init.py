"""`sweep init`: a commented strategy and study file that run as they are."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sweep.cli.options import force_option, hint, note, quiet_option
from sweep.errors import InputError

__all__ = ["init"]


@click.command()
@click.argument("folder", required=False, default=".", metavar="[DIR]")
@click.option("--name", metavar="NAME", help="NAME.py and NAME.toml; strategy.py and study.toml.")
@force_option
@quiet_option
def init(folder: str, name: str | None, force: bool, quiet: bool) -> None:
    """Write a commented strategy and a study file into DIR, the working directory by default.

    They run at once, on generated ticks. Results go to results/DIR, or results/NAME.
    Nothing is overwritten without --force.
    """
    from sweep.cli.strategy_template import strategy_template
    from sweep.cli.templates import study_template
    from sweep.report.table import new_file

    if name is not None and not re.fullmatch(r"\w[\w-]*", name):
        raise InputError(f"--name {name}: use letters, digits, - and _ only")
    strategy = Path(folder) / f"{name or 'strategy'}.py"
    study = Path(folder) / f"{name or 'study'}.toml"
    there = [str(path) for path in (strategy, study) if path.exists()]
    if there and not force:
        raise InputError(
            f"{' and '.join(there)}: there already; --force replaces, --name chooses another name"
        )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made: {error.strerror}") from None
    texts = {
        strategy: strategy_template(str(strategy)),
        study: study_template(
            strategy=strategy.name,
            file=str(study),
            name=_name_after(Path(folder)) if name is None else None,
        ),
    }
    for path, text in texts.items():
        with new_file(path, force=force) as temporary:
            temporary.write_text(text, encoding="utf-8")
        note(f"{path}: written", quiet=quiet)
    hint(["sweep", "check", strategy], ["sweep", "run", study], quiet=quiet)


def _name_after(folder: Path) -> str | None:
    """Return a study's name after its folder, so that each has results of its own.

    None where nothing of the folder's name is left; the study is then named after its file.
    """
    return re.sub(r"[^\w.-]+", "-", folder.resolve().name).strip(".-") or None
