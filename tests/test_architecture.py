"""What holds of the tree as a whole: one way of imports, names, docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LEVELS = [
    {"errors", "_files", "_imports", "_linalg", "_lists"},
    {"images", "jpegs", "fingerprints", "layers"}
    | {"datasets", "listings", "folders", "manifests", "torchvision_data", "photographs"}
    | {"features", "feature_files", "results", "columns", "specs"},
    {"extractors.base", "extractors.names", "streaming", "chunks", "fitting", "watching"}
    | {"store", "index", "shards", "upkeep", "safety"},
    {"extractors", "models"},
    {"engine", "extraction", "planning", "provenance", "registry", "persistence", "testing"},
    {"probing", "protocols", "scores", "alignment"},
    {"projection", "finetuning", "filters", "prediction"},
    {"plotting"},
    {"reporting", "demo"},
    {"cli", "__main__"},
]
"""Modules from the lowest to the highest: each imports from its own level or below."""

SAME_NAME = {"featx.models.featxnet": "the network's own name; its package does not export it"}
"""Modules that may hold a function of their name, and why."""

FORBIDDEN = re.compile(
    r"(?<![\w.])/(?:work|home|root|Users|tmp/featx)/|\b[A-Z]:\\Users\\", re.IGNORECASE
)
"""Paths of somebody's machine."""

SOURCES = sorted(
    path
    for pattern in ("*", "featx/**/*", "tests/**/*", "scripts/**/*", "data/**/*", "docs/**/*")
    for path in ROOT.glob(pattern)
    if path.suffix in {".py", ".pyi", ".md", ".toml", ".sh"} and "__pycache__" not in path.parts
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES
    if path.is_relative_to(ROOT / "featx") and path.suffix == ".py"
}
PUBLIC_MODULES = [name for name in MODULES if not re.search(r"\._(?!_)", name)]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def level_of(module: str) -> int:
    """Level of the longest name in the table that `module` is or lies in."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        for level, names in enumerate(LEVELS):
            if ".".join(parts[:length]) in names:
                return level
    raise AssertionError(f"{module} has no level; put it into LEVELS.")


def imports_of(module: str) -> Iterator[str]:
    """Modules of featx that `module` imports, lazily or not."""
    yield from imported_by(module, ast.walk(tree_of(module)))


def imported_by(module: str, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Modules of featx that some of a module's statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively; wanted the whole name."
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield from (name for name in [inner, node.module] if name in MODULES)


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def public_nodes(module: str) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes of a module, and methods of its classes, without a leading ``_``."""
    for node in tree_of(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    inner
                    for inner in node.body
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
                )


@pytest.mark.parametrize("module", [name for name in MODULES if name != "featx"])
def test_imports_point_downwards(module: str) -> None:
    for imported in set(imports_of(module)) - {"featx"}:
        assert level_of(imported) <= level_of(module), f"{module} imports {imported}, above it"


def test_no_modules_need_each_other_to_load() -> None:
    graph = {
        name: {
            other
            for other in imported_by(name, tree_of(name).body)
            if other != "featx" and not is_inside(name, other)
        }
        for name in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in MODULES if name not in SAME_NAME])
def test_no_function_or_class_shares_its_modules_name(module: str) -> None:
    names = {node.name for node in tree_of(module).body if hasattr(node, "name")}
    assert module.rsplit(".", 1)[-1] not in names


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), f"{module} has none"
    bare = [
        node.name
        for node in public_nodes(module)
        if not ast.get_docstring(node) and not is_overload(node) and not is_setter(node)
    ]
    assert bare == []


def is_overload(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def is_setter(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_somebodys_machine(path: Path) -> None:
    if path != Path(__file__).resolve():
        assert not FORBIDDEN.findall(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("module", "level"), [("featx.extractors.base", 2), ("featx.extractors.color", 3)]
)
def test_level_is_that_of_the_longest_name(module: str, level: int) -> None:
    assert level_of(module) == level
