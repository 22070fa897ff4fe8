/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `pprofwall block --from` takes out of findings, and the command lines of the verb. */
#include "common/cleanup.h"
#include "scanner/block_options.h"
#include "scanner/verbs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct block_filter usual = {
    .floor = SEVERITY_MEDIUM,
    .verdicts = 1U << VERDICT_CONFIRMED | 1U << VERDICT_LIKELY,
};

static char *make_line(const char *endpoint, enum finding_verdict verdict,
                       enum finding_severity severity, const char *accepted)
{
	struct finding f;
	char *line;

	finding_init(&f);
	assert_int_equal(endpoint_parse(endpoint, &f.endpoint), 0);
	f.verdict = verdict;
	f.severity = severity;
	if (accepted)
		assert_int_equal(finding_set(&f.accepted, accepted), 0);
	assert_int_equal(finding_set(&f.scan_id, "abc"), 0);
	line = finding_to_line(&f);
	finding_fini(&f);
	assert_non_null(line);
	return line;
}

static int read_text(const char *text, const struct block_filter *filter, size_t max,
                     struct block_input *out, char why[static BLOCK_INPUT_ERROR_LEN])
{
	FILE *in = tmpfile();
	int err;

	assert_non_null(in);
	fputs(text, in);
	rewind(in);
	err = block_input_read(in, "f", filter, max, out, why);
	fclose(in);
	return err;
}

static char *join(size_t n, char *lines[])
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s\n", lines[i]);
		free(lines[i]);
	}
	fclose(out);
	return text;
}

static void test_filter(void **state)
{
	char *lines[] = {
	    make_line("10.0.0.2:80", VERDICT_CONFIRMED, SEVERITY_HIGH, NULL),
	    make_line("[2001:db8::1]:80", VERDICT_LIKELY, SEVERITY_MEDIUM, NULL),
	    make_line("10.0.0.1:80", VERDICT_CONFIRMED, SEVERITY_MEDIUM, NULL),
	    make_line("10.0.0.2:80", VERDICT_CONFIRMED, SEVERITY_HIGH, NULL),
	    make_line("10.0.0.3:80", VERDICT_CONFIRMED, SEVERITY_HIGH, "SEC-1: known"),
	    make_line("10.0.0.4:80", VERDICT_CONFIRMED, SEVERITY_LOW, NULL),
	    make_line("10.0.0.5:80", VERDICT_CLEAR, SEVERITY_NONE, NULL),
	};
	auto_free char *text = join(ARRAY_LEN(lines), lines);
	const struct block_filter accepted = {.verdicts = usual.verdicts, .accepted = true};
	char why[BLOCK_INPUT_ERROR_LEN], name[ENDPOINT_TEXT_LEN];
	struct block_input input;

	(void)state;
	assert_int_equal(read_text(text, &usual, 3, &input, why), 0);
	assert_int_equal(input.count, 3);
	assert_string_equal(endpoint_format(&input.items[0], name), "10.0.0.1:80");
	assert_string_equal(endpoint_format(&input.items[2], name), "[2001:db8::1]:80");
	assert_int_equal(input.findings, 7);
	assert_int_equal(input.accepted, 1);
	assert_int_equal(input.other, 2);
	assert_string_equal(input.scan_id, "abc");
	block_input_fini(&input);
	assert_int_equal(read_text(text, &accepted, 5, &input, why), 0);
	assert_int_equal(input.count, 5);
	block_input_fini(&input);
	assert_int_equal(read_text(text, &usual, 2, &input, why), -E2BIG);
	assert_string_equal(why, "f:7:1: 3 endpoints to block; at most 2 in one go");
}

static void test_places(void **state)
{
	auto_free char *good = make_line("10.0.0.2:80", VERDICT_CONFIRMED, SEVERITY_HIGH, NULL);
	static const struct {
		const char *bad, *why;
	} cases[] = {
	    {"{\"schema\":1", "f:3:11: not JSON: "},
	    {"[]", "f:3:1: no finding: not a JSON object"},
	    {"7", "f:3:1: no"},
	    {"{\"type\":\"sweep\"}", "f:3:"},
	    {"{\"a\":1,\"a\":2}", "f:3:"},
	};
	char why[BLOCK_INPUT_ERROR_LEN], text[4096];
	struct block_input input;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		snprintf(text, sizeof(text), "%s\n\n%s\n%s\n", good, cases[i].bad, good);
		assert_int_equal(read_text(text, &usual, 9, &input, why), -EINVAL);
		if (strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("'%s': %s", cases[i].bad, why);
	}
	snprintf(text, sizeof(text), "{\"schema\":1,\"verdict\":7,\"severity\":\"high\"}");
	assert_int_equal(read_text(text, &usual, 9, &input, why), -EINVAL);
	assert_non_null(strstr(why, "f:1:"));
	/* The last line of a scan that was killed. */
	snprintf(text, sizeof(text), "%s\n%.50s", good, good);
	assert_int_equal(read_text(text, &usual, 9, &input, why), -EINVAL);
	assert_int_equal(read_text("", &usual, 9, &input, why), 0);
	assert_int_equal(input.count, 0);
	block_input_fini(&input);
}

/* Of a command line with blanks between its words. */
static int parse(const char *line, struct block_options *o)
{
	char copy[512], *argv[40], *rest = copy;
	int argc = 0, status;

	snprintf(copy, sizeof(copy), "block %s", line);
	while ((argv[argc] = strsep(&rest, " ")) && argc < 38)
		argc++;
	argv[argc] = NULL;
	status = block_options_parse(argc, argv, o);
	return status;
}

static void test_command_lines(void **state)
{
	static const char *const bad[] = {
	    "--reason x",
	    "10.0.0.1:80",
	    "--reason x nonsense:80",
	    "--reason x --from - 10.0.0.1:80",
	    "--from - --standalone --reason x",
	    "--from - --standalone --dry-run",
	    "--from - --standalone --json",
	    "--from - --allow 10.0.0.0/8",
	    "--standalone --allow 10.0.0.1/8 10.0.0.1:80",
	    "--standalone --allow x 10.0.0.1:80",
	    "--standalone --severity high 10.0.0.1:80",
	    "--standalone --print nft 10.0.0.1:80",
	    "--print iptables 10.0.0.1:80",
	    "--print networkpolicy --for 1h 10.0.0.1:80",
	    "--print nft --socket /x 10.0.0.1:80",
	    "--print nft --beside-daemon 10.0.0.1:80",
	    "--standalone --for 999ms 10.0.0.1:80",
	    "--standalone --for 31d 10.0.0.1:80",
	    "--no-such-thing 10.0.0.1:80",
	};
	struct block_options o;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (parse(bad[i], &o) != VERB_USAGE)
			fail_msg("taken: %s", bad[i]);
		block_options_fini(&o);
	}
	assert_int_equal(parse("--standalone --for 2h --allow 10.0.0.0/8,fd00::/8 --allow "
	                       "192.0.2.1 10.0.0.1:80 [fd00::1]:90",
	                       &o),
	                 -1);
	assert_int_equal(o.way, BLOCK_STANDALONE);
	assert_int_equal(o.for_ms, 7200000);
	assert_int_equal(o.n_allow, 3);
	assert_int_equal(o.n_endpoints, 2);
	block_options_fini(&o);
	assert_int_equal(parse("--from - --verdict confirmed,protected --severity info", &o), -1);
	assert_int_equal(o.filter.verdicts, 1U << VERDICT_CONFIRMED | 1U << VERDICT_PROTECTED);
	assert_int_equal(o.filter.floor, SEVERITY_INFO);
	block_options_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_filter),
	    cmocka_unit_test(test_places),
	    cmocka_unit_test(test_command_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
