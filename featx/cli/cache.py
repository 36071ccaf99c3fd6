"""``featx cache``: look after the store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import in_bytes, print_json, print_table

if TYPE_CHECKING:
    from featx.store.feature_store import FeatureStore
    from featx.store.maintenance import StoredSetting

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

app = typer.Typer(help="Inspect and maintain the feature store.", no_args_is_help=True)


@app.command("info")
@options.expand_groups
def _info_command(run: options.Cache, printed: options.Json) -> None:
    """Show where the store is and how much it holds."""
    info = asdict(_open(run).info())
    if printed.as_json:
        print_json("cache info", [info])
        return
    for name, value in info.items():
        text = in_bytes(value) if name.endswith("_bytes") else _counted(value)
        print(f"{name.removeprefix('n_').replace('_', ' '):12}{text}")


@app.command("ls")
@options.expand_groups
def _ls_command(run: options.Cache, printed: options.Json) -> None:
    """List settings that have rows, latest first."""
    settings = _open(run).ls()
    if printed.as_json:
        print_json("cache ls", [asdict(setting) for setting in settings])
        return
    if not settings:
        print("The store is empty.", file=sys.stderr)
    print_table([_listed(setting) for setting in settings], right=("rows", "columns", "size"))


@app.command("verify")
@options.expand_groups
def _verify_command(run: options.Cache, printed: options.Json) -> None:
    """Check every row and drop damaged ones.

    Dropped rows are computed again when they are needed.
    """
    verified = _open(run).verify()
    if printed.as_json:
        print_json("cache verify", [asdict(verified)])
    else:
        print(f"{verified.n_rows:,} rows read, {verified.n_damaged:,} damaged and dropped")


@app.command("prune")
@options.expand_groups
def _prune_command(
    *,
    run: options.Cache,
    unused_days: Annotated[
        float | None, typer.Option(help="Remove features not used for this many days.", min=0)
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Remove least recently used features beyond this size, such as 20G.",
        ),
    ] = None,
    printed: options.Json,
) -> None:
    """Remove leftovers of killed runs and old features.

    Rows of older versions of featx go too; features that are merely old go by option.
    """
    from featx.trust.machine_code import prune_machine_code

    max_bytes = None if max_size is None else _bytes(max_size)
    _report(
        "prune",
        lambda: _open(run).prune(unused_days=unused_days, max_bytes=max_bytes),
        printed,
    )
    if n_bytes := prune_machine_code():
        print(f"Machine code of other versions removed: {in_bytes(n_bytes)}", file=sys.stderr)


@app.command("rebuild")
@options.expand_groups
def _rebuild_command(run: options.Cache, printed: options.Json) -> None:
    """Recreate a lost or damaged index.

    The index is read from the files of rows; nothing is computed.
    """
    rebuilt = _open(run).rebuild()
    if printed.as_json:
        print_json("cache rebuild", [asdict(rebuilt)])
        return
    index = "New index" if rebuilt.is_new else "The index is intact"
    print(f"{index}: {rebuilt.n_rows:,} rows added (files read: {rebuilt.n_shards:,})")
    if rebuilt.n_unknown:
        print(
            f"Files skipped (damaged, or written by an earlier version): {rebuilt.n_unknown:,}",
            file=sys.stderr,
        )


@app.command("merge")
@options.expand_groups
def _merge_command(
    stores: Annotated[list[str], typer.Argument(metavar="STORE", help="Stores to copy from.")],
    *,
    to: Annotated[str, typer.Option("--to", metavar="STORE", help="Store to copy into.")],
    run: Annotated[options.RunOptions, options.Only("shared_store")],
    printed: options.Json,
) -> None:
    """Copy the rows of several stores into one.

    The stores may be those of `featx extract --part`. Every row is checked, nothing is removed,
    and rows already present are skipped.

    \b
    featx extract photos/ --layer fc7 --part 1/2 --store part1
    featx extract photos/ --layer fc7 --part 2/2 --store part2
    featx cache merge part1 part2 --to all
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    from featx.store.feature_store import FeatureStore, open_store
    from featx.store.merging import merge_stores

    def opened(name: str) -> FeatureStore:
        return FeatureStore(open_store(name).folder, shared=run.shared_store)

    merged = merge_stores([opened(name) for name in stores], target := opened(to))
    if printed.as_json:
        print_json("cache merge", [asdict(merged)])
        return
    print(
        f"{target.folder}: {merged.n_rows:,} rows copied, {merged.n_present:,} were present, "
        f"{merged.n_damaged:,} damaged and skipped"
    )
    if merged.n_unknown:
        print(
            f"Files skipped (damaged, or of another version): {merged.n_unknown:,}", file=sys.stderr
        )


@app.command("clear")
@options.expand_groups
def _clear_command(
    *,
    run: options.Cache,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Remove without asking.")] = False,
    printed: options.Json,
) -> None:
    """Remove everything from the store."""
    opened = _open(run)
    if not yes:
        typer.confirm(f"Remove all features stored in {opened.folder}?", abort=True, err=True)
    _report("clear", opened.clear, printed)


def _open(run: options.RunOptions) -> FeatureStore:
    from featx.errors import StoreError
    from featx.store.feature_store import open_store

    store = open_store(run.chosen_store)
    if run.store and not store.folder.is_dir():  # A mistyped name would become a store.
        raise StoreError(f"There is no store in {store.folder}.")
    return store


def _report(name: str, act: Callable[[], Any], printed: options.PrintOptions) -> None:
    gone = act()
    if printed.as_json:
        print_json(f"cache {name}", [asdict(gone)])
        return
    print(
        f"{gone.n_shards + gone.n_orphans:,} files removed, {gone.n_rows:,} rows, "
        f"{in_bytes(gone.n_bytes)}"
    )


def _listed(setting: StoredSetting) -> dict[str, Any]:
    """Row of the listing."""
    return {
        "extractor": setting.extractor,
        "setting": _described(setting.settings),
        "rows": setting.n_rows,
        "columns": setting.width,
        "size": in_bytes(setting.n_bytes),
        "used": datetime.fromtimestamp(setting.used).strftime("%Y-%m-%d"),
        "fingerprint": setting.fingerprint[:8],
    }


def _described(settings: dict[str, Any]) -> str:
    """Short description of a setting: its layer and parameters."""
    parameters = settings.get("parameters", {})
    parts = {key: settings[key] for key in ("model", "layer", "node") if key in settings}
    text = " ".join(f"{key}={value}" for key, value in (parts | parameters).items())
    return text if len(text) <= 60 else text[:59] + "…"


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _bytes(text: str) -> int:
    """Number of bytes of a text such as ``20G``, ``500 MB`` or ``1000``."""
    number = text.upper().replace(" ", "").removesuffix("B").replace("K", "k")
    unit = number[-1:] if number[-1:] in _UNITS and not number[-1:].isdigit() else ""
    try:
        return int(float(number.removesuffix(unit)) * _UNITS[unit])
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a size; expected for example 500M or 20G."
        ) from error
