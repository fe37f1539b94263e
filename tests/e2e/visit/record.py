"""Visit page.html with headless Chromium and keep the requests of its tag: `python tests/e2e/visit/record.py`.

Writes visit.jsonl beside this file: one request per line, with method, path, the headers that matter and the body as the
browser sent them. The test replays them through the edge; run this again when page.html changes (needs Debian's chromium).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Without the last ones a browser on a machine without internet keeps trying to reach its maker.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KEPT_HEADERS = ("content-type", "user-agent", "origin", "referer", "accept", "sec-fetch-mode", "sec-fetch-dest")


class Recorder(BaseHTTPRequestHandler):
    """Serves the page; remembers every other request."""

    requests: list[dict] = []
    left = threading.Event()

    def _answer(self, status: int, body: bytes = b"", content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _record(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name: self.headers[name] for name in KEPT_HEADERS if self.headers[name]}
        self.requests.append({"method": self.command, "path": self.path, "headers": headers, "body": self.rfile.read(length).decode()})

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, (HERE / "page.html").read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/left":
            self._answer(200, b"<p>bye", "text/html")
            self.left.set()
        elif self.path.startswith("/collect/"):
            self._record()
            self._answer(200, b"GIF89a", "image/gif")
        else:
            self._answer(404)

    def do_POST(self) -> None:
        self._record()
        self._answer(202)

    def log_message(self, *_: object) -> None:
        """The record is the log."""


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        browser = subprocess.Popen(
            ["chromium", "--headless", *OPTIONS, f"--user-data-dir={profile}", f"http://127.0.0.1:{server.server_port}/"],
            stderr=subprocess.DEVNULL,
        )
        try:
            assert Recorder.left.wait(30), "the browser did not leave the page within 30 s"
            time.sleep(1)
        finally:
            browser.terminate()
            browser.wait(10)
    text = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in Recorder.requests)
    for separator in (":", "%3A"):
        text = text.replace(f"127.0.0.1{separator}{server.server_port}", "shop.example")
    (HERE / "visit.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(Recorder.requests)} requests recorded")


if __name__ == "__main__":
    main()
