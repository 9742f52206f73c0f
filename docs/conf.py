"""Sphinx: the pages of this folder, and the reference from the docstrings. ``nox -s docs`` builds them; nothing is fetched."""

from __future__ import annotations

import builtins
import re
import sys
import tomllib
from enum import EnumType
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer  # pyright: ignore[reportMissingTypeStubs]
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.logging import getLogger

ROOT = Path(__file__).parents[1]
PUBLIC_NAMES = (ROOT / "tests" / "public_names.txt").read_text(encoding="utf-8").split()

project = "bacalhau_sdk"
author = "the authors of bacalhau_sdk"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True
suppress_warnings = ["ref.python"]
default_role = "py:obj"  # docstrings write `JobSpec`
# Types in signatures: of the standard library, whose pages are not asked, and of ours those that have no public name.
nitpick_ignore_regex = [
    ("py:class", r"(pathlib|collections\.abc|contextlib|_asyncio)\..*"),
    ("py:class", r"Ts|bacalhau_sdk\.(blocking|cluster|executors|model|testing)\..*"),
]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["When", "What to do"]
napoleon_use_rtype = False
napoleon_attr_annotations = False  # the signature of the class has them

html_theme = "furo"
html_title = f"bacalhau_sdk {release}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "tango"
pygments_dark_style = "monokai"


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find `JobSpec`, or `bacalhau_sdk.model.job.JobSpec` of an annotation, by the name under which it is public."""
    domain = env.domains["py"]
    assert isinstance(domain, PythonDomain)
    target = node["reftarget"].removeprefix("~")
    short = re.sub(r"^bacalhau_sdk\.(?:[a-z_]+\.)*", "", target)
    here = node.get("py:module") or "bacalhau_sdk"
    for module in dict.fromkeys((here, "bacalhau_sdk", *(name.partition(":")[0] for name in PUBLIC_NAMES))):
        if (found := f"{module}.{short}") in domain.objects:
            node["reftype"], node["reftarget"] = "obj", found
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found, node, content)
    return None


def polish(app: Sphinx, doctree: nodes.document) -> None:
    """Let long code be broken, and have `type[...]` lead to no attribute that is called `type`."""
    for literal in doctree.findall(nodes.literal):
        if len(literal.astext()) > 40:
            literal["classes"].append("long")
    for reference in list(doctree.findall(pending_xref)):
        if reference["reftype"] == "class" and reference["reftarget"] in vars(builtins):
            reference.replace_self(nodes.Text(reference["reftarget"]))


def document(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Give a constant or an alias what its own module says below it: autodoc looks only where it is public."""
    short = name.rpartition(".")[2]
    for module in sorted(sys.modules) if what == "data" and not any(lines) else ():
        if module.startswith("bacalhau_sdk.") and vars(sys.modules[module]).get(short) is value:
            analyzer = ModuleAnalyzer.for_module(module)
            analyzer.analyze()
            if found := analyzer.attr_docs.get(("", short)):
                lines[:] = found
                return


def enumerate_members(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Say which members an enumeration has: autodoc shows only those with a docstring of their own."""
    if isinstance(value, EnumType):
        lines += ["", "Members: " + ", ".join(f"``{member}``" for member in value.__members__) + "."]


def sign(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Show no arguments of a class that only the library makes, that is not called, or that Python calls; nor how attrs works."""
    made = name.rpartition(".")[2] in {"Job", "Output", "Result", "Timeline"}
    if what == "class" and (made or isinstance(value, EnumType) or getattr(value, "_is_protocol", False)):
        return "", returns
    return (re.sub(r"attr_dict\['\w+'\]\.default|NOTHING", "...", signature), returns) if signature else None


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Complain about a public name that is not on the page of its module: described there, or named with a link to its home."""
    domain = env.domains["py"]
    assert isinstance(domain, PythonDomain)
    for module, name in (line.split(":") for line in PUBLIC_NAMES):
        page = f"reference/{module}"
        described = domain.objects.get(f"{module}.{name}")
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        named = re.search(rf"\{{py:\w+\}}`~?bacalhau_sdk\.(\w+\.)?{name}`", text)
        if (described is None or described.docname != page) and not named:
            getLogger(__name__).warning("the public name %s is not on the page %s", name, page)


def setup(app: Sphinx) -> None:
    """Add what is above to the build."""
    app.add_lexer("mermaid", TextLexer)  # GitHub draws it
    app.connect("autodoc-process-docstring", document)
    app.connect("autodoc-process-docstring", enumerate_members)
    app.connect("autodoc-process-signature", sign)
    app.connect("doctree-read", polish)
    app.connect("missing-reference", resolve)
    app.connect("env-check-consistency", check_reference)
