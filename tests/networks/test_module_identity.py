from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featx.networks.module_identity import identify

CODE = """
import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

SCALE = 2.0

def helper(x, power=2):
    return inner(x) ** power

def inner(x):
    return x + 1

def doubled(function):
    factor = 2
    @functools.wraps(function)
    def call(*args):
        return factor * function(*args)
    return call

class Base(nn.Module):
    def stem(self, x):
        return x.abs()

class Net(Base):
    slope = 0.1

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    @doubled
    def forward(self, x):
        return self.fc(helper(self.stem(x)) * SCALE + self.slope)
"""


def network(code: str = CODE) -> Any:
    """Network of a module of that code."""
    space: dict[str, Any] = {"__name__": "someones_code"}
    exec(code, space)
    torch.manual_seed(0)
    return space["Net"]()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x.abs()", "x.relu()"),
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("power=2", "power=3"),
        ("x + 1", "x + 2"),
        ("factor = 2", "factor = 3"),
        ("slope = 0.1", "slope = 0.2"),
        ("self.fc(helper(", "self.fc(inner("),
        ("nn.Linear(3, 2)", "nn.Linear(3, 4)"),
    ],
)
def test_every_change_of_the_code_that_runs_changes_the_identity(old: str, new: str) -> None:
    assert identify(network()) == identify(network())
    assert identify(network(CODE.replace(old, new))) != identify(network())


def test_comments_and_places_of_lines_are_no_code() -> None:
    moved = CODE.replace("def inner(x):", "\n\ndef inner(x):  # Says why.\n")
    assert identify(network(moved)) == identify(network())


@dataclass
class Settings:
    power: float = 1.0
    names: list[str] = field(default_factory=list)


def counts(n: int) -> Any:
    return lambda x: x * n


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 3.0),
        (1, True),
        ([1, {"a": 2}], [1, {"a": 3}]),
        ((1, 2), [1, 2]),
        (np.zeros(3), np.ones(3)),
        (torch.zeros(3), torch.ones(3)),
        (torch.float32, torch.float64),
        (Settings(1.0), Settings(2.0)),
        (counts(1), counts(2)),
        (torch.relu, torch.sigmoid),
        ({"a", "b"}, {"a", "c"}),
        (nn.ReLU(), nn.LeakyReLU(0.3)),
    ],
)
def test_every_plain_attribute_counts(one: Any, other: Any) -> None:
    digests = []
    for value in (one, other):
        net = network()
        net.extra = [value]  # In a list: a module in it is no child.
        identity = identify(net)
        assert not identity.unseen
        digests.append(identity.digest)
    assert digests[0] != digests[1]


def test_settings_of_torchs_modules_count_that_their_text_lacks() -> None:
    one, other = (nn.Sequential(nn.Upsample(size=9, mode="bilinear", align_corners=a))
                  for a in (True, False))  # fmt: skip
    assert repr(one) == repr(other)
    assert identify(one) != identify(other)


def test_buffers_that_no_state_dict_holds_count() -> None:
    one, other = network(), network()
    for net, value in ((one, 0.0), (other, 1.0)):
        net.register_buffer("table", torch.full((2,), value), persistent=False)
    assert identify(one) != identify(other)


def test_weights_modes_hooks_and_preprocessing_are_in_other_parts_of_a_key() -> None:
    net = network()
    before = identify(net)
    net.fc.weight.data.add_(1)
    net.eval().fc.register_forward_hook(lambda *args: None)
    net.preprocessing = {"resize": 32, "crop": 32}
    assert identify(net) == before


def test_code_is_that_which_runs_not_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edited_net.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    net = __import__("edited_net").Net()
    before = identify(net)
    (tmp_path / "edited_net.py").write_text(CODE.replace("x + 1", "x + 2"))
    assert identify(net) == before == identify(network())
    monkeypatch.delitem(sys.modules, "edited_net")


def test_identity_is_the_same_in_any_process() -> None:
    net = network()
    net.names, net.sizes = {"b", "a", "c"}, {"x": (1, 2)}
    script = f"""
        from torch import nn
        from featx.networks.module_identity import identify
        space = {{"__name__": "someones_code"}}
        exec({CODE!r}, space)
        net = space["Net"]()
        net.names, net.sizes = {{"c", "b", "a"}}, {{"x": (1, 2)}}
        print(identify(net).digest, identify(nn.Transformer(8, 2, batch_first=True)).digest)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        identify(net).digest,
        identify(nn.Transformer(8, 2, batch_first=True)).digest,
    ]


def test_what_cannot_be_seen_is_keyed_by_object() -> None:
    one, other = network(), network()
    one.lock, other.lock = threading.Lock(), threading.Lock()
    assert identify(one).unseen == ("Net.lock (_thread.lock)",)
    assert identify(one) == identify(one)
    assert identify(one) != identify(other)


@pytest.mark.parametrize("name", [".ops", "someones_other_code"])
def test_code_that_is_imported_when_called_cannot_be_seen(name: str) -> None:
    net = network(CODE.replace("return x + 1", f"from {name} import plus; return plus(x)"))
    assert identify(net).unseen == (f"inner (imports {name} when called)",)


def test_functions_of_ones_own_modules_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for body in ("x + 1", "x + 2"):
        other = type(sys)("someones_ops")
        exec(f"def plus(x): return {body}", vars(other))
        monkeypatch.setitem(sys.modules, "someones_ops", other)
        net = network("import someones_ops\n" + CODE.replace("x + 1", "someones_ops.plus(x)"))
        digests.add(identify(net).digest)
    assert len(digests) == 2


def test_objects_that_hold_one_another_end() -> None:
    net = network()
    net.own = [net]
    assert identify(net) == identify(net)
    assert not identify(net).unseen
