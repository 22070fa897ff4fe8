# SPDX-License-Identifier: GPL-2.0-or-later
"""What the filter makes of a client's bytes, against what Go makes of them (main.go).

    differential.py replay DRIVER         the corpus has to come out as it was recorded; no Go needed
    differential.py go DRIVER SECONDS     the corpus with Go, then what grows from it, always the same
    differential.py fuzz DRIVER SECONDS   as well, each time another
    differential.py record DRIVER SECONDS as well, and what behaves otherwise goes into the corpus

Both of Go's muxes have their turn: a module of go.mod's version has the older one unless told.
"""
import json
import pathlib
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
import gobuild  # noqa: E402
import lab  # noqa: E402

CORPUS = HERE / "corpus.jsonl"
SIGNATURES = HERE.parent.parent / "conf" / "signatures.yaml"
FAULTS = ("none opaque too_long line_break request_line method target version field host length "
          "coding chunk expect path").split()
SKIPPED = 77
MUXES = ({"GODEBUG": "httpmuxgo121=1"}, {"GODEBUG": "httpmuxgo121=0,httplaxcontentlength=0"})


def outcomes(raw):
    """See driver/filter_driver.c."""
    at = 0
    while at < len(raw):
        verdict, fault, _, length = struct.unpack_from("=BBHI", raw, at)
        at += 8
        yield {"Verdict": chr(verdict), "Fault": FAULTS[fault],
               "Sent": raw[at:at + length].decode("latin-1")}
        at += length


def replay(driver):
    with open(CORPUS, encoding="utf-8", newline="\n") as lines:
        cases = [json.loads(line) for line in lines]
    asked = b"".join(
        struct.pack("=IBB", len(case["Stream"]) + 2, case["Policy"], case["Step"])
        + case["Stream"].encode("latin-1") for case in cases)
    raw = subprocess.run([driver, SIGNATURES], input=asked, capture_output=True, check=True,
                         env=lab.environment()).stdout
    changed = 0
    for case in cases:
        length, = struct.unpack_from("=I", raw)
        now = list(outcomes(raw[4:4 + length]))
        raw = raw[4 + length:]
        was = [{"Sent": "", **{key: request[key] for key in request if key != "Served"}}
               for request in case["Requests"]]
        if now != was:
            changed += 1
            print(f"{case['Stream']!r}:\n  was {was}\n  is  {now}")
    print(f"{len(cases)} cases replayed, {changed} came out otherwise")
    if not cases or changed:
        sys.exit("what was recorded holds no more: if that is meant, run "
                 "`differential.py record DRIVER 60`, which looks at it with Go, too")


def with_go(driver, *arguments, environment=None):
    if not gobuild.is_there():
        print("there is no Go toolchain to build the other reader with")
        sys.exit(SKIPPED)
    program = gobuild.build(HERE, pathlib.Path(lab.BUILD_DIR, "differential", "differential"))
    argv = [program, "-driver", driver, "-signatures", SIGNATURES, *arguments]
    done = subprocess.run(argv, env={**lab.environment(), **(environment or {})}, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main():
    verb, driver, *seconds = sys.argv[1:]
    if verb == "replay":
        replay(driver)
        return
    run_for = ("-for", f"{seconds[0]}s", "-seed", "1" if verb == "go" else str(time.time_ns() >> 20))
    if verb == "record":
        with_go(driver, "-grow", CORPUS, *run_for)
        return
    for mux in MUXES:
        with_go(driver, "-replay", CORPUS, environment=mux)
        with_go(driver, "-start", CORPUS, *run_for, environment=mux)


if __name__ == "__main__":
    main()
