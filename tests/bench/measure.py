# SPDX-License-Identifier: GPL-2.0-or-later
"""One run of a program, measured: wall time, CPU time and memory of it and all of its children."""
import contextlib
import ctypes
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import descendants, environment  # noqa: E402

SAMPLE_SECONDS = 0.1
PR_SET_CHILD_SUBREAPER = 36


@dataclasses.dataclass
class Run:
    seconds: float
    cpu: float        # seconds, of it and all of its children
    # Bytes, sampled (0: too short for that). Not ru_maxrss: a child of fork() starts with ours.
    rss: int          # the sum of every process's own peak: what is shared counts often
    pss: int          # the peak of all processes' sum: what is shared counts once
    tracked: int      # peak of the connections tracked meanwhile, sampled
    status: int
    out: str
    err: str


def inherit_orphans():
    """Children that a program leaves behind become ours, so that their CPU time can be counted."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _cpu(usage):
    return usage.ru_utime + usage.ru_stime


def _orphans_cpu(pids):
    """Waits for those that are ours by now; the others' time is in what their parent has."""
    total = 0
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            total += _cpu(os.wait4(pid, 0)[2])
    return total


def _memory(pid):
    """(peak RSS, PSS) of a process, in bytes."""
    with contextlib.suppress(OSError, TypeError):
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            peak = re.search(r"^VmHWM:\s+(\d+) kB", file.read(), re.MULTILINE)
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            pss = re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE)
        return int(peak[1]) * 1024, int(pss[1]) * 1024
    return 0, 0


class _Sampler(threading.Thread):
    def __init__(self, pid, tracked):
        super().__init__(daemon=True)
        self._pid, self._tracked_file = pid, tracked
        self._over = threading.Event()
        self._peaks = {}
        self.pss = self.tracked = 0

    @property
    def children(self):
        return [pid for pid in self._peaks if pid != self._pid]

    @property
    def rss(self):
        return sum(self._peaks.values())

    def run(self):
        while not self._over.wait(SAMPLE_SECONDS):
            total = 0
            for pid in [self._pid] + [pid for pid, _ in descendants(self._pid)]:
                peak, pss = _memory(pid)
                self._peaks[pid] = max(self._peaks.get(pid, 0), peak)
                total += pss
            self.pss = max(self.pss, total)
            if self._tracked_file:
                count = int(os.pread(self._tracked_file.fileno(), 32, 0))
                self.tracked = max(self.tracked, count)

    def end(self):
        self._over.set()
        self.join()


def measure(lab, *argv, namespace="client", accept=(0,), timeout=1800, tracked=None):
    """Runs a program in a namespace. Any status but those that are accepted is an error."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.monotonic()
        # `ip netns exec` replaces itself: the pid is the program's own.
        process = subprocess.Popen(
            ["ip", "netns", "exec", lab.name_of(namespace), *map(str, argv)],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment())
        sampler = _Sampler(process.pid, tracked)
        sampler.start()
        alarm = threading.Timer(timeout, process.kill)
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            os.wait4(process.pid, 0)
            raise
        finally:
            seconds = time.monotonic() - begin
            process.returncode = 0  # it has been waited for
            alarm.cancel()
            sampler.end()
        orphans = _orphans_cpu(sampler.children)
        code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        run = Run(seconds=seconds, cpu=_cpu(usage) + orphans, rss=sampler.rss,
                  pss=sampler.pss, tracked=sampler.tracked, status=code,
                  out=out.read().decode("utf-8", "replace"),
                  err=err.read().decode("utf-8", "replace"))
    if code not in accept:
        raise RuntimeError(f"{argv[0]}: status {code} after {seconds:.0f} s\n"
                           f"{run.out[-2000:]}{run.err[-2000:]}")
    return run
