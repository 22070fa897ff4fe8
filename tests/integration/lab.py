# SPDX-License-Identifier: GPL-2.0-or-later
"""A laboratory for integration tests: network namespaces, real servers, the daemon.

    with Lab() as lab:
        lab.serve_node_exporter()                 # on 10.91.0.2:9100
        daemon = lab.daemon(lab.config())         # in the same namespace
        daemon.start()
        lab.get("10.91.0.2", 9100, "/metrics", source=lab.STRANGER)

Two namespaces, joined by a veth pair: `target` holds the servers and the daemon, `client` holds
one address that rules let through (ALLOWED) and one that they do not (STRANGER). Nothing outside
of them is touched. Sockets are made inside a namespace by setns(2) in the calling thread, so that
a test needs no helper processes to be a client or a webhook.

Everything ends with the Lab, also after a failure or a signal; what a killed run left behind is
cleared by the next one. Waiting is by events or by short retries against a deadline.
"""
import atexit
import contextlib
import copy
import ctypes
import http.client
import http.server
import itertools
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD_DIR = os.environ.get("PW_BUILD_DIR", os.path.join(SOURCE_DIR, "build", "test"))
SERVERS_DIR = os.environ.get("PW_SERVERS", os.path.join(SOURCE_DIR, "build", "servers"))
IS_ASAN = os.environ.get("PW_SANITIZED", "") not in ("", "0")

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def program(name):
    """The path of one of our programs in the build tree (or an installed one)."""
    for folder in ("bin", "sbin", "libexec/pprofwall"):
        path = os.path.join(BUILD_DIR, folder, name)
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{name} under {BUILD_DIR}: not built")


def server_program(name):
    """The path of a server that ./dev fetched, or one that is installed."""
    for path in (os.path.join(SERVERS_DIR, "usr/bin", name), shutil.which(name)):
        if path and os.path.exists(path):
            return path
    raise FileNotFoundError(f"{name}: run `./dev servers` once")


def environment():
    """What started programs see: no surprises from the caller's own environment."""
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
           "LC_ALL": "C.UTF-8", "HOME": "/dev/null/home"}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def run(*argv, check=True, timeout=60, **kwargs):
    """subprocess.run() with text output captured, and the output in the error."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, env=environment(), **kwargs)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: status {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
    return done


def wait_until(condition, timeout, what, interval=0.02):
    """Calls `condition` until it is true, and returns its value; fails with `what`."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(interval)


def start_time(pid):
    """When a process began, in clock ticks: with its pid its identity. None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def descendants(pid):
    """(pid, start time) of every process below `pid`."""
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            below = [int(child) for child in children.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return found
    for child in below:
        found.append((child, start_time(child)))
        found += descendants(child)
    return found


class Process:
    """A child process whose output lines are collected and can be awaited."""

    def __init__(self, argv, env=None, **kwargs):
        self.argv = [str(a) for a in argv]
        self.lines = []
        self._news = threading.Condition()
        self._closed = False
        self._process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=env or environment(), **kwargs)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for raw in self._process.stdout:
            with self._news:
                self.lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    @property
    def output(self):
        return "\n".join(self.lines)

    @property
    def status(self):
        """None while it runs; else the exit status, negative for a signal."""
        return self._process.poll()

    def wait_line(self, pattern, timeout=10):
        """Waits for an output line that matches, and returns the match."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    raise TimeoutError(f"no line like {pattern!r} from {self.argv[-1]}:\n"
                                       + "\n".join(self.lines[-40:]))
                self._news.wait(left)

    def wait(self, timeout=10):
        """Waits for the end and for the last output; returns the exit status."""
        status = self._process.wait(timeout)
        self._reader.join(5)
        self._process.stdout.close()
        return status

    def signal(self, number):
        self._process.send_signal(number)

    def end(self, timeout=15):
        """SIGTERM, then SIGKILL; nothing when it is over already."""
        if self._process.poll() is None:
            family = descendants(self.pid)
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                # Stopped ones do not see their parent go, and keep our pipe open.
                for pid, begun in family:
                    if start_time(pid) == begun:
                        os.kill(pid, signal.SIGKILL)
        return self.wait()


class HttpServer(http.server.ThreadingHTTPServer):
    """Of either family; a client that goes away is its own affair."""

    daemon_threads = True

    def __init__(self, address, handler):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request, client_address):
        pass


class Webhook:
    """Receives POSTs inside a namespace. `answer` may be replaced: a status, or a callable."""

    def __init__(self, lab, namespace, port=9999, address="127.0.0.1"):
        self.events = queue.Queue()
        self.requests = []  # every body that arrived, parsed, in order
        self.answer = 200
        self.serve = None  # a callable that does it all: of the handler and the parsed body
        self.release = threading.Event()  # set at the end, for answers that hang
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802, the library's name
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if hook.serve:
                    hook.serve(self, json.loads(body))
                    return
                answer = hook.answer() if callable(hook.answer) else hook.answer
                event = json.loads(body)
                hook.requests.append((answer, dict(self.headers), event))
                if answer == 200:
                    hook.events.put(event)
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        with lab.inside(namespace):
            self._server = HttpServer((address, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever,
                                        kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def hang(self):
        """For `answer`: keeps the client waiting until the end."""
        self.release.wait()
        return 200

    def wait_event(self, kind=None, timeout=10, **wanted):
        """The next event of this kind with these top-level values; others are passed over."""
        deadline = time.monotonic() + timeout
        passed = []
        while True:
            try:
                event = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no event {kind} {wanted} within {timeout} s; got "
                                   f"{[e.get('event') for e in passed]}") from None
            if (kind is None or event.get("event") == kind) and all(
                    event.get(k) == v for k, v in wanted.items()):
                return event
            passed.append(event)

    def close(self):
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


class Daemon:
    """pprofwalld in a namespace, with its own directories, users and control socket."""

    def __init__(self, lab, config, namespace="target"):
        self.lab = lab
        self.environment = {}  # more of it, for start()
        self.namespace = namespace
        self.config = config
        self.process = None
        self.config_path = os.path.join(lab.directory, "pprofwall.yaml")
        self.write_config(config)

    def write_config(self, config):
        """A dict (JSON is YAML) or a text."""
        text = config if isinstance(config, str) else json.dumps(config, indent=2) + "\n"
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(text)

    @property
    def socket(self):
        return os.path.join(self.lab.directory, "run", "control.sock")

    @property
    def pid(self):
        return self.process.pid

    @property
    def output(self):
        return self.process.output

    def start(self, ready=True, timeout=20):
        self.process = self.lab.process(
            self.namespace, program("pprofwalld"), "--config", self.config_path, "--foreground",
            end=False, env={**environment(), **self.environment})
        if ready:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20):
        last = ["nothing"]

        def answered():
            if self.process.status is not None:
                self.process.wait()
                raise RuntimeError(f"pprofwalld ended with status {self.process.status}:\n"
                                   f"{self.output}")
            try:
                status, last[0] = self.http("/readyz")
                return status == 200
            except OSError:
                return False
        try:
            wait_until(answered, timeout, "/readyz is 200")
        except TimeoutError as err:
            raise TimeoutError(f"{err}; it says: {last[0]}\n{self.output}") from None

    def http(self, path, timeout=5):
        """GET from the metrics listener: (status, text)."""
        return self.lab.get("127.0.0.1", 9464, path, namespace=self.namespace, timeout=timeout)

    def ctl(self, *argv, check=True, timeout=20):
        """`pprofwall VERB ARGS` inside the namespace, told where our daemon is."""
        where = ["--socket", self.socket]
        if argv[0] in ("panic", "resume"):
            where += ["--config", self.config_path]
        return run("ip", "netns", "exec", self.lab.name_of(self.namespace), program("pprofwall"),
                   *argv, *where, check=check, timeout=timeout)

    def ctl_json(self, *argv):
        return json.loads(self.ctl(*argv, "--json").stdout)

    def metrics(self):
        """{name: [(labels, value), ...]}"""
        status, text = self.http("/metrics")
        if status != 200:
            raise RuntimeError(f"/metrics answered {status}")
        return parse_metrics(text)

    def metric(self, name, **labels):
        """The value of the one sample that has these labels; None without one."""
        for have, value in self.metrics().get(name, []):
            if all(have.get(k) == v for k, v in labels.items()):
                return value
        return None

    def wait_metric(self, name, value, timeout=10, **labels):
        wait_until(lambda: self.metric(name, **labels) == value, timeout,
                   f"{name}{labels} is {value}", interval=0.05)

    def children(self):
        """{"agent": pid, ...} from /proc."""
        found = {}
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            for pid in map(int, file.read().split()):
                with contextlib.suppress(OSError):
                    name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
                    if name.startswith("pprofwall-"):
                        found[name.removeprefix("pprofwall-")] = pid
        return found

    def child(self, role):
        return wait_until(lambda: self.children().get(role), 10, f"a {role} process")

    def kill_everything(self):
        """SIGKILL to the parent and all of its children, as a crash would."""
        pids = [self.pid, *self.children().values()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not any(_is_alive(p) for p in pids), 10, "all processes are gone")

    def stop(self, timeout=20):
        """SIGTERM; returns the exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(timeout)


def _is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def parse_metrics(text):
    """A reader of the text format that is as simple as our own output allows."""
    found = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)', line)
        if not match:
            raise ValueError(f"not a sample: {line!r}")
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        found.setdefault(match[1], []).append((labels, float(match[3])))
    return found


class Lab:
    TARGET, ALLOWED, STRANGER = "10.91.0.2", "10.91.0.3", "10.91.0.4"
    TARGET6, ALLOWED6, STRANGER6 = "fd91::2", "fd91::3", "fd91::4"
    USERS = {"agent": "64101", "prober": "64102", "firewall": "64103", "sender": "64104",
             "inventory": "64106"}
    _serial = itertools.count()

    def __init__(self):
        if os.geteuid() != 0:
            raise PermissionError("network namespaces need root")
        _clear_leftovers()
        self._tag = f"pw-{os.getpid()}-{next(self._serial)}"
        self._stack = contextlib.ExitStack()
        self._closed = False
        _install_handlers()
        atexit.register(self.close)
        self.directory = tempfile.mkdtemp(prefix="pprofwall-lab-")
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o755)
        self._make_directory("run", 0, 0o755)
        self._make_directory("state", int(self.USERS["agent"]), 0o700)
        self._add_namespace("target")
        self._add_namespace("client")
        self._join()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if not self._closed:
            self._closed = True
            atexit.unregister(self.close)
            self._stack.close()

    def _make_directory(self, name, owner, mode):
        path = os.path.join(self.directory, name)
        os.mkdir(path)
        os.chown(path, owner, owner)
        os.chmod(path, mode)

    # Namespaces

    def name_of(self, namespace):
        return f"{self._tag}-{namespace}"

    def _add_namespace(self, namespace):
        name = self.name_of(namespace)
        run("ip", "netns", "add", name)
        self._stack.callback(_delete_namespace, name)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def _join(self):
        target, client = self.name_of("target"), self.name_of("client")
        run("ip", "link", "add", "eth0", "netns", target, "type", "veth",
            "peer", "name", "eth0", "netns", client)
        for name, addresses in ((target, [self.TARGET, self.TARGET6]),
                                (client, [self.ALLOWED, self.STRANGER, self.ALLOWED6,
                                          self.STRANGER6])):
            for address in addresses:
                if ":" in address:  # duplicate address detection would take a second
                    run("ip", "-n", name, "address", "add", f"{address}/64", "dev", "eth0",
                        "nodad")
                else:
                    run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")

    @contextlib.contextmanager
    def inside(self, namespace):
        """The calling thread is in the namespace; sockets made meanwhile stay there."""
        with open("/proc/thread-self/ns/net", encoding="ascii") as home:
            with open(f"/run/netns/{self.name_of(namespace)}", encoding="ascii") as there:
                _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def run(self, namespace, *argv, **kwargs):
        return run("ip", "netns", "exec", self.name_of(namespace), *argv, **kwargs)

    def nft(self, *argv, check=True):
        """nft(8) in the target's namespace."""
        return self.run("target", "nft", *argv, check=check)

    def process(self, namespace, *argv, end=True, **kwargs):
        """Starts a process in a namespace; it ends with the Lab at the latest."""
        # `ip netns exec` replaces itself: the pid is the program's own.
        process = Process(["ip", "netns", "exec", self.name_of(namespace), *argv], **kwargs)
        if end:
            self._stack.callback(process.end)
        return process

    # Clients

    def connect(self, address, port, namespace="client", source=None, timeout=3):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.inside(namespace):
            sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            if source:
                sock.bind((source, 0))
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def get(self, address, port, path, namespace="client", source=None, timeout=5):
        """GET: (status, text). Raises what the socket raises."""
        connection = http.client.HTTPConnection(address, port)
        connection.sock = self.connect(address, port, namespace, source, timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def is_refused(self, address, port, source=None):
        """Whether a new connection is reset at once. A silent drop raises TimeoutError."""
        try:
            self.connect(address, port, source=source, timeout=2).close()
            return False
        except (ConnectionRefusedError, ConnectionResetError):
            return True  # the latter when a block goes in while the connection is being made

    def wait_port(self, address, port, namespace="target", timeout=20, process=None):
        def listening():
            if process is not None and process.status is not None:
                process.wait()
                raise RuntimeError(f"ended with status {process.status}:\n{process.output}")
            try:
                self.connect(address, port, namespace, timeout=1).close()
                return True
            except OSError:
                return False
        wait_until(listening, timeout, f"{address}:{port} listens")

    # Servers

    def serve(self, name, *argv, port, address=None, namespace="target"):
        process = self.process(namespace, server_program(name), *argv)
        self.wait_port(address or self.TARGET, port, namespace, process=process)
        return process

    def serve_node_exporter(self, port=9100, address=None):
        address = address or self.TARGET
        shown = f"[{address}]" if ":" in address else address
        return self.serve("prometheus-node-exporter", f"--web.listen-address={shown}:{port}",
                          port=port, address=address)

    def serve_prometheus(self, port=9090):
        config = os.path.join(self.directory, "prometheus.yml")
        with open(config, "w", encoding="ascii") as file:
            file.write("global: {scrape_interval: 1h}\n")
        data = tempfile.mkdtemp(dir=self.directory)
        return self.serve("prometheus", f"--config.file={config}",
                          f"--storage.tsdb.path={data}",
                          f"--web.listen-address={self.TARGET}:{port}", port=port)

    def serve_etcd(self, port=2379, enable_pprof=False):
        data = tempfile.mkdtemp(dir=self.directory)
        url, peer = f"http://{self.TARGET}:{port}", f"http://{self.TARGET}:{port + 1}"
        argv = ["--name", "a", "--data-dir", data, "--listen-client-urls", url,
                "--advertise-client-urls", url, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", f"a={peer}"]
        if enable_pprof:
            argv.append("--enable-pprof")
        return self.serve("etcd", *argv, port=port)

    def serve_plain(self, port=9100, address=None):
        """An HTTP server that has /metrics and no profiling: what a repaired exporter is."""
        lab, where = self, address or self.TARGET

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802, the library's name
                found = self.path == "/metrics"
                body = b"up 1\n" if found else b"404 page not found\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        with lab.inside("target"):
            server = HttpServer((where, port), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

        def close():
            server.shutdown()
            server.server_close()
        self._stack.callback(close)
        return close

    def webhook(self, port=9999, namespace="target"):
        hook = Webhook(self, namespace, port)
        self._stack.callback(hook.close)
        return hook

    # The daemon

    def config(self, **changes):
        """The documented configuration, with the lab's own paths and users; sections merge."""
        config = {
            "mode": "enforce",
            # Nobody looks into other tests' namespaces.
            "scan": {"targets": [f"{self.TARGET}:9100"], "listeners": False, "inside": "none",
                     "interval": "500ms", "timeout": "3s"},
            "breakers": [{"name": "default", "trip_after": 3, "confirm_interval": "100ms",
                          "open_for": "30s", "close_after": 2, "action": "drop",
                          "allow_from": [self.ALLOWED]}],
            "protect": {"ports": [22]},
            "alerts": [{"name": "hook", "type": "webhook", "url": "http://127.0.0.1:9999/"}],
            "metrics": {"listen": "127.0.0.1:9464"},
            "on_stop": "keep",
            "control": {"socket": os.path.join(self.directory, "run", "control.sock")},
            "state": {"directory": os.path.join(self.directory, "state")},
            "users": {**self.USERS, "runner": "64107", "filter": "64108"},
        }
        return merge(config, changes)

    def daemon(self, config=None):
        daemon = Daemon(self, self.config() if config is None else config)
        self._stack.callback(self._end_daemon, daemon)
        return daemon

    @staticmethod
    def _end_daemon(daemon):
        if daemon.process is not None and daemon.process.status is None:
            daemon.kill_everything()


def merge(base, changes):
    """`changes` over `base`: mappings merge, and a list of one mapping merges into the first."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[key] = merge(old, value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _delete_namespace(name):
    """Ends, by pid, what still runs in a namespace of ours, then removes it."""
    pids = run("ip", "netns", "pids", name, check=False).stdout.split()
    for pid in map(int, pids):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    run("ip", "netns", "delete", name, check=False)


def _clear_leftovers():
    """Namespaces of runs that were killed: their maker's pid, part of the name, is gone."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/run/netns"):
            match = re.match(r"pw-(\d+)-", name)
            if match and not os.path.exists(f"/proc/{match[1]}"):
                _delete_namespace(name)


def _install_handlers():
    """SIGTERM and SIGHUP end as Ctrl-C does: by an exception, so that everything is cleaned up."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda n, _frame: sys.exit(128 + n))
