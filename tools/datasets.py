"""Rows of data files as examples: JSONL and CSV as a stream, JSON, parquet, and datasets of the Hugging Face hub."""

from __future__ import annotations

import csv
import difflib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from crito.errors import BadInput
from crito.task import Example, example_id

Row = Mapping[str, object]
T = TypeVar("T")
_JSON = (bool, int, float, list, tuple, dict)
"""What is kept as JSON; all else, a date or a number of another library, as it writes itself."""
_LONGEST_FIELD = 16 * 2**20  # characters of a CSV value; the csv module's own limit is 131,072
_READABLE = ".jsonl, .csv, .tsv, .json, .parquet"


class Loaded(NamedTuple):
    """The examples of one source.

    Attributes:
        places: Where each example stands (``orders.jsonl line 17``), by its id.
        duplicates: Rows dropped because an equal row came before.
    """

    examples: list[Example]
    places: dict[str, str]
    duplicates: int


def read_rows(path: str | Path, *, limit: int, seed: int) -> list[tuple[int, Row]]:
    """At most ``limit`` rows with their line numbers (row numbers from 1 in JSON, parquet and hub datasets).

    JSONL, CSV, parquet and hub datasets are streamed: memory holds ``limit`` rows, however large the file is.
    Where there are more, a random sample that ``seed`` decides is kept, in the order of the file.

    Args:
        path: A file, or ``hf://name[:split]``.
        limit: Most rows to keep.
        seed: Seed of the sample.

    Raises:
        BadInput: The file is missing, unreadable, empty or malformed.
    """
    return _sample(_stream(path), limit=limit, seed=seed)


def read_examples(path: str | Path, inputs: Mapping[str, str], output: str | None, *, limit: int, seed: int) -> Loaded:
    """The examples of one data file; every row is checked, also those that the sample leaves out.

    Args:
        path: A file, or ``hf://name[:split]``.
        inputs: Column behind each input, by the input's name.
        output: Column with the right answer; None when there is none.
        limit: Most rows to keep.
        seed: Seed of the sample.

    Raises:
        BadInput: As :func:`read_rows`, or a row has no or an empty field, or two rows contradict each other.
    """
    unit = "line" if _suffix(path) in (".jsonl", ".ndjson", ".csv", ".tsv") else "row"
    rows = ((f"{path} {unit} {number}", row) for number, row in _stream(path))
    return to_examples(rows, inputs, output, limit=limit, seed=seed)


def to_examples(
    rows: Iterable[tuple[str, Row]], inputs: Mapping[str, str], output: str | None, *, limit: int, seed: int
) -> Loaded:
    """Examples from rows, each given with its place for errors; see :func:`read_examples`.

    Raises:
        BadInput: A row has no or an empty field, or two rows have the same inputs and different answers.
    """
    texts = (
        (
            place,
            {name: _text(row, column, place) for name, column in inputs.items()},
            output and _text(row, output, place),
        )
        for place, row in rows
    )
    kept: dict[str, Example] = {}
    places: dict[str, str] = {}
    duplicates = 0
    for place, values, expected in _sample(texts, limit=limit, seed=seed):
        example = Example(id=example_id(values), inputs=values, expected=expected)
        known = kept.setdefault(example.id, example)
        if known.expected != expected:
            raise BadInput(
                f"{place}: same inputs as {places[example.id]} but {expected!r} instead of {known.expected!r}; "
                "keep the right one of the two"
            )
        duplicates += known is not example
        places.setdefault(example.id, place)
    return Loaded(list(kept.values()), places, duplicates)


def read_text(path: Path) -> str:
    """The text of a small UTF-8 file.

    Raises:
        BadInput: It is missing (near names are suggested), a folder, unreadable, empty or not UTF-8.
    """
    return "".join(line for _, line in _lines(path))


def _stream(path: str | Path) -> Iterator[tuple[int, Row]]:
    rows = _open(path)
    first = next(rows, None)
    if first is None:
        raise BadInput(f"{path}: has no rows; add some")
    yield first
    yield from rows


def _open(path: str | Path) -> Iterator[tuple[int, Row]]:
    suffix = _suffix(path)
    if suffix == "hf":
        return _hub(str(path))
    file = Path(path)
    _check_file(file)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".json": _json, ".parquet": _parquet}
    if suffix not in readers:
        raise BadInput(f"{path}: unknown data format {suffix!r}; convert it to one of {_READABLE}")
    return readers[suffix](file)


def _suffix(path: str | Path) -> str:
    return "hf" if str(path).startswith("hf://") else Path(path).suffix.lower()


def _sample(items: Iterable[T], *, limit: int, seed: int) -> list[T]:
    # Reservoir sampling (Vitter 1985, algorithm R), then back into the order of the file.
    choose = random.Random(seed)  # noqa: S311 - a sample of rows, not a secret
    kept: list[tuple[int, T]] = []
    for index, item in enumerate(items):
        if index < limit:
            kept.append((index, item))
        elif (slot := choose.randrange(index + 1)) < limit:
            kept[slot] = (index, item)
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]


def _text(row: Row, column: str, place: str) -> str:
    if column not in row:
        raise BadInput(f"{place}: no field {column!r}; it has: {', '.join(map(str, row)) or 'none'}")
    value = row[column]
    text = "" if value is None else _json_text(value) if isinstance(value, _JSON) else str(value)
    if not text.strip():
        raise BadInput(f"{place}: field {column!r} is empty; fill it in or remove the row")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise BadInput(f"{place}: field {column!r} holds half a character ({half}); correct or remove it") from error
    return text


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _check_file(path: Path) -> None:
    try:
        _check_path(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _check_path(path: Path) -> None:
    if path.is_dir():
        names = sorted(f.name for f in path.iterdir() if f.suffix.lower() in _READABLE.split(", "))[:5]
        inside = f", such as {', '.join(names)}" if names else ""
        raise BadInput(f"{path}: is a folder; name a file in it{inside}")
    if path.exists():
        return
    if not path.parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}; correct the path")
    near = difflib.get_close_matches(path.name, [f.name for f in path.parent.iterdir()], n=3)
    raise BadInput(f"{path}: no such file; {'did you mean ' + ' or '.join(near) + '?' if near else 'correct the path'}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    _check_file(path)
    offset = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, _decoded(raw, path, number, offset)
                offset += len(raw)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if not offset:
        raise BadInput(f"{path}: is empty; fill it in")


def _decoded(raw: bytes, path: Path, number: int, offset: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        source = "UTF-16" if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        # The codec counts from behind the byte order mark, which the offset in the file includes.
        at = offset + len(raw) - len(error.object) + error.start
        raise BadInput(
            f"{path} line {number}: not UTF-8 (byte 0x{error.object[error.start]:02x} at offset {at}); "
            f"convert it: iconv -f {source} -t UTF-8 {path.name} > utf8{path.suffix}"
        ) from error


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in _lines(path):
        if line.strip():
            yield number, _object(_parsed(line, f"{path} line {number}"), f"{path} line {number}")


def _json(path: Path) -> Iterator[tuple[int, Row]]:
    value = _parsed(read_text(path), str(path))
    if not isinstance(value, list):
        raise BadInput(f"{path}: must be a list of objects; for one object per line name it .jsonl")
    for number, row in enumerate(value, 1):
        yield number, _object(row, f"{path} row {number}")


def _parsed(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}" if "\n" in text.strip() else f"column {error.colno}"
        raise BadInput(f"{place}: not valid JSON ({error.msg}, {where}); correct or remove it") from error
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise BadInput(f"{place}: holds a number with too many digits; write it as a text, in quotes") from error
    except RecursionError as error:
        raise BadInput(f"{place}: JSON nested too deeply; flatten or remove it") from error


def _object(value: object, place: str) -> Row:
    if isinstance(value, dict):
        return value
    raise BadInput(f'{place}: must be an object such as {{"input": …, "output": …}}, not {_json_text(value)[:40]}')


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    lines = _lines(path)
    _, first = next(lines)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    header = _cells(first, path, delimiter)
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    start = 2  # a row begins behind the lines of the one before; it may span several
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadInput(f"{path} line {start}: not valid CSV ({error}); check its quotes") from error
        if cells is None:
            return
        if cells:
            yield start, _csv_row(header, cells, f"{path} line {start}", delimiter)
        start = reader.line_num + 2


def _cells(line: str, path: Path, delimiter: str) -> list[str]:
    try:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except (csv.Error, StopIteration) as error:
        raise BadInput(f"{path} line 1: must be a header with the names of the columns ({error})") from error
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"{path} line 1: column {twice!r} occurs twice; give each column its own name")
    return header


def _csv_row(header: list[str], cells: list[str], place: str, delimiter: str) -> Row:
    if len(cells) != len(header):
        cure = f"put values that contain {delimiter!r} in quotes"
        raise BadInput(f"{place}: {len(cells)} values for {len(header)} columns ({', '.join(header)}); {cure}")
    return dict(zip(header, cells, strict=True))


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise BadInput(f"{path}: parquet files need pyarrow; pip install 'crito[parquet]'") from error
    try:
        batches = parquet.ParquetFile(path).iter_batches()
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: not a readable parquet file ({str(error).splitlines()[0]}); write it again") from error


def _hub(address: str) -> Iterator[tuple[int, Row]]:
    name, _, split = address.removeprefix("hf://").partition(":")
    try:
        import datasets
    except ImportError as error:
        raise BadInput(
            f"{address}: hub datasets need the library datasets; pip install 'crito[huggingface]'"
        ) from error
    try:
        stream: Any = datasets.load_dataset(name, split=split or "train", streaming=True)
        yield from enumerate(stream, 1)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{address}: cannot be loaded ({reason}); write hf://owner/name:split") from error
