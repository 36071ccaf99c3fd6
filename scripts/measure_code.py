"""How large the package is and how easy it is to find one's way in it: a table, printed.

    python scripts/measure_code.py [--root CHECKOUT] [--files]

Code lines are those that are neither blank nor comment nor docstring. A *public-looking* name is
a function, class or constant of a module without a leading underscore; an *unshared* one is
named by no other module or script, stands in no public signature, and is neither exported by
``featx`` nor part of the plug-in interface: it should have the underscore. An *option
declaration* is a parameter of a command or a field of a group of options; a group that a command
takes is none.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PLUGIN_MODULES = {"featx.extractors.base", "featx.testing"}
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """A source file, parsed."""

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def names(self) -> list[str]:
        """Names that the module defines at top level."""
        return [name for node in self.tree.body for name in _defined(node)]

    @property
    def words(self) -> set[str]:
        """Every name that the module's code mentions."""
        return set(re.findall(r"[A-Za-z_]\w*", self.source))

    @property
    def n_comments(self) -> int:
        """Lines that hold a comment."""
        tokens = tokenize.generate_tokens(io.StringIO(self.source).readline)
        return len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})

    @property
    def n_code(self) -> int:
        """Lines of code."""
        docstrings = {line for node in ast.walk(self.tree) for line in _docstring_lines(node)}
        lines = enumerate(self.source.splitlines(), 1)
        return sum(
            bool(line.strip()) and not line.lstrip().startswith("#") and number not in docstrings
            for number, line in lines
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--files", action="store_true", help="Also print a line for each file.")
    arguments = parser.parse_args()
    modules = read_modules(arguments.root)
    for label, value in summarize(modules, arguments.root):
        print(f"{label:44} {value:>8}")
    if arguments.files:
        print(f"\n{'file':56} {'code':>6} {'comments':>9} {'share':>7}")
        for module in modules:
            print(_file_line(module, arguments.root))


def read_modules(root: Path) -> list[Module]:
    """Modules of the package in a checkout, sorted by name."""
    modules = []
    for path in sorted((root / "featx").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        source = path.read_text("utf-8")
        modules.append(Module(name, path, source, ast.parse(source)))
    return modules


def summarize(modules: list[Module], root: Path) -> list[tuple[str, object]]:
    """Labels and figures of the table."""
    code = [module.n_code for module in modules]
    comments = sum(module.n_comments for module in modules)
    stems = [module.path.stem for module in modules if _must_be_unique(module)]
    bodies = [_body_lines(node) for module in modules for node in _functions(module.tree)]
    return [
        ("modules", len(modules)),
        ("root modules", sum(module.path.parent == root / "featx" for module in modules)),
        ("file stems that occur twice", len(stems) - len(set(stems))),
        ("code lines", sum(code)),
        ("longest file, code lines", max(code)),
        ("function bodies, median lines", int(statistics.median(bodies))),
        ("function bodies, longest", max(bodies)),
        ("names exported by featx", len(_exported(root))),
        ("public-looking names", sum(not n.startswith("_") for m in modules for n in m.names)),
        ("unshared public-looking names", len(list(unshared_names(modules, root)))),
        ("option declarations", count_options(modules)),
        ("comment share", f"{comments / (comments + sum(code)):.1%}"),
    ]


def unshared_names(modules: list[Module], root: Path) -> Iterator[str]:
    """Public-looking names that no other module and no script needs, as ``module.name``."""
    words = {module.name: module.words for module in modules}
    for script in (root / "scripts").rglob("*.py"):
        words[str(script)] = set(re.findall(r"[A-Za-z_]\w*", script.read_text("utf-8")))
    exported = _exported(root)
    for module in modules:
        if module.name in PLUGIN_MODULES or module.path.stem == "__main__":
            continue
        signatures = set(_signature_words(module.tree))
        for name in module.names:
            is_shared = name in signatures or any(
                name in words[other] for other in words if other != module.name
            )
            if not name.startswith("_") and name not in exported and not is_shared:
                yield f"{module.name}.{name}"


def _signature_words(tree: ast.Module) -> Iterator[str]:
    """Names in the annotations of public functions, methods and fields: what callers get."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_"):
            for part in [node, *(node.body if isinstance(node, ast.ClassDef) else ())]:
                for text in map(ast.unparse, _annotations(part)):
                    yield from re.findall(r"\w+", text)


def _annotations(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if not isinstance(node, ast.FunctionDef) or (node.name[0] == "_" and node.name != "__init__"):
        return []
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [item for item in [node.returns, *(a.annotation for a in arguments)] if item is not None]


def count_options(modules: list[Module]) -> int:
    """Options that commands and groups of options declare; a group in a command is none."""
    commands = [module for module in modules if module.name.startswith("featx.cli")]
    groups = {name for module in commands for name in _option_groups(module.tree)}
    return sum(_declared(node, groups) for module in commands for node in ast.walk(module.tree))


def _option_groups(tree: ast.Module) -> Iterator[str]:
    """Names of classes of options, and of what a module calls some options of a class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and "OptionGroup" in map(ast.unparse, node.bases):
            yield node.name
        elif isinstance(node, ast.Assign) and "Options, Only(" in ast.unparse(node.value):
            yield from _defined(node)


def _declared(node: ast.AST, groups: set[str]) -> int:
    decorators = " ".join(map(ast.unparse, getattr(node, "decorator_list", ())))
    if isinstance(node, ast.FunctionDef) and "command" in f"{node.name} {decorators}":
        parameters = [*node.args.args, *node.args.kwonlyargs]
        annotations = [ast.unparse(item.annotation or item) for item in parameters]
        return sum(not groups & set(re.findall(r"\w+", text)) for text in annotations)
    if isinstance(node, ast.ClassDef) and node.name in groups:
        return sum(isinstance(line, ast.AnnAssign) for line in node.body)
    return 0


def _file_line(module: Module, root: Path) -> str:
    n_comments, n_code = module.n_comments, module.n_code
    share = n_comments / max(1, n_comments + n_code)
    return f"{module.path.relative_to(root)!s:56} {n_code:6} {n_comments:9} {share:7.1%}"


def _must_be_unique(module: Module) -> bool:
    is_command = module.path.parent.name == "cli"
    return not is_command and module.path.stem not in {"__init__", "__main__", "base"}


def _exported(root: Path) -> set[str]:
    tree = ast.parse((root / "featx" / "__init__.pyi").read_text("utf-8"))
    return {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, DEFINITIONS):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    names = [name for target in targets if target is not None for name in ast.walk(target)]
    is_assignment = isinstance(node, ast.Assign | ast.AnnAssign)
    return [name.id for name in names if is_assignment and isinstance(name, ast.Name)]


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _body_lines(node: ast.FunctionDef) -> int:
    first = node.body[1:] if ast.get_docstring(node) else node.body
    return (first[-1].end_lineno or 0) - first[0].lineno + 1 if first else 0


def _docstring_lines(node: ast.AST) -> Iterator[int]:
    """Lines of a text that stands alone: docstrings, and those below a constant."""
    is_alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if is_alone and isinstance(node.value.value, str):
        yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


if __name__ == "__main__":
    main()
