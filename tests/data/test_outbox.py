"""The outbox: messages are delivered by key, tried again, or kept with the reason why not."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from healthseg.data import outbox
from healthseg.data.ledger.ledger import FILE_NAME, Ledger
from healthseg.data.outbox import Message, Undelivered, deliverer
from healthseg.settings.lifecycle import Handler, Outbox

START = dt.datetime(2025, 10, 1, 12, tzinfo=dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    return Ledger(tmp_path / FILE_NAME, clock)


def message(
    action: str = "notify_csm",
    handler: str | None = "out",
    due: dt.datetime | None = START,
    client: str = "c1",
    request: str = "r1",
    **payload,
) -> Message:
    content = {
        "subject": "Acme is now active",
        "text": "Acme moved",
        "recipients": ["ann@vendor.example"],
        **payload,
    }
    return Message(request, client, action, handler, content, due)


def settings(handler: Handler, **more) -> Outbox:
    return Outbox(handlers={"out": handler}, routes={"*": "out"}, **more)


def run(ledger: Ledger, chosen: Outbox, tmp_path: Path) -> dict:
    return outbox.run(ledger, chosen, tmp_path)


def statuses(ledger: Ledger) -> list[str]:
    return [entry.status for entry in outbox.everything(ledger)]


# -- receivers -----------------------------------------------------------------------------------------------


class Hook:
    """A webhook that answers as it is told to: a status, "hang", "drip" or "twice"."""

    def __init__(self, *answers) -> None:
        self.answers, self.keys, self.bodies = list(answers), [], []
        hook = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.bodies.append(body)
                hook.keys.append(self.headers["Idempotency-Key"])
                hook.answer(self, hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0])

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.released = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler, how) -> None:
        with contextlib.suppress(OSError):
            if how == "hang":
                self.released.wait(20)
            elif how == "drip":
                for letter in "HTTP/1.1 200 OK\r\nX: " + "x" * 100:
                    request.wfile.write(letter.encode())
                    if self.released.wait(0.1):
                        break
            elif how == "twice":
                request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2)
            else:
                request.send_response(how)
                request.send_header("Content-Length", "0")
                request.send_header("Location", "http://127.0.0.1:1/")
                request.end_headers()

    @property
    def handler(self) -> Handler:
        return Handler(
            kind="webhook",
            url=f"http://127.0.0.1:{self.server.server_port}/hook?x=1",
            timeout_seconds=0.5,
        )

    def __enter__(self) -> Hook:
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        return self

    def __exit__(self, *_) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def mail_server(*refused: str):
    """A mail server that keeps what it is sent, and refuses some recipients."""
    mails: list[str] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                        lines.append(text)
                    mails.append("\n".join(lines))
                bad = word == "RCPT" and any(name in line for name in refused)
                self.wfile.write(
                    b"550 unknown\r\n"
                    if bad
                    else b"221 bye\r\n"
                    if word == "QUIT"
                    else b"250 ok\r\n"
                )
                if word == "QUIT":
                    break

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()
        yield server.server_address[1], mails
        server.shutdown()


# -- what is kept --------------------------------------------------------------------------------------------


def test_a_message_is_kept_once_under_a_key_of_its_own(ledger):
    outbox.put(ledger, [message(), message("update_crm_stage")])
    outbox.put(ledger, [message(), message("create_task")])
    entries = outbox.everything(ledger)
    assert [entry.message.action for entry in entries] == [
        "notify_csm",
        "update_crm_stage",
        "create_task",
    ]
    assert len({entry.key for entry in entries}) == 3 and all(
        len(entry.key) == 32 for entry in entries
    )
    assert [entry.message for entry in outbox.of_request(ledger, "r1")] == [
        entry.message for entry in entries
    ]


def test_messages_and_the_move_are_kept_together_or_not_at_all(ledger):
    with pytest.raises(ZeroDivisionError), ledger.transaction():
        ledger.record_stage_event("r1", "c1", "active", START, actor="ann")
        outbox.put(ledger, [message()])
        raise ZeroDivisionError
    assert outbox.everything(ledger) == [] and ledger.stage_events() == []


def test_reading_an_outbox_that_is_not_there_makes_none(ledger, tmp_path):
    assert outbox.everything(ledger) == outbox.of_request(ledger, "r1") == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_handler_a_message_is_not_configured_and_stays_so(ledger, tmp_path):
    outbox.put(ledger, [message(handler=None, due=None)])
    assert statuses(ledger) == ["not_configured"]
    report = run(ledger, settings(Handler(kind="file", path="out.jsonl")), tmp_path)
    assert report["delivered"] == 0 and report["outbox"] == {"not_configured": 1}
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_not_due_yet_waits(ledger, clock, tmp_path):
    chosen = settings(Handler(kind="file", path="out.jsonl"))
    outbox.put(ledger, [message(due=START + dt.timedelta(hours=20))])
    assert run(ledger, chosen, tmp_path)["delivered"] == 0 and statuses(ledger) == ["scheduled"]
    clock.forward(20 * 3600)
    assert run(ledger, chosen, tmp_path)["delivered"] == 1 and statuses(ledger) == ["completed"]


# -- a file --------------------------------------------------------------------------------------------------


def test_a_file_gets_a_line_of_json_a_message_and_none_twice(ledger, tmp_path):
    chosen = settings(Handler(kind="file", path="out.jsonl"))
    outbox.put(ledger, [message(text="ü\n日本"), message("create_task")])
    assert (
        run(ledger, chosen, tmp_path)["delivered"] == 2
        and run(ledger, chosen, tmp_path)["delivered"] == 0
    )
    lines = [
        json.loads(line)
        for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(line["action"], line["client_id"], line["text"]) for line in lines] == [
        ("notify_csm", "c1", "ü\n日本"),
        ("create_task", "c1", "Acme moved"),
    ]
    assert [line["idempotency_key"] for line in lines] == [
        entry.key for entry in outbox.everything(ledger)
    ]


def test_a_line_that_a_crash_cut_short_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text('{"half": ')
    deliverer(Handler(kind="file", path=str(path)), tmp_path)(message())
    half, whole = path.read_text(encoding="utf-8").splitlines()
    assert half == '{"half": ' and json.loads(whole)["action"] == "notify_csm"


def test_a_line_that_a_killed_run_wrote_but_did_not_record_stays_one(tmp_path):
    path = tmp_path / "out.jsonl"
    deliver = deliverer(Handler(kind="file", path=str(path)), tmp_path)
    for _ in range(2):
        deliver(message())
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1


def test_a_file_of_the_portfolio_that_leads_outside_is_not_written(tmp_path):
    folder, other = tmp_path / "portfolio", tmp_path / "other.txt"
    folder.mkdir()
    (folder / "out.jsonl").symlink_to(other)
    with pytest.raises(Undelivered, match="leads outside of the portfolio"):
        deliverer(Handler(kind="file", path="out.jsonl"), folder)(message())
    assert not other.exists()


def test_a_name_makes_no_link_in_teams():
    body = outbox._teams(message(subject="[renew](https://evil.example)", text="x"))
    assert "](" not in json.dumps(body)


def test_a_file_that_cannot_be_written_is_a_reason(ledger, tmp_path):
    outbox.put(ledger, [message()])
    report = run(ledger, settings(Handler(kind="file", path="no/folder/out.jsonl")), tmp_path)
    assert report["to_be_retried"] == 1 and "No such file" in report["problems"][0]["reason"]


# -- a webhook -----------------------------------------------------------------------------------------------


def test_a_webhook_that_answers_500_is_tried_again_with_back_off_under_the_same_key(
    ledger, clock, tmp_path
):
    with Hook(500, 503, 204) as hook:
        chosen = settings(hook.handler, retry_seconds=60)
        outbox.put(ledger, [message()])
        report = run(ledger, chosen, tmp_path)
        assert (report["to_be_retried"], report["problems"][0]["reason"]) == (
            1,
            "the webhook responded 500 Internal Server Error",
        )
        assert run(ledger, chosen, tmp_path)["delivered"] == 0 and len(hook.keys) == 1, (
            "not before a minute"
        )
        clock.forward(60)
        assert run(ledger, chosen, tmp_path)["to_be_retried"] == 1
        clock.forward(119)
        assert run(ledger, chosen, tmp_path)["delivered"] == 0, "the second wait is twice as long"
        clock.forward(1)
        assert run(ledger, chosen, tmp_path)["delivered"] == 1
        assert len(hook.keys) == 3 and len(set(hook.keys)) == 1
    entry = outbox.everything(ledger)[0]
    assert (entry.status, entry.attempts, entry.reason) == ("completed", 3, None)


def test_after_the_stated_number_of_attempts_a_message_is_given_up_and_its_reason_kept(
    ledger, clock, tmp_path
):
    with Hook(500) as hook:
        chosen = settings(hook.handler, max_attempts=3, retry_seconds=1)
        outbox.put(ledger, [message()])
        outcomes = []
        for _ in range(5):
            report = run(ledger, chosen, tmp_path)
            outcomes.append((report["to_be_retried"], report["given_up"]))
            clock.forward(3600)
        assert outcomes == [(1, 0), (1, 0), (0, 1), (0, 0), (0, 0)] and len(hook.keys) == 3
    entry = outbox.everything(ledger)[0]
    assert (entry.status, entry.attempts, entry.reason) == (
        "failed",
        3,
        "the webhook responded 500 Internal Server Error",
    )


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_webhook_that_hangs_costs_its_time_once_a_run_and_is_tried_again(
    ledger, clock, tmp_path, how
):
    with Hook(how) as hook:
        chosen = settings(hook.handler)
        outbox.put(ledger, [message(request=f"r{number}") for number in range(5)])
        began = time.monotonic()
        report = run(ledger, chosen, tmp_path)
        assert time.monotonic() - began < 10
        assert (
            report["to_be_retried"] == 1
            and "no response within 0.5 s" in report["problems"][0]["reason"]
        )
        assert len(hook.keys) == 1 and statuses(ledger) == ["scheduled"] * 5
        assert sorted(entry.attempts for entry in outbox.everything(ledger)) == [0, 0, 0, 0, 1]
        hook.answers = [200]
        clock.forward(60)
        assert run(ledger, chosen, tmp_path)["delivered"] == 5


def test_a_webhook_that_answers_twice_is_delivered_to_once(ledger, tmp_path):
    with Hook("twice") as hook:
        outbox.put(ledger, [message(request="r1"), message(request="r2")])
        assert run(ledger, settings(hook.handler), tmp_path)["delivered"] == 2
        assert len(hook.keys) == 2 and len(set(hook.keys)) == 2
    assert statuses(ledger) == ["completed", "completed"]


def test_slack_and_teams_get_the_bodies_that_they_read(ledger, tmp_path):
    words = {"subject": "Ann <b> & 1 more", "text": "a line"}
    for form in ("json", "slack", "teams"):
        with Hook(204) as hook:
            chosen = settings(hook.handler.model_copy(update={"body": form}))
            outbox.put(ledger, [message(request=form, **words)])
            assert run(ledger, chosen, tmp_path)["delivered"] == 1
            (body,) = hook.bodies
        if form == "json":
            assert body["idempotency_key"] == hook.keys[0] and body["subject"] == words["subject"]
        elif form == "slack":
            assert body == {"text": "*Ann &lt;b&gt; &amp; 1 more*\na line"}
        else:
            (card,) = body["attachments"]
            assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
            assert [part["text"] for part in card["content"]["body"]] == list(words.values())


def test_a_redirect_is_no_delivery(ledger, tmp_path):
    with Hook(302) as hook:
        outbox.put(ledger, [message()])
        assert (
            "responded 302"
            in run(ledger, settings(hook.handler), tmp_path)["problems"][0]["reason"]
        )


def test_a_webhook_that_is_not_there_is_a_reason_and_tells_no_secret(ledger, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("CRM_HOOK", f"http://127.0.0.1:{port}/secret-path")
    chosen = settings(Handler(kind="webhook", url="$CRM_HOOK", token="s3cret", timeout_seconds=1))
    outbox.put(ledger, [message()])
    report = run(ledger, chosen, tmp_path)
    assert report["to_be_retried"] == 1
    assert "secret" not in json.dumps(report) and "s3cret" not in chosen.model_dump_json()
    monkeypatch.delenv("CRM_HOOK")
    with pytest.raises(Undelivered, match=r"\$CRM_HOOK, which is not set"):
        deliverer(chosen.handlers["out"], tmp_path)(message())


# -- mail ----------------------------------------------------------------------------------------------------


def test_a_mail_has_its_key_as_message_id_and_its_words_as_text(ledger, tmp_path):
    with mail_server() as (port, mails):
        chosen = settings(
            Handler(kind="smtp", host="127.0.0.1", port=port, sender="cs@vendor.example")
        )
        outbox.put(ledger, [message(subject="Acme\nBcc: eve@x.example", text="It moved.")])
        assert run(ledger, chosen, tmp_path)["delivered"] == 1
    key = outbox.everything(ledger)[0].key
    head, _, body = mails[0].partition("\n\n")
    assert f"Message-ID: <{key}@healthseg>" in head and "To: ann@vendor.example" in head
    assert (
        "Subject: Acme Bcc: eve@x.example" in head
        and "\nBcc:" not in head
        and body.strip() == "It moved."
    )


def test_a_refused_recipient_and_a_silent_server_are_reasons(ledger, tmp_path):
    with mail_server("ann@") as (port, mails):
        chosen = settings(
            Handler(kind="smtp", host="127.0.0.1", port=port, sender="cs@vendor.example")
        )
        outbox.put(ledger, [message()])
        assert (
            "SMTPRecipientsRefused" in run(ledger, chosen, tmp_path)["problems"][0]["reason"]
            and mails == []
        )
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        slow = Handler(
            kind="smtp",
            host="127.0.0.1",
            port=silent.getsockname()[1],
            sender="x@y.example",
            timeout_seconds=0.3,
        )
        with pytest.raises(Undelivered, match=r"no response within 0\.3 s"):
            deliverer(slow, tmp_path)(message())


# -- several hands -------------------------------------------------------------------------------------------


def test_a_message_is_in_one_hand_until_its_lease_ends(ledger, clock):
    outbox.put(ledger, [message()])
    assert len(outbox.claim(ledger, 5, lease_seconds=30)) == 1
    assert outbox.claim(ledger, 5, lease_seconds=30) == [], "another run leaves it alone"
    clock.forward(30)
    again = outbox.claim(ledger, 5, lease_seconds=30)
    assert [entry.attempts for entry in again] == [1], "its process died: that was an attempt"


def test_two_runs_at_once_deliver_each_message_once(ledger, tmp_path):
    outbox.put(ledger, [message(request=f"r{number}") for number in range(30)])
    chosen, reports = settings(Handler(kind="file", path="out.jsonl")), []
    threads = [
        threading.Thread(target=lambda: reports.append(run(ledger, chosen, tmp_path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report["delivered"] for report in reports) == 30
    keys = [
        json.loads(line)["idempotency_key"]
        for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ]
    assert len(keys) == len(set(keys)) == 30


def test_a_handler_that_left_the_settings_is_a_reason(ledger, tmp_path):
    outbox.put(ledger, [message(handler="old")])
    report = run(ledger, settings(Handler(kind="file", path="out.jsonl")), tmp_path)
    assert "'old' is no longer in the settings" in report["problems"][0]["reason"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": "webhook"}, "needs url"),
        ({"kind": "smtp", "host": "h"}, "needs host and sender"),
        ({"kind": "pigeon"}, "'file', 'webhook' or 'smtp'"),
    ],
)
def test_a_handler_without_what_it_needs_is_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        Handler(**values)


def test_a_route_to_no_handler_is_refused():
    with pytest.raises(ValueError, match="which is not a handler"):
        Outbox(routes={"notify_csm": "nowhere"})
