/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tables that people read, from the answers that docs/control.md describes. */
#include "common/cleanup.h"
#include "scanner/verbs_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *render(const char *text, void (*print)(const json_t *, FILE *))
{
	json_error_t error;
	json_t *answer = json_loads(text, 0, &error);
	char *printed = NULL;
	size_t length;
	FILE *out = open_memstream(&printed, &length);

	if (!answer)
		fail_msg("%s", error.text);
	print(answer, out);
	fclose(out);
	json_decref(answer);
	return printed;
}

static const char status[] =
    "{\"ok\":true,\"version\":\"0.1.0\",\"mode\":\"enforce\",\"panic\":true,"
    "\"panic_reason\":\"ticket 4711\",\"uptime_ms\":93784000,"
    "\"config\":{\"file\":\"/etc/p.yaml\",\"generation\":3,\"crc32\":1,"
    "\"loaded\":\"2026-11-22T21:00:00Z\",\"last_reload_ok\":false,"
    "\"last_reload_error\":\"/etc/p.yaml:3:1: unknown key\"},"
    "\"processes\":[{\"role\":\"firewall\",\"pid\":411,\"restarts\":0,\"answering\":true},"
    "{\"role\":\"prober\",\"pid\":412,\"restarts\":2,\"answering\":false}],"
    "\"firewall\":{\"persist\":true,\"blocks\":1,\"reconciliations\":7},"
    "\"filter\":{\"answering\":false,\"passed\":90,\"denied\":{\"path\":5,\"syntax\":0,"
    "\"slow\":2},\"open\":3},"
    "\"state\":{\"ok\":false,\"error\":\"database or disk is full\"},"
    "\"alerts\":{\"queued\":1,\"sinks\":[{\"name\":\"hook\",\"delivered\":4,\"retries\":1,"
    "\"gave_up\":0,\"quiet_until\":\"2026-11-23T06:00:00Z\",\"last_error\":\"HTTP 500\"}]},"
    "\"targets\":{\"endpoints\":2,\"unresolved\":[\"db.example\"]},"
    "\"listeners\":{\"watched\":true,\"synced\":false,\"mode\":\"polling\",\"why_no_events\":\"no "
    "tracefs\",\"count\":3,\"namespaces\":2,\"in_host\":2,\"in_containers\":1,\"probed\":2,"
    "\"not_probed\":[{\"bound\":\"0.0.0.0:22\",\"process\":\"sshd\",\"not_probed\":\"its port is "
    "protected\"}]},"
    "\"counts\":{\"endpoints\":9,\"exposed\":3,\"open\":2,\"half_open\":1,\"blocked\":1},"
    "\"endpoints\":[{\"endpoint\":\"10.0.0.7:9100\",\"rule\":\"default\",\"state\":\"open\","
    "\"manual\":null,\"manual_until\":null,\"quarantined\":false,\"verdict\":\"confirmed\","
    "\"severity\":\"high\",\"risk\":\"HIGH_RISK\",\"last_probe\":\"2026-11-22T21:00:00Z\","
    "\"next_probe_ms\":540000,\"open_until\":null,\"blocked\":true,"
    "\"block_expires_ms\":1140000,\"block_error\":null,\"program\":\"evil\\u001b[2J\","
    "\"go_version\":\"1.19\",\"open_left_ms\":2520000,\"packets\":17,\"unit\":\"a.service\"},"
    "{\"endpoint\":\"10.0.0.8:22\",\"rule\":\"d\",\"state\":\"closed\",\"manual\":\"block\","
    "\"manual_until\":\"2026-11-22T22:00:00Z\",\"quarantined\":false,\"verdict\":null,"
    "\"severity\":null,\"risk\":null,\"last_probe\":null,\"next_probe_ms\":0,"
    "\"open_until\":null,\"blocked\":false,\"block_expires_ms\":null,"
    "\"block_error\":\"port 22 is protected\",\"program\":null,\"go_version\":null}]}";

static void test_status(void **state)
{
	auto_free char *text = render(status, verbs_print_status);

	(void)state;
	assert_string_equal(
	    text,
	    "pprofwall 0.1.0, mode enforce, up 1d2h\n"
	    "PANIC      nothing is enforced until `pprofwall resume`; reason: ticket 4711\n"
	    "config     /etc/p.yaml, generation 3, loaded 2026-11-22T21:00:00Z\n"
	    "           the last reload FAILED: /etc/p.yaml:3:1: unknown key\n"
	    "processes  firewall (pid 411), prober (pid 412, 2 restarts, NOT ANSWERING)\n"
	    "firewall   1 blocks, owned, persistent table, 7 reconciliations\n"
	    "filter     NOT ANSWERING; 90 requests passed, 7 denied (path 5, slow 2); 3 "
	    "connections\n"
	    "state      database or disk is full\n"
	    "alerts     1 queued\n"
	    "           hook: 4 delivered, 1 retries, 0 gave up\n"
	    "             quiet hours: told what waits at 2026-11-23T06:00:00Z\n"
	    "             the last attempt failed: HTTP 500\n"
	    "targets    2 endpoints; NOT RESOLVED: db.example\n"
	    "listeners  3 in 2 namespaces (2 of the host, 1 in containers), 2 probed; noticed by "
	    "polling, no events: no tracefs; NOT UP TO DATE\n"
	    "           not probed: 0.0.0.0:22 (sshd): its port is protected\n"
	    "endpoints  9 watched, 3 exposed; breakers: 2 open, 1 half-open; 1 blocked, 0 "
	    "filtered\n"
	    "\n"
	    "ENDPOINT       RULE     STATE                                    VERDICT    SEVERITY  "
	    "RISK       BLOCKED                   LAST PROBE            NEXT PROBE  PROGRAM   "
	    "PACKETS  "
	    "UNIT\n"
	    "10.0.0.7:9100  default  open, for 42m00s                         confirmed  high      "
	    "HIGH_RISK  yes, 19m00s left          2026-11-22T21:00:00Z  9m00s       evil?[2J  17   "
	    "    "
	    "a.service\n"
	    "10.0.0.8:22    d        manual block until 2026-11-22T22:00:00Z  -          -         "
	    "-          no: port 22 is protected  -                     0s          -         -    "
	    "    "
	    "-\n");
}

static void test_status_survives_anything(void **state)
{
	static const char *const answers[] = {
	    "{\"ok\":true}",
	    "{\"ok\":true,\"endpoints\":[1,null,{}],\"processes\":{},\"alerts\":[]}",
	    "{\"version\":7,\"config\":\"x\",\"targets\":{\"unresolved\":[1]},\"endpoints\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		auto_free char *text = render(answers[i], verbs_print_status);

		assert_non_null(strstr(text, "pprofwall "));
	}
}

static void test_explanation(void **state)
{
	auto_free char *text = render(
	    "{\"ok\":true,\"endpoint\":\"10.0.0.7:9100\","
	    "\"listener\":{\"bound\":\"0.0.0.0:9100\",\"process\":\"x\\u001b[2J\",\"pid\":7,"
	    "\"uid\":0,"
	    "\"since\":\"2026-11-22T21:00:00Z\",\"unit\":\"a.service\",\"executable\":null},"
	    "\"watch\":{\"state\":\"open\",\"open_left_ms\":60000,\"verdict\":\"confirmed\","
	    "\"action\":\"drop\",\"blocked\":true,\"block_expires_ms\":61000,\"packets\":3},"
	    "\"breakers\":[{\"name\":\"a\",\"winner\":false,\"does_not_fit\":\"match.unit\"},"
	    "{\"name\":\"b\",\"winner\":true,\"does_not_fit\":null}],"
	    "\"story\":[{\"time\":\"T1\",\"what\":\"x listens\"}],\"story_dropped\":0}",
	    verbs_print_explanation);
	auto_free char *none = render("{\"ok\":true,\"story\":[1,{}]}", verbs_print_explanation);

	(void)state;
	assert_string_equal(
	    text, "endpoint   10.0.0.7:9100\n"
	          "listener   0.0.0.0:9100, x?[2J (pid 7, uid 0), since 2026-11-22T21:00:00Z\n"
	          "unit       a.service\n"
	          "state      open, for another 1m00s; last verdict: confirmed; action: drop\n"
	          "block      in the kernel, expires in 1m01s, 3 packets held off\n"
	          "breakers   a: does not fit by match.unit\n"
	          "           b: the winner\n"
	          "\n"
	          "T1  x listens\n");
	assert_non_null(none);
}

static void test_blocks(void **state)
{
	auto_free char *none = render("{\"ok\":true,\"blocks\":[]}", verbs_print_blocks);
	auto_free char *some = render(
	    "{\"ok\":true,\"blocks\":[{\"endpoint\":\"10.0.0.7:9100\",\"rule\":\"default\","
	    "\"manual\":false,\"action\":\"filter\",\"reason\":null,\"who\":null,\"expires_ms\":"
	    "61000,"
	    "\"packets\":17,\"bytes\":1020,\"ack_who\":\"bob\"},{\"endpoint\":\"[2001:db8::"
	    "1]:6060\","
	    "\"rule\":\"default\",\"manual\":true,\"action\":\"drop\",\"reason\":\"r\\u00e9seau\","
	    "\"who\":\"alice as root\",\"expires_ms\":3600000,\"packets\":0,\"bytes\":0}]}",
	    verbs_print_blocks);

	(void)state;
	assert_string_equal(none, "nothing is blocked\n");
	assert_string_equal(
	    some, "ENDPOINT            RULE     ACTION  EXPIRES IN  PACKETS  BYTES  WHO            "
	          "REASON\n"
	          "10.0.0.7:9100       default  filter  1m01s       17       1020   -              "
	          "acknowledged by bob\n"
	          "[2001:db8::1]:6060  manual   drop    1h00m       0        0      alice as root  "
	          "r\xc3\xa9seau\n");
}

static void test_spans(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(verbs_format_span(-5, text), "0s");
	assert_string_equal(verbs_format_span(59400, text), "59s");
	assert_string_equal(verbs_format_span(59500, text), "1m00s");
	assert_string_equal(verbs_format_span(3900000, text), "1h05m");
	assert_string_equal(verbs_format_span(INT64_C(273600000), text), "3d4h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_status),      cmocka_unit_test(test_status_survives_anything),
	    cmocka_unit_test(test_explanation), cmocka_unit_test(test_blocks),
	    cmocka_unit_test(test_spans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
