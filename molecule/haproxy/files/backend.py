#!/usr/bin/python3
"""A backend of which a test decides the answers: PORT..., and files in /run/backend.

/readyz, /ping and /replicas_status answer status and body from the file of their name ("200 Ok."); everything else says who was
asked for what. ?seconds=N answers late.
"""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

STATE = Path("/run/backend")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        status, text = 200, ""
        if url.path in ("/readyz", "/ping", "/replicas_status"):
            first, _, text = (STATE / url.path[1:]).read_text(encoding="utf-8").strip().partition(" ")
            status = int(first)
        else:
            time.sleep(float(parse_qs(url.query).get("seconds", ["0"])[0]))
            seen = {"host": socket.gethostname(), "path": self.path, "bytes": len(body)}
            seen["headers"] = {name.lower(): value for name, value in self.headers.items()}
            seen["forwarded"] = self.headers.get_all("X-Forwarded-For") or []
            text = json.dumps(seen)
        payload = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *_):
        pass


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer.request_queue_size = 128
for port in sys.argv[1:]:
    threading.Thread(target=ThreadingHTTPServer(("", int(port)), Handler).serve_forever).start()
