"""The documentation is true: its code runs, what it shows is what is printed, and its links lead somewhere.

Blocks of a page run one after the other in a folder that the tutorial has left: a scan, a configuration, a fit. What
stands behind the language of a block says what it is:

    (not run: reason)    commands that need what a test has not
    (file: NAME)         the content of a file that later blocks use
    (output)             lines that the block before has printed; numbers may differ in their digits

Formulas are in blocks of the language text. Settings in YAML are read as a configuration, or as a site file.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import hetdask
from hetdask.cli.main import run
from hetdask.config import load_settings
from hetdask_cluster.site import Site

from ..blocks import FENCE, Block, blocks_of  # noqa: TID252 (tests are no package)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {page.stem: page for page in sorted(DOCS.glob("*.md"))}
TEXTS = [*PAGES.values(), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]

RUN = ("bash", "python", "yaml")
"""Languages of blocks that run."""

NOT_CODE = ("text", "{toctree}", "{eval-rst}", "{generated}")

LONG_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def blocks_in(page: str) -> list[Block]:
    """The blocks of a page; of the commands of other programs, none."""
    return blocks_of(PAGES[page].read_text(encoding="utf-8"))


def is_run(block: Block) -> bool:
    """Whether a block runs here."""
    return block.language in RUN and not block.note.startswith("(not run: ")


RUNNING = [page for page in PAGES if page != "tutorial" and any(map(is_run, blocks_in(page)))]


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the tutorial has run from its beginning to its end."""
    folder = tmp_path_factory.mktemp("tutorial")
    run_page("tutorial", folder)
    return folder


def run_page(page: str, folder: Path) -> None:
    """Run the blocks of a page in a folder, and compare what they print with what the page shows."""
    names: dict[str, Any] = {"__name__": page}
    said = ""
    with chdir(folder):
        for block in blocks_in(page):
            if block.note.startswith("(file: "):
                (folder / block.note[len("(file: ") : -1]).write_text(block.text, encoding="utf-8")
            if block.note == "(output)":
                shown_lines_were_printed(block, said)
            elif is_run(block):
                said = RUNNERS[block.language](block, names)


def run_python(block: Block, names: dict[str, Any]) -> str:
    """Run Python, with what earlier blocks have defined."""
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setitem(names, "print", lambda *values: lines.append(" ".join(map(str, values)) + "\n"))
        exec(compile(block.text, block.name, "exec"), names)
    return "".join(lines)


def run_shell(block: Block, _: dict[str, Any]) -> str:
    """Run commands: hetdask in this process, which has it loaded already, others in a shell."""
    said = ""
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["hetdask"]:
            said += run_hetdask(words[1:])
        elif words:
            environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", line],
                env=environment, check=True, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            said += done.stdout
    return said


def run_hetdask(arguments: list[str]) -> str:
    """Run our program; what it prints."""
    # The capture of pytest sees what goes to the descriptor only; a file sees all.
    with Path("said.txt").open("w+", encoding="utf-8") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        status = run(arguments)
        file.seek(0)
        said = file.read()
    assert status == 0, f"hetdask {shlex.join(arguments)}: {said}"
    return said


def read_settings(block: Block, _: dict[str, Any]) -> str:
    """Read settings as what they are."""
    content = yaml.safe_load(block.text)
    if "scheduler" in content:
        Site.model_validate(content)
    else:
        load_settings(content)
    return ""


RUNNERS = {"bash": run_shell, "python": run_python, "yaml": read_settings}


def shown_lines_were_printed(block: Block, said: str) -> None:
    """Every line of a block is among those that were printed, in their order; one that ends in " …" is a beginning."""
    printed = iter([alike(line) for line in said.splitlines()])
    for line in filter(str.strip, block.text.splitlines()):
        begin = alike(line.removesuffix(" …"))
        found = any(one.startswith(begin) if line.endswith(" …") else one == begin for one in printed)
        assert found, f"{block.name}: {line!r} is not, or not there, in\n{said}"


def alike(line: str) -> str:
    """A line without what may differ from machine to machine."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", line).split())


def test_the_tutorial_runs_from_file_to_result(tutorial: Path) -> None:
    result = hetdask.Result.load(tutorial / "runs" / "first")
    assert result.status == "converged"
    # It says: within two errors of the truth, and errors are ten times those of independent pixels and more.
    truth = {"D0_ref": 300, "D0_sample": 4000, "alpha_sample": 0.3, "v0": 120, "f0": 0.5, "phi0": 12}
    moving = {name: row for name, row in result.parameters.items() if not row.fixed}
    assert moving.keys() == truth.keys()
    for name, row in moving.items():
        assert row.stderr is not None
        assert row.stderr_iid is not None
        assert abs(row.value - truth[name]) < 2.0 * row.stderr
        assert row.stderr > 10.0 * row.stderr_iid
    searched = hetdask.Result.load(tutorial / "runs" / "search")
    assert searched.chi_squared == pytest.approx(result.chi_squared, rel=1e-6)


@pytest.mark.parametrize("page", RUNNING)
def test_code_of_a_page_runs(page: str, tutorial: Path, tmp_path: Path) -> None:
    shutil.copytree(tutorial, tmp_path, dirs_exist_ok=True)
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs_or_says_why_not(page: str) -> None:
    blocks = blocks_in(page)
    for before, block in pairwise([None, *blocks]):
        if block is None:
            continue
        assert block.language in (*RUN, *NOT_CODE, "{image}"), f"{block.name}: {block.language!r}"
        assert re.fullmatch(r"|\(not run: .+\)|\(file: .+\)|\(output\)|[\w.:]+", block.note), (
            f"{block.name}: {block.note}"
        )
        if block.note == "(output)":
            assert before is not None
            assert is_run(before)
    prose = FENCE.sub("", PAGES[page].read_text(encoding="utf-8"))
    assert not re.search(r"\n\n    (hetdask|import|from|python|\$) ?", prose), "code without a fence"


def anchors(page: Path) -> set[str]:
    """Names of the headings of a page, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head.lower())).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_the_repository_lead_somewhere(text: Path) -> None:
    prose = FENCE.sub("", text.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (text.parent / name).resolve() if name else text
        assert path.exists(), f"{target}: there is no {path}"
        if anchor and "{generated}" not in path.read_text(encoding="utf-8"):
            assert anchor in anchors(path), f"{target}: the headings are {sorted(anchors(path))}"


def test_the_readme_names_commands_and_options_that_exist() -> None:
    commands = {line.split()[1] for line in readme_commands() if not line.split()[1].startswith("-")}
    from hetdask.cli.main import COMMANDS

    assert commands <= COMMANDS.keys()
    for line in readme_commands():
        words = shlex.split(line, comments=True)[1:]
        known = options_of(words)
        assert {word for word in words if LONG_OPTION.fullmatch(word)} <= known, line


def readme_commands() -> Iterator[str]:
    """Lines of the README that call hetdask."""
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if re.match(r"\s*hetdask ", line):
            yield line.strip()


def options_of(words: list[str]) -> set[str]:
    """Options of the command that words call."""
    import click

    from hetdask.cli.main import cli

    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(command), word) or command
    return {option for parameter in command.params for option in parameter.opts}


def test_the_reference_of_python_has_every_name() -> None:
    named = set(
        re.findall(r"^\.\. auto\w+:: hetdask\.(\w+)$", PAGES["python"].read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == set(hetdask.__all__)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 115


def test_the_figures_of_the_readme_are_those_of_the_records() -> None:
    def recorded(name: str) -> Any:
        return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))["figures"]

    def seconds(entry: Any, key: str = "seconds") -> str:
        median = entry[key]["median"]
        return f"{median * 1e3:.2g} ms" if median < 0.02 else f"{median:.2g} s" if median < 1 else f"{median:.3g} s"

    chi, fits, rates = recorded("one_chi_squared"), recorded("peer_fits"), recorded("pass_rate")["5x4000"]
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    table = {cells[0]: " ".join(cells[1:]) for cells in (line.strip("| ").split(" | ") for line in rows)}
    one = table["one χ² of 2 × 2000²"]
    assert f"{seconds(chi['hetdask in process'])} in process" in one
    assert f"{seconds(chi['hetdask on a cluster'])} on a local cluster" in one
    assert f"heterodyne-analysis 1.0.1: {seconds(chi['heterodyne-analysis'])}" in one
    ours, bare, peers = fits["hetdask fit"], fits["hetdask fit --no-plots"], (fits["heterodyne"], fits["xpcsjax"])
    alone = table["fit of 3 × 400² from 20 % off, alone, kernels warm"]
    warm = fits["hetdask, warm process"]
    assert alone.startswith(f"{seconds(warm, 'fit_alone_seconds')}; {seconds(warm, 'analysis_seconds')} with noise")
    assert alone.endswith(" and ".join(seconds(one, "fit_alone_seconds") for one in peers))
    whole = table["the same as a whole process"]
    assert whole.startswith(f"{seconds(bare, 'process_seconds')}; {seconds(ours, 'process_seconds')} with figures")
    assert whole.endswith(" and ".join(seconds(one, "process_seconds") for one in peers))
    assert table["peak memory of that process"] == (
        f"{bare['peak_mib']} MiB; {ours['peak_mib']} MiB with figures "
        f"{' and '.join(str(one['peak_mib']) for one in peers)} MiB"
    )
    rate = table["value, gradient and Gauss–Newton matrix, 5 × 4000²"]
    assert rate.startswith(f"{rates['pass in process']['pixels_per_second'] / 1e9:.1f} Gpixel/s")
    assert rate.endswith(f"{rates['BLAS, 1 thread']['pixels_per_second'] / 1e9:.1f} Gpixel/s")
