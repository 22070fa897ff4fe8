#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner alone: the test plays parent and sender. Programs of all kinds of manners."""
import contextlib
import errno
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import frames
from lab import wait_until

PROGRAM = os.path.join(os.environ["PW_BUILD_DIR"], "libexec", "pprofwall", "pprofwall-runner")
IS_SANITIZED = os.environ.get("PW_SANITIZED", "") not in ("", "0")
UID = 61521
RUN = struct.Struct("=q64s64s")
DONE = struct.Struct("=ii")
RUN_START, RUN_DONE = 112, 113


class Runner:
    """The program, started as the parent does it."""

    def __init__(self):
        self.parent, self.sender = frames.Parent(), frames.Peer()
        self._errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [PROGRAM, "--uid", str(UID), "--gid", str(UID)], stdin=subprocess.DEVNULL,
            stdout=self._errors, stderr=self._errors,
            env={"PATH": os.environ["PATH"], "SECRET": "hunter2"},
            **frames.handed_over(self.parent, self.sender))
        self.pid = self.process.pid
        self.parent.theirs.close()
        self.sender.theirs.close()

    def configure(self, commands, more=""):
        """commands: {sink: [word]}"""
        lines = ["alerts:"] + [f"- {{name: {name}, type: exec, command: {words!r}}}"
                               for name, words in commands.items()]
        for answer in (self.parent.check(("\n".join(lines) + "\n" + more).encode()),
                       self.parent.commit()):
            assert answer == (0, ""), answer

    def start(self, commands, more=""):
        self.configure(commands, more)
        self.parent.expect_ready()
        return self

    def ask(self, sink="x", event="opened", text=b'{"id":"1"}', timeout_ms=20000, seq=None):
        reading, writing = os.pipe()
        os.write(writing, text)
        os.close(writing)
        order = RUN.pack(timeout_ms, sink.encode(), event.encode())
        seq = self.sender.send(RUN_START, order, fd=reading, seq=seq)
        os.close(reading)
        return seq

    def answer(self, timeout=30):
        frame = self.sender.receive(timeout)
        assert frame and frame.type == RUN_DONE, frame
        return (frame.seq, *DONE.unpack(frame.body))

    def run(self, **kwargs):
        """(error, wait status)"""
        seq = self.ask(**kwargs)
        answered, error, status = self.answer()
        assert answered == seq
        return error, status

    def errors(self):
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def forget(self):
        self._errors.close()

    def close(self):
        self.parent.close()
        self.sender.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()


def processes_of(uid):
    """{pid: name}"""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), \
                open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
            if status["Uid"].split()[0] == str(uid) and not status["State"].startswith("Z"):
                found[int(pid)] = status["Name"].strip()
    return found


class RunnerTest(unittest.TestCase):
    def setUp(self):
        self._low = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC) for _ in range(16)]
        self.addCleanup(lambda: [os.close(fd) for fd in self._low])
        self.folder = tempfile.mkdtemp(prefix="pprofwall-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        os.chown(self.folder, UID, UID)
        os.chmod(self.folder, 0o755)

    def script(self, body, name="program"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + body)
        os.chmod(path, 0o755)
        return path

    def file(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.file(name), encoding="utf-8") as file:
            return file.read()

    def runner(self, body=None, **kwargs):
        runner = Runner()
        self.addCleanup(self.finish, runner)
        return runner if body is None else runner.start({"x": [self.script(body)]}, **kwargs)

    def finish(self, runner):
        runner.close()
        self.assertNotIn("Sanitizer", runner.errors())
        self.assertNotIn("runtime error", runner.errors())
        runner.forget()
        wait_until(lambda: not processes_of(UID), 10, "nothing is left behind")


class Runs(RunnerTest):
    def test_what_a_program_is_given(self):
        runner = self.runner()
        script = self.script(f'cat >{self.folder}/in; env >{self.folder}/env; pwd >{self.folder}/pwd\n'
                             f'printf "%s\\n" "$0" "$@" >{self.folder}/args\n'
                             f'cat /proc/self/status >{self.folder}/status; ulimit -c >{self.folder}/core\n'
                             f'exec ls -l /proc/self/fd >{self.folder}/fds\n')
        runner.start({"x": [script, "a b", "$(id)", "é"]})
        self.assertEqual(runner.run(event="high_risk", text=b'{"id":"7"}'), (0, 0))
        self.assertEqual(self.read("in"), '{"id":"7"}')
        environment = dict(line.split("=", 1) for line in self.read("env").splitlines())
        self.assertEqual({k: v for k, v in environment.items() if k not in ("PWD", "_", "SHLVL")},
                         {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          "PPROFWALL_EVENT": "high_risk"})
        self.assertEqual(self.read("pwd"), "/\n")
        self.assertEqual(self.read("args").splitlines(), [script, "a b", "$(id)", "é"])
        self.assertEqual(self.read("core"), "0\n")
        open_files = dict(re.findall(r" (\d+) -> (.*)", self.read("fds")))
        self.assertRegex(open_files.pop("3"), r"^/proc/\d+/fd$")  # where ls looks
        self.assertEqual(open_files.keys(), {"0", "1", "2"})
        status = dict(line.split(":\t", 1) for line in self.read("status").splitlines())
        self.assertEqual(status["Uid"].split(), [str(UID)] * 4)
        self.assertEqual(status["Groups"].split(), [])
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            self.assertEqual(int(status[name], 16), 0, name)
        for name in ("SigBlk", "SigIgn"):
            self.assertEqual(int(status[name], 16), 0, name)

    def test_how_it_ended_is_told(self):
        runner = self.runner("read -r how; eval \"$how\"\n")
        for how, wanted in (("exit 0", 0), ("exit 75", 75 << 8), ("exit 1", 1 << 8),
                            ("kill -9 $$", 9)):
            with self.subTest(how):
                self.assertEqual(runner.run(text=how.encode() + b"\n"), (0, wanted))

    def test_what_cannot_be_executed(self):
        runner = self.runner().start({"x": [self.file("nowhere")], "y": ["/etc/passwd"]})
        for sink, why in (("x", "No such file"), ("y", "Permission denied")):
            self.assertEqual(runner.run(sink=sink), (0, 126 << 8))
            self.assertIn(f"alert {sink}: the program says: cannot be executed: {why}",
                          runner.errors())

    def test_the_first_line_of_a_failure_is_logged(self):
        runner = self.runner("printf 'caf\\303\\251 \\033[31m\\377\\nsecond\\n' >&2; exit 1\n")
        self.assertEqual(runner.run(), (0, 1 << 8))
        log = runner.errors()
        self.assertIn("alert x: the program says: café ", log)
        self.assertNotIn("second", log)
        self.assertNotIn("\033", log)

    def test_success_says_nothing(self):
        runner = self.runner("echo chatter >&2; echo chatter\n")
        self.assertEqual(runner.run(), (0, 0))
        self.assertEqual(runner.errors(), "")

    def test_much_output_holds_nobody_up(self):
        runner = self.runner("head -c 900000 /dev/zero >&2; head -c 9000000 /dev/zero\n")
        self.assertEqual(runner.run(), (0, 0))

    def test_a_program_that_reads_nothing(self):
        runner = self.runner("exit 0\n")
        self.assertEqual(runner.run(text=b"x" * 60000), (0, 0))

    def test_several_at_once(self):
        runner = self.runner(f"read -r n; touch {self.folder}/is-$n\n"
                             f"while [ ! -e {self.folder}/go ]; do sleep 0.02; done\n")
        seqs = {runner.ask(text=b"%d\n" % n) for n in range(8)}
        wait_until(lambda: len(os.listdir(self.folder)) == 9, 20, "all of them run")
        with open(self.file("go"), "w", encoding="ascii"):
            pass
        self.assertEqual({runner.answer() for _ in seqs}, {(seq, 0, 0) for seq in seqs})


class Ends(RunnerTest):
    def test_time_is_limited(self):
        runner = self.runner("trap '' TERM INT HUP; sleep 600; sleep 600\n")
        began = time.monotonic()
        self.assertEqual(runner.run(timeout_ms=300), (-errno.ETIMEDOUT, 9))
        self.assertLess(time.monotonic() - began, 10)
        wait_until(lambda: list(processes_of(UID)) == [runner.pid], 10, "it was killed whole")

    def test_who_leaves_the_session_does_not_get_away(self):
        escape = "setsid sh -c 'setsid sleep 600 & sleep 600 &' </dev/null >/dev/null 2>&1 &\n"
        for name, rest, wanted in (("ends", "sleep 0.2\n", (0, 0)),
                                   ("hangs", "sleep 600\n", (-errno.ETIMEDOUT, 9))):
            with self.subTest(name):
                runner = self.runner(escape + rest)
                self.assertEqual(runner.run(timeout_ms=1500), wanted)
                wait_until(lambda: list(processes_of(UID)) == [runner.pid], 10,  # noqa: B023
                           "all that it started is gone")
                runner.close()

    def test_the_end_of_the_program_is_the_end_though_others_hold_its_output(self):
        runner = self.runner("sleep 600 &\nexit 0\n")
        began = time.monotonic()
        self.assertEqual(runner.run(), (0, 0))
        self.assertLess(time.monotonic() - began, 10)

    def test_a_stop_ends_what_runs(self):
        for how in ("stop", "parent", "sender", "kill"):
            with self.subTest(how):
                runner = self.runner("setsid sleep 600 & sleep 600 & sleep 600\n")
                runner.ask()
                wait_until(lambda: list(processes_of(UID).values()).count("sleep") == 3, 10,
                           "it runs")
                if how == "stop":
                    runner.parent.stop()
                elif how == "parent":
                    runner.parent.close()
                elif how == "sender":
                    runner.sender.close()
                else:
                    runner.process.send_signal(signal.SIGKILL)
                self.assertEqual(runner.process.wait(10), -9 if how == "kill" else 0)
                wait_until(lambda: not processes_of(UID), 10, "nothing is left behind")
                runner.close()


class Bounds(RunnerTest):
    def test_runs_what_the_configuration_says_and_nothing_else(self):
        runner = self.runner(f"touch {self.folder}/ran\n",
                             more="")
        runner.configure({"x": ["/bin/true"]})
        for bad in ({"sink": "y"}, {"sink": ""}, {"event": "a b"}, {"event": "X"},
                    {"timeout_ms": 0}, {"timeout_ms": -5}, {"timeout_ms": 300001},
                    {"sink": "z" * 64}, {"event": "e" * 64}):
            with self.subTest(bad):
                self.assertEqual(runner.run(**bad), (-errno.EINVAL, 0))
        # A webhook of that name is no program.
        runner.parent.check(b"alerts: [{name: x, type: webhook, url: 'http://h/'}]\n")
        runner.parent.commit()
        self.assertEqual(runner.run(), (-errno.EINVAL, 0))
        self.assertFalse(os.path.exists(self.file("ran")))

    def test_what_is_no_order_is_refused(self):
        runner = self.runner("exit 0\n")
        seq = runner.sender.send(RUN_START, RUN.pack(1000, b"x", b"opened"))  # without a pipe
        self.assertEqual(runner.answer(), (seq, -errno.EINVAL, 0))
        seq = runner.sender.send(RUN_START, b"short")
        self.assertEqual(runner.answer(), (seq, -errno.EINVAL, 0))
        self.assertEqual(runner.run(), (0, 0))

    def test_a_bad_configuration_changes_nothing(self):
        runner = self.runner("exit 0\n")
        error, text = runner.parent.check(b"alerts: [{name: x, type: exec, command: [x]}]\n")
        self.assertEqual(error, -errno.EINVAL)
        self.assertIn("no absolute path", text)
        self.assertEqual(runner.run(), (0, 0))

    def test_a_fork_bomb_ends_with_its_time(self):
        runner = self.runner("f() { f & f & sleep 600; }\nf 2>/dev/null &\n"
                             "exec sleep 600\n")
        error, _ = runner.run(timeout_ms=1500)
        self.assertEqual(error, -errno.ETIMEDOUT)
        wait_until(lambda: list(processes_of(UID)) == [runner.pid], 30, "it was killed whole")

    def test_has_no_privileges_and_keeps_no_secret(self):
        runner = self.runner()
        runner.start({"x": ["/bin/true"]})
        runner.parent.check(b"alerts: [{name: h, type: webhook, url: 'http://h/hunter2'}]\n")
        runner.parent.commit()
        with open(f"/proc/{runner.pid}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
        self.assertEqual(status["Uid"].split(), [str(UID)] * 4)
        self.assertEqual(status["NoNewPrivs"], "1")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            self.assertEqual(int(status[name], 16), 0, name)
        if not IS_SANITIZED:
            self.assertNotIn(b"hunter2", self.memory_of(runner.pid))

    @staticmethod
    def memory_of(pid):
        """What it can write to, but its environment."""
        found = []
        with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                place, rights, *rest = line.split()
                if "w" not in rights or "[stack]" in rest:
                    continue
                begin, end = (int(part, 16) for part in place.split("-"))
                with contextlib.suppress(OSError):
                    memory.seek(begin)
                    found.append(memory.read(end - begin))
        return b"".join(found)


if __name__ == "__main__":
    unittest.main()
