"""Settings of the documentation site, which ``scripts/build_site.py`` builds."""

from typing import Any

import featx
from featx import __version__

project = "featx"
author = "The featx developers"
copyright = "The featx developers"
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx_gallery.gen_gallery"]
exclude_patterns = ["conf.py", "gallery", "examples/*.ipynb", "examples/*.py", "examples/*.json"]
exclude_patterns += ["examples/*.md5", "examples/*.zip"]
default_role = "py:obj"
highlight_language = "none"
smartquotes = False  # They would turn --option into a dash.

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

nb_execution_mode = "cache"  # Notebooks whose code has not changed are not run again.
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_ipywidgets_js: dict[str, Any] = {}  # They would be loaded from the network.

autodoc_typehints = "none"  # The docstrings give types, shapes, units and ranges.
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"  # Whole names do not fit beside a page.

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # Its page loads a script from elsewhere.
}

html_theme = "pydata_sphinx_theme"
html_title = "featx"
html_static_path = ["_static"]
html_css_files = ["featx.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # Excerpts are fetched, which browsers refuse to pages on disk.
html_sidebars = {"performance": []}  # A section of one page has nothing to navigate.
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}

PUBLIC_NAMES = {
    f"{getattr(featx, name).__module__}.{name}": f"featx.{name}" for name in featx.__all__
}


def shorten_names(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Refer to public classes and functions by the names under which the site has them."""
    for index, line in enumerate(lines):
        for long, short in PUBLIC_NAMES.items():
            line = line.replace(f"`{long}`", f"`{short}`")
        lines[index] = line


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", shorten_names)
