"""A processor's page of whole models, made from the times that later runs add to."""

from __future__ import annotations

from pathlib import Path

from machine import describe, named, titled
from overview import refresh
from torch_overview import (
    NEVER_BELOW,
    OURS,
    PARTS,
    SUFFIX,
    Time,
    Times,
    geomean,
    plain,
    ratio,
    read,
    table,
    write,
)
from torch_published import MODELS

FOLDER = Path(__file__).resolve().parent
HEAD = """# Whole PyTorch models on {title}

Written by `make bench-torch` from {name}.csv; nothing here is entered by hand. Models with
their sources: ../torch_models.py, torch_published.py, torch_others.py. Milliseconds, medians of interleaved runs; the
ratio is the time of the fastest other runner divided by ours, the fastest of the columns on the right; `plain` is the
time of the better of eager and channels last divided by that of `accelerate(model)`; `trust` is
`accelerate(model, trust=True)`. The transposed convolutions alone are timed one by one, each on the input that it gets
in the model, and summed. A training step that would take very long is one of smaller data, which its row says. Under
autocast and in bfloat16, OpenVINO computes in bfloat16, and ONNX Runtime, which does not, is left out. A dash: the
runner was left out or cannot run the model. All processors: ../torch_results.md.
"""  # noqa: E501


def keep(times: list[Time], folder: Path) -> list[Path]:
    """Put measurements into this processor's file, in place of older ones of the same thing.

    Write the pages anew.
    """
    machine = describe()
    path = folder / "results" / f"{named(machine)}{SUFFIX}.csv"
    known = {entry[:4]: entry for entry in (*(read(path).times if path.exists() else []), *times)}
    order = {name: place for place, name in enumerate([*PARTS, *(entry.name for entry in MODELS)])}
    order |= {entry.trained: order[entry.name] for entry in MODELS}
    kept = [entry for entry in known.values() if entry.model in order]
    rows = sorted(kept, key=lambda entry: (entry.threads, order[entry.part], order[entry.model]))
    write(path, Times(machine, rows))
    return rewrite(path, folder)


def rewrite(path: Path, folder: Path) -> list[Path]:
    """Write a processor's page, the table over processors, and what the README says."""
    text, written = page(path), path.with_suffix(".md")
    _ = written.write_text(text, encoding="utf-8")
    over = folder / "torch_results.md"
    _ = over.write_text(table(folder), encoding="utf-8")
    return [path, written, over, *refresh(folder), *_documented(written, folder)]


def _documented(written: Path, folder: Path) -> list[Path]:
    """The documentation page that takes in a processor's page, in the project's own folder."""
    if folder.resolve() != FOLDER:
        return []
    path = FOLDER.parent / "docs" / "results" / written.name
    path.parent.mkdir(exist_ok=True)
    words = (
        f"---\norphan: true\n---\n\n```{{include}} ../../benchmarks/results/{written.name}\n```\n"
    )
    _ = path.write_text(words, encoding="utf-8")
    return [path]


def page(path: Path) -> str:
    """The page, as Markdown."""
    machine, times = read(path)
    lines = [
        HEAD.format(title=titled(machine), name=path.stem),
        "## Machine\n",
        "|  |  |",
        "|---|---|",
    ]
    lines += [
        f"| {name} | {words} |" for name, words in machine.items() if not words.startswith("not ")
    ]
    for threads in sorted({entry.threads for entry in times}):
        lines.append(f"\n## {'One thread' if threads == 1 else f'{threads} threads'}\n")
        lines += ["| part | models | geomean | min | below 1.0 |", "|---|---|---|---|---|"]
        tables: list[str] = []
        for part, title in PARTS.items():
            chosen = [entry for entry in times if entry.threads == threads and entry.part == part]
            if chosen:
                ratios, rows = _table(chosen)
                lines.append(_summary(title, ratios))
                tables += [f"\n### {title}\n", *rows]
                heavy = {entry.trained for entry in MODELS if entry.decoder_heavy} & set(ratios)
                if part == "training" and heavy:
                    lines.append(
                        _summary(
                            f"{title}, decoder-heavy models", {name: ratios[name] for name in heavy}
                        )
                    )
        lines += tables
    return "\n".join(lines) + "\n"


def _table(times: list[Time]) -> tuple[dict[str, float], list[str]]:
    runners = list(dict.fromkeys(entry.runner for entry in times if entry.runner not in OURS))
    runners += [runner for runner in OURS if any(entry.runner == runner for entry in times)]
    ratios: dict[str, float] = {}
    lines = [
        f"| model | {' | '.join(runners)} | ratio | to | plain |",
        "|---|" + "---|" * (len(runners) + 3),
    ]
    for model in dict.fromkeys(entry.model for entry in times):
        found = {entry.runner: entry for entry in times if entry.model == model}
        milliseconds = {runner: entry.milliseconds for runner, entry in found.items()}
        peer, ratios[model] = ratio(milliseconds)
        stock = plain(milliseconds)
        cells = [
            f"{found[runner].milliseconds:.2f} ± {found[runner].spread:.0f} %"
            if runner in found
            else "-"
            for runner in runners
        ]
        last = (
            "-" if stock is None else f"{stock:.2f}" if stock >= NEVER_BELOW else f"**{stock:.2f}**"
        )
        lines.append(f"| {model} | {' | '.join(cells)} | {ratios[model]:.2f} | {peer} | {last} |")
    return ratios, lines


def _summary(title: str, ratios: dict[str, float]) -> str:
    values = list(ratios.values())
    below = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items() if value < 1)
    return (
        f"| {title} | {len(values)} | {geomean(values):.2f} | {min(values):.2f} | "
        f"{below or 'none'} |"
    )
