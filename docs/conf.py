"""How the documentation is built: `make docs`, or python -m sphinx docs site."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from hetdask import __version__

project = "hetdask"
author = "The hetdask developers"
copyright = author  # noqa: A001 (the name that Sphinx reads)
version = release = __version__

extensions = ["generated", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_ext"]
default_role = "code"  # `name` in docstrings

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have them, with shapes and units
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes of a class stand in its docstring, and properties beside it
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"hetdask {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
