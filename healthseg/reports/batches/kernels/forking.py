"""papermill's engine with forked kernels.

A notebook runs in a kernel that was forked from a process which has imported everything: a fresh state in a fifth of
the time. Where that can't be had (another system, a kernel of another name) it runs in a plain kernel, and the log
says so.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

from healthseg.reports.batches.kernels import supply

_running: dict[str, Any] = {}


class Client(PapermillNotebookClient):
    """papermill's client with a kernel that is already there, and a limit to what a notebook may print."""

    def __init__(self, *given: Any, printed_limit: int = 0, **more: Any) -> None:
        super().__init__(*given, **more)
        self._limit, self._printed = printed_limit, 0
        self.cell_number = 0

    def execute_cell(self, cell: Any, *given: Any, **more: Any) -> Any:
        self.cell_number += cell.cell_type == "code" and bool(cell.source.strip())
        return super().execute_cell(cell, *given, **more)

    def process_message(self, message: dict[str, Any], *given: Any, **more: Any) -> Any:
        if self._limit:
            self._printed += _size(message["content"])
            if self._printed > self._limit:
                self.km.process.kill()
                message["content"] = {**message["content"], "text": "", "data": {}}
        return super().process_message(message, *given, **more)

    @property
    def too_much(self) -> bool:
        """Whether the kernel was killed for what it printed."""
        return bool(self._limit) and self._printed > self._limit

    @property
    def printed_mb(self) -> float:
        """The limit in megabytes."""
        return self._limit / 1e6


def _size(content: dict[str, Any]) -> int:
    return len(content.get("text") or "") + sum(
        len(value) for value in (content.get("data") or {}).values() if isinstance(value, str)
    )


class ForkingEngine(NBClientEngine):
    """Executes notebooks in forked kernels."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **given: Any,
    ) -> Any:
        kernel = _kernel(kernel_name, given.get("extra_arguments", []), given.pop("ahead", False))
        if kernel is None:
            return super().execute_managed_notebook(
                nb_man,
                kernel_name,
                log_output=log_output,
                start_timeout=start_timeout,
                execution_timeout=execution_timeout,
                **_without(given, "watched", "printed_limit"),
            )
        given.pop("extra_arguments", None)
        watched: Callable[[Any], Any] = given.pop("watched", _nobody)
        safe = remove_args(["timeout", "startup_timeout", "input_path"], **given)
        final = merge_kwargs(
            safe,
            timeout=execution_timeout or given.get("timeout"),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
        )
        try:
            with watched(kernel):
                return _executed(Client(nb_man, km=kernel, **final))
        finally:
            supply.release(kernel)


def _executed(client: Client) -> Any:
    """Run the cells; an exception that ends the run is told in which cell, and how the kernel ended."""
    kernel = client.km.process  # a client whose kernel ends while it starts lets go of it
    try:
        return client.execute(cleanup_kc=False)
    except Exception as problem:
        problem.cell_number, problem.ending = client.cell_number, _ending(kernel.poll())
        problem.orphaned = kernel.orphaned
        if client.too_much:
            raise PrintedTooMuch(
                client.cell_number, f"it printed more than {client.printed_mb:.0f} MB"
            ) from None
        raise
    finally:
        _stop_channels(client)


def _ending(status: int | None) -> str:
    """
    >>> _ending(-9), _ending(3), _ending(None)
    (' (SIGKILL)', ' (exit status 3)', '')
    """
    if status is None:
        return ""
    return f" ({signal.Signals(-status).name})" if status < 0 else f" (exit status {status})"


class PrintedTooMuch(RuntimeError):
    """A notebook was ended because its outputs would have filled the memory of whoever collects them."""

    def __init__(self, cell_number: int, message: str) -> None:
        super().__init__(message)
        self.cell_number = cell_number


def _stop_channels(client: Client) -> None:
    with contextlib.suppress(Exception):
        if client.kc is not None:
            client.kc.stop_channels()


@contextlib.contextmanager
def _nobody(manager: Any):
    yield


def _without(given: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _kernel(kernel_name: str, arguments: list[str], ahead: bool) -> supply.ForkedManager | None:
    """A forked kernel of a name; None, with a line in the log, where it is to be started the plain way."""
    if not supply.can_fork():
        logger.info("Kernels are not forked on this system: the notebook runs in a plain kernel")
        return None
    if not supply.is_plain(kernel_name):
        logger.info(
            f"Kernel {kernel_name!r} is not this Python's own: the notebook runs in it the plain way"
        )
        return None
    try:
        return kernels().take(kernel_name, arguments, os.getcwd(), ahead)
    except supply.NoTemplate as problem:
        logger.warning(f"{problem}; the notebook runs in a plain kernel")
        return None


def kernels() -> supply.Supply:
    """This process' supply; its template is the one that ``HEALTHSEG_TEMPLATE`` names, else one of its own."""
    owner = os.getpid()
    if _running.get("owner") == owner and not _running_still():
        stop()
    if _running.get("owner") != owner:
        path = os.environ.get(supply.TEMPLATE)
        template = None if path else supply.Template().ready()
        _running.update(owner=owner, template=template, supply=supply.Supply(path or template.path))
        atexit.register(stop)
    return _running["supply"]


def _running_still() -> bool:
    """Whether the template of our own runs; of one that is shared, whether it has not swept its folder."""
    own = _running["template"]
    return own.runs() if own is not None else _running["supply"].folder.is_dir()


def stop() -> None:
    """End the kernel that waits, and the template if it is our own."""
    if _running.get("owner") != os.getpid():
        return
    _running["supply"].close()
    if _running["template"] is not None:
        _running["template"].close()
    _running.clear()
