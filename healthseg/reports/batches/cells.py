"""A notebook's cells, run in this process by IPython's shell, without a kernel and its protocol.

Each notebook gets a shell and a namespace of its own, and what it changes of the process is put back afterwards.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import copy
import decimal
import io
import locale
import logging
import os
import platform
import random
import signal
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets import Type
from traitlets.config import Config

Cell = nbformat.NotebookNode
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": platform.python_version(),
}


@dataclass(frozen=True)
class CellFailure:
    """The cell that ended a notebook, by its execution count, and what it raised."""

    cell: int
    error: BaseException

    @property
    def is_plain_exit(self) -> bool:
        """Whether the notebook ended itself, with a status that says that all is well."""
        return isinstance(self.error, SystemExit) and self.error.code in (None, 0)


class PrintedTooMuch(BaseException):
    """A notebook's outputs would fill the memory of whoever collects them."""


class Outputs:
    """The outputs of the cell that runs, as nbformat has them."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.current: list[Cell] = []
        self._limit, self._size = limit, 0
        self._by_display_id: dict[str, list[Cell]] = {}
        self._clear_first = False

    def begin(self, cell: Cell) -> None:
        """What comes next belongs to this cell."""
        cell.outputs = self.current = []
        self._clear_first = False

    def stream(self, name: str, text: str) -> None:
        self._count(len(text))
        if not text:
            return
        self._clear()
        last = self.current[-1] if self.current else None
        if last is not None and last.output_type == "stream" and last.name == name:
            last.text += text
        else:
            self.current.append(nbformat.v4.new_output("stream", name=name, text=text))

    def data(
        self, kind: str, data: Mapping[str, Any], metadata: Mapping[str, Any], **more: Any
    ) -> Cell:
        encoded = {name: _encoded(value) for name, value in data.items()}
        self._count(sum(len(value) for value in encoded.values() if isinstance(value, str)))
        self._clear()
        output = nbformat.v4.new_output(kind, data=encoded, metadata=metadata or {}, **more)
        self.current.append(output)
        return output

    def display(
        self, data: Mapping[str, Any], metadata: Mapping[str, Any], display_id: str, update: bool
    ) -> None:
        if update:
            for shown in self._by_display_id.get(display_id, []):
                shown.data = {name: _encoded(value) for name, value in data.items()}
                shown.metadata = dict(metadata or {})
            return
        output = self.data("display_data", data, metadata)
        if display_id:
            self._by_display_id.setdefault(display_id, []).append(output)

    def error(self, error: type, value: BaseException | None, traceback: list[str]) -> None:
        self._clear()
        self.current.append(
            nbformat.v4.new_output(
                "error", ename=error.__name__, evalue=str(value), traceback=traceback
            )
        )

    def clear(self, wait: bool = False) -> None:
        """Forget the cell's outputs, now or when the next one comes."""
        self._clear_first = True
        if not wait:
            self._clear()

    def _clear(self) -> None:
        if self._clear_first:
            self.current.clear()
            self._clear_first = False

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise PrintedTooMuch


def _encoded(value: Any) -> Any:
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


class OutputStream(io.TextIOBase):
    """Standard output or error of a notebook."""

    def __init__(self, outputs: Outputs, name: str, descriptor: int) -> None:
        self._outputs, self.name, self._descriptor = outputs, name, descriptor

    def write(self, text: str) -> int:
        self._outputs.stream(self.name, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"


class ResultHook(DisplayHook):
    """The value of a cell's last expression becomes an ``execute_result``."""

    shell: NotebookShell

    def write_output_prompt(self) -> None:
        """A notebook has the number beside the output."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        self.shell.outputs.data(
            "execute_result", format_dict, md_dict, execution_count=self.prompt_count
        )

    def finish_displayhook(self) -> None:
        self._is_active = False


class DisplayCollector(DisplayPublisher):
    """What ``display`` shows becomes a ``display_data``."""

    shell: NotebookShell

    def publish(  # type: ignore[override]
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        source: Any = None,
        *,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        display_id = (transient or {}).get("display_id", "")
        self.shell.outputs.display(data, metadata or {}, display_id, update)

    def clear_output(self, wait: bool = False) -> None:
        self.shell.outputs.clear(wait)


class NotebookShell(InteractiveShell):
    """IPython's shell without a terminal: what it would print is collected."""

    display_pub_class = Type(DisplayCollector)
    displayhook_class = Type(ResultHook)

    def __init__(self, outputs: Outputs, **options: Any) -> None:
        self.outputs = outputs
        self.exit_now = False
        super().__init__(**options)
        self.set_hook("show_in_pager", lambda *_, **__: None, priority=99)

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.outputs.error(etype, evalue, list(stb))

    def enable_gui(self, gui: str | None = None) -> None:
        """There is no window."""

    def ask_exit(self) -> None:
        """``exit`` and ``quit`` end the notebook."""
        self.exit_now = True


def run(
    notebook: Cell,
    printed_limit: float = float("inf"),
    on_cell: Callable[[int, int], None] = lambda index, number: None,
    after_cell: Callable[[int], None] = lambda index: None,
) -> CellFailure | None:
    """Execute the code cells of a notebook in place, up to the first that fails; that failure, or None.

    ``on_cell`` gets the index and the execution count of each code cell before it runs, ``after_cell`` its index when
    it has run. Raises PrintedTooMuch where the outputs together exceed ``printed_limit`` characters.
    """
    outputs = Outputs(printed_limit)
    notebook.metadata["language_info"] = copy.deepcopy(LANGUAGE)
    with unchanged_process(), _shell(outputs) as shell:
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            on_cell(index, shell.execution_count)
            error = _run_cell(shell, cell)
            after_cell(index)
            if error is not None:
                return CellFailure(cell.execution_count, error)
    return None


def _run_cell(shell: NotebookShell, cell: Cell) -> BaseException | None:
    cell.execution_count = shell.execution_count
    shell.outputs.begin(cell)
    with _descriptors(shell.outputs):
        result: ExecutionResult = shell.run_cell(cell.source, store_history=True)
    if shell.exit_now:
        return SystemExit(0)
    error = result.error_before_exec or result.error_in_exec
    if isinstance(error, PrintedTooMuch):
        raise error
    return None if "raises-exception" in cell.metadata.get("tags", []) else error


@contextlib.contextmanager
def _shell(outputs: Outputs) -> Iterator[NotebookShell]:
    """A shell with a fresh ``__main__``, and the only one of this process while it runs."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    module = types.ModuleType("__main__")
    InteractiveShell.clear_instance()
    names = ("stdout", "stderr", "displayhook", "excepthook")
    streams = {name: getattr(sys, name) for name in names}
    main = sys.modules["__main__"]
    try:
        sys.stdout = OutputStream(outputs, "stdout", 1)  # type: ignore[assignment]
        sys.stderr = OutputStream(outputs, "stderr", 2)  # type: ignore[assignment]
        shell = NotebookShell.instance(
            outputs=outputs, config=config, user_module=module, parent=None
        )
        sys.modules["__main__"] = module
        yield shell
    finally:
        sys.modules["__main__"] = main
        for name, stream in streams.items():
            setattr(sys, name, stream)
        _forget(NotebookShell)
        module.__dict__.clear()
        # an error that was raised keeps the frames, and all that they hold
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            sys.__dict__.pop(name, None)


def _forget(kind: type[InteractiveShell]) -> None:
    """Remove the shell, which otherwise stays registered for the end of the process."""
    import atexit

    if kind.initialized():
        shell = kind.instance()
        atexit.unregister(shell.atexit_operations)
        shell.atexit_operations()
        shell.user_ns.clear()
        kind.clear_instance()


@contextlib.contextmanager
def _descriptors(outputs: Outputs) -> Iterator[None]:
    """What subprocesses and libraries write to the descriptors 1 and 2 themselves, as a stream of the cell."""
    with tempfile.TemporaryFile() as file:
        before = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
        finally:
            for number, saved in zip((1, 2), before, strict=True):
                os.dup2(saved, number)
                os.close(saved)
        if os.fstat(file.fileno()).st_size:
            file.seek(0)
            outputs.stream("stdout", file.read().decode("utf-8", "replace"))


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Within it a notebook may change the process; afterwards all that it commonly changes is as before.

    Random numbers are drawn anew in each notebook, as in a process of its own.
    """
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    before = [(restore, read()) for read, restore in _process_states()]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for restore, value in before:
            restore(value)


State = tuple[Callable[[], Any], Callable[[Any], object]]


def _process_states() -> Iterator[State]:
    """Pairs of functions: one reads a state, one puts it back."""
    yield os.getcwd, os.chdir
    yield _of_mapping(os.environ)
    yield _of_mapping(builtins.__dict__)
    yield _of_list(sys.path)
    yield _of_list(sys.argv)
    yield sys.getrecursionlimit, sys.setrecursionlimit
    yield lambda: decimal.getcontext().copy(), decimal.setcontext
    yield partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)
    yield _logging, _restore_logging
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        yield partial(signal.getsignal, number), partial(signal.signal, number)
    yield from _states_of_libraries()


def _states_of_libraries() -> Iterator[State]:
    """The options of the libraries that notebooks set, of those that are loaded."""
    modules = sys.modules
    if "numpy" in modules:
        numpy = modules["numpy"]
        yield numpy.geterr, lambda value: numpy.seterr(**value)
        yield numpy.get_printoptions, lambda value: numpy.set_printoptions(**value)
    if "pandas" in modules:
        options = modules["pandas"].options.d
        yield lambda: copy.deepcopy(options), options.update
    if "altair" in modules:
        altair = modules["altair"]
        for registry in (altair.theme, altair.renderers, altair.data_transformers):
            yield _of_registry(registry)
    if "matplotlib" in modules:
        parameters = modules["matplotlib"].rcParams
        yield lambda: dict(parameters), lambda value: dict.update(parameters, value)


def _of_registry(registry: Any) -> State:
    def restore(value: tuple[str, dict[str, Any]]) -> None:
        if value != (registry.active, dict(registry.options)):
            registry.enable(value[0], **value[1])

    return lambda: (registry.active, dict(registry.options)), restore


def _of_list(values: list[str]) -> State:
    return values.copy, lambda before: values.__setitem__(slice(None), before)


def _of_mapping(mapping: Any) -> State:
    def restore(value: dict[str, Any]) -> None:
        for name in [name for name in mapping if name not in value]:
            del mapping[name]
        for name, before in value.items():
            if mapping.get(name) is not before and mapping.get(name) != before:
                mapping[name] = before

    return lambda: dict(mapping), restore


def _logging() -> tuple[int, int, list[logging.Handler]]:
    root = logging.getLogger()
    return root.manager.disable, root.level, list(root.handlers)


def _restore_logging(value: tuple[int, int, list[logging.Handler]]) -> None:
    root = logging.getLogger()
    logging.disable(value[0])
    root.setLevel(value[1])
    root.handlers[:] = value[2]
