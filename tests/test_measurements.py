"""Files of measurements as people have them: read as they are meant, or refused in one line."""

import io
import json
import random
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataworth import LearningCurve
from dataworth.commands import forecast as forecast_command
from dataworth.errors import InputError
from dataworth.forecaster import json_tables, rows, tables, workbooks
from dataworth.forecaster.columns import is_count, is_num_test, is_size, meaning_of, words
from dataworth.forecaster.flags import ReadFlags
from dataworth.forecaster.measurements import read_measurements
from tests.conftest import command

N, ERROR = [1000.0, 2000.0, 4000.0, 50000.0], [0.42, 0.35, 0.294, 0.125]

# Name -> content of a file, and flags that it needs; every one holds N and ERROR, once or twice.
PLAIN = {
    "plain.csv",
    "bom.csv",
    "utf16.csv",
    "mac.csv",
    "savetxt.txt",
    "records.json",
    "pandas.json",
    "split.json",
    "log.jsonl",
}  # fmt: skip  nothing to decide, nothing said
READABLE = {
    "plain.csv": ("n,error\n1000,0.42\n2000,0.35\n4000,0.294\n50000,0.125\n", {}),
    "bom.csv": ("\ufeffn,error\n1000,0.42\n2000,0.35\n4000,0.294\n50000,0.125\n", {}),
    "utf16.csv": ("n\terror\n1000\t0.42\n2000\t0.35\n4000\t0.294\n50000\t0.125\n".encode("utf-16"),
                  {}),
    "windows.csv": ("Größe;train size;error\r\nx;1000;0,42\r\nx;2000;0,35\r\nx;4000;0,294\r\n"
                    "x;50000;0,125\r\n".encode("cp1252"), {}),
    "mac.csv": (b"n,error\r1000,0.42\r2000,0.35\r4000,0.294\r50000,0.125\r", {}),
    "german.csv": ("Train Size;Error\n1.000;0,42\n2.000;0,35\n4.000;0,294\n50.000;0,125\n", {}),
    "excel.csv": ("sep=;\nn;error\n1000;0,42\n2000;0,35\n4000;0,294\n50000;0,125\n", {}),
    "thousands.csv": ('samples,error\n"1,000",0.42\n"2,000",0.35\n"4,000",0.294\n"50,000",0.125\n',
                      {}),
    "spaces.txt": ("n_train   err\n1000   0.42\n2000   0.35\n4000   0.294\n50000  0.125\n", {}),
    "savetxt.txt": ("# n error\n1e3 4.2e-1\n2e3 3.5e-1\n4e3 2.94e-1\n5e4 1.25e-1\n", {}),
    "tabs.tsv": ("train_size\ttop-5 accuracy (%)\n1000\t58\n2000\t65\n4000\t70.6\n50000\t87.5\n",
                 {}),
    "signs.csv": ("Training images,acc@1\n1k,58 %\n2k,65 %\n4k,70.6 %\n50k,87.5 %\n", {}),
    "titles.csv": ("Our study\n\n# of June\nn;test accuracy\n1000;0,58\n2000;0,65\n4000;0,706\n"
                   "50000;0,875\n;\n", {}),
    "score.csv": ("train_sizes,train_scores_mean,test_scores_mean,test_scores_std\n"
                  "1000,1,0.58,0.01\n2000,1,0.65,0.01\n4000,1,0.706,0.01\n50000,0.99,0.875,0.01\n",
                  {}),
    "splits.csv": ("n,train_acc,val_acc,test_acc\n1000,1,0.6,0.58\n2000,1,0.66,0.65\n"
                   "4000,1,0.71,0.706\n50000,0.99,0.88,0.875\n", {}),
    "wandb.csv": ('"Name","State","Runtime","train_size","test/accuracy","_step"\n'
                  '"a","finished","100","1000","0.58","10"\n"b","finished","100","2000","0.65","10"\n'
                  '"c","finished","100","4000","0.706","10"\n'
                  '"d","finished","100","50000","0.875","10"\n', {}),
    "wandb_plot.csv": ('"train_size","run-1 - test_acc","run-1 - test_acc__MIN",'
                       '"run-1 - test_acc__MAX","run-2 - test_acc"\n'
                       '"1000","0.58","0.58","0.58",""\n"2000","0.65","0.65","0.65","0.65"\n'
                       '"4000","","","","0.706"\n"50000","0.875","0.875","0.875",""\n', {}),
    "seeds.csv": ("n,error_seed1,error_seed2\n1000,.42,.42\n2000,.35,.35\n4000,.294,.294\n"
                  "50000,.125,.125\n", {}),
    "folds.csv": ("param_n_samples,split0_test_score,split1_test_score,mean_test_score,"
                  "std_test_score\n1000,.58,.58,.58,0\n2000,.65,.65,.65,0\n4000,.706,.706,.706,0\n"
                  "50000,.875,.875,.875,0\n", {"x_column": "param_n_samples"}),
    "numbers.csv": ("n,42,43\n1000,58,58\n2000,65,65\n4000,70.6,70.6\n50000,87.5,87.5\n",
                    {"values": ("accuracy",)}),
    "no_names.csv": ("1000,0.42\n2000,0.35\n4000,0.294\n50000,0.125\n",
                     {"x_column": "1", "y_column": ("2",), "values": ("error",)}),
    "two_errors.csv": ("n,top1_acc,top5_acc\n1000,0.58,0.9\n2000,0.65,0.9\n4000,0.706,0.9\n"
                       "50000,0.875,0.9\n", {"y_column": ("TOP1_ACC",)}),
    "small_percent.csv": ("n,error\n1000,42\n2000,35\n4000,29.4\n50000,12.5\n", {}),
    "long.csv": ("n,split,acc\n1000,test,0.58\n1000,train,1\n2000,test,0.65\n4000,test,0.706\n"
                 "50000,test,0.875\n", {"where": ("split=test",)}),
    "records.json": ([{"n": 1000, "error": 0.42}, {"n": 2000, "error": 0.35},
                      {"n": 4000, "error": 0.294}, {"n": 50000, "error": 0.125}], {}),
    "columns.json": ({"n": N, "accuracy": [58, 65, 70.6, 87.5], "dataset": "x"}, {}),
    "sklearn.json": ({"train_sizes": N, "train_scores": [[1, 1]] * 4,
                      "test_scores": [[1 - e] * 2 for e in ERROR]}, {}),
    "pandas.json": ({"n": dict(zip("0123", N, strict=True)),
                     "error": dict(zip("0123", ERROR, strict=True))}, {}),
    "split.json": ({"columns": ["n", "error"], "index": [0, 1, 2, 3],
                    "data": [list(row) for row in zip(N, ERROR, strict=True)]}, {}),
    "nested.json": ({"project": "p", "runs": [
        {"config": {"train_size": {"value": n}}, "summary": {"test_acc": 1 - e, "_step": 9}}
        for n, e in zip(N, ERROR, strict=True)]}, {}),
    "by_name.json": ({f"r{i}": {"n_samples": n, "error_rate": e}
                      for i, (n, e) in enumerate(zip(N, ERROR, strict=True))}, {}),
    "by_size.json": ({f"{n:.0f}": e for n, e in zip(N, ERROR, strict=True)},
                     {"x_column": "key", "y_column": ("value",), "values": ("error",)}),
    "log.jsonl": ('{"n": 1000, "error": 0.42}\n{"n": "2000", "error": "0.35"}\n\n'
                  '{"n": 4000, "error": 0.294, "lr": null}\n{"n": 5e4, "error": 0.125}\n', {}),
}  # fmt: skip


def is_one_line(error):
    assert len(str(error).splitlines()) == 1


def write(folder, name, content):
    path = folder / name
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("name", READABLE)
def test_a_messy_file_is_read_as_it_is_meant(tmp_path, name):
    content, flags = READABLE[name]
    measured = read_measurements(write(tmp_path, name, content), ReadFlags(**flags))
    points = measured.points
    assert points.sizes.tolist() == N
    assert points.means == pytest.approx(ERROR)
    assert points.num_test is None
    assert (measured.notes == ()) == (name in PLAIN), measured.notes


# Name and content -> what the one line says.
REFUSED = {
    "empty.csv": ("", "no column of training set sizes: empty"),
    "loss.csv": ("n,loss\n1,0.1\n", "loss is no share of wrong answers"),
    "no_size.csv": ("epoch,error\n1,0.1\n", "no column of training set sizes: found epoch, error"),
    "steps.csv": ("Step,acc\n1,0.1\n", "name it with --x-column"),
    "no_error.csv": ("n,speed\n1,0.1\n", "no column of errors or accuracies: found n, speed; name"),
    "two_sizes.csv": ("samples,images,acc\n1,2,0.1\n", "in samples, images? say which with --x"),
    "two_errors.csv": ("n,top-1 acc,top-5 acc\n1,1,1\n", "say which with --y-column"),
    "acc_1_acc_5.csv": ("n,acc_1,acc_5\n1,1,1\n", "two seeds, or top-1 and top-5?"),
    "models.csv": ("n,resnet acc,vgg acc\n1,1,1\n", "say which with --y-column"),
    "bare_rank.csv": ("n,top-5\n1,0.1\n", "say --as error or --as accuracy"),
    "bare_seeds.csv": ("n,seed 1,seed 2\n1,1,1\n", "is seed 1 an error or an accuracy? say --as"),
    "mixed.csv": ("n,error\n1,0.5\n2,45\n", "row 3: error is 45, not a share between 0 and 1; if"),
    "mixed_signs.csv": ("n,acc\n1,50 %\n2,60\n", "row 3: acc is 60, without %"),
    "percent_below_1.csv": ("n,acc (%)\n1,0.5\n2,0.6\n", "say --as percent, or --as share"),
    "above_100.csv": ("n,acc\n1,50\n2,110\n", "row 3: acc is 110, neither a share nor"),
    "negative.csv": ("n,acc\n1,-0.5\n", "row 2: acc is -0.5, not a share"),
    "falling.csv": ("n,score\n1,0.5\n2,0.4\n", "score falls as the training set grows: say --as"),
    "decimals.csv": ("n;acc\n1.000;50\n2.000;60\n", "a thousand or has it decimals? say --decimal"),
    "both.csv": ("n;acc\n1;0,5\n2;0.6\n", "both decimal points ('0.6') and decimal commas ('0,5')"),
    "percent_of_data.csv": ("train size (%),acc\n50,0.5\n100,0.6\n", "holds shares of a training"),
    "shares.csv": ("train size,acc\n0.5,0.5\n1,0.6\n", "shares of a training set: write numbers"),
    "deviation.csv": ("n,acc\n1,0.5 ± 0.1\n", "not a number; write the mean alone"),
    "splits.csv": ("n,split,acc\n1,test,0.5\n1,train,1\n", "choose with --where split=test"),
    "twice.csv": ("n,error,error\n1,0.5,0.4\n", "several columns error; keep one"),
    "counts.csv": ("n,num_errors,num_test\n1,60,1000\n2,50,1000\n", "numbers of answers: write sh"),
    "test_share.csv": ("n,acc,test_size\n1,0.5,0.2\n", "row 2: test_size is a share: write the"),
    "log.csv": ("n,epoch,acc\n1,1,0.2\n1,2,0.3\n1,3,0.4\n", "choose with --where epoch=NUMBER"),
    "log_of_two.csv": ("n,epoch,acc\n1,1,0.2\n1,9,0.3\n2,1,0.3\n2,9,0.4\n",
                       "choose with --where epoch=NUMBER, or leave epoch out if every row is"),
    "log_of_seeds.csv": ("n,seed,step,acc\n1,1,10,0.2\n1,1,20,0.3\n1,2,10,0.3\n1,2,20,0.4\n",
                         "choose with --where step=NUMBER"),
    "architectures.csv": ("n,architecture,acc\n1,vgg,0.2\n2,vgg,0.3\n4,resnet,0.4\n",
                          "choose with --where architecture=vgg"),
    "model_names.csv": ("n,model_name,acc\n1,18-layer,0.2\n2,50-layer,0.3\n", "several curves"),
    "pretrained.json": ([{"n": n, "error": 0.5, "pretrained": t} for n in N for t in (True, False)],
                        "choose with --where pretrained=True, or leave pretrained out if all rows"),
    "notes.csv": ("n,what,acc\n1,plain,0.2\n1,mixup,0.3\n2,mixup,0.3\n2,plain,0.4\n4,odd,0.5\n",
                  "rows of several curves (plain, mixup, odd): choose with --where what=plain, or"),
    "run_names.csv": ("n,run,acc\n1,plain,0.2\n1,mixup,0.3\n2,mixup,0.3\n2,plain,0.4\n",
                      "choose with --where run=plain"),
    "excel.csv": (b"PK\x03\x04rest", "a zip archive or workbook; name it .xlsx"),
    "old.xls": (b"\xd0\xcf\x11\xe0rest", "an old or encrypted Excel file"),
    "binary.csv": (bytes(range(256)), "not text"),
    "quote.csv": ('n,error\n"1,0.5\n', "not a CSV file"),
    "nan.json": ('[{"n": 1, "error": NaN}]', "NaN is no number of JSON"),
    "keys.json": ('[{"n": 1, "error": 0.5, "n": 2}]', "'n' is given twice in one object"),
    "deep.json": ("[" * 100_000, "JSON that is nested too deeply"),
    "deep_record.json": ([{"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}], "nested too deeply"),
    "lengths.json": ({"n": [1, 2], "error": [0.5]}, "lists of different lengths"),
    "scalar.json": ("3", "no table; write a list of objects"),
    "sizes.json": ({"1000": 0.4, "2000": 0.3}, "found key, value; name it with --x-column"),
    "huge.json": ('[{"n": ' + "9" * 5000 + ', "error": 0.5}]', "n is inf, not a number above 0"),
    "true.json": ([{"n": True, "error": 0.5}], "n is 'True', not a number"),
    "not.json": ("{n: 1}", "not JSON"),
    "line.jsonl": ('{"n": 1, "error": 0.5}\n[1]\n', "line 2: no JSON object"),
    "not.xlsx": ("n,error\n1,0.5\n", "xlsx"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_asked_in_one_line(tmp_path, name):
    content, line = REFUSED[name]
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=re.escape(line)) as refusal:
        read_measurements(path, ReadFlags())
    assert str(refusal.value).startswith(f"{path}: ")
    is_one_line(refusal.value)


def test_the_flags_settle_what_is_asked_and_what_was_decided_is_said(tmp_path, capsys):
    text = "a;b;Top 5\n1.000;9;60,5\n2.000;9;65,5\n4.000;9;70,5\n"
    path = write(tmp_path, "points.csv", text)
    words = ["--x-column", "a", "--y-column", "top 5", "--as", "accuracy", "percent"]
    assert command(forecast_command.forecast, path, *words, "--decimal", "comma") == 0
    said, _, answer = capsys.readouterr().out.partition("\n")
    decided = "training images from a; error = 1 - Top 5, from percent; decimal commas"
    assert said == f"{path}: {decided}."
    assert "Doubling the 4,000 training images would lower the top-5 error by" in answer
    for more, line in (
        (["--decimal", "point"], "Top 5 is '60,5', not a number"),
        (["--x-column", "size"], "--x-column: no column size; found a, b, Top 5"),
        (["--as", "error", "accuracy"], "--as: error or accuracy, share or percent; not both"),
    ):
        assert command(forecast_command.forecast, path, *words, *more) == 2
        assert line in capsys.readouterr().err


def test_num_test_is_found_by_its_name(tmp_path):
    path = write(tmp_path, "points.csv", "n,error,num test images,seed\n1,0,500,1\n2,0.5,500,1\n")
    assert read_measurements(path, ReadFlags()).points.num_test.tolist() == [500, 500]


@pytest.mark.parametrize(
    ("name", "size", "num_test", "meaning"),
    [
        ("N", True, False, None), ("train size", True, False, None),
        ("numTrain", True, False, None),
        ("training set size", True, False, None), ("# images", True, False, None),
        ("config.train_size.value", True, False, None), ("sample size", True, False, None),
        ("batch size", False, False, None), ("image size", False, False, None),
        ("n_test", False, True, None), ("test set size", False, True, None),
        ("test error", False, False, "error"), ("1 - accuracy", False, False, "error"),
        ("Top1Acc", False, False, "accuracy"), ("acc@5", False, False, "accuracy"),
        ("val_loss", False, False, "loss"), ("AUROC", False, False, "accuracy"),
    ],
)  # fmt: skip
def test_names_are_understood_by_their_words(name, size, num_test, meaning):
    assert (is_size(name), is_num_test(name), meaning_of(name)) == (size, num_test, meaning)


def test_numbers_of_answers_are_known_by_their_names():
    assert all(map(is_count, ("n_errors", "num wrong", "Number of errors", "error count")))
    assert not any(map(is_count, ("errors", "error rate", "n", "mean error", "error (n = 5)", "")))


def test_best_epochs_of_seeds_are_no_log(tmp_path):
    path = tmp_path / "best.csv"
    path.write_text("n,epoch,acc\n1000,88,0.4\n1000,90,0.5\n1000,71,0.6\n2000,90,0.7\n")
    assert len(read_measurements(path, ReadFlags()).points.n) == 4


def test_epochs_of_runs_that_a_column_tells_apart_are_no_log(tmp_path):
    for name, (first, second) in {"seed": (1, 2), "Name": ("a-1", "b-2"), "run_id": "xy"}.items():
        text = (
            f"n,{name},epoch,acc\n1000,{first},88,0.4\n1000,{second},90,0.5\n2000,{first},9,0.6\n"
        )
        measured = read_measurements(write(tmp_path, "runs.csv", text), ReadFlags())
        assert len(measured.points.n) == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Name", "abcd"),
        ("date", ("1 Jun", "2 Jun") * 2),
        ("logged", ("2026-06-01", "2026-06-02") * 2),
        ("log_path", ("/runs/a", "/runs/b") * 2),
        ("run_id", ("3fa", "9c0") * 2),
        ("seed", ("seed-1", "seed-2") * 2),
        ("hostname", ("atlas", "zeus") * 2),
        ("schedule", ("short", "short", "long", "long")),  # goes with the size
        ("remark", ("", "", "", "late")),
    ],
)
def test_columns_that_tell_no_models_apart_are_left_out(tmp_path, name, values):
    rows = [
        f"{n},{value},0.{6 - i}"
        for i, (n, value) in enumerate(zip((1000, 1000, 2000, 2000), values, strict=True))
    ]
    path = write(tmp_path, "points.csv", "\n".join([f"n,{name},error", *rows]))
    assert len(read_measurements(path, ReadFlags()).points.n) == 4


@pytest.mark.parametrize(
    ("cells", "condition", "num_rows"),
    [
        ((0.1, 0.1, 1e-5), "lr=0.1", 2),
        ((0.1, "0.10", "1e-1"), "lr=.1", 3),
        ((1000.0, 64.0, 64.0), "lr=64.0", 2),
        ((1e-5, 0.1, 0.1), "lr=0.00001", 1),
        (("12345678901234567", "12345678901234568", "x"), "lr=12345678901234568", 1),
    ],
)
def test_rows_are_chosen_by_numbers_however_they_are_written(tmp_path, cells, condition, num_rows):
    records = [{"n": 1000, "error": 0.4, "lr": cell} for cell in cells]
    path = write(tmp_path, "points.json", records)
    assert len(read_measurements(path, ReadFlags(where=condition)).points.n) == num_rows


def test_ranks_are_one_word_in_every_spelling():
    for name in ("acc@5", "top5 acc", "Top-5 acc", "acc5", "top_5_acc", "Top5Acc"):
        assert {"acc", "top5"} == set(words(name)), name


# Bounds.


def test_a_file_of_any_size_is_refused_or_read_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 10_000)
    monkeypatch.setattr(rows, "MAX_COLUMNS", 20)
    with pytest.raises(InputError, match="larger than"):
        read_measurements(write(tmp_path, "large.csv", "n,error\n" * 2000), ReadFlags())
    wide = [{f"k{i}": 1} for i in range(30)]  # sparse records: a table of 900 cells
    with pytest.raises(InputError, match="31 rows of 30 columns; at most 20 columns"):
        read_measurements(write(tmp_path, "wide.json", wide), ReadFlags())
    with pytest.raises(InputError, match="No such file"):
        read_measurements(tmp_path / "none.csv", ReadFlags())


def test_any_json_is_a_table_or_one_line():
    scalars = st.none() | st.booleans() | st.floats() | st.text(max_size=4)
    keys = st.sampled_from(["n", "error", "columns", "data", "0", "1"]) | st.text(max_size=2)
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    )

    @given(values)
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    def check(value):
        try:
            table = json_tables.read_json(json.dumps(value))
        except InputError as error:
            is_one_line(error)
            return
        assert all(len(row) == len(table.header) for row in table.rows)
        assert len(table.places) == len(table.rows)

    check()


# Workbooks.


def workbook(sheets):
    """The content of an .xlsx file, from rows of each sheet."""
    openpyxl = pytest.importorskip("openpyxl")
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for title, values in sheets.items():
        sheet = book.create_sheet(title)
        for row in values:
            sheet.append(row)
    book.save(file)
    return file.getvalue()


TABLE = [("Train size", "Accuracy"), *((n, 1 - e) for n, e in zip(N, ERROR, strict=True))]


def test_the_sheet_with_measurements_is_found(tmp_path):
    content = workbook(
        {"Notes": [("who", "what"), ("me", "it")], "Runs": [("Title",), (), *TABLE], "Empty": []}
    )
    measured = read_measurements(write(tmp_path, "book.xlsx", content), ReadFlags())
    assert measured.points.n.tolist() == N
    assert measured.points.error == pytest.approx(ERROR)
    assert measured.notes[-1] == "sheet Runs"


def test_two_sheets_with_measurements_are_asked(tmp_path):
    path = write(tmp_path, "book.xlsx", workbook({"Old": TABLE, "New": TABLE}))
    with pytest.raises(InputError, match="sheets Old, New: choose one with --sheet"):
        read_measurements(path, ReadFlags())
    assert read_measurements(path, ReadFlags(sheet="New")).points.n.tolist() == N
    with pytest.raises(InputError, match="--sheet: Old, New in the file"):
        read_measurements(path, ReadFlags(sheet="Third"))


def test_a_workbook_is_bounded_before_it_is_unpacked(tmp_path, monkeypatch):
    content = workbook({"A": [*TABLE, *[()] * 50, (1, 0.5)]})
    monkeypatch.setattr(workbooks, "MAX_ROWS", 20)
    monkeypatch.setattr(rows, "MAX_ROWS", 20)
    with pytest.raises(InputError, match="more than 20 rows"):
        read_measurements(write(tmp_path, "gaps.xlsx", content), ReadFlags())
    monkeypatch.setattr(workbooks, "MAX_UNPACKED", 1000)
    with pytest.raises(InputError, match=r"parts that unpack to [\d,]+ bytes; at most"):
        read_measurements(write(tmp_path, "bomb.xlsx", content), ReadFlags())


def test_a_forged_workbook_is_one_line(tmp_path):
    content, rng = workbook({"A": TABLE}), random.Random(0)
    forged = [content[:200], content[:-30], bytes(rng.randrange(256) for _ in range(300))]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name in parts:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for other, part in parts.items():
                archive.writestr(other, b"<a><b></a>" if other == name else part)
        forged.append(file.getvalue())
    for i, data in enumerate(forged):
        try:
            points = read_measurements(write(tmp_path, f"{i}.xlsx", data), ReadFlags()).points
        except InputError as error:
            is_one_line(error)
        else:  # a part that matters little
            assert points.n.tolist() == N


# From Python.


def test_a_file_is_fitted_from_python(tmp_path):
    content, _ = READABLE["tabs.tsv"]
    curve = LearningCurve.from_csv(write(tmp_path, "tabs.tsv", content), chance=0.95)
    assert curve.chance == 0.95
    assert "error = 1 - top-5 accuracy (%), from percent" in curve.notes_
    assert curve.analysis_.points.means == pytest.approx(ERROR)
    assert curve.predict([1e5]) < min(ERROR)
    with pytest.raises(InputError, match="unknown key 'x'"):
        LearningCurve.from_csv(tmp_path / "tabs.tsv", x="train_size")


def test_a_loss_is_taken_as_it_is_with_an_infinite_chance_level(tmp_path):
    rows = ["n,val_loss,acc,num_test", *(f"{n},{80 * n**-0.5},0.1,500" for n in N)]
    path = write(tmp_path, "loss.csv", "\n".join(rows))
    curve = LearningCurve.from_csv(path, chance=np.inf)
    assert curve.predict(100_000) == pytest.approx(80 * 100_000**-0.5, rel=0.05)
    assert curve.num_test is None
    assert curve.notes_ == ("values of val_loss as they are",)


@pytest.mark.parametrize("metric", ["AUROC", "f1"])
def test_only_shares_of_wrong_answers_are_counts_of_test_images(tmp_path, metric):
    path = write(tmp_path, "points.csv", f"n,{metric},num_test\n1,0.8,500\n2,0.9,500\n")
    measured = read_measurements(path, ReadFlags())
    assert measured.points.num_test is None
    assert measured.metric == f"1 - {metric}"
    assert ("chance level of AUROC: 0.5 (--chance 0.5)" in measured.notes) == (metric == "AUROC")
