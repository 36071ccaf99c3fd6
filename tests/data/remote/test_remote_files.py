from __future__ import annotations

import math
import pickle
import shutil
import socket
import tarfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from featx import extract
from featx.data.datasets import load_dataset
from featx.data.remote import remote_files
from featx.errors import DatasetError, ImageError

LIMIT = 2**20


def _rows(data, store=None):
    features = extract(data, "color", store=store)
    order = np.argsort([name.rpartition("/")[2] for name in features.paths])
    return features, features.X[order]


def test_web_folder_is_read_as_the_folder_is(web, photos: Path) -> None:
    there, here = load_dataset(f"{web.url}/photos/"), load_dataset(photos)
    assert there.names[0] == f"{web.url}/photos/a cat/0.png"
    assert there.labels.tolist() == here.labels.tolist()
    np.testing.assert_array_equal(_rows(there)[1], _rows(here)[1])


def test_s3_prefix_is_read_as_the_folder_is(bucket: str, photos: Path) -> None:
    there, here = load_dataset(f"s3://{bucket}/photos"), load_dataset(photos)
    assert there.names[0] == f"s3://{bucket}/photos/a cat/0.png"
    assert there.labels.tolist() == here.labels.tolist()
    np.testing.assert_array_equal(_rows(there)[1], _rows(here)[1])


def test_memory_url_is_read(photos: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({f"/m/{it.parent.name}/{it.name}": it.read_bytes() for it in photos.rglob("*.png")})
    dataset = load_dataset("memory://m")
    assert sorted(set(dataset.labels.tolist())) == ["a cat", "dog"]
    assert dataset.images.pixels(0).shape == (20, 24, 3)


def test_single_url_and_glob_are_read(web, bucket: str) -> None:
    assert load_dataset(f"{web.url}/photos/dog/1.png").images.pixels(0).shape == (20, 24, 3)
    assert len(load_dataset(f"s3://{bucket}/photos/d*/*.png")) == 3


def _tar(photos: Path, name: str = "shard.tar") -> Path:
    with tarfile.open(photos.parent / name, "w") as tar:
        tar.add(photos, "photos")
    return photos.parent / name


def test_tar_behind_a_url_is_read_by_ranges(web, photos: Path) -> None:
    path = _tar(photos)
    there, here = load_dataset(f"{web.url}/shard.tar"), load_dataset(path)
    assert there.names[0] == f"{web.url}/shard.tar/photos/a cat/0.png"
    assert [it.read(LIMIT) for it in there.images] == [it.read(LIMIT) for it in here.images]


def test_server_without_ranges_is_told(web, photos: Path) -> None:
    _tar(photos)
    web.has_ranges = False
    with pytest.raises(DatasetError, match="does not support HTTP range requests"):
        load_dataset(f"{web.url}/shard.tar")


def test_second_run_fetches_no_image_that_has_a_tag(web, tmp_path: Path) -> None:
    for _ in range(2):
        web.requests.clear()
        _rows(f"{web.url}/photos/", tmp_path / "store")
    assert web.requests == {"GET": 3, "HEAD": 6}  # Three pages of links.


def test_changed_tag_is_read_anew(web, photos: Path, tmp_path: Path) -> None:
    first = _rows(f"{web.url}/photos/", tmp_path / "store")[1]
    shutil.copy(photos / "dog/1.png", photos / "dog/3.png")
    second = _rows(f"{web.url}/photos/", tmp_path / "store")[1]
    assert not np.array_equal(first[3], second[3])
    np.testing.assert_array_equal(second[3], second[1])


def test_object_without_a_tag_is_known_by_content(web, photos: Path, tmp_path: Path) -> None:
    web.has_tags = False
    first = _rows(f"{web.url}/photos/", tmp_path / "store")[1]
    shutil.copy(photos / "dog/1.png", photos / "dog/3.png")
    second = _rows(f"{web.url}/photos/", tmp_path / "store")[1]
    assert not np.array_equal(first[3], second[3])


def test_image_is_fetched_once_in_a_run(web, tmp_path: Path) -> None:
    for has_tags in (True, False):
        web.has_tags = has_tags
        dataset = load_dataset(f"{web.url}/photos/")
        web.requests.clear()
        extract(dataset, "color", store=tmp_path / f"store{has_tags}")
        assert web.requests["GET"] == 6


def test_passing_error_is_tried_again(web) -> None:
    web.faults["photos/dog/1.png"] = [503, 0, 429]
    assert load_dataset(f"{web.url}/photos/dog/1.png").images.pixels(0).shape == (20, 24, 3)


def test_lasting_error_is_not(web) -> None:
    web.faults["photos/dog/1.png"] = [403, 200]
    with pytest.raises(ImageError, match="access is refused; see the credentials"):
        load_dataset(f"{web.url}/photos/dog/1.png").images.pixels(0)
    assert web.requests["GET"] == 1


def test_missing_object_fails_and_the_others_are_read(web, photos: Path) -> None:
    urls = [f"{web.url}/photos/dog/{i}.png" for i in (1, 2, 3)]
    features, _ = _rows(urls)
    assert features.failures == [(urls[1], "no such object")]
    assert len(features.X) == 2


def test_server_that_fails_for_good_is_a_failure(web) -> None:
    web.faults["photos/dog/1.png"] = [500] * 99
    features, _ = _rows([f"{web.url}/photos/dog/{i}.png" for i in (1, 3)])
    [(_, reason)] = features.failures
    assert reason.startswith("the server answers 500")


def test_slow_object_is_a_failure(web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "_TIMEOUT_S", 0.3)
    monkeypatch.setattr(remote_files, "_N_TRIES", 2)
    monkeypatch.setattr(remote_files, "_opened", {})
    web.delay_s = 1.0
    images = load_dataset(f"{web.url}/photos/dog/1.png").images
    with pytest.raises(ImageError, match=r"no answer within 0.3 s \(2 tries\)"):
        images.pixels(0)


def _refused() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_refused_connection_is_one_line_and_the_rest_goes_on(photos: Path) -> None:
    gone = _refused()
    urls = [f"{gone}/{i}.png" for i in range(40)]
    begin = time.monotonic()
    features, _ = _rows([*urls, str(photos)])
    assert time.monotonic() - begin < 20
    assert len(features.X) == 6
    assert {name for name, _ in features.failures} == set(urls)
    assert all("no connection to 127.0.0.1" in reason for _, reason in features.failures)
    assert all("\n" not in reason for _, reason in features.failures)


def test_refused_folder_is_one_line(photos: Path) -> None:
    with pytest.raises(DatasetError, match=r"no connection to 127\.0\.0\.1") as error:
        load_dataset(f"{_refused()}/photos/")
    assert "\n" not in str(error.value)
    dataset = load_dataset([f"{_refused()}/photos/", str(photos)])
    assert len(dataset) == 7


def test_page_of_links_that_fails_is_a_failure(web) -> None:
    web.faults["photos/dog/"] = [500] * 99
    dataset = load_dataset(f"{web.url}/photos")
    assert len(dataset) == 4
    with pytest.raises(ImageError, match=r"photos/dog/?: the server answers 500"):
        dataset.images.pixels(3)


def test_glob_of_a_web_server_goes_by_its_links(web, photos: Path) -> None:
    for name in ("b.tar", "a.tar"):
        _tar(photos, name)
    dataset = load_dataset(f"{web.url}/*.tar")
    assert [name.split("/")[3] for name in dataset.names] == ["a.tar"] * 6 + ["b.tar"] * 6


def test_missing_bucket_is_one_line(s3: str) -> None:
    with pytest.raises(DatasetError, match="no such object") as error:
        load_dataset("s3://no-such-bucket/photos")
    assert "\n" not in str(error.value)


def _check_credentials(server: str, from_request: float) -> None:
    """Let the server look at the credentials, after so many requests."""
    headers = {"Content-Type": "text/plain"}
    urlopen(Request(f"{server}/moto-api/reset-auth", str(from_request).encode(), headers)).close()


def test_wrong_credentials_are_one_line_and_the_rest_goes_on(
    bucket: str, s3: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_credentials(s3, from_request=0)
    try:
        with pytest.raises(DatasetError, match="access is refused; see the credentials") as error:
            load_dataset(f"s3://{bucket}/photos")
        features, _ = _rows([f"s3://{bucket}/photos/dog/1.png", str(photos)])
    finally:
        _check_credentials(s3, from_request=math.inf)
    assert "\n" not in str(error.value)
    assert len(features.X) == 6
    assert [reason[:17] for _, reason in features.failures] == ["access is refused"]


def test_missing_credentials_are_one_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(DatasetError, match="needs credentials") as error:
        load_dataset("s3://bucket/photos")
    assert "\n" not in str(error.value)


def test_body_larger_than_allowed_is_refused(web, photos: Path) -> None:
    [blob] = load_dataset(f"{web.url}/photos/dog/1.png").images
    with pytest.raises(ValueError, match="has more than 100 bytes"):
        blob.read(100)


def test_object_pickles_for_other_processes(web, photos: Path) -> None:
    [blob] = load_dataset(f"{web.url}/photos/dog/1.png").images
    assert pickle.loads(pickle.dumps(blob)).read(LIMIT) == (photos / "dog/1.png").read_bytes()


def test_secrets_of_a_url_are_not_in_names(web) -> None:
    url = f"{web.url}/photos/dog/1.png?X-Amz-Signature=secret"
    dataset = load_dataset(url)
    assert dataset.names == [f"{web.url}/photos/dog/1.png"]
    assert "secret" not in dataset.source + dataset.quoted_source
    assert dataset.images.digest(0)


def test_unknown_protocol_is_one_line() -> None:
    with pytest.raises(DatasetError, match="nosuch:// cannot be opened"):
        load_dataset("nosuch://bucket/a")


@pytest.mark.parametrize("tag", [None, 'W/"1"'])
def test_weak_or_missing_tag_is_no_identity(tag: str | None) -> None:
    assert remote_files._version_of({"size": 1, "ETag": tag}) is None
