"""Build the documentation site: pages of docs/, and a reference of every command and public name.

    python -m pip install ".[docs]" -c constraints.txt
    python scripts/build_site.py [OUTPUT]    # default: build/site; open OUTPUT/index.html

Every warning is an error. The notebooks of the course are run, unless the cache beside the site
has the output of their code. The pages of commands are written from the command line itself, those
of classes and functions from `featx.__all__` and the docstrings. The site needs no network to be
built or read.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

PROJECT_PAGES = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
"""Pages that are not in docs/, but on the site."""

GROUPS = {
    "extractors": "Extractors",
    "engine": "Extraction",
    "data": "Images",
    "features": "Features",
    "evaluation": "Evaluation",
    "analysis": "Layers and embeddings",
    "finetuning": "Fine-tuning",
    "networks": "Networks",
    "store": "The store",
}
"""Package of public names, and the heading above them."""

BASES = {"Extractor": "featx.extractors.base"}
"""Classes that users derive from, and their modules."""

MODULES = {
    "featx.testing": "Checks of extractors",
    "featx.errors": "Errors and warnings",
}
"""Modules whose public names users need as well."""

_SPECIAL = re.compile(r"[*|_\\]")
_OPTION = re.compile(r"(?<![^\s(])(--?[a-zA-Z][\w-]*)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "build/site")
    output = parser.parse_args().output.resolve()
    source = output.with_name(output.name + "-source")
    write_source(source)
    shutil.rmtree(output, ignore_errors=True)
    cache = f"nb_execution_cache_path={output.with_name(output.name + '-notebooks')}"
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run([*sphinx, "-D", cache, str(source), str(output)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    print(f"{output / 'index.html'}: {len(list(output.rglob('*.html')))} pages")


def write_source(folder: Path) -> None:
    """Write all pages into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for page in folder.glob("*.md"):
        page.write_text(_with_links_of_the_site(page.read_text("utf-8")), "utf-8")
    for name in PROJECT_PAGES:
        text = (ROOT / f"{name}.md").read_text("utf-8").replace("](docs/", "](")
        (folder / f"{name.lower()}.md").write_text(_with_links_of_the_site(text), "utf-8")
    reference = folder / "reference"
    for name, text in [("index.rst", _reference_page()), *command_pages(), *python_pages()]:
        path = reference / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def _with_links_of_the_site(text: str) -> str:
    """Markdown whose links out of docs/ lead to pages of the site, or to no page."""
    for name in PROJECT_PAGES:
        text = re.sub(rf"\]\((\.\./)?{name}\.md", f"]({name.lower()}.md", text)
    text = text.replace("](../README.md)", "](index.md)")
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", text)


# --- the command line ------------------------------------------------------------------------


def command_pages() -> Iterator[tuple[str, str]]:
    """Name and text of the page of each command, and of their list."""
    commands = dict(iterate_commands())
    for name, command in commands.items():
        yield f"commands/{name.replace(' ', '_')}.rst", _command_page(name, command)
    lines = [*_heading("Commands", "="), "``featx --help`` lists them, too.", "", ".. toctree::"]
    lines += [
        "   :maxdepth: 1",
        "",
        *(f"   commands/{name.replace(' ', '_')}" for name in commands),
    ]
    yield "commands.rst", "\n".join([*lines, ""])


def _reference_page() -> str:
    lines = [*_heading("Reference", "="), "Every command and option, and every public class and"]
    lines += ["function, as the command line and the docstrings describe them.", ""]
    return "\n".join(
        [*lines, ".. toctree::", "   :maxdepth: 2", "", "   commands", "   python", ""]
    )


def iterate_commands() -> Iterator[tuple[str, Any]]:
    """Each command of the command line that does something, such as ``cache info``."""
    import typer

    from featx.cli import app

    def walk(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(f"{prefix}{name} ", command)
            else:
                yield prefix + name, command

    yield from walk("", typer.main.get_command(app))


def _command_page(name: str, command: Any) -> str:
    arguments = [part for part in command.params if part.param_type_name == "argument"]
    options = [part for part in command.params if part.param_type_name == "option"]
    usage = " ".join(["featx", name, "[OPTIONS]", *(_usage(part) for part in arguments)])
    lines = [*_heading(f"featx {name}", "="), ".. code-block:: text", "", f"   {usage}", ""]
    lines += [*_paragraphs(command.help or ""), f".. program:: featx {name}", ""]
    if arguments:
        lines += _heading("Arguments", "-")
        for part in arguments:
            lines += [f"``{part.metavar or part.name.upper()}``", f"   {_escaped(part.help)}", ""]
    lines += _heading("Options", "-")
    for part in options:
        if not part.hidden:
            lines += [f".. option:: {_flags(part)}", "", f"   {_escaped(part.help)}", ""]
    return "\n".join(lines)


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 else str(name)


def _flags(option: Any) -> str:
    """The option as the `option` directive takes it: ``-o FILE, --output FILE``."""
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(f"{flag}{value}" for flag in [*option.opts, *option.secondary_opts])


def _paragraphs(text: str) -> Iterator[str]:
    """Help as reStructuredText; paragraphs after the control character are commands."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            yield from (".. code-block:: sh", "")
            yield from (f"   {line.strip()}" for line in paragraph[1:].strip().splitlines())
        else:
            yield _escaped(paragraph)
        yield ""


def _escaped(text: str | None) -> str:
    """Help as one line of reStructuredText, with options as code, which is not broken in two."""
    parts = re.split(r"(`+[^`]+`+)", " ".join((text or "").split()))
    return "".join(
        part if part.startswith("`") else _OPTION.sub(r"``\1``", _SPECIAL.sub(r"\\\g<0>", part))
        for part in parts
    )


# --- Python ----------------------------------------------------------------------------------


def python_pages() -> Iterator[tuple[str, str]]:
    """Name and text of the page of each public class and function, and of their list."""
    import featx

    objects = {name: getattr(featx, name) for name in featx.__all__}
    lines = _heading("Python", "=")
    lines += ["Everything here is imported from ``featx``.", ""]
    for package, title in GROUPS.items():
        members = [
            name for name, value in objects.items() if value.__module__.split(".")[1] == package
        ]
        lines += [*_heading(title, "-"), ".. toctree::", "   :hidden:", ""]
        lines += [*(f"   python/{name}" for name in members), ""]
        for name in members:
            lines += [f":doc:`{name} <python/{name}>`", f"   {_summary(objects[name])}", ""]
    lines += [*_heading("Other modules", "-"), ".. toctree::", "   :maxdepth: 1", ""]
    lines += [*(f"   python/{name}" for name in [*BASES, *MODULES]), ""]
    yield "python.rst", "\n".join(lines)
    for name, value in objects.items():
        yield f"python/{name}.rst", _python_page(f"featx.{name}", value)
    for name, module in BASES.items():
        value = getattr(importlib.import_module(module), name)
        yield f"python/{name}.rst", _python_page(f"{module}.{name}", value)
    for name, title in MODULES.items():
        module = importlib.import_module(name)
        lines = [*_heading(title, "="), *inspect.cleandoc(module.__doc__ or "").splitlines(), ""]
        for member in _public_members(module):
            lines += [f".. {_kind(member)}:: {name}.{member.__name__}", ""]
        yield f"python/{name}.rst", "\n".join(lines)


def _public_members(module: Any) -> list[Any]:
    return [
        value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and callable(value)
        and getattr(value, "__module__", "") == module.__name__
    ]


def _kind(value: Any) -> str:
    if isinstance(value, type):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction"


def _python_page(path: str, value: Any) -> str:
    """Page of a class with its public methods, or of a function."""
    lines = [*_heading(path.rpartition(".")[2], "="), f".. {_kind(value)}:: {path}", ""]
    if isinstance(value, type):
        for member, kind in _members(value):
            lines += [f"   .. {kind}:: {path}.{member}", ""]
    return "\n".join(lines)


def _members(value: type) -> Iterator[tuple[str, str]]:
    """Public methods and properties that featx itself defines and documents, and their kind."""
    for name in sorted(dir(value)):
        owner = next((part for part in value.__mro__ if name in vars(part)), None)
        if name.startswith("_") or owner is None or not owner.__module__.startswith("featx."):
            continue
        member = inspect.getattr_static(value, name)
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if callable(function) and function.__doc__:
            yield name, "autoproperty" if isinstance(member, property) else "automethod"


def _summary(value: Any) -> str:
    summary = inspect.cleandoc(value.__doc__).split("\n\n")[0]
    return _escaped(re.sub(r" \[\d+\]_", "", summary))


def _heading(title: str, line: str) -> list[str]:
    return [title, line * len(title), ""]


if __name__ == "__main__":
    main()
