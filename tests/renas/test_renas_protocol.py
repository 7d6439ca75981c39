"""Which columns are learnt, chosen by and reported, in every case a table can be in."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from common.benchmarks.table import BenchmarkTable
from common.errors import InputError
from renas.protocol import Columns, choose_columns, choose_seconds

ROWS = [91.0, 92.0, 93.0]
FULL = (
    "cifar10_valid_12",
    "cifar10_test_12",
    "cifar10_test_200",
    "cifar10_valid_200",
    "cifar10_train_200",
    "cifar100_test_200",
    "cifar100_valid_12",
    "imagenet16_120_test_12",
    "latency",
)


@pytest.fixture
def table(make_table: Callable[..., BenchmarkTable]) -> Callable[..., BenchmarkTable]:
    return lambda *names: make_table(**dict.fromkeys(names, ROWS))


def names(columns: Columns) -> tuple[str, str]:
    return columns.label.name, columns.report.name


@pytest.mark.parametrize(
    ("dataset", "protocol", "expected"),
    [
        ("cifar10", "honest", ("cifar10_valid_200", "cifar10_test_200")),
        ("cifar10", "demo", ("cifar10_test_200", "cifar10_test_200")),
        ("cifar100", "honest", ("cifar100_valid_12", "cifar100_test_200")),
        ("cifar100", "demo", ("cifar100_test_200", "cifar100_test_200")),
    ],
)
def test_the_longest_training_counts_and_nothing_needs_saying(table, dataset, protocol, expected):
    columns = choose_columns(table(*FULL), dataset, protocol)
    assert names(columns) == expected
    assert columns.note == ""


def test_without_validation_the_test_column_is_learnt_and_the_note_says_so(table):
    columns = choose_columns(table(*FULL), "imagenet16_120", "honest")
    assert names(columns) == ("imagenet16_120_test_12", "imagenet16_120_test_12")
    assert "no validation column" in columns.note
    assert "imagenet16_120_test_12" in columns.note
    assert choose_columns(table(*FULL), "imagenet16_120", "demo").note == ""


@pytest.mark.parametrize("protocol", ["honest", "demo"])
def test_without_test_the_validation_column_is_reported_and_the_note_says_so(table, protocol):
    columns = choose_columns(table("cifar10_valid_12", "cifar10_valid_200"), "cifar10", protocol)
    assert names(columns) == ("cifar10_valid_200", "cifar10_valid_200")
    assert "no test column: cifar10_valid_200 is reported" in columns.note


@pytest.mark.parametrize("protocol", ["honest", "demo"])
def test_named_columns_are_taken_whatever_the_protocol(table, protocol):
    full = table(*FULL)
    both = choose_columns(full, "cifar10", protocol, label="cifar10_test_12", report="cifar100_test_200")
    assert names(both) == ("cifar10_test_12", "cifar100_test_200")
    assert both.note == ""
    label_only = choose_columns(full, "cifar10", protocol, label="cifar10_valid_12")
    assert names(label_only) == ("cifar10_valid_12", "cifar10_test_200")
    report_only = choose_columns(full, "cifar10", protocol, report="cifar10_test_12")
    assert names(report_only) == ("cifar10_test_12" if protocol == "demo" else "cifar10_valid_200", "cifar10_test_12")


def test_a_named_column_leaves_no_note_about_the_missing_one(table):
    no_valid = table("cifar10_test_12", "cifar10_test_200")
    assert choose_columns(no_valid, "cifar10", "honest", label="cifar10_test_12").note == ""
    no_test = table("cifar10_valid_12", "cifar10_valid_200")
    assert choose_columns(no_test, "cifar10", "honest", report="cifar10_valid_12").note == ""
    assert names(choose_columns(no_test, "cifar10", "honest", report="cifar10_valid_12"))[0] == "cifar10_valid_200"


def test_training_accuracy_is_neither_learnt_nor_reported_unasked(table):
    with pytest.raises(InputError, match="neither validation nor test"):
        choose_columns(table("cifar10_train_200"), "cifar10", "honest")


@pytest.mark.parametrize("option", ["label", "report"])
def test_a_column_that_is_not_there_is_named_with_those_that_are(table, option):
    with pytest.raises(InputError, match=r"no column 'cifar10_test_13'.*cifar10_valid_12, cifar10_test_12"):
        choose_columns(table(*FULL), "cifar10", "honest", **{option: "cifar10_test_13"})


def test_a_data_set_that_is_not_there_is_named_with_those_that_are(table):
    with pytest.raises(InputError, match=r"made\.csv.*'svhn'.*cifar10, cifar100, imagenet16_120"):
        choose_columns(table(*FULL), "svhn", "honest")


def test_the_columns_are_the_tables_own(table):
    full = table(*FULL)
    columns = choose_columns(full, "cifar10", "honest")
    assert columns.label is full.columns["cifar10_valid_200"]
    assert columns.report is full.columns["cifar10_test_200"]


@pytest.mark.parametrize(
    ("times", "name", "expected"),
    [
        (("latency", "train_seconds"), None, "train_seconds"),
        (("train_seconds_12", "train_seconds_200"), None, "train_seconds_200"),
        (("latency", "train_seconds"), "latency", "latency"),
    ],
)
def test_the_column_of_seconds(table, times, name, expected):
    made = table(*FULL[:4], *times)
    assert choose_seconds(made, choose_columns(made), name).name == expected


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((), "--seconds must name the column"),
        (("latency",), "none by its name; the table has: latency"),
        (("fit_seconds", "train_seconds"), r"\(fit_seconds, train_seconds\)"),
    ],
)
def test_no_or_several_columns_of_seconds_are_refused(table, times, said):
    made = table(*FULL[:4], *times)
    with pytest.raises(InputError, match=said):
        choose_seconds(made, choose_columns(made))


def test_seconds_that_are_missing_or_below_zero_are_refused(make_table):
    for wrong in (math.nan, -1.0):
        made = make_table(cifar10_valid_12=ROWS, cifar10_test_12=ROWS, seconds=[1.0, wrong, 2.0])
        with pytest.raises(InputError, match="seconds of 1 architectures"):
            choose_seconds(made, choose_columns(made))
