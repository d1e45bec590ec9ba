import json
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from crito.errors import BadInput
from crito.task import Example, example_id
from crito.tools.datasets import Loaded, read_examples, read_rows, read_text, to_examples

ROWS = [{"message": f"Where is {i}?", "order": f"A-{i}"} for i in range(5)]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def examples(path: Path | str, *, output: str | None = "order", limit: int = 100, seed: int = 0) -> Loaded:
    return read_examples(path, {"message": "message"}, output, limit=limit, seed=seed)


def problem(path: Path | str) -> str:
    with pytest.raises(BadInput) as caught:
        examples(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", "".join(json.dumps(r) + "\n\n" for r in ROWS)),
        ("d.json", json.dumps(ROWS)),
        ("d.csv", "message,order\r\n" + "".join(f"{r['message']},{r['order']}\r\n" for r in ROWS)),
        ("semicolons.csv", "message;order\n" + "".join(f"{r['message']};{r['order']}\n" for r in ROWS)),
        ("d.tsv", "message\torder\n" + "".join(f"{r['message']}\t{r['order']}\n" for r in ROWS)),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    rows = read_rows(written(tmp_path, name, content), limit=100, seed=0)
    assert [row for _, row in rows] == ROWS


def test_tabs_part_a_tsv_whatever_commas_it_has(tmp_path: Path) -> None:
    path = written(tmp_path, "d.tsv", "text, long\tlabel\na, b\tc\n")
    assert read_rows(path, limit=9, seed=0) == [(2, {"text, long": "a, b", "label": "c"})]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (Decimal("1.5"), "1.5"),
        (date(2020, 1, 2), "2020-01-02"),
        (True, "true"),
        (1.5, "1.5"),
        (np.float64(0.5), "0.5"),
        ([1, "a"], '[1, "a"]'),
        ({"a": None}, '{"a": null}'),
    ],
)
def test_values_of_other_libraries_are_read_as_they_write_themselves(value: object, text: str) -> None:
    rows = [("row", {"message": "m", "order": value})]
    assert to_examples(rows, {"message": "message"}, "order", limit=9, seed=0).examples[0].expected == text


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", b"\xef\xbb\xbfmessage,order\na,b\n")
    assert examples(path).examples[0].inputs == {"message": "a"}


def test_lines_are_counted_with_blank_ones_and_with_values_over_several_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", 'message,order\n"a\nb",1\n\nc,2\n')
    assert read_rows(path, limit=9, seed=0) == [
        (2, {"message": "a\nb", "order": "1"}),
        (5, {"message": "c", "order": "2"}),
    ]


def test_a_sample_keeps_the_order_of_the_file_and_follows_the_seed(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"n": i} for i in range(200)]))
    samples = [[n for n, _ in read_rows(path, limit=20, seed=seed)] for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    assert len(samples[0]) == 20
    assert samples[0] == sorted(samples[0])


def test_every_row_is_as_likely_to_be_sampled(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"n": i} for i in range(10)]))
    drawn = [n for seed in range(1000) for n, _ in read_rows(path, limit=3, seed=seed)]
    # 300 expected for each of ten rows, standard deviation 14.5
    assert all(240 < drawn.count(n) < 360 for n in range(1, 11))


@pytest.mark.parametrize("name", ["big.jsonl", "big.csv"])
def test_a_large_file_is_streamed(tmp_path: Path, name: str) -> None:
    row = json.dumps({"message": "x" * 1000, "order": "1"}) if name.endswith("jsonl") else "x" * 1000 + ",1"
    path = written(tmp_path, name, ("" if name.endswith("jsonl") else "message,order\n") + f"{row}\n" * 5000)
    tracemalloc.start()
    read_rows(path, limit=10, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000 < path.stat().st_size


def test_values_that_are_no_texts_become_json(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"message": {"ü": [1]}, "order": True}]).encode())
    (example,) = examples(path).examples
    assert example == Example(id=example_id(example.inputs), inputs={"message": '{"ü": [1]}'}, expected="true")


def test_without_an_output_nothing_is_expected(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"message": "a"}]))
    assert examples(path, output=None).examples[0].expected is None


def test_equal_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    loaded = examples(written(tmp_path, "d.jsonl", jsonl([*ROWS, ROWS[0], ROWS[0]])))
    assert (len(loaded.examples), loaded.duplicates) == (5, 2)
    assert loaded.places[loaded.examples[0].id].endswith("d.jsonl line 1")


def test_equal_inputs_with_different_answers_name_both_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"message": "a", "order": "1"}, {"message": "a", "order": "2"}]))
    assert f"{path} line 2: same inputs as {path} line 1" in problem(path)


def test_a_missing_field_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"message": "a", "order": "1"}, {"text": "a", "order": "1"}]))
    assert problem(path) == f"{path} line 2: no field 'message'; it has: text, order"


def test_a_bad_row_is_found_even_when_the_sample_leaves_it_out(tmp_path: Path) -> None:
    path = written(
        tmp_path, "d.jsonl", jsonl([{"message": str(i), "order": "1"} for i in range(50)] + [{"order": "1"}])
    )
    with pytest.raises(BadInput, match="line 51"):
        examples(path, limit=1)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_an_empty_value_is_refused(tmp_path: Path, value: str | None) -> None:
    path = written(tmp_path, "d.jsonl", jsonl([{"message": value, "order": "1"}]))
    assert problem(path) == f"{path} line 1: field 'message' is empty; fill it in or remove the row"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", '{"message": "a"}\n{"message"\n', "line 2: not valid JSON"),
        ("d.jsonl", "[" * 100_000, "line 1: JSON nested too deeply"),
        ("d.jsonl", "[1]\n", "line 1: must be an object"),
        ("d.json", '[\n{"a": 1},\n{]', "line 3 column 2"),
        ("d.jsonl", '{"message": ' + "9" * 5000 + "}", "line 1: holds a number with too many digits"),
        ("d.json", '{"a": 1}', "must be a list of objects"),
        ("d.json", "[[1]]", "row 1: must be an object"),
        ("d.json", "[]", "has no rows"),
        ("d.jsonl", "\n \n", "has no rows"),
        ("d.csv", "message,order\n", "has no rows"),
        ("d.csv", "", "is empty"),
        ("d.csv", "a,a\n1,2\n", "line 1: column 'a' occurs twice"),
        ("d.csv", "message,order\na,b\nc\n", "line 3: 1 values for 2 columns"),
        ("d.csv", 'message,order\na,b\n"c,d\n', "line 3: not valid CSV"),
        ("d.xlsx", "x", "unknown data format '.xlsx'"),
        ("latin.jsonl", b'{"message": "a"}\n{"message": "\xe9"}\n', "line 2: not UTF-8 (byte 0xe9 at offset 30)"),
        ("mark.csv", b"\xef\xbb\xbfa,\xe9\n", "line 1: not UTF-8 (byte 0xe9 at offset 5)"),
        ("wide.csv", "a,b".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 wide.csv"),
    ],
)
def test_a_malformed_file_is_named_by_its_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(BadInput) as caught:
        read_rows(path, limit=10, seed=0)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", '{"message": "a\\ud800", "order": "1"}')
    assert problem(path) == f"{path} line 1: field 'message' holds half a character (\\ud800); correct or remove it"


def test_a_long_document_in_a_csv_is_read(tmp_path: Path) -> None:
    text = "word " * 100_000
    path = written(tmp_path, "d.csv", f"message,order\n{text},1\n")
    assert examples(path).examples[0].inputs["message"] == text


def test_a_folder_that_may_not_be_entered_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    path = tmp_path / "d.jsonl"
    assert problem(path) == f"{path}: cannot be read (Permission denied); check its permissions"


def test_a_missing_file_suggests_near_names(tmp_path: Path) -> None:
    written(tmp_path, "orders.jsonl", "{}")
    assert problem(tmp_path / "order.jsonl") == f"{tmp_path}/order.jsonl: no such file; did you mean orders.jsonl?"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path}/no" in problem(tmp_path / "no" / "d.jsonl")


def test_a_folder_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    written(tmp_path, "orders.jsonl", "{}")
    assert problem(tmp_path) == f"{tmp_path}: is a folder; name a file in it, such as orders.jsonl"


def test_an_unreadable_file_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "d.jsonl", "{}")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert problem(path) == f"{path}: cannot be read (Permission denied); check its permissions"


@pytest.mark.parametrize(
    ("address", "library", "extra"),
    [("d.parquet", "pyarrow", "parquet"), ("hf://owner/name", "datasets", "huggingface")],
)
def test_a_missing_extra_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    path = address if "://" in address else written(tmp_path, address, "x")
    assert f"pip install 'crito[{extra}]'" in problem(path)


def test_hub_datasets_are_streamed_by_name_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ModuleType("datasets")
    asked = []

    def load_dataset(name: str, *, split: str, streaming: bool) -> list[dict[str, str]]:
        asked.append((name, split, streaming))
        return ROWS

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    loaded = examples("hf://owner/name:dev")
    assert asked == [("owner/name", "dev", True)]
    assert loaded.places[loaded.examples[1].id] == "hf://owner/name:dev row 2"


def test_parquet_is_read_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Batch(list[dict[str, str]]):
        def to_pylist(self) -> list[dict[str, str]]:
            return self

    class ParquetFile:
        def __init__(self, path: Path) -> None:
            if path.read_bytes() != b"PAR1":
                raise ValueError("no magic bytes\nin the footer")

        def iter_batches(self) -> list[Batch]:
            return [Batch(ROWS[:3]), Batch(ROWS[3:])]

    library = ModuleType("pyarrow")
    library.parquet = SimpleNamespace(ParquetFile=ParquetFile)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", library)
    rows = read_rows(written(tmp_path, "d.parquet", "PAR1"), limit=9, seed=0)
    assert rows == list(enumerate(ROWS, 1))
    assert "not a readable parquet file (no magic bytes)" in problem(written(tmp_path, "d.parquet", "x"))


def test_a_hub_failure_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ModuleType("datasets")

    def load_dataset(name: str, **options: object) -> None:
        raise FileNotFoundError("no dataset\ntraceback")

    hub.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert "cannot be loaded (no dataset)" in problem("hf://owner/name")


def test_rows_from_memory_keep_their_places() -> None:
    rows = [("examples[0]", {"a": 1, "b": 2}), ("examples[1]", {"a": 2})]
    with pytest.raises(BadInput, match=r"examples\[1\]: no field 'b'; it has: a"):
        to_examples(rows, {"a": "a"}, "b", limit=10, seed=0)


def test_a_text_is_read_byte_for_byte(tmp_path: Path) -> None:
    assert read_text(written(tmp_path, "p.txt", "a\r\n\n b \n")) == "a\r\n\n b \n"
