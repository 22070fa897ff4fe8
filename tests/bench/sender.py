# SPDX-License-Identifier: GPL-2.0-or-later
"""What an alert costs: events through a webhook on loopback, from the sender and from the command.

    PW_BUILD_DIR=build/release python3 tests/bench/sender.py [EVENTS]

The receiver is a loop in Python that answers 204 and looks at nothing; its own time is in the
events per second, not in the CPU time, which is what /proc/PID/schedstat counts.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import BUILD_DIR, Lab  # noqa: E402

os.environ.setdefault("PW_BUILD_DIR", BUILD_DIR)
from sender_driver import SEND_DONE, Sender  # noqa: E402

PORT = 9999
EVENT = {"schema": 1, "event": "opened", "time": "2026-11-22T21:00:04Z", "host": "web-3",
         "endpoint": "10.0.0.7:9100", "mode": "enforce", "action": "drop", "reason": None,
         "text": "pprofwall: opened: 10.0.0.7:9100 (node_exporter); the port is blocked",
         "finding": {"schema": 1, "verdict": "confirmed", "severity": "medium",
                     "evidence": ["index", "symbol", "goroutine-debug2"], "padding": "x" * 1000}}


def cpu(pid):
    """Seconds."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def receive(lab, count):
    """A receiver in a process of its own, which says when it has had so many events."""
    code = f"""
import re, socket, time
listener = socket.create_server(("127.0.0.1", {PORT}))
print("ready", flush=True)
events = requests = 0
while True:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    while more := client.recv(1 << 20):
        data += more
        while (head := data.find(b"\\r\\n\\r\\n") + 4) > 3:
            end = head + int(re.search(rb"(?i)content-length: (\\d+)", data[:head])[1])
            if len(data) < end:
                break
            requests += 1
            events += data.count(b'"event":"', head, end)
            data = data[end:]
            client.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
            if events >= {count}:
                print("done", time.monotonic(), requests, flush=True)
"""
    process = lab.process("target", sys.executable, "-c", code)
    process.wait_line("ready", 20)
    return process


def row(what, count, began, receiver, used):
    done = receiver.wait_line(r"^done (\S+) (\d+)$", 120)
    seconds = float(done[1]) - began
    costs = " + ".join(f"{name} {seconds_used / count * 1e6:.0f}"
                       for name, seconds_used in used().items())
    print(f"| {what} | {int(done[2]):,} | {count / seconds:,.0f} | {costs} |", flush=True)
    receiver.end()


def sender_alone(count, more, what):
    with Lab() as lab:
        receiver = receive(lab, count)
        with lab.inside("target"):
            sender = Sender()
        sender.start([("hook", f"http://127.0.0.1:{PORT}/", more)])
        before, began = cpu(sender.pid), time.monotonic()
        ended = 0
        for seq in range(1, count + 1):
            sender.send(seq, {**EVENT, "id": f"{seq:032x}"}, sinks=["hook"],
                        queued_ms=int(time.time() * 1000))
            # As the agent, no more than its window under way.
            while seq - ended >= 256:
                ended += sender.agent.receive(120).type == SEND_DONE
        while ended < count:
            ended += sender.agent.receive(120).type == SEND_DONE
        row(what, count, began, receiver, lambda: {"sender": cpu(sender.pid) - before})
        sender.close()


def whole_path(count, more, what):
    with Lab() as lab:
        receiver = receive(lab, count)
        hook = {"name": "hook", "type": "webhook", "url": f"http://127.0.0.1:{PORT}/", **more}
        daemon = lab.daemon(lab.config(
            scan={"targets": []}, alerts=[hook],
            firewall={"max_blocks": 100000, "max_blocks_per_minute": 100000, "verify": False}))
        daemon.start()
        pids = {role: daemon.child(role) for role in ("agent", "sender")}
        before = {role: cpu(pid) for role, pid in pids.items()}
        began = time.monotonic()
        daemon.ctl("block", *(f"{Lab.TARGET}:{20000 + i}" for i in range(count)), "--reason",
                   "bench", timeout=120)
        row(what, count, began, receiver,
            lambda: {role: cpu(pid) - before[role] for role, pid in pids.items()})
        daemon.stop()


def measure_sender(count=1000):
    print("| | requests | events/s | CPU per event, µs |\n|---|---:|---:|---:|", flush=True)
    for more, how in (({}, "one by one"), ({"group_wait": "100ms"}, "in groups")):
        sender_alone(count, more, f"sender alone, {how}")
    # A command takes at most so many; each is decided, blocked, committed and told.
    whole_path(min(count, 2048), {}, "from `pprofwall block` to the webhook, one by one")


if __name__ == "__main__":
    measure_sender(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
