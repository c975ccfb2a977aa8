"""The papermill engine's entry point: ``papermill --engine healthseg``, in Airflow and Dagster as well.

papermill loads it while it is itself being imported, so this module imports nothing of papermill.
"""

from __future__ import annotations

from typing import Any


class HealthsegEngine:
    """Executes notebooks in forked kernels; what papermill asks of an engine, answered by ``kernels.forking``."""

    @staticmethod
    def execute_notebook(nb: Any, kernel_name: str, *given: Any, **more: Any) -> Any:
        """The executed notebook."""
        from healthseg.reports.batches.kernels.forking import ForkingEngine

        return ForkingEngine.execute_notebook(nb, kernel_name, *given, **more)

    @staticmethod
    def nb_kernel_name(nb: Any, name: str | None = None) -> str:
        """The kernel that a notebook asks for."""
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @staticmethod
    def nb_language(nb: Any, language: str | None = None) -> str:
        """The language that a notebook is in."""
        from papermill.utils import nb_language

        return nb_language(nb, language)
