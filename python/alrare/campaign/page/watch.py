"""`alrare watch`: the page of a campaign that runs, served to this machine alone.

Two addresses are known, the page and its state; no path names a file, and nothing is written.
"""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ...errors import AlrareError
from ..report import report_page
from ..results import RESULTS, read_results
from ..run_folder import end_of_log, own_file

ADDRESS = "127.0.0.1"


class WatchServer(ThreadingHTTPServer):
    """Serves the page of one run folder; `serve_forever` until `shutdown`.

    Parameters
    ----------
    run : Path
        The run folder.
    port : int
        0: one that is free.

    Raises
    ------
    AlrareError
        If `run` is no run folder, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, run: Path, port: int = 0) -> None:
        read_results(run)
        self._run = run.resolve()
        self._lock = threading.Lock()
        self._page = ("", b"")
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise AlrareError(
                f"--port {port}: cannot be used ({error}); give another, or none for a free one"
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}
        """What a browser on this machine asks for; a page from elsewhere names another host."""

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def state(self) -> str:
        """Return a word that is another one after each iteration."""
        try:
            status = (self._run / RESULTS).stat()
        except OSError:
            return "begun"
        return f"{status.st_mtime_ns}-{status.st_size}"

    def page(self) -> bytes:
        """Return the page, made anew if the state has changed.

        Raises
        ------
        AlrareError
            If results.json is damaged.
        """
        with self._lock:
            state = self.state()
            if self._page[0] != state:
                self._page = (state, report_page(self._run, state=state).encode())
            return self._page[1]

    def end_of_log(self) -> list[str]:
        """Return the last lines of log.txt, unless that is a link to a file elsewhere."""
        path = own_file(self._run, "log.txt")
        return [] if path is None else end_of_log(path)


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer

    def do_GET(self) -> None:  # as the standard library calls it
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"not for this host\n")
        elif self.path == "/":
            try:
                self._answer(HTTPStatus.OK, "text/html", self.server.page())
            except AlrareError as error:
                text = f"{error}\n".encode()
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", text)
        elif self.path == "/state":
            content = {"state": self.server.state(), "log": self.server.end_of_log()}
            self._answer(HTTPStatus.OK, "application/json", json.dumps(content).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"no such page\n")

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing about requests."""
