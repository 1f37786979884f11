"""Pages of the book on the modules: their docstrings, read and not imported.

    write(source / "modules")    # a page for each module or package, and index.md

Docstrings here are plain text with indented examples and formulas, which is Markdown
as it stands; so "eq. 6" in one becomes a link to the notebook, as elsewhere.
"""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "sslnb"
# In the order of the notebooks; what runs and draws these notebooks is left out
MODULES = (
    "data",
    "augment",
    "losses",
    "model",
    "release",
    "consistency",
    "training",
    "localise",
    "retrieve",
    "experiments",
)
WIDE = 80  # columns
Definition = ast.FunctionDef | ast.ClassDef


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown: what is set out in columns stays in columns."""
    parts = re.split(r"\n\s*\n", docstring or "")
    return "\n\n".join(map(paragraph, parts))


def paragraph(text: str) -> str:
    """A paragraph of a docstring as Markdown."""
    if text.startswith("    "):
        return text
    if re.search(r"\S {2,}\S", text):
        return re.sub(r"^", "    ", text, flags=re.MULTILINE)
    text = re.sub(r"([<*|$])", r"\\\1", text)
    return re.sub(r'(?<!`)\b(\w+="[^"]*")', r"`\1`", text)


def signature(node: Definition) -> str:
    """How a function is called, or the fields of a class, as Python."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        fields = [ast.unparse(f) for f in node.body if isinstance(f, ast.AnnAssign)]
        head = f"class {node.name}({bases})" if bases else f"class {node.name}"
        return "\n    ".join([head + ":" * bool(fields), *fields])
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = ast.unparse(node.args)
    if len(line := f"def {node.name}({arguments}){result}") <= WIDE:
        return line
    split = re.split(r", (?![^\[(]*[\])])", arguments)
    return f"def {node.name}(\n    " + ",\n    ".join(split) + f",\n){result}"


def public(body: list[ast.stmt]) -> list[Definition]:
    """The functions and classes in it that are for users, in order."""
    return [
        node
        for node in body
        if isinstance(node, Definition) and not node.name.startswith("_")
    ]


def entry(node: Definition, level: str, name: str) -> str:
    """A function or class: its name, signature and docstring, then its methods."""
    parts = [
        f"{level} {name}" if level else "",
        f"```python\n{signature(node)}\n```",
        markdown(ast.get_docstring(node)),
    ]
    if isinstance(node, ast.ClassDef):
        parts += [entry(one, "", "") for one in public(node.body)]
    return "\n\n".join(filter(None, parts))


def module(path: Path, level: str) -> str:
    """A module: its docstring, and what it holds."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = [
        f"{level} {name.removesuffix('.__init__')}",
        markdown(ast.get_docstring(tree)),
        *(entry(node, level + "#", node.name) for node in public(tree.body)),
    ]
    return "\n\n".join(filter(None, parts))


def page(name: str) -> str:
    """The page of a module, or of a package and all that is in it."""
    path = PACKAGE / name
    if not path.is_dir():
        return module(path.with_suffix(".py"), "#") + "\n"
    inner = sorted(p for p in path.rglob("[!_]*.py"))
    heads = [path / "__init__.py", *sorted(path.glob("*/__init__.py"))]
    files = sorted(
        {*inner, *heads[1:]}, key=lambda p: (p.parent, p.stem != "__init__", p)
    )
    return (
        "\n\n".join([module(heads[0], "#"), *(module(p, "##") for p in files)]) + "\n"
    )


def write(folder: Path) -> None:
    """Write a page for each of the modules, and an index of them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in MODULES:
        text = page(name)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        first = text.split("\n\n")[1].split("\n")[0]
        rows.append(f"| [`sslnb.{name}`]({name}.md) | {first} |")
    toc = "\n".join(["```{toctree}", ":hidden:", "", *MODULES, "```"])
    index = ["# Modules", "| module | what it is |\n|---|---|\n" + "\n".join(rows), toc]
    (folder / "index.md").write_text("\n\n".join(index) + "\n", encoding="utf-8")
