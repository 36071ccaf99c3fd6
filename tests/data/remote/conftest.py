from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from featx.data.remote import remote_files

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """The script with the web server."""
    spec = importlib.util.spec_from_file_location("image_server", ROOT / "scripts/image_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two classes with six images in all; one name needs quoting."""
    for i in range(6):
        folder = tmp_path / "photos" / ("a cat", "dog")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def web(photos: Path, servers: ModuleType) -> Iterator:
    """A server of the folder above `photos`."""
    with servers.ImageServer(photos.parent) as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries, hosts forgotten, nothing in the spool."""
    monkeypatch.setattr(remote_files, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(remote_files, "_hosts", type(remote_files._hosts)())
    monkeypatch.setattr(remote_files, "_spool", type(remote_files._spool)())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real S3 server on this machine that checks credentials of users."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urlopen(f"{address}/moto-api/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail(f"moto_server does not answer: {log.read_text()[-500:]}")
        yield address
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server as the environment's, with credentials."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    return s3_server


@pytest.fixture
def bucket(s3: str, photos: Path) -> str:
    """A bucket with `photos`."""
    import botocore.session

    client = botocore.session.get_session().create_client("s3", endpoint_url=s3)
    name = f"b{time.time_ns()}"
    client.create_bucket(Bucket=name)
    for path in sorted(photos.rglob("*.png")):
        key = path.relative_to(photos.parent).as_posix()
        client.put_object(Bucket=name, Key=key, Body=path.read_bytes())
    return name
