from __future__ import annotations

import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest
import typer

from featx.analysis.depth import depth_profile
from featx.analysis.image_map import map_images
from featx.cli import app, options
from featx.demo import tell_story
from featx.evaluation.domain_transfer import transfer
from featx.finetuning.augmentation import preview_augmentations
from featx.finetuning.autoencoder import pretrain
from featx.finetuning.experiment import finetune
from featx.finetuning.layer_advice import advise
from featx.store.feature_store import FeatureStore

OWN = {
    "output": "each command writes another kind of file, under another default name",
    "max_images": "pretraining trains on them, depth profiles and embeddings show them",
}
"""Options that share only their flags, and why."""

LIBRARY: dict[str, Callable[..., Any]] = {
    "demo": tell_story,
    "transfer": transfer,
    "depth": depth_profile,
    "umap": map_images,
    "finetune": finetune,
    "advise": advise,
    "augment": preview_augmentations,
    "autoencoder": pretrain,
}
"""Functions whose defaults hold for a command."""


def commands(of: typer.Typer = app) -> Iterator[tuple[str, Callable[..., None]]]:
    """Name and function of every command."""
    for command in of.registered_commands:
        assert command.name
        assert command.callback
        yield command.name, command.callback
    for group in of.registered_groups:
        assert group.typer_instance
        yield from commands(group.typer_instance)


def declared_options(
    function: Callable[..., None],
) -> Iterator[tuple[inspect.Parameter, typer.models.OptionInfo]]:
    """Options that typer reads from a command's signature."""
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        [info] = parameter.annotation.__metadata__
        if isinstance(info, typer.models.OptionInfo):
            yield parameter, info


def grouped_names() -> Iterator[str]:
    """Options of all groups."""
    for group in options.OptionGroup.__subclasses__():
        yield from (field.name for field in fields(group))


def test_a_shared_option_is_in_one_group() -> None:
    assert [name for name, n in Counter(grouped_names()).items() if n > 1 and name not in OWN] == []


def test_no_command_declares_a_shared_option_again() -> None:
    for name, function in commands():
        written = inspect.signature(inspect.unwrap(function)).parameters
        again = {p.name for p, _ in declared_options(function)} & {*written} & {*grouped_names()}
        assert again == set(), name


READING = {"max_pixels": set(), "decode": {"finetune", "autoencoder", "augment"}}
READING["precision"] = {"augment"}
"""How images are read and computed, and the commands that do without it: they train, or draw."""

CACHE = {"info", "ls", "verify", "prune", "clear", "rebuild", "merge"}
IMAGELESS = {"report", "layers", "models", "extractors"}


@pytest.mark.parametrize("option", READING)
def test_every_command_that_reads_images_has_the_options_of_reading(option: str) -> None:
    lacking = {
        name
        for name, function in commands()
        if "debug" in (names := inspect.signature(function).parameters) and option not in names
    }
    assert lacking - IMAGELESS - CACHE == READING[option]


def test_an_option_has_the_same_help_and_default_in_every_command() -> None:
    found: dict[str, set[Any]] = defaultdict(set)
    for _, function in commands():
        for parameter, info in declared_options(function):
            found[parameter.name].add((info.help, parameter.default, info.param_decls))
    assert {name for name, kinds in found.items() if len(kinds) > 1} == set(OWN)


def test_every_option_says_what_it_does() -> None:
    for name, function in commands():
        for parameter, info in declared_options(function):
            assert re.fullmatch(r"[\w.].*\.", info.help or ""), (name, parameter.name)


@pytest.mark.parametrize("name", LIBRARY)
def test_defaults_in_help_are_those_of_the_library(name: str) -> None:
    library = inspect.signature(LIBRARY[name]).parameters
    for parameter, info in declared_options(dict(commands())[name]):
        said = re.search(r"Default: (\S+)\.$", info.help or "")
        known = library.get(parameter.name)
        if said and known and known.default is not None:
            assert said[1] == str(known.default), parameter.name


def test_a_group_is_expanded_in_its_place_and_arrives_as_one_object() -> None:
    @dataclass(frozen=True)
    class Pair(options.OptionGroup):
        first: Annotated[int | None, typer.Option()] = None
        second: Annotated[int | None, typer.Option()] = None
        third: Annotated[bool, typer.Option()] = False

    got: list[Any] = []

    def command(pair: Annotated[Pair, options.Only("second", "third")], last: int = 0) -> None:
        got.extend([pair, last])

    command.__annotations__ |= {"pair": Annotated[Pair, options.Only("second", "third")]}
    expanded = options.expand_groups(command)
    assert list(inspect.signature(expanded).parameters) == [
        "second",
        "third",
        "last",
        "profile",
        "debug",
    ]
    expanded(second=0, third=False, last=3)
    assert got == [Pair(second=0), 3]
    assert got[0].to_parameters() == {"second": 0}


def test_the_store_is_a_folder_the_default_or_none() -> None:
    assert options.RunOptions(domains=["all"]).to_parameters() == {
        "domains": True,
        "store": "default",
    }
    assert options.RunOptions(store="rows", n_jobs=2).to_parameters() == {
        "store": "rows",
        "n_jobs": 2,
    }
    assert options.RunOptions(store="rows", no_store=True).to_parameters() == {"store": None}


def test_a_shared_store_is_the_folder_that_was_named_or_the_users_own() -> None:
    named = options.RunOptions(store="rows", shared_store=True).to_parameters()
    assert named == {"store": FeatureStore("rows", shared=True)}
    assert options.RunOptions(shared_store=True).chosen_store == FeatureStore(shared=True)
    assert options.RunOptions(shared_store=True, no_store=True).to_parameters() == {"store": None}


def test_one_number_of_training_images_is_no_curve() -> None:
    assert options.ProtocolOptions(train_per_class=[5]).to_parameters() == {"train_per_class": 5}
    assert options.ProtocolOptions(train_per_class=[1, 5]).to_parameters() == {
        "train_per_class": [1, 5]
    }


def test_groups_none_ignores_the_column_of_the_manifest() -> None:
    assert options.ProtocolOptions(groups="none").to_parameters() == {"groups": False}
    assert options.ProtocolOptions(groups="site").to_parameters() == {"groups": "site"}


def test_last_blocks_are_a_layer_beside_those_named() -> None:
    assert options.FeatureOptions(last_blocks=4).to_parameters() == {"layer": ["last4"]}
    both = options.FeatureOptions(model="m", layer=["block1"], last_blocks=2).to_parameters()
    assert both == {"model": "m", "layer": ["block1", "last2"]}
