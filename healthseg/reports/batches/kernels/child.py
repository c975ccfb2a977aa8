"""What a forked process does before it is a kernel: nothing of the template's state that could differ may stay."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
from collections.abc import Mapping
from typing import Any


def run(request: Mapping[str, Any]) -> None:
    """Be the kernel that was asked for, and end with its status; never returns."""
    status = 1
    try:
        _settle(request)
        _reseed()
        status = _kernel(request["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        _leave(status)


def _settle(request: Mapping[str, Any]) -> None:
    """A session of its own, the asked environment and folder, no terminal."""
    from healthseg.reports.batches.kernels import drawing, linux

    os.setsid()
    linux.die_with_parent()
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.pop("JPY_PARENT_PID", None)  # its parent is the template, whose end it can't outlive
    os.chdir(request["folder"])
    if request.get("drawing"):
        drawing.asking(request["drawing"])


def _reseed() -> None:
    """Every kernel draws its own random numbers, as one that was started would."""
    random.seed()
    numbers = sys.modules.get("numpy")
    if numbers is not None:
        numbers.random.seed()


def _kernel(arguments: list[str]) -> int:
    from ipykernel.kernelapp import IPKernelApp

    gc.enable()
    sys.argv = ["ipykernel_launcher", *arguments]
    application = IPKernelApp.instance()
    application.initialize(arguments)
    application.start()
    return 0


def _leave(status: int) -> None:
    """As an interpreter ends: what was registered runs, files are flushed; memory is not taken apart piece by piece."""
    import atexit

    with contextlib.suppress(BaseException):
        from ipykernel.zmqshell import ZMQInteractiveShell

        if ZMQInteractiveShell.initialized():
            ZMQInteractiveShell.instance().user_ns.clear()
            gc.collect()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(status)
