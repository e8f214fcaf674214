"""The two functions as binaries, run the way SAM runs them, against moto's S3, SES, SQS and SNS.

Emulated runs a bootstrap under the runtime interface emulator that the SAM CLI ships; SamLocal runs
`sam local invoke`, in a container. Both give a function the environment that template.yaml has.
"""

import contextlib
import json
import logging
import os
import platform
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import samcli
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends
from moto.sns.models import sns_backends

from evaluated import render
from given import REGION, REQUIRED, ROOT

BUCKET = "mail"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "EXAMPLE", "AWS_SECRET_ACCESS_KEY": "EXAMPLE", "AWS_REGION": REGION}
PROCESSOR = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
FUNCTIONS = {"HandleEmailFunction": "handle-email", "HandleDeadLetterFunction": "handle-dead-letter"}

# e_machine of ELF: EM_X86_64 and EM_AARCH64.
MACHINES = {62: "x86_64", 183: "arm64"}

# Longer than any start takes, on however busy a machine.
START_SECONDS = 120

# A port is taken some time after it was found free, so it is none of those that Linux gives to who asks for any.
PORTS = iter(random.sample(range(10_000, 32_768), 1_000))

# The server writes a line for each request.
logging.getLogger("werkzeug").setLevel(logging.ERROR)


class Services:
    """AWS, for one run: an empty bucket, the verified domain, a topic."""

    def __init__(self, host="127.0.0.1"):
        self.server = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
        self.server.start()
        self.endpoint = "http://{}:{}".format(*self.server.get_host_and_port())
        self.s3, self.ses, self.sns = map(self.client, ("s3", "sesv2", "sns"))
        self.topic = f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:operators"
        self.parameters = REQUIRED | {"ExistingBucket": BUCKET, "NoticeTopicArn": self.topic}
        self.reset()

    def reset(self):
        """As at the start."""
        urllib.request.urlopen(
            urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        ).close()
        self.sns.create_topic(Name="operators")
        self.verify()
        self.s3.create_bucket(Bucket=BUCKET)

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="EXAMPLE",
            aws_secret_access_key="EXAMPLE",
        )

    def verify(self, verified=True):
        """Whether SES may send for the domain; a refusal is permanent, as SES says MessageRejected."""
        change = self.ses.create_email_identity if verified else self.ses.delete_email_identity
        change(EmailIdentity=REQUIRED["EmailDomain"])

    def put(self, key, body):
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def objects(self, prefix=""):
        """Each object's key and bytes."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    def sent(self):
        """What SES accepted, oldest first: (id, destinations, message)."""
        return [
            (message.id, message.destinations, message.raw_data)
            for message in ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
        ]

    def published(self):
        """What the topic took, oldest first: (subject, text)."""
        topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[self.topic]
        return [(subject, text) for _, text, subject, *_ in topic.sent_notifications]

    def stop(self):
        self.server.stop()


class InvocationError(Exception):
    """What a function answered instead of a result: errorType and errorMessage."""


def result(text):
    answer = json.loads(text)
    if isinstance(answer, dict) and "errorType" in answer:
        raise InvocationError(f"{answer['errorType']}: {answer.get('errorMessage')}")
    return answer


def processor_of(bootstrap):
    """What a program is built for, as Lambda calls it."""
    head = bootstrap.read_bytes()[:20]
    assert head[:4] == b"\x7fELF", bootstrap
    return MACHINES[int.from_bytes(head[18:20], "little")]


class Emulated:
    """A bootstrap under the emulator; one for another processor than this machine's by qemu."""

    def __init__(self, bootstrap, logical_id, services):
        template = render(services.parameters)
        body = template["Resources"][logical_id]["Properties"]
        variables = (
            template["Globals"]["Function"]["Environment"]["Variables"] | body["Environment"]["Variables"]
        )
        command = [bootstrap]
        if processor_of(bootstrap) == "arm64" != PROCESSOR:
            command = ["/usr/bin/qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu", bootstrap]
        port, runtime_port = free_port(), free_port()
        emulator = Path(samcli.__file__).parent / f"local/rapid/aws-lambda-rie-{PROCESSOR}"
        self.url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        self.log = ROOT / f"target/ci/{FUNCTIONS[logical_id]}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    emulator,
                    "--runtime-interface-emulator-address",
                    f"127.0.0.1:{port}",
                    "--runtime-api-address",
                    f"127.0.0.1:{runtime_port}",
                    "--log-level",
                    "error",
                    *command,
                ],
                # A parameter that is a number becomes a text here, as in CloudFormation.
                env=CREDENTIALS
                | {name: str(value) for name, value in variables.items()}
                | {
                    "AWS_ENDPOINT_URL": services.endpoint,
                    "AWS_LAMBDA_FUNCTION_NAME": logical_id,
                    "AWS_LAMBDA_FUNCTION_TIMEOUT": str(body["Timeout"]),
                    "AWS_LAMBDA_LOG_FORMAT": "JSON",
                },
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(port, self.process)
        except BaseException:
            self.stop()
            raise

    def invoke(self, event):
        request = urllib.request.Request(
            self.url, json.dumps(event).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            return result(response.read())

    def stop(self):
        self.process.terminate()
        self.process.wait()


class SamLocal:
    """`sam local invoke` of what `sam build` left. The image says where the services are."""

    def __init__(self, logical_id, services):
        self.logical_id = logical_id
        self.parameters = services.parameters

    def invoke(self, event):
        folder = ROOT / "target/ci"
        path = folder / "event.json"
        path.write_text(json.dumps(event))
        overrides = [f"{name}={value}" for name, value in self.parameters.items()]
        run = subprocess.run(
            [
                Path(sys.executable).with_name("sam"),
                "local",
                "invoke",
                self.logical_id,
                "--event",
                path,
                "--skip-pull-image",
                "--docker-network",
                "host",
                "--parameter-overrides",
                *overrides,
            ],
            cwd=ROOT,
            env=os.environ | CREDENTIALS | {"AWS_DEFAULT_REGION": REGION, "SAM_CLI_TELEMETRY": "0"},
            capture_output=True,
            text=True,
        )
        with (folder / "sam-local-invoke.log").open("a") as log:
            log.write(run.stderr)
        if not run.stdout.strip():
            raise AssertionError(f"sam local invoke {self.logical_id} answered nothing:\n{run.stderr}")
        return result(run.stdout)

    def stop(self):
        pass


def free_port():
    """One that nobody has, each once."""
    for port in PORTS:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_for(port, process):
    """Until a process listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"what was to listen on port {port} ended: {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port} after {START_SECONDS} seconds")
