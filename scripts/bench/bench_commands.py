"""Whole commands as a user starts them, from files to files, against plain scripts, in turn.

    python scripts/bench/bench_commands.py [--only pool1,hog] [--pairs 5]

Photographs and weights are in the folder FEATX_SHARED (else ../shared). Each run is a process
of its own that starts with an empty store. Prints the processor's name and, for each command,
the medians of the time from start to end, of the processor time and of the largest process's
peak memory, and the median of the pairs' ratios. Before the measured pairs each command runs
once, so that files are in the page cache and modules are compiled.

The plain scripts are below: torchvision's network with a DataLoader, scikit-image in a loop,
and `import torch` alone for one image. `compare` has none.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

SHARED = Path(os.environ.get("FEATX_SHARED", "../shared")).resolve()
PHOTOS = SHARED / "data/ants_bees/train"
FLOWERS = SHARED / "data/flowers17"
WEIGHTS = SHARED / "weights/squeezenet1_0-imagenet.pth"
HERE = Path(__file__).resolve()
ONE_IMAGE = min((HERE.parents[2] / "data/samples/photo").rglob("*.jpg"))
NODES = {"pool1": "features.2", "last": "features.12.cat"}

FEATX = [sys.executable, "-m", "featx"]
EXTRACT = [*FEATX, "extract", "-q", "--force", "-o", "rows.npy"]
NETWORK = ["--model", "squeezenet1_0", "--weights", str(WEIGHTS)]
SQUEEZENET = f"squeezenet1_0:{{}},weights={WEIGHTS},pooling=gap"


def plain(function: str, *arguments: Any) -> list[str]:
    """Command that runs one of the plain scripts below."""
    given = ", ".join(repr(str(argument)) for argument in arguments)
    code = f"import bench_commands; bench_commands.{function}({given})"
    return [sys.executable, "-c", code]


def plain_network(folder: str, node: str) -> None:
    """Rows of one layer of SqueezeNet, by torchvision and a DataLoader."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.transforms import v2

    model = get_model("squeezenet1_0")
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    network = create_feature_extractor(model.eval(), {node: "x"})
    transform = v2.Compose(
        [
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(ImageFolder(folder, transform), 32, num_workers=2)
    with torch.inference_mode():
        np.save("rows.npy", torch.cat([network(x)["x"].flatten(1) for x, _ in loader]).numpy())


def plain_hog(images: str) -> None:
    """HOG by scikit-image in a loop."""
    import numpy as np
    from skimage.feature import hog

    rows = [hog(image, cells_per_block=(2, 2), channel_axis=-1) for image in np.load(images)]
    np.save("rows.npy", np.stack(rows).astype(np.float32))


def featx_hog(images: str) -> None:
    """HOG by featx of the same array."""
    import numpy as np

    from featx import HOG

    np.save("rows.npy", HOG(128).fit_transform(np.load(images)))


def save_arrays() -> None:
    """Write 630 images of 128 px, as arrays."""
    import numpy as np
    from PIL import Image

    paths = sorted(FLOWERS.rglob("*.jpg"))[:630]
    np.save("arrays.npy", np.stack([Image.open(path).resize((128, 128)) for path in paths]))


class Command(NamedTuple):
    """What is timed, and the plain script that does the same."""

    title: str
    featx: list[str]
    plain: list[str] | None


COMMANDS = {
    "pool1": Command(
        "SqueezeNet, first pool, 245 photographs",
        [*EXTRACT, str(PHOTOS), *NETWORK, "--layer", "pool1"],
        plain("plain_network", PHOTOS, NODES["pool1"]),
    ),
    "last": Command(
        "SqueezeNet, last layer, 245 photographs",
        [*EXTRACT, str(PHOTOS), *NETWORK, "--layer", "-1"],
        plain("plain_network", PHOTOS, NODES["last"]),
    ),
    "one": Command(
        "one image, bundled network (plain: `import torch`)",
        [*EXTRACT, str(ONE_IMAGE), "--layer", "pool1"],
        [sys.executable, "-c", "import torch"],
    ),
    "compare": Command(
        "`featx compare flowers17`",
        [*FEATX, "compare", "-q", str(FLOWERS), "-e", "hog", "-e", "bovw:surf", "-e", "bovw:sift"]
        + [word for layer in ("pool1", "-1") for word in ("-e", "cnn:" + SQUEEZENET.format(layer))],
        None,
    ),
    "hog": Command(
        "HOG, 630 arrays of 128 px",
        plain("featx_hog", "arrays.npy"),
        plain("plain_hog", "arrays.npy"),
    ),
}


class Run(NamedTuple):
    """Seconds from start to end, of processor time, and MB of the largest process at its peak."""

    seconds: float
    cpu_s: float
    peak_mb: float


def main() -> None:
    arguments = parse_arguments()
    print(f"{processor()}, {os.cpu_count()} cores, medians of {arguments.pairs} pairs")
    print("s, s of processor time, MB at the peak of each; ratio of the times")
    for name in arguments.only.split(","):
        command = COMMANDS[name]
        with tempfile.TemporaryDirectory() as folder:
            if name == "hog":
                measure(plain("save_arrays"), folder)
            runs = [one_pair(command, folder) for _ in range(arguments.pairs + 1)][1:]
        print(f"{command.title:52}{row(runs)}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, separated by commas")
    parser.add_argument("--pairs", type=int, default=5)
    return parser.parse_args()


def one_pair(command: Command, folder: str) -> list[Run]:
    """Run the plain script, if there is one, and featx."""
    both = [command.plain, command.featx] if command.plain else [command.featx]
    return [measure(words, folder) for words in both]


def measure(words: list[str], folder: str) -> Run:
    """Run a command in `folder`, with an empty store there."""
    store = Path(folder, "store")
    shutil.rmtree(store, ignore_errors=True)
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {
        "FEATX_STORE": str(store), "FEATX_SHARED": str(SHARED), "PYTHONPATH": path,
    }  # fmt: skip
    with open(Path(folder, "output"), "w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}:\n{output.read()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def row(pairs: list[list[Run]]) -> str:
    """Medians of both sides, and the ratio."""
    sides = list(zip(*pairs, strict=True))
    cells = [""] * (2 - len(sides))
    for side in sides:
        middle = Run(*map(statistics.median, zip(*side, strict=True)))
        cells.append(f"{middle.seconds:.2f} s, {middle.cpu_s:.2f} s, {middle.peak_mb:,.0f} MB")
    text = f"plain {cells[0] or 'none':28} featx {cells[1]:28}"
    if len(sides) == 1:
        return text
    return f"{text} {statistics.median(a.seconds / b.seconds for a, b in pairs):.2f}x"


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


if __name__ == "__main__":
    main()
