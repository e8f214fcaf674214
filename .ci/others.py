"""The local stack with others' clients.

    .ci/others                everything
    python .ci/others.py -k boto3    some of it; cargo, aws and the packages of requirements-others.txt at hand
"""

import json
import logging
import os
import smtplib
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from email import message_from_bytes, policy
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from given import ACCOUNT, REGION, REQUIRED, ROOT, cargo_local

# Moto's server tells of every request.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
# As `cargo local` prints them.
OPERATOR = {"aws_access_key_id": "AKIALOCALOPERATOR000", "aws_secret_access_key": "local-operator-secret"}
MAIL = (ROOT / "events/sample-message.eml").read_bytes()
OUTGOING = b"From: Info <info@in.example>\r\nTo: ann@out.example\r\nSubject: Hi\r\n\r\nHello\r\n"
# What takes longer has failed.
PATIENCE = 120


def wait_for(what, condition):
    """The first result of `condition` that is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


def environment(url, key):
    """Variables for a child: its way to AWS is `url`, and nothing of the user's own AWS is in reach."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": key["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": key["aws_secret_access_key"],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(service, url, key):
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, config=Config(retries={"total_max_attempts": 1}), **key
    )


class LocalStack:
    """`cargo local` on free ports."""

    def __init__(self, **parameters):
        self.data = tempfile.TemporaryDirectory()
        command = [cargo_local(), "--development", "--fast", "--smtp-port=0", "--page-port=0", "--data", self.data.name]
        for name, value in (REQUIRED | parameters).items():
            command += ["--parameter", f"{name}={value}"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.addresses = {}
        for line in self.process.stdout:
            if line.startswith("Ctrl-C stops"):
                break
            words = line.split()
            if len(words) >= 2 and words[0] in ("page", "SMTP", "AWS", "data"):
                self.addresses.setdefault(words[0], words[1])
            if words[-3:-1] == ["ls", "--recursive"]:
                self.bucket = words[-1].removeprefix("s3://")
        else:
            raise AssertionError("cargo local ended before it was ready")
        # Read on, so that it never waits for us.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.url = self.addresses["AWS"]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
        self.data.cleanup()

    def smtp(self):
        host, port = self.addresses["SMTP"].rsplit(":", 1)
        return smtplib.SMTP(host, int(port), timeout=PATIENCE)

    def mailbox(self, address):
        """Messages that were delivered to an address."""
        files = sorted(Path(self.data.name, "maildir", address, "new").glob("*"))
        return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


class OthersClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = LocalStack()
        cls.addClassCleanup(cls.stack.stop)

    def client(self, service):
        connected = client(service, self.stack.url, OPERATOR)
        self.addCleanup(connected.close)
        return connected

    def aws(self, *arguments):
        # Named as an argument too: the CLI's sqs does not look at AWS_ENDPOINT_URL.
        command = ["aws", *arguments, "--endpoint-url", self.stack.url, "--output", "json"]
        done = subprocess.run(
            command, env=environment(self.stack.url, OPERATOR), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refusal(self, call, **arguments):
        with self.assertRaises(ClientError) as raised:
            call(**arguments)
        response = raised.exception.response
        status, error = response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]
        return status, error["Code"], error.get("Message")

    def test_smtplib_delivers(self):
        with self.stack.smtp() as smtp:
            smtp.ehlo()
            self.assertTrue(smtp.has_extn("starttls"))
            context = ssl.create_default_context()
            # Its certificate is made at start.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            smtp.starttls(context=context)
            refused = smtp.sendmail("jane@example.com", ["info@in.example", "info@else.example"], MAIL)
        self.assertEqual([code for code, _ in refused.values()], [550])
        self.assertEqual(list(refused), ["info@else.example"])
        [mail] = wait_for("forwarded mail", lambda: self.stack.mailbox("info@out.example"))
        self.assertEqual(mail["From"].addresses[0].addr_spec, "jane_example.com@in.example")
        self.assertEqual(mail["Subject"], message_from_bytes(MAIL, policy=policy.default)["Subject"])
        original, forwarded = MAIL.replace(b"\r\n", b"\n"), mail.get_payload(decode=True)
        self.assertTrue(original.endswith(forwarded.replace(b"\r\n", b"\n")))

    def test_smtplib_sends_all_sizes(self):
        with self.stack.smtp() as smtp:
            smtp.ehlo()
            self.assertEqual(int(smtp.esmtp_features["size"]), 40 << 20)
            mail = b"From: jane@example.com\r\nSubject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * (20 << 20 >> 6)
            smtp.sendmail("jane@example.com", ["big@in.example"], mail)
            too_big = b"Subject: too big\r\n\r\n" + b"x\r\n" * (16 << 20)
            with self.assertRaises(smtplib.SMTPSenderRefused) as raised:
                smtp.sendmail("jane@example.com", ["big@in.example"], too_big)
            self.assertEqual(raised.exception.smtp_code, 552)
        [delivered] = wait_for("forwarded mail", lambda: self.stack.mailbox("big@out.example"))
        self.assertEqual(delivered["Subject"], "big")

    def test_boto3_s3(self):
        s3, bucket = self.client("s3"), self.stack.bucket
        body = bytes(range(256)) * 1024
        put = s3.put_object(Bucket=bucket, Key="others/ä b", Body=body, ContentType="a/b", Metadata={"m": "n"})
        got = s3.get_object(Bucket=bucket, Key="others/ä b", ChecksumMode="ENABLED")
        self.assertEqual(got["Body"].read(), body)
        self.assertEqual((got["ETag"], got["ContentType"], got["Metadata"]), (put["ETag"], "a/b", {"m": "n"}))
        self.assertEqual(got["ChecksumCRC32"], put["ChecksumCRC32"])
        part = s3.get_object(Bucket=bucket, Key="others/ä b", Range="bytes=1-3")["Body"].read()
        self.assertEqual(part, body[1:4])
        absent = self.refusal(s3.get_object, Bucket=bucket, Key="others/absent")
        self.assertEqual(absent, (404, "NoSuchKey", "The specified key does not exist."))
        exists = self.refusal(s3.put_object, Bucket=bucket, Key="others/ä b", IfNoneMatch="*")
        self.assertEqual(exists[:2], (412, "PreconditionFailed"))
        unchanged = self.refusal(s3.get_object, Bucket=bucket, Key="others/ä b", IfNoneMatch=put["ETag"])
        self.assertEqual(unchanged[0], 304)
        for number in range(3):
            s3.put_object(Bucket=bucket, Key=f"others/pages/{number}")
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix="others/pages/", PaginationConfig={"PageSize": 2}
        )
        keys = [[entry["Key"] for entry in page["Contents"]] for page in pages]
        self.assertEqual(keys, [["others/pages/0", "others/pages/1"], ["others/pages/2"]])
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "others/pages/0"})
        with urllib.request.urlopen(url) as response:
            self.assertEqual(response.status, 200)
        wrong = client("s3", self.stack.url, OPERATOR | {"aws_secret_access_key": "wrong"})
        self.addCleanup(wrong.close)
        self.assertEqual(self.refusal(wrong.list_objects_v2, Bucket=bucket)[:2], (403, "SignatureDoesNotMatch"))

    def test_boto3_ses(self):
        ses = self.client("sesv2")
        send = {
            "FromEmailAddress": "info@in.example",
            "Destination": {"ToAddresses": ["boto@out.example"]},
            "Content": {"Raw": {"Data": OUTGOING}},
        }
        message_id = ses.send_email(**send)["MessageId"]
        [mail] = self.stack.mailbox("boto@out.example")
        self.assertEqual(mail["Message-ID"], f"<{message_id}@email.amazonses.com>")
        self.assertEqual(Path(self.stack.data.name, "sent", f"{message_id}.eml").read_bytes(), OUTGOING)
        twice = {"Raw": {"Data": b"Subject: a\r\n" + OUTGOING}}
        self.assertEqual(
            self.refusal(ses.send_email, **send | {"Content": twice}),
            (400, "BadRequestException", "Duplicate header 'Subject'."),
        )
        unverified = self.refusal(ses.send_email, **send | {"FromEmailAddress": "info@else.example"})
        self.assertEqual(
            unverified,
            (
                400,
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in region US-EAST-1: "
                "info@else.example",
            ),
        )
        self.assertTrue(ses.get_account()["SendingEnabled"])
        self.assertTrue(ses.get_email_identity(EmailIdentity="in.example")["VerifiedForSendingStatus"])

    def test_boto3_sns_and_sts(self):
        sns = self.client("sns")
        [topic] = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
        self.assertIn("MessageId", sns.publish(TopicArn=topic, Subject="A notice", Message="text & <more>"))
        self.assertEqual(self.refusal(sns.publish, TopicArn=f"{topic}x", Message="m")[:2], (404, "NotFound"))
        self.assertEqual(self.client("sts").get_caller_identity()["Account"], ACCOUNT)

    def test_boto3_sqs_agrees_with_moto(self):
        attributes = {
            "RequestID": {"DataType": "String", "StringValue": "r"},
            "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        }
        moto = ThreadedMotoServer(port=0, verbose=False)
        moto.start()
        self.addCleanup(moto.stop)
        host, port = moto.get_host_and_port()
        theirs = client("sqs", f"http://{host}:{port}", OPERATOR)
        self.addCleanup(theirs.close)
        ours = self.client("sqs")
        answers = []
        for sqs, url in (
            (ours, ours.list_queues()["QueueUrls"][0]),
            (theirs, theirs.create_queue(QueueName="q")["QueueUrl"]),
        ):
            # Delayed, as the stack's own poller would take it otherwise.
            sent = sqs.send_message(QueueUrl=url, MessageBody="bödy", MessageAttributes=attributes, DelaySeconds=900)
            depth = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "VisibilityTimeout"])
            answers.append((sent["MD5OfMessageBody"], sent["MD5OfMessageAttributes"], sorted(depth["Attributes"])))
            sqs.purge_queue(QueueUrl=url)
        self.assertEqual(*answers)

    def test_aws_cli(self):
        bucket = self.stack.bucket
        with tempfile.TemporaryDirectory() as folder:
            up, down = Path(folder, "up"), Path(folder, "down")
            # Large enough for the CLI to send it in parts.
            up.write_bytes(os.urandom(20 << 20))
            self.aws("s3", "cp", "--quiet", str(up), f"s3://{bucket}/others/cli")
            self.aws("s3", "cp", "--quiet", f"s3://{bucket}/others/cli", str(down))
            self.assertEqual(up.read_bytes(), down.read_bytes())
        self.assertIn("others/cli", self.aws("s3", "ls", "--recursive", f"s3://{bucket}/others/"))
        self.aws("s3", "rm", "--quiet", f"s3://{bucket}/others/cli")
        self.assertTrue(json.loads(self.aws("sesv2", "get-account"))["ProductionAccessEnabled"])
        self.assertIn("QueueUrls", json.loads(self.aws("sqs", "list-queues")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
