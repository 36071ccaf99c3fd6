"""``featx finetune``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import (
    conclude,
    print_json,
    print_result,
    print_table,
    reporting,
)

if TYPE_CHECKING:
    from featx.finetuning.training_summary import StageSummary


@dataclass(frozen=True)
class FineTuneOptions(options.OptionGroup):
    """What is trained, and how."""

    load: Annotated[
        str | None, typer.Option(help="Load only the weights whose names match, such as 'conv*'.")
    ] = None
    train: Annotated[
        str | None,
        typer.Option(help="What to train: head or all. Default: head; all with random weights."),
    ] = None
    train_from: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Train this layer and all deeper ones.")
    ] = None
    freeze: Annotated[
        list[str] | None,
        options.name_list(
            "--freeze", metavar="LAYER,…", help="Freeze these layers, such as conv1,conv2."
        ),
    ] = None
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--layer-lr",
            metavar="LAYER=LR",
            help="Learning rate of one layer; zero freezes it. May be repeated.",
        ),
    ] = None
    layer_decay: Annotated[
        float | None,
        typer.Option(help="Factor between the learning rates of a layer and the one before it."),
    ] = None
    batch_norm: Annotated[
        str | None, typer.Option(help="Batch norm statistics: frozen or adapt. Default: frozen.")
    ] = None
    head_layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Layer that feeds the dense head.")
    ] = None
    hidden: Annotated[
        str | None,
        typer.Option(metavar="SIZES", help="Sizes of new dense layers, such as 256,64."),
    ] = None
    dropout: Annotated[float | None, typer.Option(help="Dropout rate before each dense layer.")] = (
        None
    )
    head_norm: Annotated[
        bool, typer.Option("--head-norm", help="Add batch norm before each dense layer.")
    ] = False
    head_epochs: Annotated[
        int | None, typer.Option(help="Number of epochs in which only the head is trained.", min=0)
    ] = None
    head_lr: Annotated[
        float | None, typer.Option(help="Learning rate while only the head is trained.")
    ] = None
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd. Default: adam.")] = None
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of the optimizer.", min=0)
    ] = None
    warmup: Annotated[float | None, typer.Option(help="Number of warm-up epochs.", min=0)] = None
    schedule: Annotated[
        str | None,
        typer.Option(help="Learning rate schedule: cosine or constant. Default: cosine."),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without improvement before a stage ends early.", min=1),
    ] = None
    validation: Annotated[
        float | None,
        typer.Option(
            "--validation-fraction",
            help="Fraction of images held out for early stopping; 0 trains on all images.",
            min=0,
        ),
    ] = None

    def to_parameters(self) -> dict[str, Any]:
        """Options of the user under the names of `FineTunedClassifier`."""
        values = super().to_parameters()
        if "train_from" in values:
            values["train"] = values.pop("train_from")
        if "rate" in values:
            from featx.finetuning.freezing import parse_rates

            values["rates"] = parse_rates(values.pop("rate"))
        return values


@dataclass(frozen=True)
class ComparisonOptions(options.OptionGroup):
    """What is compared."""

    compare: Annotated[
        list[str] | None,
        options.name_list(
            "--compare",
            metavar="STRATEGY,…",
            help="Compare strategies: scratch, frozen (a linear probe), head, partial, full.",
        ),
    ] = None


@options.expand_groups
def finetune_command(
    data: options.Data,
    network: Annotated[
        options.FeatureOptions,
        options.Only("model", "weights", "pooling", "size", "precision", "device", "trust"),
    ],
    tuning: FineTuneOptions,
    training: options.TrainingOptions,
    augmentation: options.AugmentationOptions,
    comparison: ComparisonOptions,
    rules: Annotated[
        options.ProtocolOptions,
        options.Only(
            *("protocol", "metric", "train_per_class", "n_splits"),
            *("seeds", "random_state", "class_weight", "groups"),
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder to save the network in."),
    ] = None,
    force: options.Force = False,
    summary: Annotated[
        bool,
        typer.Option("--summary", help="Only print the layers and which of them are trained."),
    ] = False,
    *,
    run: options.RunOptions,
    printed: options.PrintOptions,
) -> None:
    """Fine-tune a network on your images.

    \b
    featx finetune photos/ --model squeezenet1_0 -o mine/
    featx finetune photos/ --train-from conv5 --augment standard -o mine/
    featx finetune photos/ --compare scratch,frozen,head,full --seeds 3 --report report/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    if tuning.train and tuning.train_from:
        raise typer.BadParameter("--train and --train-from exclude each other; use one of them.")
    parameters = network.to_parameters() | tuning.to_parameters() | training.to_parameters()
    if preset := options.take_single("--augment", augmentation.augment):
        parameters["augment"] = preset
    if augmentation.no_flip:
        parameters["flip"] = False
    if summary:
        from featx.finetuning.experiment import summarize_training

        chosen = run.to_parameters()
        parameters |= {key: chosen[key] for key in ("domains", "splits") if key in chosen}
        stages = summarize_training(data, compare=comparison.compare, **parameters)
        _print_stages(stages, as_json=printed.as_json)
        return
    from featx.finetuning.experiment import finetune

    with reporting(quiet=printed.quiet) as reporter:
        result = finetune(
            data,
            partial=tuning.train_from,
            output=output,
            force=force,
            progress=reporter,
            **parameters,
            **comparison.to_parameters(),
            **_name_curve(rules.to_parameters()),
            **run.to_parameters(),
        )
    print_result(result, report=printed.report, **printed.formats)
    conclude(result, strict=printed.strict)


def _name_curve(rules: dict[str, Any]) -> dict[str, Any]:
    """Options of the protocol; several numbers of training images are a learning curve."""
    sizes = rules.get("train_per_class")
    if isinstance(sizes, list):
        return {name: value for name, value in rules.items() if name != "train_per_class"} | {
            "labels": sizes
        }
    return rules


def _print_stages(stages: Sequence[StageSummary], *, as_json: bool) -> None:
    """Print a table of layers per stage."""
    for stage in stages:
        if as_json:
            print_json("finetune", stage.rows, stage=stage.name, n_epochs=stage.n_epochs)
            continue
        print(f"{stage.name}: {stage.n_epochs} epochs")
        print_table(stage.rows, right=["parameters", "lr"])
        print()
