"""A run in a few lines: what its folder shows where nothing was printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

ROWS = 12

NONE = "–"

Record = Mapping[str, Any]


def effects(entries: Sequence[Record]) -> str:
    # The rate of an attribute has a row for each layer, too.
    return compared([entry for entry in entries if entry.get("layer") is None], "metric")


def activity(entries: Sequence[Record]) -> str:
    return compared([entry for entry in entries if entry["layer"] is None and entry["role"] == "all"], "quantity")


def compared(entries: Sequence[Record], measure: str) -> str:
    """Classes against random neurons, by the measure that is tested."""
    first = next((entry for entry in entries if entry["p_adjusted"] is not None), entries[0] if entries else None)
    if first is None:
        return "no class has neurons"
    entries = [entry for entry in entries if entry[measure] == first[measure]]
    caption = str(first[measure])
    if "prompts" in first:
        units = "documents" if first[measure] == "loss" else f"{first['subset']} prompts"
        caption += f", mean over {first['prompts']} {units}"
    if len(entries) > ROWS:
        caption += f"; the {ROWS} of {len(entries)} rows that differ most from their baseline"
        entries = sorted(entries, key=lambda entry: abs(entry["difference_to_baseline"] or 0), reverse=True)[:ROWS]
    # What all rows have in common is in no column.
    names = ["class"] + [name for name in ("layers", "mode", "path", "control") if len({str(e.get(name)) for e in entries}) > 1]
    means = [mean for mean in ("clean", "class", "baseline") if mean in first["means"]]
    header = [*names, "neurons", *means, "difference to baseline", "95 % interval", "p (rank)", "p (Holm)"]
    rows = [
        [
            *(between(entry.get(name)) for name in names),
            f"{entry['neurons']:,}",
            *(number(entry["means"][mean]) for mean in means),
            number(entry["difference_to_baseline"], "+.3f"),
            interval(entry["baseline_ci"]),
            probability(entry["permutation_p"]),
            probability(entry["p_adjusted"]),
        ]
        for entry in entries
    ]
    return f"{caption}\n{table(header, rows, left=len(names))}"


def claims(found: Mapping[str, Sequence[Record]]) -> str:
    rows = [
        [
            claim["id"],
            claim["verdict"],
            number(claim["estimate"], "+.3f"),
            interval({"low": claim["ci_low"], "high": claim["ci_high"]}),
            probability(claim["p"]),
            probability(claim["p_adjusted"]),
        ]
        for claim in found["claims"]
        if claim["verdict"] != "described"
    ]
    return table(["claim", "verdict", "estimate", "95 % interval", "p", "p (Holm)"], rows, left=2)


def curve(points: Sequence[Record]) -> str:
    rows = [
        [f"{point['neurons']:,}", number(point["effect"], "+.3f"), interval(point), number(point["facts_lost"], "g")]
        for point in points
        if point["order"] == "ranked"
    ]
    return "the first neurons of the ranking together\n" + table(["neurons", "effect", "95 % interval", "facts lost"], rows, left=0)


def classes(found: Mapping[str, Mapping[str, int]]) -> str:
    rows = [[name, f"{count:,}"] for name, count in found["totals"].items() if count]
    return table(["class", "neurons"], rows, left=1)


# The first of these files that a run has is shown.
FILES: dict[str, Callable[[Any], str]] = {
    "effects.json": effects,
    "claims.json": claims,
    "curve.json": curve,
    "class_activity.json": activity,
    "classes.json": classes,
}


def number(value: float | None, form: str = ".3f") -> str:
    return NONE if value is None else format(value, form)


def probability(value: float | None) -> str:
    return "<.001" if value is not None and value < 0.001 else number(value)


def interval(ends: Record | None) -> str:
    if ends is None or ends["low"] is None or ends["high"] is None:
        return ""
    return f"[{ends['low']:+.3f}, {ends['high']:+.3f}]"


def between(value: object) -> str:
    """A name, or the first and the last layer of a window."""
    if isinstance(value, list):
        return "–".join(str(end) for end in dict.fromkeys(value))
    return NONE if value is None else str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Columns of text: the first `left` of them begin where their names do, the others end there."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(pad(line[i], widths[i], i < left) for i in range(len(header))).rstrip() for line in lines)


def pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
