"""The terminal summary says the verdict first and every reservation in words."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from hetdask.data.store import Store
from hetdask.errors import ConfigError
from hetdask.fitting import Refinement
from hetdask.results import Result
from hetdask.results.course import OptimumResult, SearchSummary
from hetdask.results.summary import as_text, print_summary, summary, summary_against
from hetdask.results.tables import shown_angles
from hetdask.results.wording import concerns

GOLDEN_SUMMARY = """\
Converged · method trust-region · reduced chi-squared 1.113 · 3 maps · 2,100 pixels · 1.9 s
f3 ended at its upper bound 1: change parameters.f3.max, or fix f3.
D_offset_sample is not determined by these data.

Parameters

 parameter            value   ± error   unit           start       bounds       note
 ───────────────────────────────────────────────────────────────────────────────────────────────────────────
 D0_ref               401.2       3.1   Å²/s^(α+1)     481.5     1 … 1e+06
 alpha_ref          -0.2000    0.0042                  -0.24       -2 … 2
 D_offset_ref          5.00      0.80   Å²/s               6   -1e+04 … 1e+04
 D0_sample             3021        45   Å²/s^(α+1)      3625     1 … 1e+06
 alpha_sample        0.1000    0.0061                   0.12       -2 … 2
 D_offset_sample        -20         –   Å²/s             -24   -1e+04 … 1e+04   not determined by these data
 v0                  22.000     0.052   Å/s^(β+1)       26.4   -1e+04 … 1e+04
 beta                0.1000    0.0031                   0.12       -2 … 2
 v_offset              1.00      0.40   Å/s              1.2    -1000 … 1000
 f0                  0.3500    0.0027                   0.42       0 … 1
 f1                -0.01200   0.00031   1/s          -0.0144       -1 … 1
 f2                       0         –   s                  0                    fixed
 f3                  1.0000    0.0019                    1.2       0 … 1        at its upper bound
 phi0                 4.000     0.041   deg              4.8     -180 … 180

Maps

 phi (°)   q (1/Å)   contrast   offset   sigma   residual rms   chi²/dof   note
 ──────────────────────────────────────────────────────────────────────────────
  -20.00    0.0054     0.2500   1.0000   0.004         0.0042      1.113
   10.00    0.0054     0.3000   1.0100   0.004         0.0042      1.113
   90.00    0.0054     0.2000   0.9900   0.004         0.0042      1.113

Reduced chi-squared is reported, not judged: sigma holds the white noise, not the speckle noise.
Errors take pixels as independent, since the noise could not be told from the residuals: the scatter between
repeated experiments is several times larger where speckle noise counts.
Frames without data are left out: up to 1 of 40 frames in 3 of 3 maps.
Missing pixels of good frames are left out: 1 in 1 of 3 maps.
"""

GOLDEN_METHODS = """\
Methods

 method              chi²   chi²/dof   iterations   evaluations         time   status
 ─────────────────────────────────────────────────────────────────────────────────────────────
 trust-region     2315.25      1.113            5             6       600 ms   converged, best
 nelder-mead    2338.4025      1.124        7,000        10,000   1 min 23 s   not converged

Maps
"""

GOLDEN_AGAINST = """\
Converged · method trust-region · reduced chi-squared 1.113 · 3 maps · 2,100 pixels · 1.9 s

Fit against truth

 parameter          value   ± error   truth   unit         deviation / error   note
 ──────────────────────────────────────────────────────────────────────────────────────────────────────────
 D0_ref             401.2       3.1     400   Å²/s^(α+1)                +0.4
 D_offset_sample      -20         –     -18   Å²/s                         –   not determined by these data
 v0                22.000     0.052    22.2   Å/s^(β+1)                 -3.8
 f2                     0         –       0   s                            –   fixed
 phi0               4.000     0.041    4.05   deg                       -1.2

2 of 3 parameters within two standard errors of the truth; the largest deviation is 3.8 standard errors (v0).
"""


def test_summary_in_plain_text(result: Result) -> None:
    assert as_text(summary(result)) == GOLDEN_SUMMARY


def test_several_methods_are_compared_in_a_table(result: Result, compared: Result) -> None:
    text = as_text(summary(compared))
    assert text.startswith("Converged · method trust-region")
    assert GOLDEN_METHODS in text
    assert "Methods" not in as_text(summary(result))


def test_comparison_with_the_truth_in_plain_text(result: Result) -> None:
    truth = {"D0_ref": 400.0, "v0": 22.2, "D_offset_sample": -18.0, "f2": 0.0, "phi0": 4.05}
    assert as_text(summary_against(result, truth)) == GOLDEN_AGAINST


def test_unconverged_fit_is_never_called_a_result(failed: Result) -> None:
    lines = as_text(summary(failed)).splitlines()
    assert lines[:2] == [
        "Not converged: these values are not a result",
        "the contrast is not positive at -20°: the model does not describe these maps",
    ]
    assert lines[2].startswith("method trust-region")


def test_map_that_failed_is_named_with_advice(failed: Result) -> None:
    assert concerns(failed)[-1] == (
        "No positive contrast in 1 of 3 maps (phi = -20°): the model does not describe them. "
        "Leave them out, or start nearer to the data."
    )
    assert "failed: contrast is not positive" in as_text(summary(failed))


def test_interrupted_fit_says_so(refinement: Refinement, store: Store) -> None:
    result = Result.from_refinement(replace(refinement, status="interrupted"), store)
    assert as_text(summary(result)).startswith("Interrupted: these values are the best so far, not a result")


def test_bound_names_the_key_to_change(result: Result) -> None:
    assert concerns(result)[0] == "f3 ended at its upper bound 1: change parameters.f3.max, or fix f3."


def test_clean_fit_raises_no_concern(refinement: Refinement, store: Store) -> None:
    clean = replace(refinement, at_bound=(None,) * 13, identified=(True,) * 13)
    assert concerns(Result.from_refinement(clean, store)) == []


def test_narrow_terminal_keeps_what_matters(result: Result) -> None:
    text = as_text(summary(result), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "start" not in text.split("Maps")[0]
    assert "D_offset_sample" in text
    assert "Å²/s^(α+1)" in text


def test_square_brackets_are_no_markup(result: Result) -> None:
    marked = result.model_copy(update={"status": "not_converged", "message": "bounds [red]1, 2[/red]"})
    assert "bounds [red]1, 2[/red]" in as_text(summary(marked))


def test_terminal_gets_colours_and_a_pipe_plain_text(result: Result) -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    print_summary(summary(result), Console(file=terminal, force_terminal=True, color_system="standard", width=120))
    print_summary(summary(result), Console(file=pipe, width=40))
    assert "\x1b[" in terminal.getvalue()
    assert pipe.getvalue() == as_text(summary(result))


def test_many_maps_are_thinned_and_the_title_says_so(
    make_store: Callable[..., Store], make_refinement: Callable[[Store], Refinement]
) -> None:
    store = make_store(n_phi=50, frames=8)
    text = as_text(summary(Result.from_refinement(make_refinement(store), store)))
    assert "Maps (20 of 50, evenly spread; all of them are in result.json)" in text
    assert sum("0.0054" in line for line in text.splitlines()) == 20


def test_selection_is_even_and_keeps_both_ends() -> None:
    assert shown_angles(300, 3) == [0, 150, 299]
    assert shown_angles(2, 1) == [0]
    assert shown_angles(0, 5) == []


def test_large_deviation_stands_out(result: Result) -> None:
    text = as_text(summary_against(result, {"v0": 21.0, "beta": 0.1}))
    assert "+19.2" in text
    assert "the largest deviation is 19.2 standard errors (v0)" in text


def test_unknown_truth_is_an_error_with_a_suggestion(result: Result) -> None:
    with pytest.raises(ConfigError, match="unknown parameter 'D0_rev': did you mean 'D0_ref'"):
        summary_against(result, {"D0_rev": 1.0})


def test_a_search_tells_what_it_found_and_what_it_could_not_exclude(result: Result) -> None:
    values = {name: parameter.value for name, parameter in result.parameters.items()} | {"v0": -17.25}
    search = SearchSummary(
        starts=48,
        agreed=12,
        gap=0.004,
        believed=True,
        level=3,
        evaluations=5210,
        seconds=7.0,
        optima=[OptimumResult(values=values, excess=0.00021, contender=True)],
    )
    searched = result.model_copy(update={"search": search, "status": "ambiguous"})
    text = as_text(summary(searched))
    assert text.startswith("Ambiguous: ")
    assert "1 other optimum cannot be excluded by these data" in text
    assert "12 of 48 starts reached the best optimum" in text
    assert "+0.021 % chi²" in text
    assert "-17.25" in text
    far = result.model_copy(update={"search": search.model_copy(update={"gap": 1.69, "optima": []})})
    assert "the next one had 2.7 times as much chi-squared there" in " ".join(as_text(summary(far)).split())


def test_both_errors_of_a_parameter_are_written_alike(result: Result) -> None:
    both = {"value": 30071.3, "stderr": 452.0, "stderr_iid": 441.0}
    wide = {**result.parameters, "D0_ref": result.parameters["D0_ref"].model_copy(update=both)}
    text = as_text(summary(result.model_copy(update={"parameters": wide, "errors": "speckle"})))
    assert re.search(r"D0_ref +30070 +450 +440 ", text)


def test_residuals_stand_beside_what_noise_predicts(result: Result) -> None:
    judged = {"expected_rms": 0.0123, "speckles": 3412.0, "quality": "excellent"}
    angles = [angle.model_copy(update=judged) for angle in result.angles]
    text = as_text(summary(result.model_copy(update={"angles": angles})))
    assert "expected" in text
    assert "excellent" in text
    assert "0.0123" in text
    assert "3,400" in text
