"""The process that kernels are forked from. It imports, fits and draws one small thing, and then only forks.

It has one thread, no event loop, no database connection and no renderer, since none of these survives a fork. Each
connection to its socket asks for one kernel, is told its process id, and at last its exit status; where the asking
process goes away, the kernel is killed with all that it started. It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import shutil
import signal
import socket
import sys
from typing import Any

from healthseg.reports.batches.kernels import linux, messages

KERNEL = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "ipykernel.debugger",  # six tenths of a kernel's start
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "IPython.utils.wildcard",
    "tornado.platform.asyncio",
    "tornado.queues",
    "zmq.utils.garbage",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "mimetypes",
)
LIBRARIES = (
    "numpy",
    "pandas",
    "pandas.core.methods.to_dict",
    "pandas.core.reshape.reshape",
    "pandas.core.arrays.arrow.extension_types",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pyarrow.pandas_compat",
    "scipy.optimize",
    "sklearn.cluster",
    "sklearn.preprocessing",
    "statsmodels.api",
    "statsmodels.tsa.exponential_smoothing.ets",
    "statsmodels.tsa.api",
    "altair",
    "narwhals.stable.v1._namespace",
    "narwhals._pandas_like.namespace",
    "duckdb",
    "pydantic.type_adapter",
    "sqlalchemy.dialects.sqlite",
    "tzdata",
)
OURS = (
    "healthseg.data.portfolio",
    "healthseg.integrations.freshness",
    "healthseg.reports.html.page",
    "healthseg.settings.in_force",
    "healthseg.reports.batches.kernels.child",
    "healthseg.reports.batches.kernels.drawing",
    "healthseg.reports.batches.kernels.sharing",
)


def main(path: str, shared: int = -1) -> None:
    """Import, warm up, listen at ``path`` until standard input ends; ``shared`` is a file with what all share."""
    linux.adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    gc.disable()
    _import()
    if shared >= 0:
        from healthseg.reports.batches.kernels import sharing

        with os.fdopen(shared, "rb") as file:
            sharing.load(file)
    _warm_up()
    gc.collect()
    gc.freeze()
    Template(path).serve()


def _import() -> None:
    from healthseg.tools import TOOLS

    for name in (
        *KERNEL,
        *LIBRARIES,
        *OURS,
        *_within("healthseg.reports.pages"),
        *_within("healthseg.charts"),
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for tool in TOOLS.values():
        with contextlib.suppress(ImportError, AttributeError):
            _ = tool.parameters


def _within(package: str) -> list[str]:
    """The names of a package's modules."""
    import pkgutil

    path = importlib.import_module(package).__path__
    return [f"{package}.{found.name}" for found in pkgutil.iter_modules(path)]


def _warm_up() -> None:
    from healthseg.reports.batches.kernels import warming

    warming.fit()
    warming.chart()


class Template:
    """Forks kernels on request, and tells what became of them."""

    def __init__(self, path: str) -> None:
        self._path, self._listener = path, messages.listener(path)
        self._selector = selectors.DefaultSelector()
        self._kernels: dict[int, socket.socket] = {}
        self._ended, wakes = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(self._ended, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._wakes = wakes
        for readable, act in (
            (self._listener, self._accept),
            (self._ended, self._reap),
            (0, self._leave),
        ):
            self._selector.register(readable, selectors.EVENT_READ, act)

    def serve(self) -> None:
        """Until standard input ends."""
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data(key.fileobj)
        finally:
            for pid in [*self._kernels, *linux.children(os.getpid())]:
                _kill_group(pid)
            shutil.rmtree(os.path.dirname(self._path), ignore_errors=True)

    def _leave(self, _: Any) -> None:
        if not os.read(0, 1024):
            sys.exit(0)

    def _accept(self, _: Any) -> None:
        channel, _ = self._listener.accept()
        channel.settimeout(10)
        try:
            request = messages.receive(channel)
        except (OSError, EOFError, ValueError):
            channel.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become(request, channel)
        self._kernels[pid] = channel
        self._selector.register(channel, selectors.EVENT_READ, lambda _: self._left(pid))
        with contextlib.suppress(OSError):
            messages.send(channel, {"pid": pid})

    def _become(self, request: dict[str, Any], channel: socket.socket) -> None:
        """The child: it forgets the template, and is a kernel until it ends."""
        from healthseg.reports.batches.kernels import child

        signal.set_wakeup_fd(-1)
        for number in (self._ended, self._wakes):
            os.close(number)
        for other in (self._listener, channel, *self._kernels.values()):
            other.close()
        self._selector.close()
        child.run(request)

    def _left(self, pid: int) -> None:
        """The asking process said something (it never does) or went away."""
        channel = self._kernels[pid]
        with contextlib.suppress(OSError):
            if channel.recv(1024):
                return
        self._selector.unregister(channel)
        _kill_group(pid)
        os.kill(
            pid, signal.SIGKILL
        )  # it may not have had the time to become a group; it was not reaped yet

    def _reap(self, _: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._ended, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._kernels:
                self._told(pid, status)

    def _told(self, pid: int, status: int) -> None:
        """A kernel ended: what it started ends with it, also what left its group."""
        _kill_group(pid)
        for orphan in linux.children(os.getpid()):
            if orphan not in self._kernels:
                _kill_group(orphan)
                with contextlib.suppress(OSError):
                    os.kill(orphan, signal.SIGKILL)
        channel = self._kernels.pop(pid)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(channel)
        with contextlib.suppress(OSError):
            messages.send(channel, {"status": os.waitstatus_to_exitcode(status)})
        channel.close()


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
