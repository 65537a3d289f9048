"""A daemon that is none: answers the API on a Unix socket out of a small world of its own.

For tests of the command line alone. It keeps to the contract of the API (paths, bodies, pages,
plans, tasks, problems) and does what a real one does seldom: hangs up, is slow, says what is
hostile to a terminal.
"""
import base64
import hashlib
import http.server
import json
import os
import socketserver
import struct
import threading
import time
import urllib.parse

SECOND = 1_000_000_000
PAGE = 2  # records a page, so that every list has several


def uuid(number):
    return f"01940000-0000-7000-8000-{number:012x}"


def record(kind, number, name, spec, status, age=3 * 86400 + 4 * 3600 + 600, **more):
    return {"kind": kind, "id": uuid(number), "name": name, "labels": more.pop("labels", {}),
            "created_ns": time.time_ns() - age * SECOND, "revision": "7", "spec": spec,
            "status": status, **more}


def make_world():
    now = time.time_ns()
    host, pool, net, image = uuid(1), uuid(2), uuid(3), uuid(4)
    vm_spec = {"cpus": 2, "memory_bytes": 512 << 20, "power": "on", "autostart": "previous",
               "start_order": 100, "firmware": "bios", "image": image, "protected": False,
               "restart": {"on_crash": "restart", "attempts_max": 5, "window_seconds": 600},
               "disks": [{"name": "root", "volume": uuid(20), "bus": "virtio", "media": "disk",
                          "read_only": False, "shared_fate": True}],
               "nics": [{"name": "eth0", "network": net, "model": "virtio",
                         "mac": "52:54:00:12:34:56", "address": ""}]}
    launch = {"epoch": 3, "boot_id": "b", "pid": 4711, "start_ticks": 99,
              "started_ns": now - (2 * 3600 + 5 * 60 + 20) * SECOND, "accelerator": "tcg",
              "spec": vm_spec}
    off = dict(vm_spec, power="off", memory_bytes=1 << 30, cpus=1, nics=[], disks=[])
    return {
        "hosts": [record("host", 1, "alpha", {"reserve_bytes": 1 << 30, "grace_seconds": 86400},
                         {"version": "0.1.0", "cpus": 8, "memory_bytes": 32 << 30,
                          "guest_memory_bytes": 1 << 30, "kernel": "6.1.0", "qemu_version": "7.2",
                          "accelerator": {"name": "tcg", "reason": "KVM ran the guest program at "
                                          "1 % of the speed that is expected",
                                          "operations_per_second": 812.5, "measured_ns": 0},
                          "guests_isolated": True, "warnings": ["no KVM: guests are slow"]})],
        "pools": [record("pool", 2, "fast", {"devices": ["/dev/nvme1n1"]}, {"state": "ready"},
                         live={"size_bytes": 2 << 40, "free_bytes": 3 << 39})],
        "networks": [record("network", 3, "net0", {"mode": "nat", "domain": "stoa", "forwards": [
            {"protocol": "tcp", "host_address": "", "host_port": 8080, "vm": uuid(10),
             "guest_port": 80}]},
            {"up": True, "subnet": "10.77.3.0/24", "interface": "st1a2bv00", "leases": [
                {"vm": uuid(10), "nic": "eth0", "name": "web1", "mac": "52:54:00:12:34:56",
                 "address": "10.77.3.10"}]})],
        "images": [record("image", 4, "tiny", {"os": "tiny", "size_bytes": 16 << 20, "pool": pool,
                                               "has_kernel": True, "memory_bytes_min": 64 << 20},
                          {"state": "ready"})],
        "volumes": [record("volume", 20, "web1-root", {"pool": pool, "size_bytes": 1 << 30},
                           {"state": "ready", "host": host}),
                    record("volume", 21, "data", {"pool": pool, "size_bytes": 10 << 30,
                                                  "protected": True},
                           {"state": "ready", "host": host})],
        "snapshots": [record("snapshot", 30, "monday", {"vm": uuid(10), "parts": [
            {"volume": uuid(20), "snapshot": uuid(31)}]},
            {"state": "ready", "consistency": "file-system"})],
        "vms": [record("vm", 10, "web1", vm_spec,
                       {"state": "running", "host": host, "launch": launch, "crashes": 0,
                        "pending": ["memory_bytes: 512 MiB -> 1 GiB"]},
                       labels={"tier": "web"}, live={"memory_bytes": 211 << 20}),
                record("vm", 11, "db1", off, {"state": "off", "host": host}),
                record("vm", 12, "evil", off, {"state": "crashed", "host": host,
                                               "reason": "said \x1b[2J and \u202e\x07"})],
        "tasks": [record("task", 40, "t1", {"verb": "vm.start", "target": f"vm/{uuid(10)}",
                                            "principal": "local/0", "locks": [], "steps": [
                                                {"type": "vm.launch", "arguments": {},
                                                 "text": "start QEMU"}]},
                         {"state": "done", "position": 1, "started_ns": now - 7300 * SECOND,
                          "ended_ns": now - 7298 * SECOND})],
        "users": [record("user", 50, "anna", {"grants": [{"role": "operator", "path": "/vm/web1"}]},
                         {"has_password": True})],
        "roles": [record("role", 60, "operator", {"permissions": ["vm.*", "*.read"]},
                         {"built_in": True})],
        "tokens": [record("token", 70, "ci", {"user": uuid(50), "expires_ns": 0}, {})],
    }


class World:
    """State that outlives connections. `script` maps "METHOD PATH" to what is to go wrong."""

    def __init__(self, directory):
        self.directory = directory
        self.lock = threading.Lock()
        self.records = make_world()
        self.tasks = {}
        self.log = []
        self.drops = {}
        self.files = {}
        self.consoles = 0

    def find(self, collection, reference):
        reference = urllib.parse.unquote(reference).split("~")[-1]
        for one in self.records.get(collection, []):
            if reference in (one["id"], one["name"]):
                return one
        return None

    def begin_task(self, verb, target, seconds, error=None):
        number = 1000 + len(self.tasks)
        self.tasks[uuid(number)] = {"begin": time.monotonic(), "seconds": seconds, "error": error,
                                    "verb": verb, "target": target, "cancelled": False}
        return uuid(number)

    def task(self, task_id, wait):
        task = self.tasks[task_id]
        end = time.monotonic() + wait
        while time.monotonic() < end and not self.is_over(task):
            time.sleep(0.02)
        done = min((time.monotonic() - task["begin"]) / max(task["seconds"], 0.01), 1.0)
        over = self.is_over(task)
        state = "running" if not over else "cancelled" if task["cancelled"] else \
            "failed" if task["error"] else "done"
        total = 512 << 20
        status = {"state": state, "position": 1 if not over else 2}
        if over and task["error"]:
            status.update(error=task["error"][1], error_code=task["error"][0])
        return record("task", 1, "task", {"verb": task["verb"], "target": task["target"],
                                          "steps": [{"type": "a", "text": "make the disk"},
                                                    {"type": "b", "text": "start QEMU"}]},
                      status) | {"id": task_id, "progress": {"done": int(done * total),
                                                             "total": total,
                                                             "text": "copying the image"}}

    @staticmethod
    def is_over(task):
        return task["cancelled"] or time.monotonic() - task["begin"] >= task["seconds"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world = None

    def address_string(self):
        return "local"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def problem(self, status, code, detail, **more):
        self.answer(status, {"type": "about:blank", "title": code, "status": status,
                             "detail": detail, "code": code, **more}, "application/problem+json")

    def body_bytes(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        parts = url.path.strip("/").split("/")
        data = self.body_bytes() if self.command != "GET" else b""
        is_json = "json" in self.headers.get("Content-Type", "")
        body = json.loads(data) if data and is_json else None
        with self.world.lock:
            self.world.log.append({"method": self.command, "target": self.path, "body": body,
                                   "key": self.headers.get("Idempotency-Key"),
                                   "if_match": self.headers.get("If-Match")})
        with open(os.path.join(self.world.directory, "log"), "a", encoding="utf-8") as log:
            log.write(json.dumps(self.world.log[-1]) + "\n")
        if "hangup" in url.path:
            self.close_connection = True
            return None
        if "flaky" in url.path and self.world.drops.setdefault(url.path, 0) < 2:
            self.world.drops[url.path] += 1
            self.close_connection = True
            return None
        if "stuck" in url.path:
            time.sleep(30)
        if self.headers.get("Upgrade") == "websocket":
            return self.websocket(parts)
        if parts == ["healthz"]:
            return self.answer(200, b"ok\n", "text/plain")
        if parts == ["metrics"]:
            return self.answer(200, b"stoa_vms 3\n", "text/plain")
        return self.api(parts[1:], query, body, data)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_any

    def api(self, parts, query, body, data):
        world = self.world
        if parts == ["info"]:
            return self.answer(200, {"version": "0.1.0", "instance": "1a2b3c4d", "host": uuid(1),
                                     "api_token": "hunter2"})
        if parts[0] in ("events", "audit"):
            entries = self.entries(parts[0])
            return self.answer(200, {"items": entries[::-1] if "newest_first" in query
                                     else entries})
        if parts[0] == "tasks" and len(parts) >= 2 and parts[1] in world.tasks:
            if self.command == "POST":
                world.tasks[parts[1]]["cancelled"] = True
                return self.answer(200, world.task(parts[1], 0))
            return self.answer(200, world.task(parts[1], int(query.get("wait", ["0"])[0])))
        if len(parts) == 1 and self.command == "GET":
            return self.page(parts[0], query)
        if len(parts) == 1 and self.command == "POST":
            return self.create(parts[0], query, body)
        if parts[:2] == ["images", "build"]:
            return self.change("image.build", f"image/{uuid(4)}", query, 0.1)
        found = world.find(parts[0], parts[1])
        if found is None:
            kind = parts[0][:-1]
            return self.problem(404, "not_found",
                                f'there is no {kind} "{urllib.parse.unquote(parts[1])}"')
        if len(parts) > 2:
            return self.verb(found, parts[2], query, body, data)
        if self.command == "GET":
            return self.answer(200, found)
        if self.command == "PATCH":
            return self.patch(found, query, body)
        return self.change(f"{found['kind']}.delete", f"{found['kind']}/{found['id']}", query, 0.05)

    def page(self, collection, query):
        items = self.world.records.get(collection)
        if items is None:
            return self.problem(404, "not_found", f"there is no {collection}")
        for label in query.get("label", []):
            key, _, value = label.partition("=")
            items = [i for i in items if i["labels"].get(key) == value]
        begin = int(query.get("page", ["0"])[0])
        answer = {"items": items[begin:begin + PAGE], "total": len(items)}
        if begin + PAGE < len(items):
            answer["next"] = str(begin + PAGE)
        return self.answer(200, answer)

    def create(self, collection, query, body):
        kind = collection[:-1]
        if collection == "tokens":
            return self.answer(201, {"id": uuid(71), "token": "stoa_abc123"})
        if body.get("name") == "web1":
            return self.problem(409, "already_exists", 'vm "web1" is there already')
        if body.get("memory_bytes") == 1:
            return self.problem(400, "invalid_argument",
                                "must be a multiple of 1 MiB, from 16 MiB, and is 1",
                                field="memory_bytes")
        if kind in ("user", "role"):
            return self.answer(201, record(kind, 99, body["name"], {}, {}))
        seconds = {"slow": 2.2, "stay": 30}.get(body["name"], 0.05)
        error = ("no_space", "pool fast: 1.5 GiB are needed, 1 GiB is free") \
            if body["name"] == "huge" else None
        return self.change(f"{kind}.create", f"{kind}/{uuid(99)}", query, seconds, error)

    def change(self, verb, target, query, seconds, error=None):
        if query.get("plan") == ["true"]:
            return self.answer(200, {
                "token": "plan-1", "verb": verb, "target": target, "bytes": 512 << 20,
                "downtime_ms": 1500, "capacity_after": {"pool fast": 1 << 40},
                "steps": [{"type": "a", "text": "clone image tiny as volume fast/web9-root"},
                          {"type": "b", "text": "record the VM"}]})
        task = self.world.begin_task(verb, target, seconds, error)
        return self.answer(202, {"task": task, "target": target})

    def patch(self, found, query, body):
        if self.headers.get("If-Match") not in (None, found["revision"]):
            return self.problem(412, "conflict", f"{found['kind']} {found['name']} was changed "
                                "meanwhile; look again and repeat")
        if query.get("plan") == ["true"]:
            return self.answer(200, {"token": "p", "verb": f"{found['kind']}.set", "steps": []})
        for field, value in body.items():
            target = found if field in ("name", "labels") else found["spec"]
            target[field] = value
        return self.answer(200, found)

    def verb(self, found, verb, query, body, data):
        if verb == "why":
            return self.answer(200, {"items": [
                {"sequence": 5, "time_ns": 1_790_000_000 * SECOND, "kind": "decision",
                 "subject": f"vm/{found['id']}", "text": "runs with tcg, not kvm",
                 "data": {"chosen": "tcg", "measured_seconds": 2,
                          "rejected": [{"option": "kvm", "reason": "100 times too slow"}]}}]})
        if verb == "check":
            return self.answer(200, {"items": [
                {"name": "kvm", "state": "warning", "text": "/dev/kvm opens, but emulates",
                 "hint": "guests run by TCG, about ten times slower"},
                {"name": "clock", "state": "ok", "text": "is synchronized"}]})
        if verb == "console":
            return self.answer(200, {"ticket": f"ticket{self.world.consoles}"})
        if verb == "logs":
            return self.answer(200, b"booting\r\n\x1b[31mred\x1b[0m\n", "text/plain")
        if verb == "exec":
            word = body["command"][0]
            out, err, code = {"true": (b"", b"", 0), "false": (b"", b"", 1),
                              "uname": (b"Linux\n", b"", 0),
                              "mix": (b"to out\n", b"to err\n", 3)}.get(
                                  word, (base64.b64decode(body.get("input", "")), b"", 0))
            return self.answer(200, {"exit_code": code, "signal": 9 if word == "die" else 0,
                                     "output": base64.b64encode(out).decode(),
                                     "error_output": base64.b64encode(err).decode()})
        if verb == "files":
            path = query["path"][0]
            if self.command == "PUT":
                self.world.files[path] = data
                return self.answer(200, {})
            if path not in self.world.files:
                return self.problem(404, "not_found", f"{path}: there is no such file in the guest")
            return self.answer(200, self.world.files[path], "application/octet-stream")
        if verb == "screenshot":
            return self.answer(200, b"\x89PNG fake", "image/png")
        if found["name"] == "db1" and verb == "stop":
            return self.problem(409, "conflict", "vm db1 is off")
        if found["name"] == "evil" and verb == "start":
            return self.problem(403, "denied", "vm.start on /vm/evil \x1b[2Jis not permitted")
        return self.change(f"{found['kind']}.{verb}", f"{found['kind']}/{found['id']}", query, 0.05)

    def entries(self, kind):
        who = {"principal": "local/0"}
        return [{"sequence": i, "time_ns": (1_790_000_000 + i) * SECOND,
                 "kind": "audit" if kind == "audit" else "event", "subject": f"vm/{uuid(10)}",
                 "text": text, **who} for i, text in enumerate(["started", "password=hunter2 used"])]

    # The server's side of RFC 6455, as much as is needed.
    def websocket(self, parts):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"),
                            ("Sec-WebSocket-Accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if parts[-1] == "watch":
            for i in range(2, 4):
                self.send_frame(1, json.dumps({"sequence": i, "time_ns": 1_790_000_009 * SECOND,
                                               "kind": "event", "subject": f"vm/{uuid(10)}",
                                               "text": f"live {i}"}).encode())
            self.send_frame(8, struct.pack(">H", 4410) + b"events before 9 are forgotten")
            return None
        self.world.consoles += 1
        self.send_frame(2, f"console {self.world.consoles}\r\n".encode())
        while (frame := self.read_frame()) is not None:
            opcode, payload = frame
            if opcode == 8:
                break
            if payload == b"!":  # the daemon dies
                return None
            if payload == b"?":
                self.send_frame(8, struct.pack(">H", 1000) + b"the guest is off")
                break
            self.send_frame(2, payload.upper())
        return None

    def send_frame(self, opcode, payload):
        self.wfile.write(bytes([0x80 | opcode, len(payload)]) + payload if len(payload) < 126 else
                         bytes([0x80 | opcode, 126]) + struct.pack(">H", len(payload)) + payload)
        self.wfile.flush()

    def read_frame(self):
        head = self.rfile.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", self.rfile.read(2))[0]
        mask = self.rfile.read(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length)))
        return head[0] & 15, payload


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that went away


class FakeStoad:
    """Serves while it is used as a context: `with FakeStoad(directory) as fake: fake.socket`."""

    def __init__(self, directory):
        self.world = World(directory)
        self.socket = os.path.join(directory, "stoad.sock")
        handler = type("BoundHandler", (Handler,), {"world": self.world})
        self.server = Server(self.socket, handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        os.unlink(self.socket)
