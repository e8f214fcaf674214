"""What the scripts beside this one give `cargo local`, and where that is. No package beyond Python's own."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
ACCOUNT = "123456789012"

# Enough to deploy: what has no default.
REQUIRED = {
    "EmailDomain": "in.example",
    "DestinationDomain": "out.example",
    "NoticeAddress": "operator@out.example",
}


@cache
def cargo_local():
    """Where `cargo local` is, built."""
    return subprocess.run([".ci/local"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
