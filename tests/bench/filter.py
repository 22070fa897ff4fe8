# SPDX-License-Identifier: GPL-2.0-or-later
"""What the filter costs: a static body of 50 KB, straight from its server, through the filter, and
through an nginx that does the same.

    PW_BUILD_DIR=build/release python3 tests/bench/filter.py [ROUNDS]

The server is an nginx as well, with one worker, as the nginx in between has. wrk asks from another
namespace, over connections that are kept; clients of one port are brought to the filter by a tproxy
rule, as the firewall does it. All take turns, and share the machine's processors.
"""
import os
import re
import resource
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from lab import SERVERS_DIR, Lab, wait_until  # noqa: E402
from filter_process import FilterProcess  # noqa: E402

FILTERED, DIRECT, PROXIED = 9100, 9101, 9102
BODY_BYTES = 50_000
# Short turns, and many, since what else the machine does changes by the second.
SECONDS = 1
TURNS = 5
CONNECTIONS = 64
HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# Each has two descriptors.
IDLE_CONNECTIONS = min(10_000, (HARD_LIMIT - 200) // 2)
WAYS = {"directly": DIRECT, "through the filter": FILTERED, "through nginx": PROXIED}

ORIGIN = """
    server {{
        listen {address}:{filtered} backlog=4096;
        listen {address}:{direct} backlog=4096;
        root {folder};
        default_type text/plain;
    }}
"""
PROXY = """
    upstream exporter {{
        server {address}:{direct};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address}:{proxied} backlog=4096;
        location ~* ^/(debug/pprof|debug/vars|debug/requests|debug/events) {{ return 403; }}
        location / {{
            proxy_pass http://exporter;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffers 8 16k;
        }}
    }}
"""
MAIN = """
daemon off;
master_process off;
pid {folder}/{name}.pid;
error_log stderr warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/{name}-body;
    proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-fastcgi;
    uwsgi_temp_path {folder}/{name}-uwsgi;
    scgi_temp_path {folder}/{name}-scgi;
    {servers}
}}
"""
# Half the load: each connection rests a random while between requests.
REST = """
function delay() return math.random(0, {}) end
"""


def nginx(place, name, servers, port):
    folder = place.directory
    values = {"address": place.TARGET, "filtered": FILTERED, "direct": DIRECT, "proxied": PROXIED,
              "folder": folder, "name": name}
    path = os.path.join(folder, f"{name}.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write(MAIN.format(servers=servers.format(**values), **values))
    process = place.process("target", os.path.join(SERVERS_DIR, "usr/sbin/nginx"), "-c", path, "-p",
                            folder, "-e", "stderr")
    place.wait_port(place.TARGET, port, process=process)
    return process


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def wrk(place, port, connections, script=None):
    """(requests per second, median and 99th percentile in ms)"""
    more = ["-s", script] if script else []
    out = place.run("client", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", *more,
                    f"http://{place.TARGET}:{port}/body", timeout=120).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(out)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    percentiles = {name: milliseconds(re.search(rf"(?m)^ +{name}% +(\S+)", out)[1])
                   for name in ("50", "99")}
    return rate, percentiles["50"], percentiles["99"]


class Measurement:
    def __init__(self, place, pids):
        self.place, self.pids = place, pids
        self.rates = {way: [] for way in WAYS}
        self.cpu = {way: [] for way in WAYS}
        self.medians = {way: [] for way in WAYS}
        self.tails = {way: [] for way in WAYS}

    def round(self):
        for way, port in TURNS * list(WAYS.items()):
            pid = self.pids[way]
            before = cpu_seconds(pid)
            rate = wrk(self.place, port, CONNECTIONS)[0]
            self.rates[way].append(rate)
            self.cpu[way].append((cpu_seconds(pid) - before) / SECONDS / rate * 1e6)
        for way, port in WAYS.items():
            self.medians[way].append(wrk(self.place, port, 1)[1])
        # The same load for both, half of what the slower one can do.
        rate = min(self.rates[way][-1] for way in WAYS) / 2
        script = os.path.join(self.place.directory, "rest.lua")
        with open(script, "w", encoding="ascii") as file:
            file.write(REST.format(round(2 * 1000 * CONNECTIONS / rate)))
        for way, port in WAYS.items():
            self.tails[way].append(wrk(self.place, port, CONNECTIONS, script)[2])

    def print(self):
        print(f"\n| 50 KB, {CONNECTIONS} connections that are kept | requests per second | of nginx "
              "| CPU of it, µs a request | median of one connection, ms | 99th percentile at half "
              "load, ms |")
        print("|---" + "|---:" * 5 + "|")
        for way in WAYS:
            rate = statistics.median(self.rates[way])
            ratio = statistics.median(own / of_nginx for own, of_nginx in
                                      zip(self.rates[way], self.rates["through nginx"]))
            print(f"| {way} | {rate:,.0f} | {ratio:.2f} | "
                  f"{statistics.median(self.cpu[way]):.0f} | "
                  f"{statistics.median(self.medians[way]):.3f} | "
                  f"{statistics.median(self.tails[way]):.2f} |")
        print(flush=True)


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE)[1]) * 1024


def slab_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"^Slab:\s+(\d+) kB", file.read(), re.MULTILINE)[1]) * 1024


def hold_idle(place, count):
    """Connections that have asked once, from several addresses, since one may have but so many."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (HARD_LIMIT, HARD_LIMIT))
    sources = [f"10.91.0.{n}" for n in range(10, 20)]
    for source in sources:
        place.run("client", "ip", "address", "add", f"{source}/24", "dev", "eth0")
    held = []
    for n in range(count):
        sock = place.connect(place.TARGET, FILTERED, source=sources[n % len(sources)])
        sock.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
        if not sock.recv(4096).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"connection {n} was not answered")
        held.append(sock)
    return held


def idle_part(place, filtering):
    before = memory(filtering.pid), slab_bytes()
    held = hold_idle(place, IDLE_CONNECTIONS)
    # Of the client, the server, and two of the filter's.
    end = (slab_bytes() - before[1]) / 4 / IDLE_CONNECTIONS
    # It does not keep the server's for long.
    wait_until(lambda: len(os.listdir(f"/proc/{filtering.pid}/fd")) < IDLE_CONNECTIONS + 100, 60,
               "the connections to the server are closed", 0.2)
    pss = memory(filtering.pid)
    print(f"{IDLE_CONNECTIONS:,} idle connections: PSS {pss / 2**20:.1f} MB "
          f"({(pss - before[0]) / IDLE_CONNECTIONS:.0f} bytes each). The kernel's slabs grew by "
          f"{end:.0f} bytes for each end of a connection, which makes "
          f"{end * IDLE_CONNECTIONS / 2**20:.1f} MB for those of the filter: it had two for each "
          "client, and one after ten seconds.\n", flush=True)
    for sock in held:
        sock.close()


def measure_filter(rounds):
    if not os.path.exists(os.path.join(SERVERS_DIR, "usr/sbin/nginx")):
        print("left out: nginx is not there", flush=True)
        return
    with Lab() as place:
        os.chmod(place.directory, 0o755)
        for name, size in (("body", BODY_BYTES), ("small", 100)):
            with open(os.path.join(place.directory, name), "wb") as file:
                file.write(os.urandom(size // 2).hex().encode())
        origin = nginx(place, "origin", ORIGIN, DIRECT)
        proxy = nginx(place, "proxy", PROXY, PROXIED)
        with FilterProcess(place, ports=(FILTERED,)) as filtering:
            filtering.catch(FILTERED)
            measurement = Measurement(place, {"directly": origin.pid, "through the filter":
                                              filtering.pid, "through nginx": proxy.pid})
            for turn in range(rounds):
                print(f"filter: round {turn + 1} of {rounds}", flush=True)
                measurement.round()
            measurement.print()
            idle_part(place, filtering)


if __name__ == "__main__":
    measure_filter(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
