/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "scanner/explain.h"
#include "scanner/output.h"
#include "scanner/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sha2.h>
#include <string.h>
#include <sys/mman.h>

AUTO_CLEANUP(output, struct output *, output_free)
AUTO_CLEANUP(json, json_t *, json_decref)
#define auto_output __attribute__((cleanup(cleanup_output)))
#define auto_json   __attribute__((cleanup(cleanup_json)))

static const char evil[] =
    "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;,;\xc3\xa4";

static void set(char **slot, const char *text)
{
	assert_int_equal(finding_set(slot, text), 0);
}

static void add(struct finding_list *list, const char *text)
{
	assert_int_equal(finding_list_add(list, text, strlen(text)), 0);
}

static void make_finding(struct finding *f, const char *endpoint)
{
	finding_init(f);
	f->time_ms = INT64_C(1795389296000);
	assert_int_equal(endpoint_parse(endpoint, &f->endpoint), 0);
	set(&f->vantage, "10.0.0.1");
	set(&f->scheme, "http");
	set(&f->path, "/debug/pprof/");
	f->verdict = VERDICT_CONFIRMED;
	f->severity = SEVERITY_HIGH;
	f->high_risk = true;
	set(&f->kind, "go-pprof");
	add(&f->evidence, "index");
	add(&f->evidence, "symbol");
	f->status = 200;
	set(&f->go_version, "1.19");
	set(&f->program, "node_exporter");
	f->latency_ms = 4;
}

/* Every string that a server has a say in. */
static void make_hostile(struct finding *f, const char *text)
{
	make_finding(f, "10.0.0.7:9100");
	set(&f->host, text);
	set(&f->path, text);
	set(&f->kind, text);
	set(&f->go_version, text);
	set(&f->module, text);
	set(&f->program, text);
	set(&f->advice, text);
	set(&f->error, text);
	add(&f->evidence, text);
	add(&f->profiles, text);
	add(&f->command, text);
	add(&f->identified_by, text);
	add(&f->relatives, text);
	add(&f->labels, text);
}

static int new_file(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* What is in the file now; free it. */
static char *content_of(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	assert_non_null(text);
	assert_int_equal(pread(fd, text, (size_t)size, 0), size);
	return text;
}

static struct output *begin(int fd, enum output_format format)
{
	const struct output_context context = {.scan_id = "0123456789abcdef0123456789abcdef",
	                                       .started_ms = INT64_C(1795389296000),
	                                       .evidence_links = "./ev dir/"};
	struct output *o = NULL;

	assert_int_equal(output_new(fd, format, &context, &o), 0);
	return o;
}

static char *write_all(enum output_format format, const struct finding *f, size_t count)
{
	auto_close int fd = new_file();
	auto_output struct output *o = begin(fd, format);
	struct evidence_files files = {.count = 1};

	strcpy(files.items[0].name, "01234567-000001-10.0.0.7-9100-1-index.http");
	memset(files.items[0].sha256, 'a', 64);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(output_write(o, &f[i], &files), 0);
	assert_int_equal(output_finish(o, true), 0);
	return content_of(fd);
}

static void test_formats_have_names(void **state)
{
	enum output_format format;

	(void)state;
	assert_int_equal(output_parse_format("sarif", &format), 0);
	assert_int_equal(format, OUTPUT_SARIF);
	assert_int_equal(output_parse_format("xml", &format), -EINVAL);
	assert_int_equal(output_format_of_file("a/r.HTML"), OUTPUT_HTML);
	assert_int_equal(output_format_of_file("r.json"), OUTPUT_NDJSON);
	assert_int_equal(output_format_of_file("r.csv"), OUTPUT_CSV);
	assert_int_equal(output_format_of_file("/dev/full"), OUTPUT_TABLE);
	assert_int_equal(output_format_of_file(".csv"), OUTPUT_TABLE);
}

/* Reads one field of CSV by RFC 4180. */
static const char *read_field(const char *p, char *out)
{
	bool quoted = *p == '"';

	if (!quoted) {
		size_t n = strcspn(p, ",\r");

		memcpy(out, p, n);
		out[n] = '\0';
		return p + n;
	}
	for (p++; *p != '"' || p[1] == '"'; p++) {
		assert_int_not_equal(*p, '\0');
		*out++ = *p;
		p += *p == '"';
	}
	*out = '\0';
	return p + 1;
}

static unsigned count_fields(const char **p)
{
	char field[4096];
	unsigned n = 1;

	*p = read_field(*p, field);
	while (**p == ',') {
		*p = read_field(*p + 1, field);
		/* a formula would begin with one of these */
		assert_null(*field ? strchr("=+-@\t", *field) : NULL);
		n++;
	}
	assert_memory_equal(*p, "\r\n", 2);
	*p += 2;
	return n;
}

static void test_csv_is_rfc_4180_and_no_formula(void **state)
{
	static const char *const formulas[] = {
	    "=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(1)", "a\"b,c", evil};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(formulas); i++) {
		struct finding f;
		auto_free char *text = NULL;
		const char *p;
		unsigned columns;

		make_hostile(&f, formulas[i]);
		text = write_all(OUTPUT_CSV, &f, 1);
		p = text;
		assert_memory_equal(p, "schema,time,scan_id,", 20);
		columns = count_fields(&p);
		assert_int_equal(count_fields(&p), columns);
		assert_int_equal(*p, '\0');
		finding_fini(&f);
	}
}

static void test_html_escapes_everything(void **state)
{
	struct finding f;
	auto_free char *text = NULL;
	unsigned scripts = 0;

	(void)state;
	make_hostile(&f, evil);
	text = write_all(OUTPUT_HTML, &f, 1);
	for (const char *p = text; (p = strstr(p, "<script")); p++)
		scripts++;
	assert_int_equal(scripts, 1);
	assert_null(strstr(text, "<img"));
	assert_null(strstr(text, "onerror='"));
	assert_non_null(strstr(text, "&quot;&gt;&lt;script&gt;alert(1)"));
	assert_non_null(strstr(text, "href=\"./ev%20dir/01234567-"));
	finding_fini(&f);
}

/* The policy lets run exactly what stands there: else sorting would be dead, unseen by other tests.
 */
static void check_hash(const char *text, const char *open, const char *close)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *begin = strstr(text, open);
	const char *end = begin ? strstr(begin, close) : NULL;
	uint8_t sum[SHA256_DIGEST_LENGTH + 1] = {0};
	char policy[80] = "'sha256-";
	size_t used = strlen(policy);
	SHA2_CTX context;

	assert_non_null(end);
	begin += strlen(open);
	SHA256Init(&context);
	SHA256Update(&context, (const uint8_t *)begin, (size_t)(end - begin));
	SHA256Final(sum, &context);
	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i += 3) {
		unsigned bits = (unsigned)sum[i] << 16 | (unsigned)sum[i + 1] << 8 |
		                (i + 2 < SHA256_DIGEST_LENGTH ? sum[i + 2] : 0u);

		for (int shift = 18; shift >= 0; shift -= 6)
			policy[used++] = digits[bits >> shift & 63];
	}
	policy[used - 1] = '='; /* 32 bytes: one digit too many */
	policy[used++] = '\'';
	policy[used] = '\0';
	if (!strstr(text, policy))
		fail_msg("the policy of output_html.c wants %s", policy);
}

static void test_html_policy_fits(void **state)
{
	auto_free char *text = write_all(OUTPUT_HTML, NULL, 0);

	(void)state;
	check_hash(text, "<style>", "</style>");
	check_hash(text, "<script>", "</script>");
	assert_null(strstr(text, "http:"));
	assert_null(strstr(text, "https:"));
}

static void test_sarif_says_what_was_found(void **state)
{
	struct finding f[3];
	auto_free char *text = NULL;
	auto_json json_t *log = NULL;
	const json_t *run, *results, *result, *rules;
	const char *again;

	(void)state;
	make_finding(&f[0], "10.0.0.7:9100");
	make_hostile(&f[1], evil);
	make_finding(&f[2], "[fe80::1%2]:80");
	f[2].verdict = VERDICT_CLEAR;
	f[2].severity = SEVERITY_NONE;
	text = write_all(OUTPUT_SARIF, f, 3);
	log = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(log);
	run = json_array_get(json_object_get(log, "runs"), 0);
	results = json_object_get(run, "results");
	assert_int_equal(json_array_size(results), 3);
	rules = json_object_get(json_object_get(json_object_get(run, "tool"), "driver"), "rules");
	for (size_t i = 0; i < 3; i++) {
		const json_t *rule;

		result = json_array_get(results, i);
		rule = json_array_get(
		    rules, (size_t)json_integer_value(json_object_get(result, "ruleIndex")));
		assert_string_equal(json_string_value(json_object_get(rule, "id")),
		                    json_string_value(json_object_get(result, "ruleId")));
	}
	result = json_array_get(results, 0);
	assert_string_equal(json_string_value(json_object_get(result, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(result, "kind")), "fail");
	again = json_string_value(
	    json_object_get(json_object_get(result, "partialFingerprints"), "endpointAndKind/v1"));
	assert_string_equal(again, "10.0.0.7:9100 - go-pprof");
	result = json_array_get(results, 2);
	assert_string_equal(json_string_value(json_object_get(result, "level")), "none");
	assert_string_equal(json_string_value(json_object_get(result, "kind")), "pass");
	assert_non_null(strstr(text, "http://[fe80::1%252]:80/debug/pprof/"));
	assert_null(strstr(text, "uri\":\"http://10.0.0.7:9100\"><"));
	for (size_t i = 0; i < 3; i++)
		finding_fini(&f[i]);
}

/* Between any two calls the file is whole, and says that the scan is not. */
static void test_file_is_valid_at_any_time(void **state)
{
	auto_close int fd = new_file();
	auto_output struct output *o = begin(fd, OUTPUT_SARIF);
	struct finding f;

	(void)state;
	make_finding(&f, "10.0.0.7:9100");
	for (size_t rows = 0; rows < 20; rows++) {
		auto_free char *text = content_of(fd);
		auto_json json_t *log = json_loads(text, 0, NULL);
		const json_t *run = json_array_get(json_object_get(log, "runs"), 0);

		assert_non_null(log);
		assert_int_equal(json_array_size(json_object_get(run, "results")), rows);
		assert_true(json_is_false(
		    json_object_get(json_array_get(json_object_get(run, "invocations"), 0),
		                    "executionSuccessful")));
		assert_int_equal(output_write(o, &f, NULL), 0);
	}
	assert_int_equal(output_finish(o, true), 0);
	finding_fini(&f);
}

/* A pipe cannot be written over: the end comes at the end. */
static void test_pipe_gets_one_end(void **state)
{
	int pipes[2];
	char text[65536] = {0};
	struct finding f;
	struct output *o;
	auto_json json_t *log = NULL;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	o = begin(pipes[1], OUTPUT_SARIF);
	make_finding(&f, "10.0.0.7:9100");
	assert_int_equal(output_write(o, &f, NULL), 0);
	assert_int_equal(output_write(o, &f, NULL), 0);
	assert_int_equal(output_finish(o, true), 0);
	output_free(o);
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	log = json_loads(text, 0, NULL);
	assert_non_null(log);
	close(pipes[0]);
	close(pipes[1]);
	finding_fini(&f);
}

/* The table on a terminal of so many columns; its rows as the terminal got them. */
static void on_terminal(unsigned short columns, const struct finding *f, char text[static 8192])
{
	struct winsize size = {.ws_row = 24, .ws_col = columns};
	int leader, follower;
	struct output *o;
	ssize_t n;

	assert_int_equal(openpty(&leader, &follower, NULL, NULL, &size), 0);
	o = begin(follower, OUTPUT_TABLE);
	assert_int_equal(output_write(o, f, NULL), 0);
	output_free(o);
	n = read(leader, text, 8191);
	assert_true(n > 0);
	text[n] = '\0';
	close(leader);
	close(follower);
}

static void test_table_fits_the_terminal(void **state)
{
	struct finding f;
	char text[8192], *row, *end;

	(void)state;
	unsetenv("COLUMNS");
	setenv("NO_COLOR", "1", 1);
	make_finding(&f, "10.0.0.7:9100");
	/* ten characters of two columns, three bytes each: they would move what is behind them */
	set(&f.program, "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5"
	                "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5");
	on_terminal(76, &f, text);
	row = strstr(text, "\r\n");
	assert_non_null(row);
	row += 2;
	assert_memory_equal(row, "10.0.0.7:9100 ", 14);
	/* 61 columns before it, room for 12; what a server chose is shown in ASCII */
	assert_non_null(strstr(row, " ?????????? "));
	end = strstr(row, "\r\n");
	assert_non_null(end);
	assert_memory_equal(end - 3, "…", 3);
	assert_string_equal(end, "\r\n");

	/* the endpoint stays whole however narrow it is */
	finding_fini(&f);
	make_finding(&f, "[2001:db8:1111:2222:3333:4444:5555:6666]:9100");
	on_terminal(20, &f, text);
	assert_non_null(strstr(text, "\r\n[2001:db8:1111:2222:3333:4444:5555:6666]:9100\r\n"));
	finding_fini(&f);
	unsetenv("NO_COLOR");
}

static void test_table_has_colours_on_terminals_only(void **state)
{
	struct finding f;
	char text[8192];
	auto_free char *plain = NULL;

	(void)state;
	make_hostile(&f, "\x1b]0;x\x07");
	unsetenv("NO_COLOR");
	on_terminal(200, &f, text);
	assert_non_null(strstr(text, "\x1b[1;31mhigh"));
	assert_null(strstr(text, "\x1b]"));
	setenv("NO_COLOR", "1", 1);
	on_terminal(200, &f, text);
	assert_null(strchr(text, '\x1b'));
	plain = write_all(OUTPUT_TABLE, &f, 1);
	assert_null(strchr(plain, '\x1b'));
	assert_null(strstr(plain, "…"));
	finding_fini(&f);
}

static void test_table_aligns_after_a_long_endpoint(void **state)
{
	struct finding f[2];
	auto_free char *text = NULL;
	const char *first, *second;

	(void)state;
	make_finding(&f[0], "[2001:db8:1111:2222:3333:4444:5555:6666]:9100");
	make_finding(&f[1], "10.0.0.7:9100");
	text = write_all(OUTPUT_TABLE, f, 2);
	first = strchr(text, '\n') + 1;
	second = strchr(first, '\n') + 1;
	assert_int_equal(strstr(first, "confirmed") - first, strstr(second, "confirmed") - second);
	finding_fini(&f[0]);
	finding_fini(&f[1]);
}

static void test_write_errors_are_told(void **state)
{
	auto_close int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	const struct output_context context = {.scan_id = "x"};
	struct output *o = NULL;

	(void)state;
	assert_int_equal(output_new(fd, OUTPUT_CSV, &context, &o), -ENOSPC);
	assert_null(o);
}

static void test_progress_line(void **state)
{
	const struct progress_state known = {.done = 250, .total = 1000, .exposed = 3};
	const struct progress_state piped = {.done = 250};
	char line[PROGRESS_LINE_LEN];

	(void)state;
	progress_format(&known, 5000, 50, 80, line);
	assert_string_equal(line, "250 of 1000 (25.0%) endpoints, 3 exposed, 50/s, 5 s, 15 s left");
	progress_format(&known, 5000, 0.1, 80, line);
	assert_non_null(strstr(line, "2 h 05 min left"));
	progress_format(&known, 5000, 0, 80, line);
	assert_non_null(strstr(line, "? left"));
	progress_format(&known, 5000, 50, 20, line);
	assert_int_equal(strlen(line), 19);
	progress_format(&piped, 5000, 50, 80, line);
	assert_null(strstr(line, "left"));
	assert_null(strchr(line, '%'));
}

static char *explain(const struct finding *f, enum fingerprint_step step, const char *body,
                     size_t length, bool show_secrets)
{
	static char head[] = "HTTP/1.1 200 OK\r\nSet-Cookie: sid=hunter1\r\nX: \x1b[2J\r\n\r\n";
	static char sent[] = "GET / HTTP/1.1\r\n\r\n";
	struct exchange_log log = {.count = 1};
	struct exchange *x = &log.items[0];
	auto_free uint8_t *copy = malloc(length + 1);
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(copy);
	assert_non_null(to);
	memcpy(copy, body, length);
	x->request.step = step;
	x->answer = (struct http_answer){.status = 200,
	                                 .content_type = "text/plain",
	                                 .location = "",
	                                 .body = copy,
	                                 .body_length = length};
	x->sent = sent;
	x->head = head;
	x->head_length = sizeof(head) - 1;
	x->body = copy;
	explain_write(to, f, &log, show_secrets);
	assert_int_equal(fclose(to), 0);
	return text;
}

static void test_explain_is_clean_and_redacted(void **state)
{
	static const char command[] = "/bin/app\0--db-password=hunter2\0-token\0hunter3";
	struct finding f;
	auto_free char *hidden = NULL, *shown = NULL;

	(void)state;
	make_finding(&f, "10.0.0.7:9100");
	hidden = explain(&f, FINGERPRINT_CMDLINE, command, sizeof(command) - 1, false);
	assert_null(strstr(hidden, "hunter"));
	assert_null(strchr(hidden, '\x1b'));
	assert_non_null(strstr(hidden, "Set-Cookie:"));
	assert_non_null(strstr(hidden, "--db-password="));
	assert_non_null(strstr(hidden, "verdict   confirmed: index and symbol handler answered"));
	shown = explain(&f, FINGERPRINT_CMDLINE, command, sizeof(command) - 1, true);
	assert_non_null(strstr(shown, "hunter1"));
	assert_non_null(strstr(shown, "hunter2"));
	finding_fini(&f);
}

static void test_expvar_hides_its_command_line(void **state)
{
	static const char *const bodies[] = {
	    "{\n\"a\": 1,\n\"cmdline\": [\"/bin/app\",\"-token\",\"hunter2\"],\n\"b\": 2}\n",
	    "{\"a\":1,\n\"cmdline\":\n[\"-token\",\n\"hunter2\"]\n,\"b\": 2}\n",
	};
	struct finding f;

	(void)state;
	make_finding(&f, "10.0.0.7:9100");
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct exchange x = {.request.step = FINGERPRINT_RELATIVE};
		auto_free char *text = NULL, *body = strdup(bodies[i]);
		size_t size;
		FILE *to = open_memstream(&text, &size);

		assert_non_null(body);
		assert_non_null(to);
		x.body = (uint8_t *)body;
		x.answer.body_length = strlen(body);
		exchange_write_body(to, &x, false);
		assert_int_equal(fclose(to), 0);
		assert_null(strstr(text, "hunter2"));
		assert_non_null(strstr(text, "\"a\""));
		assert_non_null(strstr(text, "\"b\": 2"));
	}
	finding_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_formats_have_names),
	    cmocka_unit_test(test_csv_is_rfc_4180_and_no_formula),
	    cmocka_unit_test(test_html_escapes_everything),
	    cmocka_unit_test(test_html_policy_fits),
	    cmocka_unit_test(test_sarif_says_what_was_found),
	    cmocka_unit_test(test_file_is_valid_at_any_time),
	    cmocka_unit_test(test_pipe_gets_one_end),
	    cmocka_unit_test(test_table_fits_the_terminal),
	    cmocka_unit_test(test_table_has_colours_on_terminals_only),
	    cmocka_unit_test(test_table_aligns_after_a_long_endpoint),
	    cmocka_unit_test(test_write_errors_are_told),
	    cmocka_unit_test(test_progress_line),
	    cmocka_unit_test(test_explain_is_clean_and_redacted),
	    cmocka_unit_test(test_expvar_hides_its_command_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
