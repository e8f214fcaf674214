"""Conversations through an alias that can be answered, read as both sides' mail programs do.

    .ci/conversation          with Dovecot and the packages that it needs

Mail comes in by SMTP and is read from the Maildir of the local stack. Each side also files what it has sent, as
mail programs do, so a thread is whole only if the ids of both sides are told.

Mail programs file by ids, by the subject, or by both:

- Apple Mail and Thunderbird by References and In-Reply-To: Dovecot's REFS, which looks at no subject.
- Gmail by References, and only if the subject agrees: REFS and ORDEREDSUBJECT, each by itself.
- Outlook by Thread-Index and Thread-Topic, which Outlook writes, else by what is answered and the subject.
- By the standard: REFERENCES, ids first and then the subject (RFC 5256).
"""

import base64
import os
import re
import subprocess
import tempfile
import unittest
from email import message_from_string, policy
from email.utils import make_msgid
from pathlib import Path

from others import LocalStack, wait_for

JANE = "jane@example.com"
OWNER = "info@out.example"
ALIAS = "info@in.example"
SUBJECT = "Opening hours"
PREFIX = "[in.example]"
ROUNDS = 5
# Header lines as they were written.
UNTOUCHED = policy.default.clone(refold_source="none")
# A user that may read mail: Dovecot does not run as root.
READER = os.getuid() or 65534


class Side:
    """Somebody who writes and reads: a mail program with its folder of all mail."""

    def __init__(self, address, domain, come, outlook=False):
        self.address = address
        self.domain = domain
        # Whether it writes Outlook's own fields.
        self.outlook = outlook
        self.all = []
        # How many messages have come for it.
        self.come = come

    def file(self, mail):
        self.all.append(mail)
        return mail

    def write(self, to, text):
        return self.file(self.letter(to, SUBJECT, text, self.thread_index(b"\1" + os.urandom(21))))

    def answer(self, received, text):
        """As RFC 5322 section 3.6.4 says."""
        subject = str(received["Subject"])
        subject = subject if subject.lower().startswith("re:") else f"Re: {subject}"
        known = [*ids(received, "References"), *ids(received, "Message-ID")]
        thread = f"In-Reply-To: {received['Message-ID'].strip()}\nReferences: {chr(10).join(f' {one}' for one in known)}\n"
        if received["Thread-Index"]:
            thread += self.thread_index(base64.b64decode(received["Thread-Index"]) + os.urandom(5))
        return self.file(self.letter(str(received["Reply-To"] or received["From"]), subject, text, thread))

    def thread_index(self, index):
        """22 octets for a conversation, and 5 more for each answer (MS-OXOMSG section 2.2.1.3)."""
        if not self.outlook:
            return ""
        return f"Thread-Topic: {SUBJECT}\nThread-Index: {base64.b64encode(index).decode()}\n"

    def letter(self, to, subject, text, thread=""):
        """By hand: Python's own writer makes encoded-words of ids that are longer than a line."""
        own = make_msgid(domain=self.domain)
        header = f"From: {self.address}\nTo: {to}\nSubject: {subject}\nMessage-ID: {own}\n{thread}"
        return message_from_string(f"{header}MIME-Version: 1.0\n\n{text}\n", policy=UNTOUCHED)


def ids(mail, name):
    """Each once, in order."""
    return list(dict.fromkeys(re.findall(r"<[^>]+>", mail[name] or "")))


def threads_of_dovecot(mails):
    """How many threads each algorithm makes of them."""
    algorithms = ("REFERENCES", "REFS", "ORDEREDSUBJECT")
    with tempfile.TemporaryDirectory() as folder:
        maildir = Path(folder, "mail")
        for name in ("cur", "new", "tmp", "base"):
            (maildir / name).mkdir(parents=True)
        for number, mail in enumerate(mails):
            (maildir / "new" / f"{number}.mail").write_bytes(mail.as_bytes(policy=UNTOUCHED))
        configuration = Path(folder, "dovecot.conf")
        configuration.write_text(
            f"{location(maildir)}mail_uid = {READER}\nmail_gid = {READER}\nfirst_valid_uid = 0\n"
            f"first_valid_gid = 0\nssl = no\nlog_path = /dev/stderr\nbase_dir = {maildir}/base\n"
            f"state_dir = {maildir}/base\n"
        )
        os.chmod(folder, 0o755)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{READER}:{READER}", folder], check=True)
        commands = [f"b THREAD {algorithm} UTF-8 ALL\r\n" for algorithm in algorithms]
        said = subprocess.run(
            ["doveadm", "-c", str(configuration), "exec", "imap"],
            input="".join(["a SELECT INBOX\r\n", *commands, "c LOGOUT\r\n"]),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "HOME": folder, "USER": "reader"},
        )
    found = re.findall(r"^\* THREAD (.*)$", said.stdout, re.MULTILINE)
    assert len(found) == len(algorithms), said.stdout + said.stderr
    return dict(zip(algorithms, map(outermost, found), strict=True))


def location(maildir):
    """Settings of where the mail is, by the version of Dovecot: Debian 13 has 2.4, which reads none of 2.3's.

    https://doc.dovecot.org/2.4.0/installation/upgrade/2.3-to-2.4.html
    """
    # "2.3.19.1 (9b53102964)". Debian's users have no /usr/sbin in their path.
    version = subprocess.run(["/usr/sbin/dovecot", "--version"], check=True, capture_output=True, text=True).stdout
    if tuple(map(int, version.split(".")[:2])) < (2, 4):
        return f"mail_location = maildir:{maildir}\n"
    return (
        # The first setting.
        "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
        f"mail_driver = maildir\nmail_path = {maildir}\nnamespace inbox {{\n  inbox = yes\n}}\n"
    )


def outermost(threads):
    depth = count = 0
    for character in threads:
        count += character == "(" and depth == 0
        depth += {"(": 1, ")": -1}.get(character, 0)
    return count


def conversations_of_outlook(mails):
    """How many there are by Thread-Index and Thread-Topic; mail that lacks one is a conversation of its own."""
    return len(
        {(base64.b64decode(mail["Thread-Index"])[:22], mail["Thread-Topic"]) for mail in mails if mail["Thread-Index"]}
    ) + sum(not mail["Thread-Index"] for mail in mails)


class Conversations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = LocalStack(Replies="on", SubjectPrefix=PREFIX)
        cls.addClassCleanup(cls.stack.stop)

    def send(self, side, mail, to):
        with self.stack.smtp() as smtp:
            smtp.sendmail(side.address, [to], mail.as_bytes(policy=UNTOUCHED.clone(linesep="\r\n")))

    def received(self, side):
        """The next message that comes for a side, which files it."""

        def next_one():
            return self.stack.mailbox(side.address)[side.come :]

        mail = wait_for(f"mail for {side.address}", next_one)[0]
        side.come += 1
        return side.file(mail)

    def answer(self, side, to_what, text):
        mail = side.answer(to_what, text)
        self.send(side, mail, mail["To"].addresses[0].addr_spec)

    def converse(self, owner_begins, domain_of_jane, domain_of_owner, outlook=False):
        jane = Side(JANE, domain_of_jane, len(self.stack.mailbox(JANE)), outlook)
        owner = Side(OWNER, domain_of_owner, len(self.stack.mailbox(OWNER)), outlook)
        self.send(jane, jane.write(ALIAS, "Hello"), ALIAS)
        newest = self.received(owner)
        if owner_begins:
            # Her address is known from earlier mail.
            to = newest["From"].addresses[0].addr_spec
            jane.all.clear()
            owner.all.clear()
            self.send(owner, owner.write(to, "Good morning"), to)
        else:
            self.answer(owner, newest, "Hello Jane")
        newest = self.received(jane)
        for number in range(ROUNDS - 1):
            self.answer(jane, newest, f"Question {number}")
            self.answer(owner, self.received(owner), f"Answer {number}")
            newest = self.received(jane)
            self.assertEqual(newest["From"].addresses[0].addr_spec, ALIAS)
            self.assertNotIn("out.example", str(newest))
        for side in (jane, owner):
            self.assertGreaterEqual(len(side.all), 2 * ROUNDS - 1)
            threads = threads_of_dovecot(side.all)
            self.assertEqual(set(threads.values()), {1}, f"{side.address}: {threads}")
            if outlook:
                self.assertEqual(conversations_of_outlook(side.all), 1, side.address)
            # Of a conversation that is deleted but for its newest, either field alone leads to the one before.
            known = set()
            for mail in side.all:
                if known:
                    self.assertTrue(known & {*ids(mail, "References")}, f"{side.address}: {mail.items()}")
                    self.assertTrue(known & {*ids(mail, "In-Reply-To")}, f"{side.address}: {mail.items()}")
                known |= {*ids(mail, "Message-ID")}
        self.assertFalse([mail["Subject"] for mail in jane.all if PREFIX in mail["Subject"]])

    def test_five_rounds(self):
        self.converse(False, "mail.example.com", "laptop.out.example")

    def test_five_rounds_of_two_customers_of_one_provider(self):
        self.converse(False, "mail.provider.example", "mail.provider.example")

    def test_five_rounds_of_outlook(self):
        self.converse(False, "mail.example.com", "laptop.out.example", outlook=True)

    def test_five_rounds_of_outlook_that_the_owner_begins(self):
        self.converse(True, "mail.example.com", "laptop.out.example", outlook=True)

    def test_five_rounds_that_the_owner_begins(self):
        self.converse(True, "mail.example.com", "laptop.out.example")


if __name__ == "__main__":
    unittest.main()
