"""The papermill engine: ``papermill --engine healthseg``, in Airflow and Dagster as well.

papermill loads this module while it is itself being imported, so it imports nothing of papermill.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import nbformat

if TYPE_CHECKING:
    from papermill.engines import NotebookExecutionManager


class HealthsegEngine:
    """Executes a notebook in a fresh worker, without a kernel; what another kernel should run goes to nbclient."""

    @staticmethod
    def execute_notebook(
        nb: nbformat.NotebookNode, kernel_name: str, *arguments: Any, **more: Any
    ) -> Any:
        """The executed notebook."""
        from papermill.engines import Engine, NBClientEngine
        from papermill.log import logger

        if not is_plain(kernel_name):
            logger.info(f"Kernel {kernel_name!r} is not this Python's own: nbclient starts it")
            return NBClientEngine.execute_notebook(nb, kernel_name, *arguments, **more)

        class WorkerEngine(Engine):
            execute_managed_notebook = staticmethod(_execute)

        return WorkerEngine.execute_notebook(nb, kernel_name, *arguments, **more)

    @staticmethod
    def nb_kernel_name(nb: nbformat.NotebookNode, name: str | None = None) -> str:
        """The name of the notebook's kernel."""
        from papermill.utils import nb_kernel_name

        return str(nb_kernel_name(nb, name))

    @staticmethod
    def nb_language(nb: nbformat.NotebookNode, language: str | None = None) -> str:
        """The notebook's language."""
        from papermill.utils import nb_language

        return str(nb_language(nb, language))


def is_plain(kernel_name: str) -> bool:
    """Whether a kernel's specification says nothing but ipykernel on this very Python."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        spec = KernelSpecManager().get_kernel_spec(kernel_name)
    except NoSuchKernel:
        return False
    names = {sys.executable, "python", "python3", os.path.basename(sys.executable)}
    rest = [word for word in spec.argv[1:] if word != "-Xfrozen_modules=off"]
    plain = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    return spec.argv[0] in names and rest == plain and not spec.env


def _execute(
    manager: NotebookExecutionManager,
    kernel_name: str,
    *,
    execution_timeout: float | None = None,
    **_: Any,
) -> None:
    """Run the cells in a worker, and tell papermill of each as it begins and ends."""
    from healthseg.reports.batches import workers
    from healthseg.settings.in_force import in_force

    settings = in_force().reports.model_copy(
        update={"deadline_seconds": execution_timeout or float("inf")}
    )
    tell = partial(_tell, manager)
    worker = workers.Worker(dict, settings)
    worker.give(partial(_in_worker, manager.nb, settings.printed_mb))
    try:
        while not _ended(worker, tell):
            workers.wait([worker.connection], timeout=workers.SECONDS_BETWEEN_LOOKS)
    finally:
        worker.close()


def _ended(worker: Any, tell: Callable[[tuple[int, Any]], None]) -> bool:
    from healthseg.reports.batches.workers import Lost, TaskStep

    for event in worker.events():
        if isinstance(event, TaskStep):
            tell(event.value)
        elif isinstance(event, Lost):
            raise RuntimeError(f"the notebook was {event.status}: {event.reason}")
        elif event.value:
            raise RuntimeError(event.value)
        else:
            return True
    return False


def _tell(manager: NotebookExecutionManager, step: tuple[int, Any]) -> None:
    """A cell begins (no cell comes along), or has ended and comes along as executed."""
    index, executed = step
    cell = manager.nb.cells[index]
    if executed is None:
        manager.cell_start(cell, index)
        return
    cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
    manager.nb.metadata.language_info = executed.metadata.pop("language_info")
    if any(output.output_type == "error" for output in cell.outputs):
        manager.cell_exception(cell, index)
    manager.cell_complete(cell, index)


def _in_worker(
    notebook: nbformat.NotebookNode,
    printed_mb: float,
    state: object,
    tell: Callable[[object], None],
) -> str:
    """What ended the notebook beyond an error of a cell; empty where nothing did."""
    from healthseg.reports.batches import cells

    def after(index: int) -> None:
        cell = notebook.cells[index]
        cell.metadata["language_info"] = notebook.metadata["language_info"]
        tell((index, cell))

    try:
        cells.run(notebook, printed_mb * 1e6, lambda index, _: tell((index, None)), after)
    except cells.PrintedTooMuch:
        return f"the notebook printed more than {printed_mb:g} MB"
    return ""
