"""A hub on this computer: enough of the real one's interface for huggingface_hub to list, refuse and download models."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Handler(BaseHTTPRequestHandler):
    """Serves the folders of the server's `root`: ``<root>/<owner>/<name>``; those of the owner `gated` to nobody."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            return self._api(*self.path.removeprefix("/api/models/").partition("?")[0].split("/"))
        return self._file(send_body=True)

    def do_HEAD(self) -> None:
        self._file(send_body=False)

    def _api(self, owner: str, name: str, *rest: str) -> None:
        folder = self.server.root / owner / name
        if not folder.is_dir():
            return self._refuse(404, "RepoNotFound")
        if rest and rest[0] == "auth-check":
            return self._refuse(403, "GatedRepo") if owner == "gated" else self._json({})
        if rest and rest[0] == "revision" and rest[1] not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if rest and rest[0] == "tree":
            return self._json(
                [
                    {"type": "file", "path": f, "size": (folder / f).stat().st_size, "oid": self._tag(folder / f)}
                    for f in files
                ]
            )
        siblings = [{"rfilename": file} for file in files]
        info = {
            "id": f"{owner}/{name}",
            "sha": COMMIT,
            "siblings": siblings,
            "gated": "manual" if owner == "gated" else False,
        }
        return self._json({**info, "private": False, "tags": [], "downloads": 0, "likes": 0})

    def _file(self, send_body: bool) -> None:
        owner, name, _, _, *path = self.path.strip("/").split("/")
        file = self.server.root / owner / name / "/".join(path)
        if owner == "gated":
            return self._refuse(403, "GatedRepo")
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        if send_body:
            self.server.served.append(f"{owner}/{name}/{'/'.join(path)}")
        return self._answer(
            200, file.read_bytes(), send_body, {"ETag": f'"{self._tag(file)}"', "X-Repo-Commit": COMMIT}
        )

    @staticmethod
    def _tag(file: Path) -> str:
        return hashlib.sha1(file.read_bytes()).hexdigest()

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), True, {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"{}", self.command == "GET", {"X-Error-Code": code})

    def _answer(self, status: int, body: bytes, send_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve(root: Path) -> Iterator[ThreadingHTTPServer]:
    """Serve the models under a folder until the context ends; `served` lists what was downloaded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.root, server.served = root, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
