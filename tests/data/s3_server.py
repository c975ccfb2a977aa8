"""An S3 server on loopback (moto's), in a process of its own, that fails on demand and says what it was sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "HEALTHSEG_S3_REQUIRED"  # set where it has to be there, by .ci/run
SECRET = "wJalrXUtnFEMI-secret"
BUCKET = "box"


class S3Server:
    """The server as its tests see it."""

    def __init__(self, address: str) -> None:
        self.address = address

    def call(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            return json.loads(response.read() or b"null")

    def fail(self, method: str, part: str, kind: str, times: int = 1000) -> None:
        """Requests whose path holds ``part`` get a status (``"503"``), or half of their answer (``"half"``)."""
        self.call("/_faults", [method, part, kind, times])

    def heal(self) -> None:
        self.call("/_heal")

    def log(self) -> list[str]:
        """Method and path of the requests since the last call."""
        return list(self.call("/_log"))


@contextmanager
def server() -> Iterator[S3Server]:
    """A running server; skips, or fails where it is required, without moto or s3fs."""
    try:
        import flask_cors  # noqa: F401
        import moto  # noqa: F401
        import s3fs  # noqa: F401
    except ImportError as problem:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but {problem.name} is not installed")
        pytest.skip(f"{problem.name} is not installed")
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=root,
    )
    try:
        assert process.stdout is not None
        yield S3Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.communicate()


def environment(address: str, home: Path) -> dict[str, str]:
    """What a client of the server finds in its environment, and in no file."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


# The process itself.

Start = Callable[..., Any]


class FailingApp:
    """moto's application behind one that fails as it was told."""

    def __init__(self, app: Callable[[dict, Start], Iterable[bytes]]) -> None:
        self.app = app
        self.faults: list[list[Any]] = []
        self.requests: list[str] = []

    def __call__(self, environ: dict, start: Start) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/_"):
            return self._control(path, environ, start)
        self.requests.append(f"{method} {path}")
        fault = next((f for f in self.faults if f[0] == method and f[1] in path and f[3] > 0), None)
        if fault is None:
            return self.app(environ, start)
        fault[3] -= 1
        if fault[2] != "half":
            start(f"{fault[2]} No", [("Content-Length", "0")])
            return [b""]
        body = b"".join(self.app(environ, start))
        return [body[: len(body) // 2]]

    def _control(self, path: str, environ: dict, start: Start) -> Iterable[bytes]:
        answer: Any = None
        if path == "/_faults":
            size = int(environ.get("CONTENT_LENGTH") or 0)
            self.faults.append(json.loads(environ["wsgi.input"].read(size)))
        elif path == "/_heal":
            self.faults.clear()
        else:
            answer, self.requests = self.requests, []
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]


def main() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = FailingApp(DomainDispatcherApplication(create_backend_app))
    serving = make_server("127.0.0.1", 0, app, threaded=True)
    print(serving.port, flush=True)
    serving.serve_forever()


if __name__ == "__main__":
    main()
