/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/status_page.h"

#include "common/cleanup.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define EVIL "<b>\"'&x"

/* Every string that is EVIL where a server, a process, a client or a person chose it. */
static const char status_json[] =
    "{\"ok\":true,\"mode\":\"<b>\\\"'&x\",\"panic\":true,\"panic_reason\":\"<b>\\\"'&x\","
    "\"config\":{\"file\":\"<b>\\\"'&x\",\"loaded\":\"<b>\",\"last_reload_ok\":false,"
    "\"last_reload_error\":\"<b>\\\"'&x\"},\"state\":{\"ok\":false,\"error\":\"<b>\\\"'&x\"},"
    "\"processes\":[{\"role\":\"<b>\",\"restarts\":3,\"answering\":false}],"
    "\"alerts\":{\"sinks\":[{\"name\":\"<b>\",\"queued\":2,\"oldest\":\"<b>\","
    "\"circuit\":\"open\",\"last_error\":\"<b>\\\"'&x\"}]},"
    "\"allow_from\":[{\"source\":\"<b>\",\"state\":\"<b>\",\"since\":\"<b>\",\"error\":\"<b>\"}],"
    "\"listeners\":{\"watched\":true,\"mode\":\"<b>\"},"
    "\"endpoints\":[{\"endpoint\":\"10.0.0.7:9100\",\"program\":\"<b>\\\"'&x\",\"unit\":\"<b>\","
    "\"container\":\"<b>\",\"go_version\":\"<b>\",\"severity\":\"<b>\",\"verdict\":\"<b>\","
    "\"serves\":\"<b>\",\"rule\":\"<b>\",\"state\":\"open\",\"manual\":\"<b>\","
    "\"ack_who\":\"<b>\",\"ack_until\":\"<b>\",\"ack_reason\":\"<b>\\\"'&x\","
    "\"action\":\"<b>\",\"action_reason\":\"<b>\",\"block_error\":\"<b>\","
    "\"wall\":{\"state\":\"ineffective\",\"why\":\"<b>\"},\"open_left_ms\":61000},"
    "{\"endpoint\":\"10.0.0.8:80\",\"state\":\"closed\",\"verdict\":\"clear\"}]}";
static const char impact_json[] =
    "{\"endpoints\":[{\"endpoint\":\"10.0.0.7:9100\",\"cut\":5,\"stay\":1,\"peers\":["
    "{\"address\":\"<b>\",\"name\":\"<b>\",\"first_seen\":\"<b>\",\"last_seen\":\"<b>\","
    "\"cut\":true,\"stays\":\"<b>\"}]}]}";

static char *write_page(const char *status, const char *impact, const char *silent)
{
	struct status_page page = {
	    .status = status ? json_loads(status, 0, NULL) : NULL,
	    .impact = impact ? json_loads(impact, 0, NULL) : NULL,
	    .host = EVIL,
	    .silent = silent,
	    .now_wall_ms = 1,
	};
	char *text = NULL;
	size_t length;
	FILE *to = open_memstream(&text, &length);

	assert_true(!status == !page.status && !impact == !page.impact);
	status_page_write(&page, to);
	fclose(to);
	json_decref((json_t *)(uintptr_t)page.status);
	json_decref((json_t *)(uintptr_t)page.impact);
	return text;
}

static void expect(const char *page, const char *text)
{
	if (!strstr(page, text))
		fail_msg("not on the page: %s", text);
}

static void what_others_chose_is_text(void **state)
{
	auto_free char *page = write_page(status_json, impact_json, EVIL);

	(void)state;
	assert_null(strstr(page, "<b>"));
	expect(page, "acknowledged by");
	assert_null(strstr(page, "'&x"));
	expect(page, "&lt;b&gt;&quot;&#39;&amp;x");
	expect(page, "does not answer");
}

static void tells_clocks_and_walls(void **state)
{
	auto_free char *page = write_page(status_json, impact_json, NULL);

	(void)state;
	expect(page, "probed again in <span class=\"whole\">1m01s</span>");
	expect(page, "a stranger is let through");
	expect(page, "5 would be cut off, 1 stay");
	expect(page, "and 4 more");
	expect(page, "failing, tried about once a minute");
	assert_null(strstr(page, "10.0.0.8:80")); /* nothing to say of it */
	assert_null(strstr(page, "does not answer;"));
}

static void nothing_yet_is_a_page_too(void **state)
{
	auto_free char *silent = write_page(NULL, NULL, "no daemon");
	auto_free char *empty = write_page("{}", NULL, NULL);

	(void)state;
	expect(silent, "no daemon");
	expect(empty, "Nothing is exposed");
	expect(empty, "nobody is told");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_others_chose_is_text),
	    cmocka_unit_test(tells_clocks_and_walls),
	    cmocka_unit_test(nothing_yet_is_a_page_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
