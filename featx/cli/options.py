"""Options that several commands share, each declared once, in groups.

A command has a group as one parameter; `expand_groups` writes the options of the group into the
command's signature, where typer reads them.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from featx._lists import parse_integers, parse_names
from featx.cli.profiling import print_profile
from featx.errors import ResultFileError, SpecError

if TYPE_CHECKING:
    from featx.store.feature_store import FeatureStore

Value = TypeVar("Value")

DATA_HELP = (
    "A folder (its folders name the classes; train/ val/ test/ above them the splits), several, "
    "files, a manifest (.csv .tsv .parquet .jsonl .json .txt), archives ('shards/{00..99}.tar', "
    ".zip, .parquet with images), URLs (s3://, https://), digits, drawings, or "
    "torchvision:NAME."
)
Data = Annotated[list[str], typer.Argument(metavar="DATA", help=DATA_HELP)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite any existing output.")]
_DEBUG_FLAG, _DEBUG_VARIABLE = "--debug", "FEATX_DEBUG"
Profile = Annotated[
    bool, typer.Option("--profile", help="Print where the time went, and the peak memory.")
]
Debug = Annotated[
    bool,
    typer.Option(
        _DEBUG_FLAG, metavar="", help="Show the traceback of an error.", envvar=_DEBUG_VARIABLE
    ),
]


class Only:
    """Annotation for a command that takes some options of a group: ``Only("store", "n_jobs")``."""

    def __init__(self, *names: str) -> None:
        self.names = names


@dataclass(frozen=True)
class OptionGroup:
    """Options that a command gets as one object; each field is annotated as typer expects."""

    def to_parameters(self) -> dict[str, Any]:
        """Options that were set, under the names of the library's parameters."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value
            for name, value in values.items()
            if value is not None and value is not False
        }

    def context(self) -> AbstractContextManager[None]:
        """Context manager that the command runs in."""
        return nullcontext()


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Command with each group of options in its signature replaced by the group's options.

    It takes --profile, and --debug, which `is_debug` looks up, besides.
    """
    groups: dict[str, tuple[type[OptionGroup], Sequence[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = getattr(parameter.annotation, "__origin__", parameter.annotation)
        if not (isinstance(group, type) and issubclass(group, OptionGroup)):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        options = {option.name: option for option in _parameters_of(group)}
        [only] = getattr(parameter.annotation, "__metadata__", [Only(*options)])
        groups[parameter.name] = group, only.names
        parameters += [options[name] for name in only.names]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters.append(inspect.Parameter("profile", kind, default=False, annotation=Profile))
    parameters.append(inspect.Parameter("debug", kind, default=False, annotation=Debug))

    @wraps(command)
    def run(*, debug: bool = False, profile: bool = False, **values: Any) -> None:
        taken = {
            name: group(**{option: values.pop(option) for option in names})
            for name, (group, names) in groups.items()
        }
        with ExitStack() as stack:
            if profile:
                stack.enter_context(print_profile())
            for group in taken.values():
                stack.enter_context(group.context())
            command(**values, **taken)

    for parameter in parameters:
        _hide_value_of_flag(parameter.annotation)
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _hide_value_of_flag(annotation: Any) -> None:
    """Leave the column of values empty for a flag, where typer's help shows <bool>."""
    if getattr(annotation, "__origin__", None) is bool:
        for info in annotation.__metadata__:
            info.metavar = ""


def is_debug() -> bool:
    """Whether to show the traceback of an error, also of errors before options are parsed."""
    return _DEBUG_FLAG in sys.argv or os.environ.get(_DEBUG_VARIABLE, "") not in ("", "0")


def _parameters_of(group: type[OptionGroup]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def name_list(*flags: str, **details: Any) -> Any:
    """Option for names, which may be repeated or separated by commas."""
    return typer.Option(*flags, parser=_strict(parse_names), callback=_joined, **details)


def integer_list(*flags: str, minimum: int = 0, **details: Any) -> Any:
    """Option for integers, which may be repeated or separated by commas."""
    parser = _strict(lambda text: parse_integers(text, minimum=minimum))
    return typer.Option(*flags, parser=parser, callback=_joined, **details)


def _strict(parse: Callable[[str], list[Value]]) -> Callable[[str], list[Value]]:
    """Parser whose errors are usage errors."""

    def parsed(text: str) -> list[Value]:
        try:
            return parse(text)
        except SpecError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


def _joined(lists: list[list[Any]] | None) -> list[Any] | None:
    return [item for items in lists for item in items] if lists else None


def take_single(flag: str, values: Sequence[Value] | None) -> Value | None:
    """Value of a list option of which a command takes at most one.

    Raises
    ------
    typer.BadParameter
        If there are several.
    """
    if values and len(values) > 1:
        raise typer.BadParameter(f"Expected one value here, got {len(values)}.", param_hint=flag)
    return values[0] if values else None


def check_suffix(output: str, suffixes: Sequence[str]) -> Path:
    """Path of an output, whose suffix says how it is written.

    Raises
    ------
    ResultFileError
        If it has another suffix.
    """
    path = Path(output)
    if path.suffix.lower() not in suffixes:
        raise ResultFileError(
            f"{output}: expected a name that ends in {', '.join(suffixes)}; got "
            f"{path.suffix or 'no suffix'}."
        )
    return path


@dataclass(frozen=True)
class FeatureOptions(OptionGroup):
    """Which features: extractors, or a network and its layers."""

    extractor: Annotated[
        list[str] | None,
        typer.Option(
            "-e",
            "--extractor",
            metavar="SPEC",
            help="NAME[:ARG…][,key=value…], see `featx extractors`. May be repeated. "
            "--model MODEL --layer LAYER is short for -e cnn:MODEL:LAYER.",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            help="Network, see `featx models`, or a folder that `featx finetune` wrote. Default: "
            "featxnet."
        ),
    ] = None
    layer: Annotated[
        list[str] | None,
        name_list(
            "--layer",
            "--layers",
            metavar="LAYER,…",
            help="Layers of the network, see `featx layers MODEL`, separated by commas. May be "
            "repeated.",
        ),
    ] = None
    last_blocks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Concatenate the pooled output of a vision transformer's last N blocks; short for "
            "--layer lastN.",
            min=1,
        ),
    ] = None
    weights: Annotated[
        str | None, typer.Option(help="Weights of the network: default, a name, a file, or random.")
    ] = None
    pooling: Annotated[
        str | None,
        typer.Option(
            help="How feature maps are pooled: flatten, gap (global average), max, gem or grid=N; "
            "tokens: cls, mean or cls+mean."
        ),
    ] = None
    size: Annotated[
        int | None, typer.Option(help="Side length of the network's input in px.", min=1)
    ] = None
    decode: Annotated[
        str | None,
        typer.Option(
            help="How JPEGs are decoded: full, or scaled (large ones downscaled while decoding, "
            "for networks). Default: full."
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            help="Numeric precision of the network: fp32, bf16, or fp16 where nothing is trained. "
            "Default: fp32."
        ),
    ] = None
    device: Annotated[
        str | None,
        typer.Option(help="Where the network runs: auto, cpu, cuda, cuda:1 or mps. Default: auto."),
    ] = None
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Import and call the code (package.module:callable) that this folder's model.json "
            "or this .skops file names; or name such code itself. May be repeated.",
        ),
    ] = None

    def to_parameters(self) -> dict[str, Any]:
        """Options of the network that were set; extractors are a separate argument."""
        values = {
            name: value for name, value in super().to_parameters().items() if name != "extractor"
        }
        if n_blocks := values.pop("last_blocks", None):
            values["layer"] = [*values.get("layer", ()), f"last{n_blocks}"]
        return values


@dataclass(frozen=True)
class ProtocolOptions(OptionGroup):
    """How accuracy is measured."""

    protocol: Annotated[
        str | None,
        typer.Option(
            help="How images are split: cv, holdout, random, decaf, kornblith or razavian. "
            "Default: holdout where the data has folders to split by, else cv.",
        ),
    ] = None
    classifier: Annotated[
        str | None,
        typer.Option(help="logistic, svm, ridge, knn or nearest_mean. Default: logistic."),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(help="How features are scaled: standard, l2 or none. Default: standard."),
    ] = None
    C: Annotated[
        float | None,
        typer.Option(
            "-C",
            "--C",
            help="Inverse of the regularization strength. Default: chosen on the training images.",
            min=1e-12,
        ),
    ] = None
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy or balanced_accuracy. Default: that of the protocol."),
    ] = None
    class_weight: Annotated[
        str | None,
        typer.Option(
            help="balanced gives every class the same weight in the classifier's loss, "
            "however many images it has."
        ),
    ] = None
    groups: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|re:PATTERN",
            help="Keep all images of a group, such as a patient, on one side of every split: a "
            "column of the manifest, or the part of each path that matches PATTERN. Default: "
            "the column group; none ignores it.",
        ),
    ] = None
    train_per_class: Annotated[
        list[int] | None,
        integer_list(
            "--train-per-class",
            metavar="N",
            minimum=1,
            help="Number of training images per class; in `featx probe` and `featx finetune`, "
            "several such as 1,2,5,10 give a learning curve.",
        ),
    ] = None
    n_splits: Annotated[
        int | None, typer.Option(help="Number of folds or random splits.", min=1)
    ] = None
    seeds: Annotated[
        int | None, typer.Option(help="Number of repetitions, each with the next seed.", min=1)
    ] = None
    random_state: Annotated[
        int | None,
        typer.Option(help="Random seed; the first one if there are several repetitions."),
    ] = None

    def to_parameters(self) -> dict[str, Any]:
        """Options that were set; a single number of training images is not a list."""
        values = super().to_parameters()
        if len(sizes := values.get("train_per_class", ())) == 1:
            values["train_per_class"] = sizes[0]
        if self.groups == "none":
            values["groups"] = False
        return values


@dataclass(frozen=True)
class EmbeddingOptions(OptionGroup):
    """How images are embedded in two dimensions."""

    method: Annotated[
        str | None, typer.Option(help="Embedding by umap, pca or tsne. Default: umap.")
    ] = None
    max_images: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of images to embed and measure, drawn evenly from all classes; a "
            "probe uses all of them. Default: 5000.",
            min=10,
        ),
    ] = None


@dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """How a network is trained."""

    epochs: Annotated[
        int | None,
        typer.Option(
            help="Number of epochs; in `featx finetune`, after those of the head alone.", min=0
        ),
    ] = None
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate; in `featx finetune`, after the epochs of the head alone.", min=0
        ),
    ] = None
    batch_size: Annotated[int | None, typer.Option(help="Images per training step.", min=1)] = None
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Save a checkpoint there after each epoch, and resume from it."
        ),
    ] = None


@dataclass(frozen=True)
class AugmentationOptions(OptionGroup):
    """How images change at random."""

    augment: Annotated[
        list[str] | None,
        typer.Option(
            help="Preset none, light, standard or strong, and changes to it: strong,mixup=0."
        ),
    ] = None
    no_flip: Annotated[bool, typer.Option("--no-flip", help="Disable horizontal flips.")] = False


@dataclass(frozen=True)
class RunOptions(OptionGroup):
    """Which domains and splits, how images are read, the store, and how many jobs."""

    domains: Annotated[
        list[str] | None,
        name_list(
            "--domains",
            metavar="DOMAIN,…",
            help="Read the folder above the class as the domain, and take these domains, or all.",
        ),
    ] = None
    splits: Annotated[
        str | None,
        typer.Option(
            metavar="auto|none",
            help="auto takes splits from folders called train, val, test etc. or from the "
            "manifest's column; none ignores them. Default: auto.",
        ),
    ] = None
    value_range: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help="Stored values of black and white: LOW,HIGH; p1,p99 for these percentiles of the "
            "training images; dtype for the range of the type; file for each file's metadata.",
        ),
    ] = None
    window: Annotated[
        str | None,
        typer.Option(metavar="LEVEL,WIDTH", help="Value range by its center and width."),
    ] = None
    pages: Annotated[
        str | None,
        typer.Option(
            help="Pages to read of multi-page files: first, max, mean, or all (each page a band)."
        ),
    ] = None
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="N,…|each",
            help="Bands to read, counted from 1, such as 4,3,2; each extracts features of every "
            "band separately and concatenates them.",
        ),
    ] = None
    max_pixels: Annotated[
        int | None, typer.Option(help="Refuse images of more pixels than this.", min=1)
    ] = None
    store: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the feature store. Default: in the user's cache folder.",
            envvar="FEATX_STORE",
        ),
    ] = None
    shared_store: Annotated[
        bool,
        typer.Option(
            "--shared-store",
            help="Use a store that a group shares: trust the owners and groups of its folders.",
        ),
    ] = False
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Neither read nor write stored features.")
    ] = False
    n_jobs: Annotated[
        int | None, typer.Option("-j", "--n-jobs", help="Number of jobs. Default: all cores.")
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Compute features on a cluster: dask://HOST:PORT or ray://HOST:PORT; dask or ray "
            "starts one on this machine.",
        ),
    ] = None

    def context(self) -> AbstractContextManager[None]:
        """The cluster that computes features, if one is given."""
        if self.scheduler is None:
            return nullcontext()
        from featx.streaming.schedulers import use_scheduler

        return use_scheduler(self.scheduler)

    def to_parameters(self) -> dict[str, Any]:
        """Options that were set, and the store."""
        values = super().to_parameters() | {"store": None if self.no_store else self.chosen_store}
        for flag in ("no_store", "shared_store", "scheduler"):
            values.pop(flag, None)
        if self.domains == ["all"]:
            values["domains"] = True
        return values

    def reading(self) -> dict[str, Any]:
        """Options of reading images that were set."""
        names = ("value_range", "window", "pages", "bands", "max_pixels")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def chosen_store(self) -> str | FeatureStore:
        """The store as the library takes it, whether rows are stored or not."""
        store = self.store or "default"
        if not self.shared_store:
            return store
        from featx.store.feature_store import FeatureStore, open_store

        return FeatureStore(open_store(store).folder, shared=True)


_FORMATS = ("as_json", "as_csv", "safe_csv", "as_markdown")


@dataclass(frozen=True)
class PrintOptions(OptionGroup):
    """How a result is printed, and its report."""

    report: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Write report.html, results.json, table.csv and figures there."
        ),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False
    safe_csv: Annotated[
        bool,
        typer.Option(
            "--safe-csv", help="Print CSV whose names no spreadsheet interprets as formulas."
        ),
    ] = False
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table in Markdown.")
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 3 if an image could not be read.")
    ] = False
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Suppress notes and progress.")] = (
        False
    )

    @property
    def formats(self) -> dict[str, Any]:
        """How the table is printed."""
        return {name: getattr(self, name) for name in _FORMATS}


Features = Annotated[
    FeatureOptions,
    Only(
        *("extractor", "model", "layer", "last_blocks", "weights", "pooling", "size"),
        *("decode", "precision", "device", "trust"),
    ),
]
Trust = Annotated[FeatureOptions, Only("trust")]
Seed = Annotated[ProtocolOptions, Only("random_state")]
Reading = Annotated[RunOptions, Only("value_range", "window", "pages", "bands", "max_pixels")]
Cache = Annotated[RunOptions, Only("store", "shared_store")]
StoredOnly = Annotated[
    RunOptions, Only("max_pixels", "store", "shared_store", "no_store", "n_jobs")
]
Printed = Annotated[PrintOptions, Only("as_json", "strict", "quiet")]
Json = Annotated[PrintOptions, Only("as_json")]
