"""Every event in events/ through the functions that `sam build` made, answer and side effects checked.

    .ci/sam

With --base-image FILE the functions run by `sam local invoke` in containers made from it, else under
the emulator alone; with --built FOLDER those that are there, and the template that they are built for.
"""

import argparse
import json
import subprocess
import sys
import unittest
from ipaddress import ip_network
from pathlib import Path

from evaluated import load
from functions import FUNCTIONS, PROCESSOR, Emulated, InvocationError, SamLocal, Services, processor_of
from given import REQUIRED, ROOT

EVENTS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "events").glob("*.json"))}
SAMPLE = (ROOT / "events/sample-message.eml").read_bytes()
NOTIFICATION = EVENTS["ses-event.json"]["Records"][0]["ses"]
ID = NOTIFICATION["mail"]["messageId"]
DAY = NOTIFICATION["mail"]["timestamp"][:10].replace("-", "/")
IMAGE = f"public.ecr.aws/lambda/provided:al2023-{PROCESSOR}"


class Events(unittest.TestCase):
    base_image = None
    built = ROOT / ".aws-sam/build"

    @classmethod
    def setUpClass(cls):
        if cls.base_image:
            # Containers reach this machine at the first address of their network.
            (network,) = json.loads(docker("network", "inspect", "bridge"))
            cls.services = cls.started(Services(str(ip_network(network["IPAM"]["Config"][0]["Subnet"])[1])))
            # SAM keeps what it built on an earlier image, with that one's endpoint.
            earlier = docker("images", "--quiet", IMAGE.partition(":")[0]).split()
            if earlier:
                docker("rmi", "--force", *earlier)
            docker(
                "import", "--change", f"ENV AWS_ENDPOINT_URL={cls.services.endpoint}", cls.base_image, IMAGE
            )
            cls.functions = {logical: SamLocal(logical, cls.services) for logical in FUNCTIONS}
        else:
            cls.services = cls.started(Services())
            cls.functions = {
                logical: cls.started(Emulated(cls.built / logical / "bootstrap", logical, cls.services))
                for logical in FUNCTIONS
            }

    @classmethod
    def started(cls, what):
        """It is stopped at the end, also if what comes next does not start."""
        cls.addClassCleanup(what.stop)
        return what

    def setUp(self):
        self.services.reset()

    def handle_email(self, event):
        self.services.put(f"messages/{ID}", SAMPLE)
        return self.functions["HandleEmailFunction"].invoke(EVENTS[event])

    def handle_dead_letter(self, event):
        return self.functions["HandleDeadLetterFunction"].invoke(EVENTS[event])

    def record(self, folder, message_id=ID):
        text = self.services.objects(f"{folder}/")[f"{folder}/{DAY}/{message_id}.json"].decode()
        self.assertNotIn("\n", text.rstrip("\n"))
        return json.loads(text)

    def test_what_is_built_is_for_the_processor_that_is_deployed(self):
        built = load(self.built / "template.yaml")
        (architecture,) = built["Globals"]["Function"]["Architectures"]
        for logical in FUNCTIONS:
            self.assertEqual(architecture, processor_of(self.built / logical / "bootstrap"), logical)

    def test_each_event_is_tried(self):
        tried = {name for name in EVENTS if f'"{name}"' in Path(__file__).read_text()}
        self.assertEqual(EVENTS.keys(), tried)

    def test_ses_event(self):
        self.check_forwarded("ses-event.json", NOTIFICATION)

    def test_sns_ses_event(self):
        notification = json.loads(EVENTS["sns-ses-event.json"]["Records"][0]["Sns"]["Message"])
        self.check_forwarded("sns-ses-event.json", notification)

    def check_forwarded(self, event, notification):
        forwarded = {"disposition": "CONTINUE", "outcomes": ["forwarded"]}
        self.assertEqual(forwarded, self.handle_email(event))
        self.assertEqual(notification, self.record("index"))
        outcome = self.record("outcome")
        self.assertEqual(
            ("forwarded", ["info@in.example"], ["info@out.example"], len(SAMPLE)),
            (outcome["status"], outcome["recipients"], outcome["destinations"], outcome["bytes"]),
        )
        ((sent_id, destinations, message),) = self.services.sent()
        self.assertEqual([sent_id], [sent["messageId"] for sent in outcome["sent"]])
        self.assertEqual("info@out.example", destinations[0])
        header, body = message.encode().split(b"\r\n\r\n", 1)
        self.assertEqual(SAMPLE.replace(b"\r\n", b"\n").split(b"\n\n", 1)[1], body.replace(b"\r\n", b"\n"))
        self.assertIn(b"From: Jane Doe <jane_example.com@in.example>\r\n", header)
        self.assertIn(b"X-Original-To: info@in.example\r\n", header)
        self.assertIn(b"Reply-To: Jane Doe <jane@example.com>\r\n", header)

        self.assertEqual(forwarded, self.handle_email(event))
        self.assertEqual(1, len(self.services.sent()), "what is forwarded is not sent again")

    def test_message_that_is_not_there(self):
        with self.assertRaisesRegex(InvocationError, f"MessageNotFound: .*{ID}"):
            self.functions["HandleEmailFunction"].invoke(EVENTS["ses-event.json"])
        self.assertEqual([], self.services.sent())
        self.assertEqual(NOTIFICATION, self.record("index"))

    def test_message_that_ses_refuses(self):
        self.services.verify(False)
        with self.assertRaisesRegex(InvocationError, f"MessageRejected: .*{ID}"):
            self.handle_email("ses-event.json")
        self.assertEqual(
            ("rejected", "MessageRejected"),
            (self.record("outcome")["status"], self.record("outcome")["reason"]),
        )
        self.assertIn(f"error/{DAY}/{ID}.eml", self.services.objects("error/"))

    def test_dead_letter_event(self):
        self.check_notice("dead-letter-event.json", ID)
        self.handle_dead_letter("dead-letter-event.json")
        self.assertEqual(
            1, len(self.services.published()), "a redelivered dead letter makes no second notice"
        )

    def test_dead_letter_destination_event(self):
        record = json.loads(EVENTS["dead-letter-destination-event.json"]["Records"][0]["body"])
        message_id = record["requestPayload"]["Records"][0]["ses"]["mail"]["messageId"]
        self.check_notice("dead-letter-destination-event.json", message_id)

    def test_dead_letter_batch_event(self):
        self.assertEqual(3, len(EVENTS["dead-letter-batch-event.json"]["Records"]))
        text = self.check_notice("dead-letter-batch-event.json", ID)
        self.assertEqual(2, text.count("A failed event that can't be read"))

    def check_notice(self, event, message_id):
        self.assertEqual({"batchItemFailures": []}, self.handle_dead_letter(event))
        self.assertEqual("failed", self.record("outcome", message_id)["status"])
        ((subject, text),) = self.services.published()
        self.assertRegex(subject, r"^\[\S+\] 1 message could not be forwarded")
        self.assertIn(f"s3://mail/messages/{message_id}", text)
        ((_, destinations, notice),) = self.services.sent()
        self.assertEqual(REQUIRED["NoticeAddress"], destinations[0])
        self.assertIn("Auto-Submitted: auto-generated", notice)
        self.assertNotIn("noon", notice, "a notice holds nothing of the body")
        return text

    def test_message_forwarded_meanwhile(self):
        self.handle_email("ses-event.json")
        self.assertEqual({"batchItemFailures": []}, self.handle_dead_letter("dead-letter-event.json"))
        self.assertEqual([], self.services.published())
        self.assertEqual("forwarded", self.record("outcome")["status"])


def docker(*arguments):
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--base-image")
    arguments.add_argument("--built", type=Path, default=Events.built)
    known, rest = arguments.parse_known_args()
    Events.base_image, Events.built = known.base_image, known.built
    unittest.main(argv=[sys.argv[0], *rest])
