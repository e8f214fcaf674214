"""The Glue tables of template.yaml as Athena sees them, in DuckDB: columns and types from the
template, rows from the objects of a bucket in a folder, partitions computed as projection does.
"""

import json
import re
from datetime import UTC, date, datetime

import duckdb
import sqlglot
from sqlglot import exp

from evaluated import render
from given import REQUIRED

SCALARS = {"string": ("VARCHAR", str), "bigint": ("BIGINT", int), "boolean": ("BOOLEAN", bool)}


def glue_tables(bucket):
    """Each table's TableInput, for this bucket."""
    resources = render(REQUIRED | {"Analytics": "projection", "ExistingBucket": bucket})["Resources"]
    tables = [
        body["Properties"]["TableInput"] for body in resources.values() if body["Type"] == "AWS::Glue::Table"
    ]
    return {table["Name"]: table for table in tables}


def columns(table):
    return {column["Name"]: parse(column["Type"]) for column in table["StorageDescriptor"]["Columns"]}


def parse(text):
    """A Hive type: a scalar's name, ["array", item] or {field: type}."""
    kind, rest = parse_prefix(text)
    if rest:
        raise ValueError(f"{rest!r} follows the type in {text!r}")
    return kind


def parse_prefix(text):
    if text.startswith("array<"):
        item, rest = parse_prefix(text.removeprefix("array<"))
        return ["array", item], closed(rest)
    if text.startswith("struct<"):
        fields, rest = {}, text.removeprefix("struct<")
        while True:
            name, rest = re.fullmatch(r"([a-z_]+):(.*)", rest).groups()
            if name in fields:
                raise ValueError(f"{name} stands twice in {text!r}")
            fields[name], rest = parse_prefix(rest)
            if not rest.startswith(","):
                return fields, closed(rest)
            rest = rest[1:]
    name = re.match(r"[a-z]+", text)[0]
    if name not in SCALARS:
        raise ValueError(f"{name} is no type that is known here")
    return name, text.removeprefix(name)


def closed(rest):
    if not rest.startswith(">"):
        raise ValueError(f"'>' is missing before {rest!r}")
    return rest[1:]


def duckdb_type(kind):
    if isinstance(kind, dict):
        return "STRUCT(" + ", ".join(f"{q(name)} {duckdb_type(item)}" for name, item in kind.items()) + ")"
    if isinstance(kind, list):
        return duckdb_type(kind[1]) + "[]"
    return SCALARS[kind][0]


def misfits(value, kind, path=""):
    """What of a JSON value the type does not hold: a sentence for each."""
    if value is None:
        return []
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return [f"{path} is {value!r}, the column a struct"]
        folded = fold(value)
        found = [
            f"{path} has {key} more than once when case is folded"
            for key in folded
            if folded[key] is TWICE
        ]
        found += [f"{path}.{key} has no column" for key in folded.keys() - kind.keys()]
        for key in folded.keys() & kind.keys():
            found += misfits(folded[key], kind[key], f"{path}.{key}")
        return found
    if isinstance(kind, list):
        if not isinstance(value, list):
            return [f"{path} is {value!r}, the column an array"]
        return [problem for item in value for problem in misfits(item, kind[1], path + "[]")]
    if type(value) is not SCALARS[kind][1]:
        return [f"{path} is {value!r}, the column a {kind}"]
    return []


TWICE = object()


def fold(value):
    folded = {}
    for key, item in value.items():
        key = key.lower()
        folded[key] = TWICE if key in folded else item
    return folded


def leaves(kind, path=""):
    """The path of each scalar that a type holds."""
    if isinstance(kind, dict):
        return {leaf for name, item in kind.items() for leaf in leaves(item, f"{path}.{name}")}
    if isinstance(kind, list):
        return leaves(kind[1], path + "[]")
    return {path}


def present(value, path=""):
    """The folded path of each scalar that a JSON value has."""
    if isinstance(value, dict):
        return {leaf for name, item in value.items() for leaf in present(item, f"{path}.{name.lower()}")}
    if isinstance(value, list):
        return {leaf for item in value for leaf in present(item, path + "[]")}
    return {path}


def as_serde_reads(value, kind):
    """A JSON value as the SerDe gives it: keys whatever their case, what is absent as null."""
    if value is None:
        return None
    if isinstance(kind, dict):
        folded = fold(value)
        return {name: as_serde_reads(folded.get(name), item) for name, item in kind.items()}
    if isinstance(kind, list):
        return [as_serde_reads(item, kind[1]) for item in value]
    return value


def rows(table, buckets):
    """(day, object) of each object that partition projection leads to; any other fails."""
    location = table["StorageDescriptor"]["Location"]
    parameters = table["Parameters"]
    assert parameters["storage.location.template"] == location + "${day}/"
    assert parameters["projection.day.format"] == "yyyy/MM/dd"
    first, last = parameters["projection.day.range"].split(",")
    assert last == "NOW"
    folder = buckets / location.removeprefix("s3://")
    for path in sorted(folder.rglob("*.json")):
        day = path.parent.relative_to(folder).as_posix()
        parsed = date(*map(int, day.split("/")))
        assert day == parsed.strftime("%Y/%m/%d"), f"{path}: projection does not write the day like that"
        assert first <= day <= datetime.now(UTC).strftime("%Y/%m/%d"), f"{path}: outside the projection"
        line, *more = path.read_text().splitlines()
        assert not more, f"{path}: the SerDe wants an object on one line"
        yield day, json.loads(line)


def connect(buckets, bucket):
    """A database with both tables, filled from the folder that holds the bucket's."""
    database = duckdb.connect()
    for name, table in glue_tables(bucket).items():
        kinds = columns(table)
        (partition,) = table["PartitionKeys"]
        every = kinds | {partition["Name"]: partition["Type"]}
        declared = ", ".join(f"{q(column)} {duckdb_type(kind)}" for column, kind in every.items())
        database.execute(f"CREATE TABLE {q(name)} ({declared})")
        for day, value in rows(table, buckets):
            if problems := misfits(value, kinds):
                raise AssertionError("; ".join(problems))
            row = as_serde_reads(value, kinds) | {partition["Name"]: day}
            database.execute(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(row))})', list(row.values()))
    return database


def q(name):
    return f'"{name}"'


def run(database, query, now):
    """Rows of a query in Athena's dialect, as mappings, with the clock at `now`."""
    (tree,) = sqlglot.parse(query, read="athena")
    cursor = database.execute(tree.transform(at, now.replace(tzinfo=None)).sql(dialect="duckdb"))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def at(node, now):
    """The clock set. Points in time are UTC without a zone: DuckDB has those only in an extension."""
    if isinstance(node, exp.CurrentDate):
        return exp.cast(exp.Literal.string(now.date().isoformat()), "date")
    if isinstance(node, exp.CurrentTimestamp):
        return exp.cast(exp.Literal.string(now.isoformat()), "timestamp")
    if isinstance(node, exp.FromISO8601Timestamp):
        return exp.cast(node.this, "timestamp")
    return node
