/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/sweep_metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
/* after what it needs */
#include <cmocka.h>

static const struct sweep_metrics example = {
    .started_ms = 1000500,
    .ended_ms = 1003750,
    .complete = true,
    .shard = 3,
    .shards = 8,
    .targets = 81920,
    .verdicts = {[VERDICT_CONFIRMED] = 25, [VERDICT_FILTERED] = 40960},
    .exposures = {[VERDICT_CONFIRMED] = {[SEVERITY_HIGH] = 24}},
    .accepted = 1,
    .packets_sent = 90000,
    .packets_retransmitted = 8080,
    .loss_ratio = 0.015,
};

static void has(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	if (!at || at[strlen(line)] != '\n' || at[-1] != '\n')
		fail_msg("no line '%s' in:\n%s", line, text);
}

static void test_values(void **state)
{
	auto_free char *text = NULL;
	size_t length;

	(void)state;
	text = sweep_metrics_render(&example, &length);
	assert_non_null(text);
	assert_int_equal(length, strlen(text));
	has(text, "pprofwall_sweep_last_start_timestamp_seconds 1000.500");
	has(text, "pprofwall_sweep_last_end_timestamp_seconds 1003.750");
	has(text, "pprofwall_sweep_last_duration_seconds 3.250");
	has(text, "pprofwall_sweep_last_complete 1");
	has(text, "pprofwall_sweep_last_shard_info{shard=\"3\",shards=\"8\"} 1");
	has(text, "pprofwall_sweep_last_targets 81920");
	has(text, "pprofwall_sweep_last_endpoints{verdict=\"filtered\"} 40960");
	has(text, "pprofwall_sweep_last_exposures{verdict=\"confirmed\",severity=\"high\"} 24");
	has(text, "pprofwall_sweep_last_exposures{verdict=\"likely\",severity=\"low\"} 0");
	has(text, "pprofwall_sweep_last_exposures_accepted 1");
	has(text, "pprofwall_sweep_last_packets_sent 90000");
	has(text, "pprofwall_sweep_last_packets_retransmitted 8080");
	has(text, "pprofwall_sweep_last_packets_dropped 0");
	has(text, "pprofwall_sweep_last_packet_loss_ratio 0.015000");
}

static void test_what_is_not_known_is_not_there(void **state)
{
	struct sweep_metrics m = example;
	auto_free char *text = NULL;
	size_t length;

	(void)state;
	m.loss_ratio = -1;
	m.targets = 0;
	m.ended_ms = 0; /* a clock that was set back */
	text = sweep_metrics_render(&m, &length);
	assert_null(strstr(text, "loss_ratio"));
	assert_null(strstr(text, "targets"));
	has(text, "pprofwall_sweep_last_duration_seconds 0.000");
}

/* With an argument it prints, for tests/integration/test_merge.py to show to promtool. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_what_is_not_known_is_not_there),
	};

	if (argc > 1 && strcmp(argv[1], "print") == 0) {
		size_t length;
		auto_free char *text = sweep_metrics_render(&example, &length);

		return text && fwrite(text, 1, length, stdout) == length ? 0 : 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
