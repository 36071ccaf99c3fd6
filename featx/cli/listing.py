"""``featx layers``, ``featx models``, ``featx extractors``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from featx.cli import options
from featx.cli.console import print_json, print_table

_BUNDLED = "featxnet"


@options.expand_groups
def layers_command(
    model: Annotated[str, typer.Argument(help="Network, see `featx models`.")],
    *,
    network: options.Trust,
    printed: options.Json,
) -> None:
    """List the layers of a network."""
    from featx.networks.configs import list_layers

    layers = list_layers(model, **network.to_parameters())
    total = max((layer.macs for layer in layers), default=0) or 1
    rows = [
        {
            "alias": layer.alias or "",
            "node": layer.node,
            "type": layer.kind,
            "shape": tuple(layer.shape),
            "n_features": layer.n_features,
            "n_pooled": layer.n_pooled,
            "cost": f"{layer.macs / total:.1%}",
        }
        for layer in layers
    ]
    if printed.as_json:
        print_json("layers", [asdict(layer) for layer in layers], model=model)
        return
    print_table(rows, right=("n_features", "n_pooled", "cost"))


@options.expand_groups
def models_command(
    pattern: Annotated[str, typer.Argument(metavar="[FILTER]", help="Part of a name.")] = "",
    *,
    printed: options.Json,
) -> None:
    """List networks and where their weights are stored."""
    from featx.networks.sources.catalog import list_models

    rows = [asdict(model) for model in list_models(pattern)]
    is_bundled = [row["name"] for row in rows] == [_BUNDLED]
    if printed.as_json:
        print_json("models", rows, **({"card": _card()} if is_bundled else {}))
        return
    shown = [{**row, "weights": ", ".join(row["weights"])} for row in rows]
    print_table(shown, right=("n_parameters",))
    if is_bundled:
        _print_card(_card())


def _card() -> dict[str, Any]:
    from featx.networks.featxnet import load_card

    return load_card()


def _print_card(card: dict[str, Any]) -> None:
    """What the bundled network was trained on, what it is good for, what it is not."""
    images = ", ".join(f"{part['n_images']:,} of {part['name']}" for part in card["trained_on"])
    print(
        f"\n{card['n_parameters']:,} parameters, taught by {card['teacher']['name']} in "
        f"{card['minutes']:.0f} minutes to see {images}."
    )
    print(
        "Good for: a first look without a download, and judging depth; small color photographs "
        "of objects.\nNot for: final numbers, where a large network does better; text, medical or "
        "satellite images,\nwhich it has never seen; telling ImageNet's classes apart."
    )
    if not card.get("table"):
        return
    print("\nAccuracy of a logistic regression on held-out images:")
    rows = [
        {"features": row["name"]}
        | {data: f"{value:.3f}" for data, value in row["accuracy"].items()}
        for row in card["table"]
    ]
    print_table(rows, right=list(card["table"][0]["accuracy"]))


@options.expand_groups
def extractors_command(printed: options.Json) -> None:
    """List the extractors that a SPEC can name."""
    from featx.engine.registry import list_extractors

    rows = [asdict(entry) for entry in list_extractors()]
    if printed.as_json:
        print_json("extractors", rows)
        return
    print_table([{key: row[key] for key in ("name", "summary", "source")} for row in rows])
