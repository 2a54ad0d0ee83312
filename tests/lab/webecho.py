"""Backends and clients of test_serve.py.

    webecho.py http ADDRESS PORT     says what it was asked, in JSON; /slow drips, /big is long
    webecho.py unix PATH             the same on a unix socket
    webecho.py tcp PORT              sends back the first line that came, then everything
    webecho.py ws PORT               a WebSocket server that sends messages back
    webecho.py wsask URL WORD        its client
"""

import asyncio
import http.server
import json
import os
import socket
import socketserver
import sys
import time


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "client"

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        total = 0
        while size := int(self.rfile.readline(), 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return total

    def answer(self):
        if self.path.startswith("/slow"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(2):
                self.wfile.write(b"5\r\npart%d\r\n" % i)
                self.wfile.flush()
                time.sleep(2)
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path.startswith("/big"):
            self.send_response(200)
            self.send_header("Content-Length", str(64 << 20))
            self.end_headers()
            for _ in range(64):
                self.wfile.write(bytes(1 << 20))
            return
        said = json.dumps({"method": self.command, "path": self.path,
                           "headers": self.headers.items(), "body": self.body()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.send_header("Connection", "keep-alive, X-Hop")
        self.send_header("X-Hop", "1")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_GET = do_POST = do_HEAD = do_PUT = answer


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


async def ws_echo(ws, *_):
    async for message in ws:
        await ws.send(message)


async def ws_serve(port):
    import websockets
    async with websockets.serve(ws_echo, "127.0.0.1", port):
        print("ready", flush=True)
        await asyncio.Future()


async def ws_ask(url, word):
    import websockets
    async with websockets.connect(url) as ws:
        for text in (word, word * 50000):
            await ws.send(text)
            assert await ws.recv() == text
        print("echoed", flush=True)


def tcp_serve(port):
    server = socket.create_server(("127.0.0.1", port))
    print("ready", flush=True)
    while True:
        conn = server.accept()[0]
        data = b""
        while got := conn.recv(65536):
            data += got
        conn.sendall(data)
        conn.close()


def main(what, *args):
    if what == "http":
        server = Server((args[0], int(args[1])), Echo)
    elif what == "unix":
        server = UnixServer(args[0], Echo)
        os.chmod(args[0], 0o666)
    elif what == "tcp":
        tcp_serve(int(args[0]))
    elif what == "ws":
        asyncio.run(ws_serve(int(args[0])))
    else:
        asyncio.run(ws_ask(*args))
        return
    print("ready", flush=True)
    server.serve_forever()


main(*sys.argv[1:])
