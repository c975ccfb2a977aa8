"""Strings that a page must show as text and nothing else."""

from __future__ import annotations

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "</style><script>alert(3)</script>",
    "</svg><img src=x onerror=alert(4)>",
    '"><img src=x onerror=alert(5)>',
    "' onmouseover='alert(6)",
    "<iframe src=javascript:alert(7)>",
    '<a href="javascript:alert(8)">here</a>',
    "{{ 7 * 7 }}{% raw %}",
    "${7*7}#{7*7}",
    "<!-- ",
    "]]><b>cdata",
    "&lt;b&gt;already&amp;",
    "<svg onload=alert(9)>",
    "<style>body{display:none}</style>",
    "<meta http-equiv=refresh content=0;url=https://example.org>",
    "<base href=https://example.org/>",
    "\u202eevil\u202c",
    "\u0000null\u0007bell",
    "=cmd|' /C calc'!A0",
    "a" * 300,
    "日本語の会社名",
    "مرحبا بالعالم",
    "# heading\n\n[link](javascript:alert(10))",
    "%s %(name)s {0} {name!r}",
)
