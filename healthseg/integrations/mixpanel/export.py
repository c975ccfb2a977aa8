"""One request of the raw export: its address, its credentials, its lines, and what each failure means.

What may go well the next time is ``TransientFailure``; what will not is an IntegrationError that says what to change.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from healthseg.errors import IntegrationError, InvalidParameters
from healthseg.settings.operator import MixpanelSettings

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 25
_CONNECT_SECONDS = 30.0
_RULES = {
    401: "check the secret (no blank or colon at its end), that it is not a project token, and the region",
    402: "the project's plan has no access to the export",
    403: "the service account needs the role of an analyst or above, and access to classified data where there are any",
    404: "check the region, the project_id and api_url",
}


class TransientFailure(Exception):
    """A failure that may pass; ``smaller`` where fewer days at once may help, ``busy`` where the limit was met."""

    def __init__(self, reason: str, *, smaller: bool = False, busy: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.smaller, self.busy = reason, smaller, busy


class DayNotBegun(Exception):
    """The last requested day has not begun in the project's time zone."""


@dataclass(frozen=True)
class Credentials:
    """What signs a request; shown nowhere."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    project_id: int | None

    @classmethod
    def of(cls, settings: MixpanelSettings, secrets: Mapping[str, str | None]) -> Credentials:
        """Those of a service account, else the project's secret; raises InvalidParameters with what is missing.

        >>> Credentials.of(MixpanelSettings(), {"project_token": "t"})
        Traceback (most recent call last):
        healthseg.errors.InvalidParameters: MIXPANEL_PROJECT_TOKEN is for sending events and authorises no export: ...
        """
        way_out = (
            "set MIXPANEL_SERVICE_ACCOUNT, MIXPANEL_SERVICE_ACCOUNT_SECRET and MIXPANEL_PROJECT_ID "
            "(or, until March 2027, MIXPANEL_API_SECRET)"
        )
        account, secret = settings.service_account, secrets.get("service_account_secret")
        if account and secret:
            if settings.project_id is None:
                raise _missing(
                    "a service account needs the project's number: set MIXPANEL_PROJECT_ID"
                )
            return cls(account, secret, settings.project_id)
        if account or secret:
            raise _missing(f"of a service account both name and secret are needed: {way_out}")
        if secrets.get("api_secret"):
            return cls(str(secrets["api_secret"]), "", settings.project_id)
        if secrets.get("project_token"):
            raise _missing(
                f"MIXPANEL_PROJECT_TOKEN is for sending events and authorises no export: {way_out}"
            )
        raise _missing(f"no credentials for Mixpanel: {way_out}")

    @property
    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def hidden(self, text: str) -> str:
        """A text without the credentials, should somebody have sent them back."""
        for secret in (
            self.password,
            self.user if not self.password else "",
            self.header.removeprefix("Basic "),
        ):
            text = text.replace(secret, "…") if secret else text
        return text


def _missing(words: str) -> InvalidParameters:
    return InvalidParameters(words, parameter="mixpanel", validation_rule="credentials of Mixpanel")


class MixpanelExport:
    """The export of one project."""

    def __init__(self, settings: MixpanelSettings, credentials: Credentials) -> None:
        self._settings, self._credentials = settings, credentials
        self._pool = _pool(settings.url)

    def lines(self, first: dt.date, last: dt.date) -> Iterator[bytes]:
        """The answer's lines, from the days ``first`` to ``last``, both included.

        Raises TransientFailure, DayNotBegun or IntegrationError; when the lines end without one of them, the answer was whole.
        """
        try:
            response = self._response(first, last)
            try:
                if response.status != 200:
                    raise self._refusal(response)
                yield from _split(_whole(response))
            finally:
                response.release_conn()
                response.close()
        except (HTTPError, zlib.error, OSError) as problem:
            raise TransientFailure(
                f"{type(problem).__name__} while reading", smaller=True
            ) from None

    def _response(self, first: dt.date, last: dt.date) -> Any:
        """The answer's beginning; a server that is slow to begin may be quicker with fewer days."""
        try:
            return self._request(first, last)
        except (HTTPError, OSError) as problem:
            slow = isinstance(problem, ReadTimeoutError)
            raise TransientFailure(f"{type(problem).__name__} while asking", smaller=slow) from None

    def _request(self, first: dt.date, last: dt.date) -> Any:
        fields = {"from_date": first.isoformat(), "to_date": last.isoformat(), "time_in_ms": "true"}
        if self._credentials.project_id is not None:
            fields["project_id"] = str(self._credentials.project_id)
        headers = {
            "Authorization": self._credentials.header,
            "Accept-Encoding": "gzip",
            "User-Agent": "healthseg",
        }
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._settings.timeout_seconds)
        return self._pool.request(
            "GET",
            self._settings.url,
            fields=fields,
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _refusal(self, response: Any) -> Exception:
        """What a status other than 200 means."""
        status, message = response.status, self._credentials.hidden(_message(response))
        lowered = message.lower()
        if status == 429:
            return TransientFailure("429: the limit of queries is met", busy=True)
        if status >= 500 or status == 408:
            return TransientFailure(f"{status}: {message}" if message else str(status))
        if status == 400 and "timeout error" in lowered:
            return TransientFailure("400: the query took too long", smaller=True)
        if status == 400 and "later than today" in lowered:
            return DayNotBegun()
        rule = _RULES.get(status)
        if status == 400 and "authenticate" in lowered:
            rule = _RULES[401]
        return IntegrationError(
            f"Mixpanel refuses the export ({status}{': ' + message if message else ''})"
            + (f": {rule}" if rule else ""),
            parameter="mixpanel",
            value_provided=str(status),
            validation_rule=rule,
        )


def _pool(url: str) -> Any:
    """Connections to the export, through the environment's proxy where it names one for the host."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy)
    return urllib3.PoolManager()


def _message(response: Any) -> str:
    """The first words of an error's body: JSON with ``error``, or plain text."""
    try:
        raw = response.read(1 << 16, decode_content=True)
    except (HTTPError, OSError):
        return ""
    text = raw.decode("utf-8", errors="replace").strip()
    try:
        body = json.loads(text)
        text = str(body["error"]) if isinstance(body, dict) and "error" in body else text
    except ValueError:
        pass
    return " ".join(text.split())[:300]


def _whole(response: Any) -> Iterator[bytes]:
    """The body, decompressed; raises TransientFailure where its end is missing or unknown."""
    zipped = "gzip" in response.headers.get("Content-Encoding", "").lower()
    if not zipped and "Content-Length" not in response.headers and not response.chunked:
        raise TransientFailure("the response has no end marker")
    if not zipped:
        yield from response.stream(_CHUNK, decode_content=False)
        return
    unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    received = 0
    for chunk in response.stream(_CHUNK, decode_content=False):
        received += len(chunk)
        while chunk:
            yield unzip.decompress(chunk)
            chunk = unzip.unused_data
            if unzip.eof and chunk:
                unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    if received and not unzip.eof:
        raise TransientFailure("the gzip stream is cut off", smaller=True)


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines ended by a newline alone: other breaks may stand within a record."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise TransientFailure("a line without end", smaller=True)
    if rest:
        yield rest
