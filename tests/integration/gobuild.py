# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the Go programs of tests, where there is a Go; they need nothing but its own library."""
import os
import re
import shutil
import subprocess

import lab

GO = shutil.which("go") or "/usr/local/go/bin/go"


def is_there():
    return os.path.exists(GO)


def build(source, program):
    """The folder `source` becomes `program` (a pathlib.Path), with Go's cache beside it."""
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [GO, "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "."], cwd=source,
        env=dict(lab.environment(), CGO_ENABLED="0", GOTOOLCHAIN="local", GOFLAGS="-mod=mod",
                 GOPROXY="off", GOCACHE=str(program.parent / "cache"),
                 HOME=str(program.parent)),  # it keeps notes there
        capture_output=True, text=True, timeout=280)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return program


def series(home):
    """Of the toolchain: "1.21"."""
    version = subprocess.run([GO, "env", "GOVERSION"], capture_output=True, text=True,
                             env=dict(os.environ, HOME=str(home)), check=True).stdout
    return re.match(r"go(\d+\.\d+)", version)[1]
