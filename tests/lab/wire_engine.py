#!/usr/bin/python3
"""An engine that does what a test tells it, to try the monitor alone.

Started by warrend in place of warren-engine, it speaks priv/wire.h on descriptor 3 and takes
commands, one JSON object a line, on the unix socket named by $WIRE_ENGINE. It sends READY and
heartbeats by itself unless $WIRE_ENGINE_QUIET is set.
"""

import array
import fcntl
import json
import os
import selectors
import socket
import struct
import sys
import time

HELLO, READY, HEARTBEAT, REQUEST, ANSWER, EVENT, OWNER_END, RELOAD_ASK, RELOAD_FILES, \
    RELOAD_DONE, STOP = range(1, 12)
HEAD = struct.Struct("=IIIi")
REQUEST_HEAD = struct.Struct("=IIQ32s")
ANSWER_HEAD = struct.Struct("=qIIII")


class Engine:
    def __init__(self):
        self.monitor = socket.socket(fileno=3)
        self.generation = 0
        self.seq = 0
        self.fds = {}
        self.answers = {}
        self.events = []
        self.reloads = []
        self.config = b""

    def send(self, kind, payload=b"", seq=0, result=0, fds=()):
        ancillary = []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        self.monitor.sendmsg([HEAD.pack(kind, seq, len(payload), result) + payload], ancillary)

    def receive(self):
        data, fds, _, _ = socket.recv_fds(self.monitor, 65536, 200)
        if not data:
            sys.exit(3)
        kind, seq, _, result = HEAD.unpack_from(data)
        payload = data[HEAD.size:]
        if kind == HELLO:
            self.generation = struct.unpack_from("=Q", payload, 8)[0]
            self.config = b"".join(os.pread(fd, 1 << 20, 0) for fd in fds[1:])
            self.control = fds[0]
            if "WIRE_ENGINE_QUIET" not in os.environ:
                self.send(READY, struct.pack("=Q", self.generation) + b"a test is in charge")
        elif kind == ANSWER:
            value, handle, size, text, flags = ANSWER_HEAD.unpack_from(payload)
            rest = payload[ANSWER_HEAD.size:]
            body = b"" if flags & 1 else rest[:size]
            words = rest[len(body):].decode()
            if flags & 1:
                body = os.pread(fds.pop(), size, 0)
            names = []
            for fd in fds:
                names.append(fd)
            self.answers[seq] = {"result": result, "value": value, "handle": handle,
                                 "fds": names, "text": words, "data": body.hex()}
        elif kind == EVENT:
            self.events.append(struct.unpack("=II", payload))
        elif kind == RELOAD_FILES:
            generation = struct.unpack_from("=Q", payload)[0]
            self.reloads.append({"result": result, "generation": generation,
                                 "text": payload[16:].decode() if result else "",
                                 "files": [os.pread(fd, 1 << 20, 0).decode() for fd in fds]})
        elif kind == STOP:
            sys.exit(0)

    def request(self, command):
        self.seq += 1
        body = bytes.fromhex(command["hex"])
        generation = command.get("generation", self.generation)
        fds = []
        if command.get("memfd"):
            fd = os.memfd_create("request", os.MFD_ALLOW_SEALING)
            os.write(fd, body)
            if command["memfd"] == "sealed":
                fcntl.fcntl(fd, 1033, 0xf)
            fds = [fd]
        head = REQUEST_HEAD.pack(command["op"], len(body), generation,
                                 command.get("owner", "test").encode())
        self.send(REQUEST, head + (b"" if fds else body), self.seq, 0, fds)
        while self.seq not in self.answers:
            self.receive()
        return self.answers.pop(self.seq)

    def command(self, c):
        do = c["do"]
        if do == "op":
            return self.request(c)
        if do == "raw":
            self.send(c["type"], bytes.fromhex(c.get("hex", "")), c.get("seq", 0),
                      c.get("result", 0))
        elif do == "bytes":
            self.monitor.send(bytes.fromhex(c["hex"]))
        elif do == "flood":
            for _ in range(c["count"]):
                try:
                    self.monitor.send(bytes.fromhex(c["hex"]), socket.MSG_DONTWAIT)
                except BlockingIOError:
                    time.sleep(0.001)
        elif do == "events":
            end = time.monotonic() + c.get("wait", 0)
            while not self.events and time.monotonic() < end:
                self.poll_monitor(0.05)
            events, self.events = self.events, []
            return events
        elif do == "reloads":
            end = time.monotonic() + c.get("wait", 0)
            while not self.reloads and time.monotonic() < end:
                self.poll_monitor(0.05)
            reloads, self.reloads = self.reloads, []
            return reloads
        elif do == "reload_done":
            if c.get("result", 0) == 0:
                self.generation = c["generation"]
            self.send(RELOAD_DONE, struct.pack("=Q", c["generation"]) +
                      c.get("text", "").encode(), 0, c.get("result", 0))
        elif do == "ready":
            self.send(READY, struct.pack("=Q", self.generation) + b"told to")
        elif do == "info":
            status = open("/proc/self/status").read()
            return {"status": status, "config": self.config.decode(),
                    "generation": self.generation, "fds": sorted(os.listdir("/proc/self/fd")),
                    "env": dict(os.environ)}
        elif do == "read":
            try:
                return os.read(c["fd"], 65536).hex()
            except BlockingIOError:
                return ""
        elif do == "write":
            return os.write(c["fd"], bytes.fromhex(c["hex"]))
        elif do == "opts":
            sock = socket.socket(fileno=os.dup(c["fd"]))
            return {"name": str(sock.getsockname()),
                    "mark": sock.getsockopt(socket.SOL_SOCKET, 36),
                    "rcvbuf": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
                    "cookie": sock.getsockopt(socket.SOL_SOCKET, 57, 8).hex()}
        elif do == "close":
            os.close(c["fd"])
        elif do == "try_open":
            try:
                os.close(os.open(c["path"], os.O_RDONLY))
                return "opened"
            except OSError as error:
                return error.strerror
        return {}

    def poll_monitor(self, seconds):
        self.monitor.settimeout(seconds)
        try:
            self.receive()
        except TimeoutError:
            pass
        self.monitor.settimeout(None)

    def run(self):
        listener = socket.socket(socket.AF_UNIX)
        path = os.environ["WIRE_ENGINE"]
        if os.path.exists(path):
            os.unlink(path)
        self.receive()
        listener.bind(path)
        listener.listen()
        select = selectors.DefaultSelector()
        select.register(self.monitor, selectors.EVENT_READ)
        select.register(listener, selectors.EVENT_READ)
        buffers = {}
        beat = 0
        while True:
            if time.monotonic() - beat > 0.5 and "WIRE_ENGINE_QUIET" not in os.environ:
                self.send(HEARTBEAT)
                beat = time.monotonic()
            for key, _ in select.select(0.2):
                if key.fileobj is self.monitor:
                    # A command of the same turn may have taken the message already.
                    self.poll_monitor(0.001)
                elif key.fileobj is listener:
                    client, _ = listener.accept()
                    buffers[client] = b""
                    select.register(client, selectors.EVENT_READ)
                else:
                    client = key.fileobj
                    data = client.recv(1 << 22)
                    if not data:
                        select.unregister(client)
                        client.close()
                        continue
                    buffers[client] += data
                    while b"\n" in buffers[client]:
                        line, buffers[client] = buffers[client].split(b"\n", 1)
                        answer = self.command(json.loads(line))
                        client.sendall(json.dumps(answer).encode() + b"\n")


Engine().run()
