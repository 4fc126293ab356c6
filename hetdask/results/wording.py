"""The result in sentences: verdict, what a reader must look at, and how to read the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hetdask.results.course import STATUS_TEXT, LearnedSummary, MethodResult, SearchSummary
from hetdask.results.formatting import format_number, format_seconds, frames_text, sentence
from hetdask.results.goodness import outlier_line
from hetdask.results.intervals import bootstrap_concerns, profile_concerns
from hetdask.results.result import Result
from hetdask.results.values import ParameterResult

STRONG: Final = 0.95
"""Correlation of two parameters that a reader is told of."""

SHOWN_PAIRS: Final = 4

SHOWN_REGIONS: Final = 4
"""Outlying frames that are named; all of them are in result.json."""

CHI_SQUARED_NOTE: Final = (
    "Reduced chi-squared is reported, not judged: sigma holds the white noise, not the speckle noise."
)


def parameter_note(parameter: ParameterResult) -> str:
    """What must be known beside the value, in words; empty for a free, identified parameter inside its bounds."""
    if parameter.fixed:
        return "fixed"
    notes = []
    if parameter.at_bound is not None:
        notes.append({"min": "at its lower bound", "max": "at its upper bound"}[parameter.at_bound])
    if not parameter.identified:
        notes.append("not determined by these data")
    return ", ".join(notes)


def facts_line(result: Result) -> str:
    """Method, quality and size in one line."""
    parts = [
        f"method {result.best_method}",
        f"reduced chi-squared {format_number(result.reduced_chi_squared)}",
        f"{len(result.angles)} {'map' if len(result.angles) == 1 else 'maps'}",
        f"{result.n_points:,} pixels",
    ]
    if result.goodness is not None:
        parts.insert(1, f"quality {result.goodness.quality}")
    if result.resolution == "reduced":
        kept = result.identifiability.retained_information
        parts.append("fit of block means" + ("" if kept is None else f" with {kept:.1%} of the information"))
    if "total" in result.timings:
        parts.append(format_seconds(result.timings["total"]))
    return " · ".join(parts)


def status_line(result: Result) -> str:
    """Verdict on the run, with method, quality and size."""
    return f"{STATUS_TEXT[result.status]} · {facts_line(result)}"


def search_line(search: SearchSummary) -> str:
    """What the search did, in a sentence."""
    why = "those given led to no optimum at the noise level; " if search.doubted else ""
    line = (
        f"Start values: {why}global search, {search.agreed} of {search.starts} starts reached the best optimum "
        f"({search.evaluations:,} evaluations on reduced data, {format_seconds(search.seconds)})"
    )
    if search.confirmed:
        line += ", which is that of those given"
    if search.gap is None:
        return f"{line}; no other optimum was found."
    if search.gap >= 1.0:
        return f"{line}; the next one had {format_number(1.0 + search.gap, 2)} times as much chi-squared there."
    return f"{line}; the next one had {100.0 * search.gap:.2g} % more chi-squared there."


def learned_line(learned: LearnedSummary) -> str:
    """What the learned start did, in a sentence."""
    where = f"(distance {learned.distance:.2f}, limit {learned.limit:.2f})"
    if learned.outside:
        return f"Learned start: not used, these data are unlike what it was trained on {where}; a search ran instead."
    line = (
        f"Learned start: {learned.starts} start values {where}, {learned.polished} polished with "
        f"{learned.evaluations:,} evaluations on reduced data"
    )
    origin = {
        "prediction": "the prediction itself led to the best optimum",
        "spread": "one within its doubt led to the best optimum",
        "history": "an earlier fit led to the best optimum",
        None: "none led to the best optimum",
    }[learned.winner]
    if learned.sufficed:
        return f"{line}; {origin}."
    return f"{line}; they did not agree on an optimum at the noise level, so a search followed; {origin}."


def concerns(result: Result) -> list[str]:
    """What a reader of the numbers must look at, in sentences; empty if nothing."""
    lines = []
    contenders = [] if result.search is None else [one for one in result.search.optima if one.contender]
    if contenders:
        lines.append(
            f"{len(contenders)} other optim{'um' if len(contenders) == 1 else 'a'} cannot be excluded by these data: "
            "tighten the bounds, fix what is known, or measure at more angles."
        )
    for name, parameter in result.parameters.items():
        if parameter.at_bound is not None:
            side, key, bound = (
                ("lower", "min", parameter.min) if parameter.at_bound == "min" else ("upper", "max", parameter.max)
            )
            lines.append(
                f"{name} ended at its {side} bound {format_number(bound)}: change parameters.{name}.{key}, "
                f"or fix {name}."
            )
    lines.extend(sentence(weak.text) for weak in result.identifiability.weak)
    lines.extend(sentence(caution) for caution in result.identifiability.cautions)
    failed = [angle for angle in result.angles if angle.quality.startswith("failed")]
    if failed:
        angles = ", ".join(f"{angle.phi:g}°" for angle in failed[:8]) + (" …" if len(failed) > 8 else "")
        lines.append(
            f"No positive contrast in {len(failed)} of {len(result.angles)} maps (phi = {angles}): the model does "
            "not describe them. Leave them out, or start nearer to the data."
        )
    if result.goodness is not None:
        lines.extend([] if result.goodness.consistent else [result.goodness.text])
        lines.extend(result.goodness.recommendations)
    lines.extend(filter(None, [outlier_line(result.outliers, SHOWN_REGIONS)]))
    lines.extend(line for name, method in result.methods.items() for line in _outlier_lines(name, method))
    if result.weighting is not None and result.weighting.used == "plain":
        lines.append(sentence(result.weighting.note))
    if result.bootstrap is not None:
        errors = {name: parameter.stderr for name, parameter in result.parameters.items()}
        lines.extend(bootstrap_concerns(result.bootstrap, errors))
    if result.profiles is not None:
        lines.extend(profile_concerns(result.profiles))
    return lines


def _outlier_lines(name: str, method: MethodResult) -> Iterator[str]:
    """What a robust method gave little weight, one sentence for all maps."""
    found = method.outliers or []
    if found:
        parts = [f"{frames_text(one.frames, one.other_frames)} at {one.phi:g}°" for one in found[:SHOWN_REGIONS]]
        more = f" and {len(found) - SHOWN_REGIONS} more" if len(found) > SHOWN_REGIONS else ""
        yield f"{name} gave little or no weight to {', '.join(parts)}{more}: look at these data."


def notes(result: Result) -> list[str]:
    """How to read the numbers, in sentences."""
    lines = [] if result.learned is None else [learned_line(result.learned)]
    if result.search is not None:
        lines.append(search_line(result.search))
    lines.append(CHI_SQUARED_NOTE)
    if result.goodness is not None and result.goodness.consistent:
        lines.append(result.goodness.text)
    if result.errors_note:
        lines.append(sentence(result.errors_note))
    if result.bootstrap is not None and result.bootstrap.experiments:
        lines.append(f"Bootstrap: {result.bootstrap.note} ({format_seconds(result.bootstrap.seconds)}).")
    if result.profiles is not None and result.profiles.parameters:
        lines.append(f"Profiles: {result.profiles.note} ({format_seconds(result.profiles.seconds)}).")
    lines.extend(_strong_correlations(result))
    lines.extend(_data_notes(result))
    return lines


def _strong_correlations(result: Result) -> Iterator[str]:
    """Pairs of parameters that are known together better than each alone."""
    names, matrix = result.correlations.names, result.correlations.matrix
    pairs = [
        (value, names[b], names[a]) for a in range(len(names)) for b in range(a) if (value := matrix[a][b]) is not None
    ]
    strong = sorted((pair for pair in pairs if abs(pair[0]) > STRONG), key=lambda pair: -abs(pair[0]))
    if strong:
        listed = ", ".join(f"{one} and {other} ({value:+.3f})" for value, one, other in strong[:SHOWN_PAIRS])
        more = f" and {len(strong) - SHOWN_PAIRS} more" if len(strong) > SHOWN_PAIRS else ""
        yield f"Strongly correlated: {listed}{more}; each error includes what the other leaves open."


def _data_notes(result: Result) -> Iterator[str]:
    """What the ingest found in the maps and left out or changed."""
    recorded = result.provenance.get("maps")
    maps = [entry for entry in recorded if isinstance(entry, dict)] if isinstance(recorded, list) else []
    frames = [len(bad) for entry in maps if isinstance(bad := entry.get("bad_frames"), list) and bad]
    if frames:
        yield (
            f"Frames without data are left out: up to {max(frames)} of {result.n_frames} frames "
            f"in {len(frames)} of {len(maps)} maps."
        )
    missing = [count for entry in maps if isinstance(count := entry.get("missing"), int) and count]
    if missing:
        yield f"Missing pixels of good frames are left out: {sum(missing):,} in {len(missing)} of {len(maps)} maps."
    averaged = sum(entry.get("averaged") is True for entry in maps)
    if averaged:
        yield f"The two triangles of {averaged} of {len(maps)} maps differed and were averaged."
