#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Slack's incoming webhooks and PagerDuty's Events API: what they publish of their protocol, played
by receivers that refuse what the real ones would."""
import json
import os
import queue
import re
import threading
import unittest

import sender_driver as driver
from test_alertmanager import ENDPOINT, event
from test_sender import status
from test_sender_http import HttpTest

ROUTING_KEY = "0123456789abcdef" * 2


def answer(code, body, *headers):
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body.encode()


class Service:
    """Answers as `check(body)` says, with (code, body), and keeps what it took."""

    def __init__(self, test, check, first=()):
        self._check, self._first = check, list(first)
        self._lock = threading.Lock()
        self.taken, self.refused = queue.Queue(), queue.Queue()
        self._receiver = test.receiver(self._answer)
        self.url = f"http://127.0.0.1:{self._receiver.port}/services/{driver.SECRET}"

    def _answer(self, *_):
        request = self._receiver.requests.get_nowait()
        with self._lock:
            if self._first:
                return self._first.pop(0)
        assert "\r\ncontent-type: application/json\r\n" in request.head.lower() + "\r\n"
        body = json.loads(request.body)
        code, text = self._check(body)
        (self.taken if code < 300 else self.refused).put(body)
        return answer(code, text)


def slack(body):
    """Incoming webhooks: a text is needed, and may be 40,000 characters; "ok" is all they say."""
    if not isinstance(body, dict) or not isinstance(body.get("text"), str):
        return 400, "invalid_payload"
    if not body["text"]:
        return 400, "no_text"
    if len(body["text"]) > 40000:
        return 400, "msg_too_long"
    # Escaped are these three, and nothing else: what is left begins a link or a mention.
    if re.search(r"[<>]|&(?!amp;|lt;|gt;)", body["text"]):
        return 400, "invalid_payload"
    return 200, "ok"


class Slack(HttpTest):
    def start(self, service, **more):
        return self.sender([("chat", service.url, {"type": "slack", "group_wait": "off",
                                                   **more})])

    def test_a_message(self):
        service = Service(self, slack)
        sender = self.start(service, headers='["X-Proxy: inside"]')
        result, = self.deliver(sender, event=event("opened", 1))
        self.assertEqual((result.outcome, result.status), ("delivered", 200))
        self.assertEqual(service.taken.get(timeout=5), {
            "text": f"pprofwall: opened: {ENDPOINT} (node_exporter)", "mrkdwn": False})

    def test_nothing_in_it_is_a_link_or_a_mention(self):
        service = Service(self, slack)
        text = "<!channel> <http://evil/|good> a && b &amp; \u00e9 *x* _y_ `z`"
        result, = self.deliver(self.start(service), event=event("opened", 1, text=text))
        self.assertEqual(result.outcome, "delivered")
        self.assertEqual(service.taken.get(timeout=5)["text"],
                         "&lt;!channel&gt; &lt;http://evil/|good&gt; a &amp;&amp; b &amp;amp; "
                         "\u00e9 *x* _y_ `z`")

    def test_words_of_ones_own_may_be_formatted(self):
        service = Service(self, slack)
        sender = self.start(service, text='"*{event}* {about}"')
        self.deliver(sender, event=event("opened", 1))
        self.assertEqual(service.taken.get(timeout=5),
                         {"text": f"*opened* {ENDPOINT}", "mrkdwn": True})

    def test_many_are_one_message_with_a_list(self):
        """Cut after a line where it would be too long for Rocket.Chat, and says so."""
        service = Service(self, slack)
        sender = self.start(service, group_wait="1s")
        for seq in range(1, 101):
            sender.send(seq, event("opened", seq, text=f"{seq}: " + "\u00e4" * 40))
        results = sender.results(until=100)
        self.assertEqual({r.outcome for r in results}, {"delivered"})
        lines = service.taken.get(timeout=5)["text"].split("\n")
        self.assertEqual(lines[0], "pprofwall: 100 events")
        self.assertEqual(lines[1], "- 1: " + "\u00e4" * 40)
        shown = len(lines) - 2
        self.assertEqual(lines[-2], f"- {shown}: " + "\u00e4" * 40)
        self.assertEqual(lines[-1], f"\u2026 and {100 - shown} more lines")
        self.assertGreater(shown, 30)
        self.assertLess(len("\n".join(lines).encode()), 4000)
        self.assertTrue(service.taken.empty())

    def test_a_line_that_is_too_long(self):
        service = Service(self, slack)
        self.deliver(self.start(service, text='"{text}{text}{text}{text}{text}"'),
                     event=event("opened", 1, text="a" + "\u20ac" * 341))
        text = service.taken.get(timeout=5)["text"]
        self.assertTrue(text.endswith("\u20ac\u2026") or text.endswith("a\u2026"))
        self.assertLessEqual(len(text.encode()), 3903)

    def test_its_limit_is_kept(self):
        service = Service(self, slack, [answer(429, "rate_limited", "Retry-After: 1")])
        sender = self.start(service)
        sender.send(1, event("opened", 1))
        results = sender.results(until=1)
        self.assert_results(results, ("chat", "retry", 429), ("chat", "delivered", 200))

    def test_what_it_refuses_is_not_tried_again(self):
        for code, text in ((400, "invalid_payload"), (403, "action_prohibited"),
                           (404, "no_service"), (410, "channel_is_archived")):
            service = Service(self, lambda _, say=(code, text): say)
            sender = self.start(service)
            sender.send(1, event("opened", 1))
            self.assert_results(sender.results(until=1), ("chat", "gave-up", code))
        service = Service(self, slack, [answer(500, "rollup_error")])
        sender = self.start(service)
        sender.send(1, event("opened", 1))
        self.assert_results(sender.results(until=1), ("chat", "retry", 500),
                            ("chat", "delivered", 200))


def has_texts(value, keys):
    return all(isinstance(value.get(key), str) and value[key] for key in keys)


def pagerduty(body):
    """Events API, version 2: which fields there are, of which types, and how long they may be."""
    payload = body.get("payload", {})
    wrong = [
        not has_texts(body, ("routing_key", "event_action")),
        body.get("routing_key") != ROUTING_KEY,
        body.get("event_action") not in ("trigger", "acknowledge", "resolve"),
        len(body.get("dedup_key", "")) > 255,
        body.get("event_action") != "trigger" and not body.get("dedup_key"),
        bool(set(body) - {"routing_key", "event_action", "dedup_key", "payload", "client",
                          "client_url", "links", "images"}),
        bool(set(payload) - {"summary", "source", "severity", "timestamp", "component", "group",
                             "class", "custom_details"})]
    if body.get("event_action") == "trigger":
        wrong += [
            not has_texts(payload, ("summary", "source", "severity")),
            len(payload.get("summary", "")) > 1024 or "\n" in payload.get("summary", ""),
            payload.get("severity") not in ("critical", "error", "warning", "info"),
            not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", payload.get("timestamp", "")),
            not all(isinstance(payload.get(k, ""), str) for k in ("component", "group", "class")),
            not isinstance(payload.get("custom_details", {}), dict)]
    if any(wrong):
        return 400, json.dumps({"status": "invalid event", "message": "Event object is invalid",
                                "errors": [str(i) for i, bad in enumerate(wrong) if bad]})
    return 202, json.dumps({"status": "success", "message": "Event processed",
                            "dedup_key": body.get("dedup_key", "x")})


class PagerDuty(HttpTest):
    def start(self, service, **more):
        return self.sender([("pager", service.url,
                             {"type": "pagerduty", "secret": f'"{ROUTING_KEY}"', **more})])

    def check_errors(self, errors):
        super().check_errors(errors)
        self.assertNotIn(ROUTING_KEY, errors)

    def tell(self, sender, service, kind, seq, **more):
        result, = self.deliver(sender, seq, event(kind, seq, **more))
        self.assertEqual((result.outcome, result.status), ("delivered", 202), kind)
        return service.taken.get(timeout=5)

    def test_an_incident_from_its_beginning_to_its_end(self):
        service = Service(self, pagerduty)
        sender = self.start(service)
        told = [self.tell(sender, service, kind, seq) for seq, kind in enumerate(
            ("opened", "high_risk", "reminder", "escalated", "acknowledged", "closed", "opened",
             "gone"), 1)]
        self.assertEqual([body["event_action"] for body in told],
                         ["trigger"] * 4 + ["acknowledge", "resolve", "trigger", "resolve"])
        self.assertEqual({body["dedup_key"] for body in told},
                         {f"pprofwall/web-3/{ENDPOINT}/default"})
        payload = told[0]["payload"]
        self.assertEqual(payload.pop("custom_details"), event("opened", 1))
        self.assertEqual(payload, {
            "summary": f"pprofwall: opened: {ENDPOINT} (node_exporter)", "source": "web-3",
            "severity": "critical", "timestamp": "2026-11-22T21:00:04Z",
            "component": "node_exporter", "group": "default", "class": "opened"})

    def test_severities(self):
        service = Service(self, pagerduty)
        sender = self.start(service)
        wanted = {"high": "critical", "medium": "error", "low": "warning", "info": "info"}
        finding = event("opened", 0)["finding"]
        for seq, (ours, theirs) in enumerate(wanted.items(), 1):
            body = self.tell(sender, service, "opened", seq,
                             finding={**finding, "severity": ours})
            self.assertEqual(body["payload"]["severity"], theirs)
        self.assertEqual(self.tell(sender, service, "ineffective", 9, finding={
            **finding, "severity": "low"})["payload"]["severity"], "critical")

    def test_long_texts_and_keys(self):
        service = Service(self, pagerduty)
        sender = self.start(service)
        long = self.tell(sender, service, "opened", 1, text="a" + "\u20ac" * 400)
        self.assertEqual(long["payload"]["summary"], "a" + "\u20ac" * 341)
        keys = [self.tell(sender, service, kind, seq, host="h" * 250 + host)["dedup_key"]
                for seq, (kind, host) in enumerate(
                    (("opened", "1"), ("closed", "1"), ("opened", "2")), 2)]
        self.assertEqual(keys[0], keys[1])
        self.assertNotEqual(keys[0], keys[2])
        lines = self.start(service, text='"one\\ntwo {about}"')
        body = self.tell(lines, service, "opened", 5)
        self.assertEqual(body["payload"]["summary"], f"one two {ENDPOINT}")
        empty = self.start(service, text='"{who}"')
        self.assertEqual(self.tell(empty, service, "opened", 6)["payload"]["summary"], "opened")

    def test_what_is_of_no_endpoint(self):
        service = Service(self, pagerduty)
        sender = self.start(service)
        nothing = {"endpoint": None, "finding": None, "breaker": None, "listener": None}
        failed = self.tell(sender, service, "source_failed", 1, source="a.example", **nothing)
        mended = self.tell(sender, service, "source_recovered", 2, source="a.example", **nothing)
        self.assertEqual((failed["event_action"], mended["event_action"]), ("trigger", "resolve"))
        self.assertEqual(failed["dedup_key"], mended["dedup_key"])
        self.assertEqual(failed["payload"]["severity"], "warning")
        for seq, (kind, severity) in enumerate((("alerts_lost", "warning"), ("test", "info")), 3):
            body = self.tell(sender, service, kind, seq, **nothing)
            self.assertEqual(body["payload"]["severity"], severity)

    def test_what_is_no_incident_makes_no_request(self):
        service = Service(self, pagerduty)
        sender = self.start(service)
        for seq, kind in enumerate(("manual_block", "manual_unblock", "effective", "newer"), 1):
            sender.send(seq, event(kind, seq))
            self.assert_results(sender.results(until=seq), ("pager", "delivered", 0))
        self.assertTrue(service.taken.empty() and service.refused.empty())

    def test_refusals_and_limits(self):
        service = Service(self, pagerduty, [status(429)])
        sender = self.start(service)
        sender.send(1, event("opened", 1))
        self.assert_results(sender.results(until=1), ("pager", "retry", 429),
                            ("pager", "delivered", 202))
        stranger = self.start(service, secret='"another"')
        stranger.send(1, event("opened", 1))
        self.assert_results(stranger.results(until=1), ("pager", "gave-up", 400))

    def test_its_key_is_required_and_its_url_is_not(self):
        alert = ("pager", None, {"type": "pagerduty"})
        self.assert_refused([alert], '2:5: key "secret" is missing')
        self.sender([("pager", None, {"type": "pagerduty", "secret": "x"})])


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("test_sender_services.py needs root, to start the sender as the daemon's parent does")
        raise SystemExit(1)
    unittest.main(verbosity=2)
