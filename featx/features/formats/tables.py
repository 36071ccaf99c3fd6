"""Feature files with one column or data set per block: ``.parquet``, ``.h5``, ``.csv``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx._files import atomic_write, write_together
from featx.data.manifest_columns import COLUMNS
from featx.errors import FeatureFileError
from featx.features.formats.content import (
    Content,
    Matrix,
    read_together,
    row_chunks,
    sidecar,
    sidecar_of,
    write_sidecar,
)

_META_KEY = b"featx"
_DIGEST_KEY = b"featx_digest"
_MAX_CSV_COLUMNS = 10_000
_CSV_BLOCK_BYTES = 16 * 2**20


def write_columns(content: Content, path: Path, digest: str) -> None:
    """Write paths, labels and other columns to a parquet manifest.

    Parameters
    ----------
    content : Content
    path : Path
    digest : str
        Stored in the file, see `read_signed_columns`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: pa.array(values, pa.string()) for name, values in _texts(content)})
    parquet.write_table(table.replace_schema_metadata({_DIGEST_KEY: digest}), path)


def read_signed_columns(path: Path) -> tuple[dict[str, Any], str | None]:
    """Columns of a manifest, and the digest stored in it, if any."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        digest = (file.schema_arrow.metadata or {}).get(_DIGEST_KEY)
        return _columns_of(file), None if digest is None else digest.decode()


def write_parquet(content: Content, path: Path) -> None:
    """Write a table with one column of fixed-size lists per block."""
    import pyarrow as pa
    from pyarrow import parquet

    texts = dict(_texts(content))
    schema = pa.schema(
        [pa.field(name, pa.string()) for name in texts]
        + [
            pa.field(_column_of(name), pa.list_(pa.float32(), stop - start))
            for name, (start, stop) in content.blocks.items()
        ],
        metadata={_META_KEY: content.meta.encode()},
    )
    with (
        atomic_write(path) as temporary,
        parquet.ParquetWriter(temporary, schema, use_dictionary=COLUMNS[1:]) as writer,
    ):
        first = 0
        for rows in row_chunks(content.X):
            named = [pa.array(c[first : first + len(rows)], pa.string()) for c in texts.values()]
            lists = [
                pa.FixedSizeListArray.from_arrays(
                    pa.array(np.ascontiguousarray(rows[:, start:stop]).ravel()), stop - start
                )
                for start, stop in content.blocks.values()
            ]
            writer.write_table(pa.table([*named, *lists], schema=schema), len(rows))
            first += len(rows)


def read_parquet(path: Path) -> Content:
    """Read what `write_parquet` wrote, one row group at a time."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        meta = json.loads(file.schema_arrow.metadata[_META_KEY])
        X = _empty(meta, file.metadata.num_rows)
        first = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, [_column_of(name) for name in meta["blocks"]])
            for name, (start, stop) in meta["blocks"].items():
                values = table.column(_column_of(name)).combine_chunks().flatten().to_numpy()
                X[first : first + len(table), start:stop] = values.reshape(-1, stop - start)
            first += len(table)
        return Content.of(X, _columns_of(file), meta)


def read_parquet_meta(path: Path) -> dict[str, Any]:
    """Metadata of a ``.parquet`` file."""
    from pyarrow import parquet

    return dict(json.loads(parquet.read_schema(path).metadata[_META_KEY]))


def write_hdf5(content: Content, path: Path) -> None:
    """Write one data set per block, in the group ``blocks``."""
    h5py = require_h5py()
    try:
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            _fill_hdf5(file, content)
    except RuntimeError as error:  # Raised by closing the file on a full disk.
        raise OSError(str(error)) from error


def read_hdf5(path: Path) -> Content:
    """Read what `write_hdf5` wrote."""
    with require_h5py().File(path, "r") as file:
        meta = json.loads(file["meta"].asstr()[()])
        parts = {name: file[f"{name}s"] for name in COLUMNS if f"{name}s" in file}
        blocks = {name: file["blocks"][_hdf5_name(name)] for name in meta["blocks"]}
        for part in (*parts.values(), *blocks.values()):
            if part.nbytes > path.stat().st_size:  # `write_hdf5` does not compress.
                raise ValueError(f"{part.name} is larger than the file")
        columns = {name: part.asstr()[:] for name, part in parts.items()}
        X = _empty(meta, len(columns["path"]))
        for name, (start, stop) in meta["blocks"].items():
            X[:, start:stop] = blocks[name]
    return Content.of(X, columns, meta)


def read_hdf5_meta(path: Path) -> dict[str, Any]:
    """Metadata of an ``.h5`` file."""
    with require_h5py().File(path, "r") as file:
        return dict(json.loads(file["meta"].asstr()[()]))


def require_h5py() -> Any:
    """Import h5py.

    Raises
    ------
    FeatureFileError
        If it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise FeatureFileError(
            "HDF5 files need the package h5py; run `pip install featx[h5]`, or write .npz or "
            ".parquet."
        ) from error
    return h5py


def check_csv_size(path: Path, n_rows: int, n_columns: int) -> None:
    """Refuse a ``.csv`` file that few programs could open.

    Raises
    ------
    FeatureFileError
        If it would have too many columns.
    """
    if n_columns > _MAX_CSV_COLUMNS:
        raise FeatureFileError(
            f"{path} cannot hold {n_columns:,} features, CSV takes at most {_MAX_CSV_COLUMNS:,}; "
            "write .npz or .parquet, or ask for fewer (--pooling gap)."
        )


def write_csv(content: Content, path: Path) -> None:
    """Write the known ones of ``path,label,split,domain,group``, and one column per feature."""
    from pyarrow import csv

    check_csv_size(path, *content.X.shape)
    with write_together(path, sidecar(path)) as (temporary, names):
        batches = _csv_batches(content)
        first = next(batches)
        with csv.CSVWriter(temporary, first.schema) as writer:
            writer.write_table(first)
            for batch in batches:
                writer.write_table(batch)
        write_sidecar(content, names, _open_signed(temporary)[1])


def read_csv(path: Path) -> Content:
    """Read what `write_csv` wrote."""
    import pyarrow as pa
    from pyarrow import csv

    # Digest and rows come from one open file, as the path may be replaced meanwhile.
    file, side = read_together(path, _open_signed, sidecar_of(path))
    names, meta = side["columns"], side["meta"]
    columns = {name: pa.string() for name in names}
    # Checked before names are generated, as the numbers in a damaged file may be anything.
    n_columns = sum(stop - start for start, stop in meta["blocks"].values())
    check_csv_size(path, len(names["path"]), n_columns)
    features = dict.fromkeys(_feature_names(meta["blocks"]), pa.float32())
    reader = csv.open_csv(
        file,
        csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=columns | features),
    )
    X = _empty(meta, len(names["path"]))
    first = 0
    for batch in reader:
        for index, name in enumerate(features):
            values = batch.column(name).to_numpy(zero_copy_only=False)
            X[first : first + len(values), index] = values
        first += len(batch)
    if first != len(X):
        raise ValueError(f"expected {len(X)} rows by its metadata, got {first}")
    return Content.of(X, names, meta)


def read_csv_meta(path: Path) -> dict[str, Any]:
    """Metadata of a ``.csv`` file."""
    return dict(read_together(path, _open_signed, sidecar_of(path))[1]["meta"])


def _open_signed(path: Path) -> tuple[Any, str]:
    """Open a file; also return the digest of its content."""
    import pyarrow as pa

    file = pa.OSFile(str(path))
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return file, digest


def _columns_of(file: Any) -> dict[str, Any]:
    """Columns of a parquet file that hold names, labels, splits or domains."""
    table = file.read([name for name in COLUMNS if name in file.schema_arrow.names])
    return {name: table.column(name).to_pylist() for name in table.column_names}


def _column_of(block: str) -> str:
    """Name of a block's column, different from the names of all other columns."""
    return f"block {block}" if block in COLUMNS else block


def _texts(content: Content) -> list[tuple[str, list[str]]]:
    return [(name, list(map(str, values))) for name, values in content.columns.items()]


def _empty(meta: dict[str, Any], n_rows: int) -> Matrix:
    """Uninitialized matrix for the rows, whose number must be that in the metadata."""
    shape = tuple(meta["shape"])
    if shape[0] != n_rows:
        raise ValueError(f"expected {shape[0]} rows by its metadata, got {n_rows}")
    return np.empty(shape, np.float32)


def _fill_hdf5(file: Any, content: Content) -> None:
    """Write the text columns, then every block in chunks of rows."""
    file.create_dataset("meta", data=_fixed_texts([content.meta])[0])
    for name, values in _texts(content):
        file.create_dataset(f"{name}s", data=_fixed_texts(values))
    group = file.create_group("blocks")
    for name, (start, stop) in content.blocks.items():
        group.create_dataset(_hdf5_name(name), (len(content.X), stop - start), "<f4")
    first = 0
    for rows in row_chunks(content.X):
        for name, (start, stop) in content.blocks.items():
            group[_hdf5_name(name)][first : first + len(rows)] = rows[:, start:stop]
        first += len(rows)


def _fixed_texts(values: Sequence[str]) -> npt.NDArray[Any]:
    """Fixed-length strings: a damaged heap of variable-length strings can hang the HDF5 library."""
    encoded = [text.encode() for text in values]
    length = max(map(len, encoded), default=0) or 1
    return np.array(encoded, require_h5py().string_dtype(length=length))


def _hdf5_name(block: str) -> str:
    """Name of a data set, without slashes, which would create groups."""
    return block.replace("/", "\u2215")


def _feature_names(blocks: dict[str, Any]) -> list[str]:
    return [f"{name}_{i}" for name, (start, stop) in blocks.items() for i in range(stop - start)]


def _csv_batches(content: Content) -> Iterator[Any]:
    """Tables of a few megabytes; a single one without rows if there are none."""
    import pyarrow as pa

    texts = dict(_texts(content))
    names = [*texts, *_feature_names(content.blocks)]
    first = 0
    for rows in row_chunks(content.X) if len(content.X) else [content.X]:
        named = [pa.array(c[first : first + len(rows)], pa.string()) for c in texts.values()]
        features = [pa.array(column) for column in np.ascontiguousarray(rows.T)]
        yield pa.table([*named, *features], names)
        first += len(rows)
