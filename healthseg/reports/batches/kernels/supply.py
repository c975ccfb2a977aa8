"""Kernels for notebooks: forked ahead of need from a template, one for each notebook and never used twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import LocalProvisioner

from healthseg.reports.batches.kernels import drawing, messages

TEMPLATE = "HEALTHSEG_TEMPLATE"  # where the template that a batch shares listens
SECONDS_TO_IMPORT = 120.0
SECONDS_TO_FORK = 30.0
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
# Arrow's own allocator has a thread, which a fork would lose; debugpy would complain of frozen modules.
QUIET = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


class NoTemplate(RuntimeError):
    """Kernels can't be forked here; the message says why."""


def can_fork() -> bool:
    """Forking what has imported numerical libraries is safe on Linux; elsewhere kernels are started."""
    return sys.platform.startswith("linux") and hasattr(os, "fork")


def is_plain(kernel_name: str) -> bool:
    """Whether a kernel's specification asks for nothing but ipykernel on this very Python."""
    try:
        spec = KernelSpecManager().get_kernel_spec(kernel_name)
    except NoSuchKernel:
        return False
    names = {"python", "python3", os.path.basename(sys.executable)}
    ours = spec.argv[:1] == [sys.executable] or spec.argv[0] in names
    rest = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return (
        ours
        and [word for word in spec.argv[1:] if word != "-Xfrozen_modules=off"] == rest
        and not spec.env
    )


class Template:
    """A running template process, and where it listens; it ends with the process that started it."""

    def __init__(self, shared: Any = None, folder: Path | None = None) -> None:
        if not can_fork():
            raise NoTemplate("kernels are forked on Linux only")
        self.folder = folder or Path(tempfile.mkdtemp(prefix="hs-"))
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.path = str(self.folder / "template")
        Path(self.path).unlink(missing_ok=True)
        number = shared.fileno() if shared is not None else -1
        code = f"from healthseg.reports.batches.kernels import template; template.main({self.path!r}, {number})"
        environment = {**os.environ, **ONE_THREAD, **QUIET, "PYTHONPATH": python_path()}
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                pass_fds=[number] if number >= 0 else [],
                start_new_session=True,
            )

    def ready(self) -> Template:
        """Wait until it listens; raises NoTemplate, with what it said, where it ended before."""
        last = time.monotonic() + SECONDS_TO_IMPORT
        while not os.path.exists(self.path):
            if self.process.poll() is not None or time.monotonic() > last:
                told = (self.folder / "log").read_text("utf-8", "replace")[-2000:].strip()
                self.close()
                raise NoTemplate(
                    f"the process that kernels are forked from did not start: {told or 'it said nothing'}"
                )
            time.sleep(0.02)
        return self

    def runs(self) -> bool:
        """Whether its process has not ended."""
        return self.process.poll() is None

    def end(self) -> None:
        """End the template and every kernel that still runs; its folder stays."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the template and every kernel that still runs, and remove what lies in its folder."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def python_path() -> str:
    """Where a kernel finds this healthseg, installed or not."""
    here = str(Path(__file__).resolve().parents[4])
    return os.pathsep.join(
        dict.fromkeys([here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
    )


class Forked:
    """A process that is the template's child: what jupyter_client asks of a ``Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self._channel, self.pid, self.returncode = channel, pid, None
        self.orphaned = False  # its template has gone, and it with that

    def poll(self) -> int | None:
        if self.returncode is None:
            self._channel.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._channel.settimeout(timeout)
            self._ended()
        return self.returncode

    def _ended(self) -> None:
        try:
            self.returncode = messages.receive(self._channel)["status"]
        except (EOFError, ConnectionError):
            self.returncode, self.orphaned = -signal.SIGKILL, True
        self._channel.close()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkedProvisioner(LocalProvisioner):
    """Launches a kernel by asking a template for it."""

    template_path = ""
    drawing_path = ""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Mapping[str, Any]:
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        request = {
            "arguments": arguments,
            "environment": dict(kwargs.get("env") or os.environ) | ONE_THREAD,
            "folder": str(kwargs.get("cwd") or os.getcwd()),
            "drawing": self.drawing_path,
        }
        try:
            channel = messages.connection(self.template_path, SECONDS_TO_FORK)
            messages.send(channel, request)
            self.pid = self.pgid = messages.receive(channel)["pid"]
        except (OSError, EOFError) as problem:
            raise NoTemplate(
                f"the process that kernels are forked from does not answer: {problem}"
            ) from None
        self.process = Forked(channel, self.pid)
        self.cwd = request["folder"]
        return self.connection_info


class ForkedManager(KernelManager):
    """A manager whose kernel is forked; its sockets lie in a private folder, so that no ports can be raced for."""

    client_class = "jupyter_client.asynchronous.AsyncKernelClient"

    def start(
        self, template_path: str, drawing_path: str, arguments: list[str], folder: str
    ) -> None:
        self.provisioner = ForkedProvisioner(
            kernel_id="", kernel_spec=self.kernel_spec, parent=self
        )
        self.provisioner.template_path, self.provisioner.drawing_path = template_path, drawing_path
        self.start_kernel(extra_arguments=arguments, cwd=folder)

    @property
    def process(self) -> Forked:
        """The kernel's process, also after its end."""
        return self._process

    def remember_process(self) -> None:
        self._process = self.provisioner.process


class Supply:
    """Kernels for one process that executes notebooks, the next one starting while this one runs."""

    def __init__(self, template_path: str) -> None:
        try:
            self.folder = Path(tempfile.mkdtemp(dir=os.path.dirname(template_path)))
        except OSError:
            raise NoTemplate("the process that kernels are forked from has ended") from None
        self._template_path, self._count = template_path, 0
        self._drawing_path = str(self.folder / "drawing")
        drawing.serve(self._drawing_path)
        self._ready: tuple[tuple, ForkedManager] | None = None

    def take(
        self, kernel_name: str, arguments: list[str], folder: str, ahead: bool = True
    ) -> ForkedManager:
        """A kernel that nobody used; with ``ahead`` the next one of the same kind is started at once."""
        kind = (kernel_name, tuple(arguments), folder, tuple(sorted(os.environ.items())))
        waiting, self._ready = self._ready, None
        if waiting and (waiting[0] != kind or not waiting[1].is_alive()):
            release(waiting[1])
            waiting = None
        manager = waiting[1] if waiting else self._start(kernel_name, arguments, folder)
        if ahead:
            with contextlib.suppress(NoTemplate):  # whoever needs it is told
                self._ready = kind, self._start(kernel_name, arguments, folder)
        return manager

    def _start(self, kernel_name: str, arguments: list[str], folder: str) -> ForkedManager:
        self._count += 1
        name = str(self.folder / str(self._count))
        manager = ForkedManager(
            kernel_name=kernel_name,
            transport="ipc",
            ip=name,
            connection_file=f"{name}.json",
            cache_ports=False,
        )
        manager.start(self._template_path, self._drawing_path, list(arguments), folder)
        manager.remember_process()
        return manager

    def close(self) -> None:
        """End the kernel that waits, and remove the sockets."""
        if self._ready:
            release(self._ready[1])
            self._ready = None
        shutil.rmtree(self.folder, ignore_errors=True)


def release(manager: ForkedManager) -> None:
    """Ask a kernel to end, kill its group if it does not within two seconds, and remove what it left."""
    with contextlib.suppress(Exception):
        manager.request_shutdown()
    try:
        manager.process.wait(2)
    except (TimeoutError, OSError):
        manager.process.kill()
        with contextlib.suppress(TimeoutError, OSError):
            manager.process.wait(2)
    manager.cleanup_resources()
    for left in Path(manager.ip).parent.glob(f"{Path(manager.ip).name}[-.]*"):
        left.unlink(missing_ok=True)
