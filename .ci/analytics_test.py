"""Tests of the tables and of the queries in docs/analytics.md: the real functions write the objects,
each query is translated from Athena's dialect and executed, and the answers are known.

    .ci/analytics
"""

import json
import re
import shutil
import unittest
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from analytics_tables import columns, connect, glue_tables, leaves, misfits, parse, present, run
from functions import BUCKET, Emulated, InvocationError, Services
from given import ROOT

BINARIES = ROOT / "target/ci/built"
BUCKETS = ROOT / "target/ci/analytics"
NOW = datetime.now(UTC)

ROUTES = b"""[routes]
"sales@in.example" = ["ann@out.example", "Bob@else.example"]
"old-shop@in.example" = []
"""


class Sample:
    """A message, what SES says of it, and what is done to make it end as it should."""

    def __init__(
        self,
        name,
        days,
        author,
        to="info@in.example",
        spam="PASS",
        virus="PASS",
        loop=False,
        stored=True,
        refused=False,
        lost=False,
    ):
        self.id = f"{name}-0123456789"
        # At noon, so that the day does not depend on when the test runs.
        noon = (NOW - timedelta(days=days)).replace(hour=12, minute=0, second=0, microsecond=0)
        received = noon + timedelta(minutes=len(name), milliseconds=123)
        self.timestamp = received.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.day = noon.strftime("%Y/%m/%d")
        self.author, self.to, self.stored, self.refused, self.lost = author, to, stored, refused, lost
        self.verdicts = {"spam": spam, "virus": virus, "spf": "PASS", "dkim": "PASS", "dmarc": "PASS"}
        fields = [f"From: {author}"] * bool(author) + [f"To: {to}", f"Subject: {name}"]
        self.message = "\r\n".join(fields + [f"X-Loop: {to}"] * loop + ["", name, ""]).encode()

    def event(self):
        common = {"returnPath": "bounces@mailer.example", "to": [self.to], "subject": self.id}
        if self.author:
            common["from"] = [self.author]
        mail = {
            "timestamp": self.timestamp,
            "source": "bounces@mailer.example",
            "messageId": self.id,
            "destination": [self.to],
            "headersTruncated": False,
            "headers": [{"name": "To", "value": self.to}],
            "commonHeaders": common,
        }
        verdicts = {f"{check}Verdict": {"status": status} for check, status in self.verdicts.items()}
        action = {"type": "Lambda", "functionArn": "arn", "invocationType": "Event"}
        receipt = {
            "timestamp": self.timestamp,
            "processingTimeMillis": 400,
            "recipients": [self.to],
            **verdicts,
            "action": action,
        }
        return {
            "Records": [
                {"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": mail, "receipt": receipt}}
            ]
        }


# Names of different lengths make different minutes.
SAMPLES = [
    Sample("a", 1, "Ann <ann@one.example>"),
    Sample("aa", 1, "ANN@One.example"),
    Sample("aaa", 2, '"Ann, at work" <ann@one.example>', to="sales@in.example"),
    Sample("bbbb", 2, "Bob <bob@two.example>"),
    Sample("nobody", 3, None),
    Sample("spam", 1, "Spam <spam@two.example>", spam="FAIL"),
    Sample("spammer", 1, "Spam <spam@two.example>", spam="FAIL"),
    Sample("virus", 1, "Eve <eve@three.example>", virus="FAIL"),
    Sample("looping", 2, "Loop <loop@one.example>", loop=True),
    Sample("discarded", 2, "Shop <shop@four.example>", to="old-shop@in.example"),
    Sample("unverified", 1, "Ann <ann@one.example>", refused=True),
    Sample("not-in-the-bucket", 3, "Bob <bob@two.example>", stored=False),
    Sample("killed-before-the-end", 3, "Eve <eve@three.example>", lost=True),
    Sample("long-ago", 40, "Old <old@five.example>"),
]
# What SES tells of some messages only, and what it adds for the SNS action.
# https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
RARE = {
    "notificationType": "Received",
    "mail": {
        "commonHeaders": {
            "cc": ["Ann <ann@one.example>"],
            "bcc": ["Bob <bob@two.example>"],
            "sender": "desk@one.example",
            "replyTo": ["answers@one.example"],
        }
    },
    "receipt": {
        "dmarcPolicy": "none",
        "action": {"type": "SNS", "topicArn": "arn", "encoding": "BASE64"},
    },
    "content": "RnJvbTogYQ==",
}
# When the destination of the message "a" refused it.
BOUNCED = "2026-11-26T10:00:07Z"
BY_NAME = {sample.id.removesuffix("-0123456789"): sample for sample in SAMPLES}


def write_objects():
    """Invokes the functions with every sample and leaves what they wrote in BUCKETS."""
    with ExitStack() as started:
        services = Services()
        started.callback(services.stop)
        services.put("config/routes.toml", ROUTES)
        handle_email = Emulated(BINARIES / "handle-email", "HandleEmailFunction", services)
        started.callback(handle_email.stop)
        handle_dead_letter = Emulated(BINARIES / "handle-dead-letter", "HandleDeadLetterFunction", services)
        started.callback(handle_dead_letter.stop)
        for sample in SAMPLES:
            if sample.stored:
                services.put(f"messages/{sample.id}", sample.message)
            if sample.refused:
                services.verify(False)
            try:
                handle_email.invoke(sample.event())
            except InvocationError as error:
                assert sample.refused or not sample.stored, error
                handle_dead_letter.invoke(dead_letter(sample, str(error)))
            if sample.refused:
                services.verify()
            if sample.lost:
                services.s3.delete_object(Bucket=BUCKET, Key=f"outcome/{sample.day}/{sample.id}.json")
        bounced = BY_NAME["a"]
        handle_dead_letter.invoke(bounce(bounced, services.objects(f"outcome/{bounced.day}/{bounced.id}.json")))
        objects = services.objects("index/") | services.objects("outcome/")
    shutil.rmtree(BUCKETS, ignore_errors=True)
    for key, body in objects.items():
        path = BUCKETS / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def dead_letter(sample, error):
    """The batch that Lambda makes of a failed event."""
    attributes = {"RequestID": str(uuid4()), "ErrorCode": "200", "ErrorMessage": error}
    record = {
        "messageId": str(uuid4()),
        "receiptHandle": "handle",
        "body": json.dumps(sample.event()),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {
            name: {"dataType": "Number" if name == "ErrorCode" else "String", "stringValue": value}
            for name, value in attributes.items()
        },
        "eventSource": "aws:sqs",
    }
    return {"Records": [record]}


def bounce(sample, outcome):
    """The batch of what SES tells by EventBridge: its destination refused a message."""
    (record,) = map(json.loads, outcome.values())
    tags = {"forwarder-message": [sample.id], "forwarder-day": [sample.day.replace("/", "-")]}
    recipient = {"emailAddress": "info@out.example", "status": "5.1.1"}
    detail = {
        "eventType": "Bounce",
        "mail": {"messageId": record["sent"][0]["messageId"], "tags": tags},
        "bounce": {
            "bounceType": "Permanent",
            "bounceSubType": "General",
            "timestamp": BOUNCED,
            "bouncedRecipients": [recipient],
        },
    }
    body = json.dumps({"source": "aws.ses", "detail-type": "Email Bounced", "detail": detail})
    return {"Records": [{"messageId": str(uuid4()), "body": body, "eventSource": "aws:sqs"}]}


def queries():
    """The queries of docs/analytics.md by their headings."""
    text = (ROOT / "docs/analytics.md").read_text()
    sections = (section.split("\n", 1) for section in text.split("\n## ")[1:])
    return {
        title: found[1] for title, body in sections if (found := re.search(r"```sql\n(.*?)```", body, re.S))
    }


class Queries(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        write_objects()
        cls.database = connect(BUCKETS, BUCKET)
        cls.queries = queries()
        cls.answered = set()

    @classmethod
    def tearDownClass(cls):
        unasked = cls.queries.keys() - cls.answered
        assert not unasked, f"docs/analytics.md has queries that nothing here asks: {unasked}"

    def ask(self, title):
        self.answered.add(title)
        return run(self.database, self.queries[title], NOW)

    def test_recent_messages(self):
        ended = {
            "spam": ("dropped", "spam"),
            "spammer": ("dropped", "spam"),
            "virus": ("dropped", "virus"),
            "looping": ("dropped", "loop"),
            "discarded": ("dropped", "discarded"),
            "unverified": ("rejected", "MessageRejected"),
            "not-in-the-bucket": ("failed", "MessageNotFound"),
            "killed-before-the-end": ("unknown", None),
        }
        expected = [
            {
                "received": sample.timestamp,
                "sender": "bounces@mailer.example",
                "recipients": sample.to,
                "subject": sample.id,
                "status": ended.get(name, ("forwarded", None))[0],
                "reason": ended.get(name, ("forwarded", None))[1],
                "messageid": sample.id,
            }
            for name, sample in BY_NAME.items()
            if name != "long-ago"
        ]
        expected.sort(key=lambda row: row["received"], reverse=True)
        self.assertEqual(expected, self.ask("Recent messages"))

    def test_top_senders(self):
        self.assertEqual(
            [
                ("ann@one.example", 4),
                ("bob@two.example", 2),
                ("eve@three.example", 2),
                ("spam@two.example", 2),
                ("(none)", 1),
                ("loop@one.example", 1),
                ("shop@four.example", 1),
            ],
            [(row["sender"], row["messages"]) for row in self.ask("Top senders in the past month")],
        )

    def test_top_sender_domains(self):
        self.assertEqual(
            [
                ("one.example", 5),
                ("two.example", 4),
                ("three.example", 2),
                ("(none)", 1),
                ("four.example", 1),
            ],
            [(row["domain"], row["messages"]) for row in self.ask("Top sender domains in the past month")],
        )

    def test_top_destinations(self):
        size = {name: len(sample.message) for name, sample in BY_NAME.items()}
        to_info = ("a", "aa", "bbbb", "nobody")
        self.assertEqual(
            [
                ("info@out.example", 4, sum(size[name] for name in to_info)),
                ("ann@out.example", 1, size["aaa"]),
                ("bob@else.example", 1, size["aaa"]),
            ],
            [tuple(row.values()) for row in self.ask("Top destinations in the past month")],
        )

    def test_what_was_dropped_and_why(self):
        yesterday, before = BY_NAME["a"].day, BY_NAME["bbbb"].day
        self.assertEqual(
            [(yesterday, "spam", 2), (yesterday, "virus", 1), (before, "discarded", 1), (before, "loop", 1)],
            [tuple(row.values()) for row in self.ask("What was dropped and why, by day")],
        )

    def test_what_failed_and_why(self):
        rows = self.ask("What failed and why")
        self.assertEqual(
            [
                (BY_NAME[name].timestamp, status, code, "info@in.example", BY_NAME[name].id)
                for name, status, code in (
                    ("unverified", "rejected", "MessageRejected"),
                    ("not-in-the-bucket", "failed", "MessageNotFound"),
                )
            ],
            [
                (row["received"], row["status"], row["code"], row["recipients"], row["messageid"])
                for row in rows
            ],
        )
        for row in rows:
            self.assertTrue(row["message"])

    def test_what_bounced(self):
        expected = [(BOUNCED, "bounced", "info@out.example", "5.1.1", BY_NAME["a"].id)]
        self.assertEqual(expected, [tuple(row.values()) for row in self.ask("What bounced")])

    def test_messages_without_an_outcome(self):
        sample = BY_NAME["killed-before-the-end"]
        self.assertEqual(
            [
                {
                    "received": sample.timestamp,
                    "messageid": sample.id,
                    "sender": "bounces@mailer.example",
                    "recipients": sample.to,
                }
            ],
            self.ask("Messages without an outcome"),
        )

    def test_how_long_forwarding_takes(self):
        rows = self.ask("How long forwarding takes, by day")
        self.assertEqual(
            [(BY_NAME["a"].day, 2), (BY_NAME["bbbb"].day, 2), (BY_NAME["nobody"].day, 1)],
            [(row["day"], row["messages"]) for row in rows],
        )
        for row in rows:
            forwarded = sorted(
                record["forwardMillis"] / 1000
                for path in (BUCKETS / BUCKET / "outcome" / row["day"]).iterdir()
                if (record := json.loads(path.read_text()))["status"] == "forwarded"
            )
            # SES's timestamp lies days back; a negative, absent or unitless time would not.
            noon = datetime.strptime(row["day"], "%Y/%m/%d").replace(hour=12, tzinfo=UTC)
            self.assertAlmostEqual((NOW - noon).total_seconds(), forwarded[0], delta=1200)
            self.assertLessEqual(forwarded[0] - 0.1, row["median"])
            self.assertLessEqual(row["median"], row["percentile_95"])
            self.assertLessEqual(row["percentile_95"], forwarded[-1] + 0.1)


class Tables(unittest.TestCase):
    """Every field of every notification has a column that holds it."""

    def notifications(self):
        found = {
            f"{path.name} {number}": notification
            for path in sorted((ROOT / "events").glob("*.json"))
            for number, notification in enumerate(inside(json.loads(path.read_text())))
        }
        return found | {"rare": RARE} | {sample.id: sample.event()["Records"][0]["ses"] for sample in SAMPLES}

    def test_index_holds_every_notification(self):
        kinds = columns(glue_tables(BUCKET)["index"])
        for name, notification in self.notifications().items():
            with self.subTest(name):
                self.assertEqual([], misfits(notification, kinds))

    def test_index_has_nothing_that_no_notification_has(self):
        seen = {leaf for notification in self.notifications().values() for leaf in present(notification)}
        self.assertEqual(set(), leaves(columns(glue_tables(BUCKET)["index"])) - seen)

    def test_misfits_are_found(self):
        cases = {
            "struct<a:string>": ({"b": "x"}, [".b has no column"]),
            "struct<a:bigint>": ({"A": "1"}, [".a is '1', the column a bigint"]),
            "array<string>": ("x", [" is 'x', the column an array"]),
            "struct<a:struct<b:string>>": ({"a": ["x"]}, [".a is ['x'], the column a struct"]),
            "boolean": (1, [" is 1, the column a boolean"]),
        }
        for kind, (value, problems) in cases.items():
            with self.subTest(kind):
                self.assertEqual(problems, misfits(value, parse(kind)))
        self.assertIn("more than once", misfits({"a": "x", "A": "y"}, parse("struct<a:string>"))[0])

    def test_types_that_glue_would_refuse_are_found(self):
        for kind in (
            "struct<a:string",
            "struct<a:string>>",
            "array<strin>",
            "struct<a:string,a:string>",
            "int",
        ):
            with self.subTest(kind), self.assertRaises((ValueError, AttributeError)):
                parse(kind)


def inside(value):
    """SES notifications, however deeply wrapped."""
    if isinstance(value, dict):
        if isinstance(value.get("mail"), dict) and isinstance(value.get("receipt"), dict):
            return [value]
        return [found for item in value.values() for found in inside(item)]
    if isinstance(value, list):
        return [found for item in value for found in inside(item)]
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return inside(json.loads(value))
        except ValueError:
            return []
    return []


if __name__ == "__main__":
    unittest.main()
