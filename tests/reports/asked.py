"""What each tool of the registry is asked in the tests of faces: the least that it takes."""

from __future__ import annotations

from typing import Any

from healthseg.reports import registry

LEAST: dict[str, dict[str, Any]] = {
    "segment_customers": {"segment_type": "health", "segmentation_criteria": {}},
    "analyze_engagement_patterns": {"analysis_scope": "single_customer"},
    "manage_lifecycle_stages": {"action": "get_stage"},
}


def asked_of(tool: str, client_id: str) -> dict[str, Any]:
    """Parameters with which a tool answers."""
    takes = registry.tool(tool).parameters.model_fields
    return LEAST.get(tool, {}) | ({"client_id": client_id} if "client_id" in takes else {})
