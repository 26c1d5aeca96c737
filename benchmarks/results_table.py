"""Write the table of results into benchmarks/README.md, from benchmarks/results/*.json.

for bench in kernel scaling memory start grid stream; do
    sweep bench $bench --source TICKS -f json > benchmarks/results/$bench.json
done
python benchmarks/results_table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- results: begin", "<!-- results: end -->"


def main() -> None:
    documents = [json.loads(p.read_text("utf-8")) for p in sorted(HERE.glob("results/*.json"))]
    readme = HERE / "README.md"
    head, _, rest = readme.read_text("utf-8").partition(BEGIN)
    note, _, rest = rest.partition("\n")
    _, _, tail = rest.partition(END)
    body = "\n".join(table(documents)) if documents else "Not measured yet."
    readme.write_text(f"{head}{BEGIN}{note}\n{body}\n{END}{tail}", encoding="utf-8")


def table(documents: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table of all figures, after a line for each machine."""
    lines = list(dict.fromkeys(machine(d["machine"]) for d in documents))
    lines += ["", "| bench | figure | median | low to high | unit | bar | aim | |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for document in documents:
        for name, f in document["figures"].items():
            span = f"{f['low']:.3g} to {f['high']:.3g}"
            marks = " | ".join("" if f[m] is None else f"{f[m]:g}" for m in ("bar", "aim"))
            lines.append(
                f"| {document['bench']} | `{name}` | {f['median']:.3g} | {span} | {f['unit']} "
                f"| {marks} | {f['verdict']} |"
            )
    return lines


def machine(found: dict[str, str]) -> str:
    return "Machine: " + ", ".join(f"{name} {text}" for name, text in found.items()) + "."


if __name__ == "__main__":
    main()
