"""A server that speaks ClickHouse's side of an insert over HTTP, for the tests of the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[bytes], tuple[int, str] | None]


class FakeClickHouse:
    """Keeps what it was sent. `answer` may refuse a body with a status and a text."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.bodies: list[bytes] = []
        self.stored: list[bytes] = []
        self.queries: list[dict[str, list[str]]] = []
        self.answer = answer or (lambda body: None)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._say(200, "Ok.\n")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.bodies.append(body)
                outer.queries.append(parse_qs(urlsplit(self.path).query))
                refused = outer.answer(body)
                if refused is None:
                    outer.stored.append(body)
                self._say(*(refused or (200, "")))

            def _say(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def rows(self) -> list[dict[str, object]]:
        """The rows of all bodies that were taken, doubles included."""
        return [json.loads(line) for body in self.stored for line in body.splitlines()]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
