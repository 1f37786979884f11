"""Settings of the book; `build.py` beside this says how it is made."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "sslnb"
author = "the sslnb authors"
copyright = "the sslnb authors, MIT licence"
version = release = version_of("sslnb")
language = "en"

extensions = ["myst_nb", "sphinx_copybutton", "sphinxcontrib.bibtex", "crosslinks"]
exclude_patterns = ["README.md", "**/.ipynb_checkpoints"]

# Markdown as GitHub and JupyterLab read it
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
myst_dmath_double_inline = True
myst_links_external_new_tab = False

# Stored outputs, as they are
nb_execution_mode = "off"
nb_render_markdown_format = "gfm"
nb_merge_streams = True
nb_ipywidgets_js = {}
copybutton_selector = "div:not(.output) > div.highlight pre"

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_cite_id = "cite-{key}"

# MathML, which browsers draw by themselves; see crosslinks.py
html_math_renderer = "mathml"
numfig = False

html_theme = "sphinx_book_theme"
html_title = "sslnb"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_context = {"default_mode": "auto"}
templates_path = ["_templates"]
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        "notebooks/04_equivariance_loss": ["live", "page-toc"],
        "notebooks/06_localisation": ["live", "page-toc"],
    },
    "logo": {"text": "sslnb", "alt_text": ""},
    "search_bar_text": "Search the book",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
