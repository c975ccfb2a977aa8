"""The documentation site: ``make docs``. It needs no network, neither to build nor to read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

import healthseg

DOCS = Path(__file__).parent
project, release, copyright = (
    "healthseg",
    healthseg.__version__,
    "healthseg contributors, MIT licence",
)
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# links to files of the checkout that are no pages; tests/test_documentation.py follows every link
suppress_warnings = ["myst.xref_missing"]

autosummary_generate = False
numpydoc_show_class_members = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False

# drawn by GitHub; here its text is shown, since drawing needs the network
lexers["mermaid"] = TextLexer()

html_theme = "pydata_sphinx_theme"
html_title = "healthseg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 0,
    "header_dropdown_text": "All pages",
    "show_toc_level": 2,
    "show_nav_level": 1,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

spec = importlib.util.spec_from_file_location("reference_pages", DOCS / "reference_pages.py")
reference_pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference_pages)
reference_pages.write(DOCS / "_generated")
