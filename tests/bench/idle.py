# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs to do nothing: 200 listeners, 20 blocks, beside fail2ban and CrowdSec's bouncer.

    PW_BUILD_DIR=build/release python3 tests/bench/idle.py [SECONDS]

Private memory is Private_Clean + Private_Dirty of smaps_rollup, of all processes; CPU time is what
the scheduler counts (/proc/PID/task/*/schedstat, nanoseconds). New listeners are asked again after
1, 2, 4, ... seconds: that is measured by itself, and what goes on for ever after it. The kernel's
events are those of the whole machine: what other programs do with listeners meanwhile is said, and
the quietest of some minutes is shown beside all of them (they are counted every 30 s). The
others are unpacked under build/servers by `./dev bench`.
"""
import glob
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import Lab, SERVERS_DIR, descendants, run, wait_until  # noqa: E402

LISTENERS, BLOCKS, FIRST_PORT = 200, 20, 20000
FIRST_S = 20    # of the first probes
YOUNG_S = 70    # until listeners are no longer new, with an interval of a minute
SLICES = 4      # of which the one with the fewest foreign events is shown


def cost(pid):
    """(private bytes, CPU seconds) of one process."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        private = sum(map(int, re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", file.read(),
                                          re.MULTILINE))) * 1024
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path, encoding="ascii") as file:
            total += int(file.read().split()[0])
    return private, total / 1e9


def family(pid):
    return [pid, *(child for child, _ in descendants(pid))]


def name_of(pid):
    with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
        return file.read().strip()


def costs(pid):
    return {p: cost(p) for p in family(pid)}


def show(what, before, after, seconds, each=False):
    spent = {p: (after[p][1] - before[p][1]) / seconds * 100 for p in before}
    for p in before if each else ():
        print(f"|   {name_of(p)} | {after[p][0] / 1e6:.1f} | {spent[p]:.3f} |")
    memory = sum(private for private, _ in after.values()) / 1e6
    print(f"| {what} | {memory:.1f} | {sum(spent.values()):.3f} |", flush=True)


def measure(what, pid, seconds, each=False):
    before = costs(pid)
    time.sleep(seconds)
    show(what, before, costs(pid), seconds, each)


def measure_listeners(what, daemon, seconds):
    """In slices, of which the one with the fewest events of other programs is shown, too."""
    points = []
    for i in range(SLICES + 1):
        time.sleep(seconds if i else 0)
        points.append((daemon.metric("pprofwall_inventory_events_total") or 0, costs(daemon.pid)))
    quietest = min(range(SLICES), key=lambda i: points[i + 1][0] - points[i][0])
    for name, first, last in (("quietest", quietest, quietest + 1), ("all", 0, SLICES)):
        events, length = points[last][0] - points[first][0], (last - first) * seconds
        show(f"{what}, {name} {length} s, {events:.0f} events of other programs' listeners",
             points[first][1], points[last][1], length, each=True)


def listen(lab):
    """HTTP servers that say 404, in a process of their own."""
    code = f"""
import selectors, socket
s = selectors.DefaultSelector()
for port in range({FIRST_PORT}, {FIRST_PORT + LISTENERS}):
    l = socket.create_server(("{Lab.TARGET}", port)); s.register(l, 1)
print("ready", flush=True)
while True:
    for key, _ in s.select():
        c, _ = key.fileobj.accept(); c.settimeout(1)
        try:
            c.recv(4096); c.sendall(b"HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n"
                                    b"Connection: close\\r\\n\\r\\n")
        except OSError:
            pass
        c.close()
"""
    server = lab.process("target", sys.executable, "-c", code)
    server.wait_line("ready", 20)


def ours(lab, seconds, listeners):
    listen(lab)
    targets = [] if listeners else [f"{Lab.TARGET}:{FIRST_PORT + i}" for i in range(LISTENERS)]
    scan = {"targets": targets, "interval": "1m"}
    if listeners:
        scan["listeners"] = True
    daemon = lab.daemon(lab.config(scan=scan, alerts=None,
                                   breakers=[{"name": "default", "action": "drop",
                                              "allow_from": [Lab.ALLOWED]}]))
    daemon.start()
    for i in range(BLOCKS):
        daemon.ctl("block", f"{Lab.TARGET}:{30000 + i}", "--reason", "bench")
    wait_until(lambda: sum(v for _, v in daemon.metrics()["pprofwall_probes_total"])
               >= LISTENERS, 120, "all are probed once")
    what = f"pprofwall, {LISTENERS} {'listeners' if listeners else 'targets'}"
    if listeners:
        measure(f"{what}, while they are new", daemon.pid, FIRST_S)
        time.sleep(YOUNG_S)
        measure_listeners(what, daemon, seconds)
    else:
        time.sleep(5)
        measure(what, daemon.pid, seconds, each=True)
    daemon.stop()


def fail2ban(lab, seconds):
    """The server with the sshd jail on a quiet log and as many bans."""
    home = os.path.join(lab.directory, "fail2ban")
    root = os.path.join(SERVERS_DIR, "etc", "fail2ban")
    if not os.path.isdir(root):
        print("left out: fail2ban")
        return
    run("cp", "-r", root, home)
    log = os.path.join(home, "auth.log")
    with open(log, "w", encoding="ascii"):
        pass
    with open(os.path.join(home, "jail.local"), "w", encoding="ascii") as file:
        file.write(f"[DEFAULT]\nbackend=polling\nbanaction=nftables\n[sshd]\nenabled=true\n"
                   f"logpath={log}\n")
    with open(os.path.join(home, "fail2ban.local"), "w", encoding="ascii") as file:
        file.write(f"[DEFAULT]\ndbfile = {home}/db\n")
    for name in os.listdir(os.path.join(home, "jail.d")):
        os.unlink(os.path.join(home, "jail.d", name))
    env = f"PYTHONPATH={SERVERS_DIR}/usr/lib/python3/dist-packages"
    sock, pid = os.path.join(home, "sock"), os.path.join(home, "pid")
    server = lab.process("target", "env", env, "/usr/bin/python3",
                         f"{SERVERS_DIR}/usr/bin/fail2ban-server", "-c", home, "-s", sock, "-p",
                         pid, "-x", "-f", "--logtarget", os.path.join(home, "log"), "start")
    client = ["env", env, "/usr/bin/python3", f"{SERVERS_DIR}/usr/bin/fail2ban-client", "-c",
              home, "-s", sock]
    wait_until(lambda: lab.run("target", *client, "ping", check=False).returncode == 0, 60,
               f"fail2ban answers\n{server.output}")
    for i in range(BLOCKS):
        lab.run("target", *client, "set", "sshd", "banip", f"192.0.2.{i + 1}")
    time.sleep(5)
    measure("fail2ban, one jail, polling, 20 bans", server.pid, seconds)
    server.end()


class Decisions:
    """CrowdSec's API as its bouncer sees it: 20 decisions, then nothing new."""

    def __init__(self, lab, port=8080):
        code = f"""
import http.server, json
first = json.dumps({{"new": [{{"duration": "4h", "origin": "bench", "scenario": "bench",
    "scope": "Ip", "type": "ban", "value": f"192.0.2.{{i + 1}}", "id": i}} for i in range({BLOCKS})],
    "deleted": []}}).encode()
later = json.dumps({{"new": None, "deleted": None}}).encode()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = first if "startup=true" in self.path else later
        self.send_response(200); self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json"); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(201); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"{{}}")
    do_HEAD = do_GET
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", {port}), H)
print("ready", flush=True)
s.serve_forever()
"""
        lab.process("target", sys.executable, "-c", code).wait_line("ready", 20)


def bouncer(lab, seconds):
    program = os.path.join(SERVERS_DIR, "usr", "bin", "crowdsec-firewall-bouncer")
    if not os.path.exists(program):
        print("left out: crowdsec-firewall-bouncer")
        return
    Decisions(lab)
    path = os.path.join(lab.directory, "bouncer.yaml")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"""mode: nftables
pid_dir: {lab.directory}
update_frequency: 10s
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:8080/
api_key: bench
disable_ipv6: true
deny_action: DROP
nftables:
  ipv4: {{enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain}}
  ipv6: {{enabled: false}}
prometheus: {{enabled: false}}
""")
    process = lab.process("target", program, "-c", path)

    def full():
        shown = lab.nft("list", "ruleset").stdout
        return shown.count("192.0.2.") >= BLOCKS
    try:
        wait_until(full, 40, "the bouncer has blocked them")
    except TimeoutError as err:
        print(f"left out: crowdsec-firewall-bouncer: {err}\n{process.output[-600:]}")
        return
    time.sleep(5)
    measure("crowdsec-firewall-bouncer alone, 20 decisions", process.pid, seconds)
    process.end()


def measure_idle(seconds=60):
    print("| | private memory, MB | CPU, % of a core |\n|---|---:|---:|", flush=True)
    for part in (lambda lab: ours(lab, seconds, False), lambda lab: ours(lab, seconds, True),
                 lambda lab: fail2ban(lab, seconds), lambda lab: bouncer(lab, seconds)):
        with Lab() as lab:
            part(lab)


if __name__ == "__main__":
    measure_idle(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
