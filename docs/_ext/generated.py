"""Parts of pages that are made from the code and from the records, so that they never lag behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, override

from benchmark_tables import all_records
from docutils import nodes
from schema_tables import section_tables, table
from side_by_side import rows
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RECORDS: Final = Path(__file__).parents[2] / "benchmarks" / "results"


class Generated(SphinxDirective):
    """``{generated} NAME``: one of `TEXTS`."""

    required_arguments = 1

    @override
    def run(self) -> list[nodes.Node]:
        """The parsed text."""
        text = TEXTS[self.arguments[0]]()
        for path in (Path(__file__).parent.glob("*.py"), RECORDS.glob("*.json")):
            for file in path:
                self.env.note_dependency(str(file))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def settings() -> str:
    """The sections of a configuration."""
    from hetdask.config import Settings

    return section_tables(Settings.model_json_schema())


def parameters() -> str:
    """The parameters of the model with their defaults."""
    from hetdask.model import PARAMETERS

    rows = [
        f"| `{one.name}` | {one.unit} | {one.start:g}{', fixed' if one.fixed else ''} | {one.lower:g} … {one.upper:g} "
        f"| {one.description} |"
        for one in PARAMETERS
    ]
    return "\n".join(["| parameter | unit | start | bounds | |", "|---|---|--:|---|---|", *rows])


def site() -> str:
    """The keys of a site file."""
    from hetdask_cluster.site import site_schema

    schema = site_schema()
    return "\n".join(table(schema, schema))


def result() -> str:
    """The keys of result.json."""
    from hetdask.results import Result

    schema = Result.model_json_schema(by_alias=True)
    return "\n".join(table(schema, schema))


def benchmarks() -> str:
    """All records."""
    return all_records(RECORDS)


def side_by_side() -> str:
    """What the guide of heterodyne-analysis promises, there and here."""
    return rows(json.loads((RECORDS / "heterodyne_analysis.json").read_text(encoding="utf-8")))


TEXTS: Final = {
    "settings": settings,
    "parameters": parameters,
    "site": site,
    "result": result,
    "benchmarks": benchmarks,
    "comparison": side_by_side,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
