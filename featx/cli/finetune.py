"""``featx finetune``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import conclude, print_json, print_result, print_table, reporting

COLUMNS = {
    "spec": "strategy",
    "accuracy": "accuracy",
    "low": "low",
    "high": "high",
    "balanced_accuracy": "balanced",
    "log_loss": "log loss",
    "difference": "behind",
    "p_value": "p",
    "n_trainable": "trainable",
    "train_seconds": "train s",
}


def finetune_command(
    data: options.Data,
    model: Annotated[
        str, typer.Option(help="A network, see `featx models`, or a folder of featx finetune.")
    ] = "featxnet",
    weights: options.Weights = None,
    load: Annotated[
        str | None, typer.Option(help="Only these tensors of the weights, as 'conv*'.")
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="head, or all (the default of random weights).")
    ] = None,
    train_from: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Train this layer and all deeper.")
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="LAYERS", help="Layers that stay, as conv1,conv2.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER=RATE", help="Rate of a layer; zero freezes. Repeat."),
    ] = None,
    layer_decay: Annotated[
        float | None, typer.Option(help="Factor on the rate from each layer to the one before.")
    ] = None,
    batch_norm: Annotated[str | None, typer.Option(help="frozen (default) or adapt.")] = None,
    head_layer: Annotated[
        str | None, typer.Option(metavar="LAYER", help="Layer that a dense head takes.")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(metavar="SIZES", help="New dense layers, as 256,64.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Before each dense layer.")] = None,
    head_norm: Annotated[
        bool, typer.Option("--head-norm", help="Batch norm before each dense layer.")
    ] = False,
    head_epochs: Annotated[int | None, typer.Option(help="Of the head alone.", min=0)] = None,
    head_lr: Annotated[float | None, typer.Option(help="Rate of the head alone.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of the layers chosen.", min=0)] = None,
    lr: Annotated[float | None, typer.Option(help="Rate of the layers chosen.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    warmup: Annotated[float | None, typer.Option(help="Epochs of climbing rate.", min=0)] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine or constant.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without progress before a stage ends.", min=1)
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of pictures to stop by; 0 trains on all.", min=0)
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="none, light, standard, strong; changes to it: strong,mixup=0."),
    ] = None,
    no_flip: Annotated[
        bool, typer.Option("--no-flip", help="Mirror no picture: left and right matter.")
    ] = False,
    size: Annotated[int | None, typer.Option(help="Side of the pictures in px.", min=1)] = None,
    compare: Annotated[
        str | None, typer.Option(help="Strategies: scratch,frozen,head,partial,full.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Curve by training pictures of each class, as 5,10,20.")
    ] = None,
    train_per_class: Annotated[
        int | None, typer.Option(help="Training pictures of each class.", min=1)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions.", min=1)] = 1,
    random_state: Annotated[int, typer.Option(help="The first seed.")] = 0,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Keep the network there.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep each epoch; go on after a kill.")
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only print the layers and what trains.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write into any folder.")] = False,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.")] = None,
    device: options.Device = None,
    domains: options.Domains = None,
    store: options.Store = None,
    no_store: options.NoStore = False,
    n_jobs: options.Jobs = None,
    report: options.Report = None,
    as_json: options.Json = False,
    as_csv: options.Csv = False,
    as_markdown: options.Markdown = False,
    strict: options.Strict = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No notes, no progress.")] = False,
) -> None:
    """Fine-tune a network on your pictures: the head, or from a layer on, or all of it.

    \b
    featx finetune photos/ --model squeezenet1_0 -o mine/
    featx finetune photos/ --train-from conv5 --augment standard -o mine/
    featx finetune photos/ --compare scratch,frozen,head,full --seeds 3 --report report/
    """  # noqa: D301 - typer wants the control character before lines it must not join.
    if train and train_from:
        raise typer.BadParameter("--train and --train-from say the same; give one.")
    from featx.finetuning.policies import parse_rates

    given = options.chosen(
        weights=weights, load=load, train=train_from or train, freeze=_names(freeze),
        rates=parse_rates(rate) if rate else None, layer_decay=layer_decay,
        batch_norm=batch_norm, head_layer=head_layer, hidden=hidden, dropout=dropout,
        head_norm=head_norm or None, head_epochs=head_epochs, head_lr=head_lr, epochs=epochs,
        lr=lr, optimizer=optimizer, weight_decay=weight_decay, batch_size=batch_size,
        warmup=warmup, schedule=schedule, patience=patience, validation=validation, augment=augment,
        flip=False if no_flip else None, size=size, precision=precision, device=device,
    )  # fmt: skip
    if summary:
        if not compare:
            from featx.finetuning.running import check_parameters

            given = check_parameters(model, given)
            given.pop("model")
        _print_summary(data, model, given, domains, as_json=as_json)
        return
    from featx.finetuning.running import finetune

    with reporting(quiet=quiet) as reporter:
        result = finetune(
            data,
            model,
            domains=options.chosen_domains(domains),
            compare=_names(compare),
            partial=train_from,
            labels=[int(n) for n in _names(labels) or ()],
            train_per_class=train_per_class,
            seeds=seeds,
            random_state=random_state,
            output=output,
            force=force,
            checkpoint=checkpoint,
            store=options.chosen_store(store, no_store=no_store),
            n_jobs=n_jobs,
            watcher=reporter,
            **given,
        )
    print_result(result, COLUMNS, as_json=as_json, as_csv=as_csv, as_markdown=as_markdown)
    conclude(result, report, strict=strict)


def _names(text: str | None) -> list[str] | None:
    """Words with commas between them."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _print_summary(
    data: list[str], model: str, given: dict[str, Any], domains: str | None, *, as_json: bool
) -> None:
    """The network layer by layer, for as many classes as the data has; nothing is trained."""
    from featx.datasets import load_dataset
    from featx.finetuning.summary import summarize
    from featx.finetuning.training import FineTunedClassifier

    dataset = load_dataset(data, domains=options.chosen_domains(domains))
    classes = set() if dataset.labels is None else set(dataset.labels.tolist()) - {""}
    classifier = FineTunedClassifier(model, **given)
    prepared = classifier.prepare(max(2, len(classes)), with_values=False)
    for stage in classifier.stages(prepared):
        rows = summarize(prepared, stage.plan)
        if as_json:
            print_json("finetune", rows, stage=stage.name, n_epochs=stage.n_epochs)
            continue
        print(f"{stage.name}: {stage.n_epochs} epochs")
        print_table(rows, right=["parameters", "lr"])
        print()
