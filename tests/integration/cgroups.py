# SPDX-License-Identifier: GPL-2.0-or-later
"""Control groups that are named as systemd and containers' runtimes name theirs."""
import contextlib
import os

from lab import wait_until

_MOVE = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def make_root(case):
    """A group of this process' own, for the test case: the path of what it lies in, and its name."""
    with open("/proc/mounts", encoding="ascii") as mounts:
        roots = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    base = f"pw-{os.getpid()}.slice"
    for root in roots:
        with contextlib.suppress(OSError):
            os.mkdir(os.path.join(root, base))
            case.addCleanup(os.rmdir, os.path.join(root, base))
            return root, base
    case.skipTest("no control group can be made here")
    return None


def make(case, path):
    """The group is there until the case is over."""
    def is_empty():
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            return not file.read()

    def remove():
        wait_until(is_empty, 10, "the group is empty")
        os.rmdir(path)
    os.mkdir(path)
    case.addCleanup(remove)


def within(path, namespace, *argv):
    """The command line that runs this one in the group and in the network namespace."""
    # First into the group: `ip netns exec` has another /sys.
    return ["sh", "-c", _MOVE, path, "ip", "netns", "exec", namespace, *argv]
