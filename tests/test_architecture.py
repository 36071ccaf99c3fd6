"""What holds of the tree as a whole: layout, one way of imports, names, docstrings, tests."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

LEVELS = [
    {"errors", "process", "trust", "_files", "_imports", "_linalg", "_lists", "_fingerprints"},
    {"data"},
    {"store", "features"},
    {"networks", "streaming"},
    {"extractors"},
    {"engine"},
    {"evaluation"},
    {"analysis", "finetuning"},
    {"figures"},
    {"report"},
    {"demo", "testing"},
    {"cli", "__main__"},
]
"""Packages and root modules from the lowest to the highest level.

A module imports from its own package or from a lower level, inside functions too.
"""

UNPICKLES = {
    "featx.trust.machine_code": "what it compiled itself, in a folder that nobody else can change",
    "featx.testing": "copies of its own objects, which it has pickled itself",
}
"""Modules that may unpickle, and what."""

MAX_ROOT_MODULES = 10

SAME_NAME = {"featx.networks.featxnet": "the network's own name; its package does not export it"}
"""Modules that may hold a function of their name, and why."""

NOT_MIRRORED = {
    "test_architecture.py": "the tree as a whole",
    "test_clusters_page.py": "the commands of docs/clusters.md",
    "test_end_to_end.py": "whole commands on real images",
    "test_init.py": "featx/__init__.py",
    "test_readme.py": "the commands of README and of pages of docs",
    "test_scaling.py": "time and memory of whole runs",
    "cli/test_cli.py": "featx/cli/__init__.py",
    "finetuning/test_docs.py": "the commands of docs/finetuning.md",
    "report/test_browser.py": "the whole page in a real browser",
}
"""Test files that are not those of one module, and what they test; see also ``scripts/``."""

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


def package_of(module: str) -> str:
    """First part of a module's name below featx: its package, or itself in the root."""
    return module.split(".")[1]


def level_of(module: str) -> int:
    package = package_of(module)
    levels = [level for level, names in enumerate(LEVELS) if package in names]
    assert levels, f"{package} has no level; put it into LEVELS."
    return levels[0]


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules of featx that `module` imports, inside functions and for annotations too."""
    imported = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively; expected the whole name."
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                imported.update({inner if inner in MODULES else str(node.module)} & set(MODULES))
    return frozenset(imported - {"featx", module})


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


@pytest.fixture(scope="module")
def measures() -> ModuleType:
    """The script that measures the package."""
    spec = importlib.util.spec_from_file_location("measure_code", ROOT / "scripts/measure_code.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


def test_the_root_holds_few_modules() -> None:
    names = [path.name for path in MODULES.values() if path.parent == ROOT / "featx"]
    assert len(names) <= MAX_ROOT_MODULES, f"put one of {names} into a package"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "featx"])
def test_imports_point_downwards(module: str) -> None:
    for imported in imports_of(module):
        is_inside = package_of(imported) == package_of(module)
        assert is_inside or level_of(imported) <= level_of(module), (
            f"{module} imports {imported}, above it"
        )


@pytest.mark.parametrize("unit", ["modules", "packages"])
def test_nothing_imports_itself_by_a_detour(unit: str) -> None:
    graph: dict[str, set[str]] = {}
    for module in set(MODULES) - {"featx"}:
        for imported in imports_of(module):
            pair = (module, imported)
            first, second = pair if unit == "modules" else map(package_of, pair)
            if first != second:
                graph.setdefault(first, set()).add(second)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"{unit} import each other: {' <- '.join(error.args[1])}")


def test_no_file_stem_occurs_twice() -> None:
    stems = Counter(
        path.stem
        for path in MODULES.values()
        if path.parent.name != "cli" and path.stem not in {"__init__", "__main__", "base"}
    )
    assert [stem for stem, n_files in stems.items() if n_files > 1] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name not in SAME_NAME])
def test_no_function_or_class_shares_its_modules_name(module: str) -> None:
    names = {node.name for node in tree_of(module).body if hasattr(node, "name")}
    assert module.rsplit(".", 1)[-1] not in names


@pytest.mark.parametrize(
    "module", [name for name, path in MODULES.items() if not path.stem.endswith("__")]
)
def test_every_module_has_a_test_file_of_its_name(module: str) -> None:
    path = MODULES[module].relative_to(ROOT / "featx")
    assert (ROOT / "tests" / path.with_name(f"test_{path.name}")).is_file()


def test_every_test_file_is_that_of_a_module() -> None:
    files = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    mirrored = {
        path.with_name(f"test_{path.name}")
        for path in (path.relative_to(ROOT / "featx") for path in MODULES.values())
    }
    others = {str(path) for path in files - mirrored if path.parts[0] != "scripts"}
    assert others == set(NOT_MIRRORED)


def test_names_used_in_one_module_alone_are_private(measures: ModuleType) -> None:
    assert list(measures.unshared_names(measures.read_modules(ROOT), ROOT)) == []


def test_options_of_the_command_line_are_declared_once(measures: ModuleType) -> None:
    assert measures.count_options(measures.read_modules(ROOT)) < 150


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_has_a_docstring(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), f"{module} has none"
    bare = [
        node.name
        for node in public_nodes(module)
        if not ast.get_docstring(node) and not is_overload(node) and not is_setter(node)
    ]
    assert bare == []


@pytest.mark.parametrize("module", sorted(set(MODULES) - set(UNPICKLES)))
def test_nothing_is_unpickled(module: str) -> None:
    calls = [node for node in ast.walk(tree_of(module)) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if is_unpickling(call)] == []


def is_unpickling(call: ast.Call) -> bool:
    """Whether a call may run code that a file holds."""
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    name = ast.unparse(call.func)
    if name in {"torch.load", "np.load"}:
        return options.get("weights_only") != "True" and options.get("allow_pickle") != "False"
    return bool(
        re.search(r"(joblib|pickle)\.(load|loads|Unpickler)$|read_pickle$|load_url$", name)
        or name.endswith("load_state_dict_from_url")
        or "True" in options.get("allow_pickle", "")
    )


def is_overload(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)


def is_setter(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_somebodys_machine(path: Path) -> None:
    if path != Path(__file__).resolve():
        assert not FORBIDDEN.findall(path.read_text("utf-8"))
