# SPDX-License-Identifier: GPL-2.0-or-later
"""The wall with 100,000 blocks: restored at the start beside `nft -f`, renewed while a stranger
hammers one of them, listed. Part of bench.py; by itself:

    PW_BUILD_DIR=build/release python3 tests/bench/wall.py [BLOCKS [ROUNDS [restore]]]

With `restore` only the start is measured: of the helper with the table as it was left, with one that
is made anew since others have changed rules, and with none; and of the whole service after a flush,
until a stranger who hammers one of the endpoints is refused.
"""
import contextlib
import os
import socket
import sqlite3
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
import firewall_helper as fw  # noqa: E402
from lab import Lab, wait_until  # noqa: E402

BLOCKS = 100_000
PORT = 9100
NEW_WINDOW = 100_000  # as many new blocks as the agent has under way
TIMEOUT_MS = 1200_000
TICKS = os.sysconf("SC_CLK_TCK")
RULESET = """table inet beside {
	chain refuse { reject with tcp reset; }
	map block4 { type ipv4_addr . inet_proto . inet_service : verdict; flags timeout; elements = {
%s
	} }
	set hits4 { type ipv4_addr . inet_proto . inet_service; flags timeout; counter; elements = {
%s
	} }
}
"""


def cpu(pid):
    """Seconds of CPU time."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def places(count):
    """The one that is hammered, and as many others."""
    yield Lab.TARGET, PORT
    for i in range(1, count):
        yield f"10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255}", PORT


class Wall:
    def __init__(self, lab, count):
        self.lab, self.places = lab, list(places(count))
        self.config = lab.config(
            firewall={"max_blocks": 100_000, "max_blocks_per_minute": 100_000}, alerts=None)
        self.helper = None
        self.window = 1024 + count // 32  # as many renewals as the agent has under way

    def start(self):
        """Seconds until it serves, with what is in the kernel taken over."""
        self.helper = fw.Helper(self.lab)
        begun = time.monotonic()
        self.helper.start(self.config)
        return time.monotonic() - begun

    def kill(self):
        """SIGKILL, some time after the agent's last PING."""
        self.helper.ping()
        self.helper.kill()

    def blocks(self, chosen, at_once=None):
        """BLOCKs, some at a time; the seconds that each window took."""
        took, at_once = [], at_once or self.window
        for at in range(0, len(chosen), at_once):
            begun = time.monotonic()
            self.helper.block_many([(address, port, 1, TIMEOUT_MS)
                                    for address, port in chosen[at:at + at_once]])
            took.append(time.monotonic() - begun)
        return took

    def list(self):
        """Seconds until all are listed."""
        begun = time.monotonic()
        assert len(self.helper.list()) == len(self.places)
        return time.monotonic() - begun

    def nft(self):
        """Seconds that nft(8) takes for the same."""
        elements = ",\n".join(f"{a} . tcp . {p} timeout 1200s" for a, p in self.places)
        verdicts = ",\n".join(f"{a} . tcp . {p} timeout 1200s : jump refuse"
                              for a, p in self.places)
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
            file.write(RULESET % (verdicts, elements))
            file.flush()
            begun = time.monotonic()
            self.lab.nft("-f", file.name)
            took = time.monotonic() - begun
        self.lab.nft("delete", "table", "inet", "beside")
        return took

    @contextlib.contextmanager
    def hammer(self):
        """A stranger connects for as long as it lasts; [tries, through]."""
        counts, stop = [0, 0], threading.Event()
        with self.lab.inside("target"):
            server = socket.create_server((Lab.TARGET, PORT), backlog=128)

        def work():
            while not stop.is_set():
                counts[0] += 1
                with contextlib.suppress(OSError):
                    self.lab.connect(Lab.TARGET, PORT, source=Lab.STRANGER, timeout=1).close()
                    counts[1] += 1
        client = threading.Thread(target=work)
        client.start()
        try:
            yield counts
        finally:
            stop.set()
            client.join()
            server.close()


def measure_wall(count=BLOCKS, rounds=3):
    with Lab() as lab:
        wall = Wall(lab, count)
        wall.start()
        wall.blocks(wall.places)
        starts, beside, renewals, used, lists = [], [], [], [], []
        with wall.hammer() as counts:
            for _ in range(rounds):
                wall.kill()
                starts.append(wall.start())
                before, begun = cpu(wall.helper.pid), time.monotonic()
                windows = wall.blocks(wall.places)
                renewals.append(time.monotonic() - begun)
                used.append(cpu(wall.helper.pid) - before)
                lists.append(wall.list())
        for _ in range(rounds):
            beside.append(wall.nft())
        median = statistics.median
        print(f"| {count:,} blocks | |\n|---|---:|")
        print(f"| restored at the start, s | {median(starts):.2f} |")
        print(f"| `nft -f` of the same two sets, s | {median(beside):.2f} |")
        print(f"| all renewed, s | {median(renewals):.2f} |")
        print(f"| CPU of one renewal, µs | {median(used) / count * 1e6:.1f} |")
        print(f"| slowest answer to a window of {wall.window}, ms | {max(windows) * 1000:.1f} |")
        print(f"| listed, s | {median(lists):.2f} |")
        print(f"| connections of a stranger meanwhile, and let through | {counts[0]:,}, "
              f"{counts[1]} |", flush=True)


def remember_blocks(lab, config, wanted):
    """A service that is ended again, whose state knows of decisions by hand about all of them."""
    daemon = lab.daemon(config).start()
    address, port = wanted[0]
    daemon.ctl("block", f"{address}:{port}", "--for", "2h", "--reason", "bench")
    daemon.stop()
    with sqlite3.connect(os.path.join(config["state"]["directory"], "state.db")) as state:
        row = state.execute("SELECT * FROM manuals").fetchone()
        marks = ",".join("?" * len(row))
        state.executemany(f"INSERT OR REPLACE INTO manuals VALUES ({marks})",
                          [(f"{a}:{p}", *row[1:]) for a, p in wanted])
    state.close()


def accept_all(server):
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].close()


def measure_service(count=BLOCKS, rounds=3):
    """From exec() of pprofwalld, with nothing in the kernel."""
    with Lab() as lab:
        wall = Wall(lab, count)
        config = lab.config(scan={"targets": [f"{Lab.TARGET}:9998"], "interval": "60s"},
                            firewall={"max_blocks": 100_000}, alerts=None)
        remember_blocks(lab, config, wall.places)
        with lab.inside("target"), socket.create_server((Lab.TARGET, PORT), backlog=128) as server:
            threading.Thread(target=accept_all, args=(server,), daemon=True).start()
            for _ in range(rounds):
                lab.nft("flush", "ruleset")
                lab.connect(Lab.TARGET, PORT, source=Lab.STRANGER).close()
                daemon, refused = lab.daemon(config), []
                begun = time.monotonic()
                daemon.start(ready=False)

                def is_refused():
                    try:
                        lab.connect(Lab.TARGET, PORT, source=Lab.STRANGER, timeout=1).close()
                    except OSError:
                        refused.append(time.monotonic() - begun)
                    return refused
                wait_until(is_refused, 60, "the stranger is refused", interval=0.005)
                daemon.wait_ready()
                shown = len(lab.nft("list", "map", "inet", "pprofwall", "block4").stdout
                            .split("timeout"))
                assert shown > count, shown
                daemon.stop()
                print(f"{count:,} blocks, the whole service after a flush: in force "
                      f"{refused[0]:.3f} s after its start; nft -f took {wall.nft():.2f} s",
                      flush=True)


def measure_restore(count=BLOCKS, rounds=3):
    measure_service(count, rounds)
    with Lab() as lab:
        wall = Wall(lab, count)
        wall.start()

        def report(what, took):
            print(f"{count:,} blocks, {what}: {took:.3f} s, {cpu(wall.helper.pid):.2f} s of CPU; "
                  f"nft -f took {wall.nft():.2f} s", flush=True)
        for _ in range(rounds):
            begun = time.monotonic()
            wall.blocks(wall.places, NEW_WINDOW)
            report("asked for anew", time.monotonic() - begun)
            wall.kill()
            report("the table as it was left, in force", wall.start())
            report("the same, all read and listed", wall.list())
            wall.helper.kill()  # without a PING since nft(8)
            report("the table made anew", wall.start())
            report("the same, listed", wall.list())
            wall.helper.kill()
            lab.nft("flush", "ruleset")
            wall.start()


if __name__ == "__main__":
    measure = measure_restore if sys.argv[3:] == ["restore"] else measure_wall
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS,
            int(sys.argv[2]) if len(sys.argv) > 2 else 3)
