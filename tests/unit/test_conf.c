/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/conf_alert.h"
#include "tests/unit/conf_bad_alerts.h"
#include "tests/unit/conf_bad_inputs.h"
#include "tests/unit/conf_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static const char good_file[] = "mode: enforce            # or observe (default)\n"
                                "scan:\n"
                                "  targets: [\"10.91.0.2:9100\"]\n"
                                "  interval: 2s\n"
                                "  timeout: 3s\n"
                                "breakers:\n"
                                "  - name: default\n"
                                "    trip_after: 3\n"
                                "    confirm_interval: 200ms\n"
                                "    open_for: 30s\n"
                                "    close_after: 2\n"
                                "    action: drop          # or alert\n"
                                "    allow_from: [\"10.91.0.3\"]\n"
                                "protect:\n"
                                "  ports: [22]\n"
                                "alerts:\n"
                                "  - name: hook\n"
                                "    type: webhook\n"
                                "    url: \"http://127.0.0.1:9999/\"\n"
                                "metrics:\n"
                                "  listen: \"127.0.0.1:9464\"\n"
                                "on_stop: keep           # or remove\n"
                                "control:\n"
                                "  socket: \"/run/pprofwall/control.sock\"\n"
                                "state:\n"
                                "  directory: \"/var/lib/pprofwall\"\n";

static char *dump(const struct conf *conf, bool show_secrets)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(out);
	assert_int_equal(conf_dump(conf, out, show_secrets), 0);
	fclose(out);
	return text;
}

static char *read_source(const char *path)
{
	const char *root = getenv("PW_SOURCE_DIR");
	auto_fclose FILE *file = NULL;
	char *text = calloc(1, CONF_MAX_BYTES);
	char full[4096];

	assert_non_null(root);
	assert_non_null(text);
	snprintf(full, sizeof(full), "%s/%s", root, path);
	file = fopen(full, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, CONF_MAX_BYTES - 1, file) > 0);
	return text;
}

static void loads_the_good_file(void **state)
{
	auto_conf struct conf *c = conf_lab_load(good_file);
	char text[ENDPOINT_TEXT_LEN], prefix[PREFIX_TEXT_LEN];

	(void)state;
	assert_int_equal(c->mode, CONF_MODE_ENFORCE);
	assert_int_equal(c->scan.targets.count, 1);
	assert_string_equal(c->scan.targets.items[0], "10.91.0.2:9100");
	assert_int_equal(c->scan.targets.marks[0].line, 3);
	assert_int_equal(c->scan.targets.marks[0].column, 13);
	assert_int_equal(c->scan.interval_ms, 2000);
	assert_int_equal(c->scan.timeout_ms, 3000);
	assert_int_equal(c->n_breakers, 1);
	assert_string_equal(c->breakers[0].name, "default");
	assert_int_equal(c->breakers[0].trip_after, 3);
	assert_int_equal(c->breakers[0].trip_window, 3);
	assert_int_equal(c->breakers[0].confirm_interval_ms, 200);
	assert_int_equal(c->breakers[0].open_for_ms, 30000);
	assert_int_equal(c->breakers[0].close_after, 2);
	assert_int_equal(c->breakers[0].action, CONF_ACTION_DROP);
	assert_int_equal(c->breakers[0].allow_from.count, 1);
	assert_string_equal(prefix_format(&c->breakers[0].allow_from.items[0], prefix),
	                    "10.91.0.3");
	assert_int_equal(c->protect.ports.count, 1);
	assert_int_equal(c->protect.ports.items[0], 22);
	assert_int_equal(c->n_alerts, 1);
	assert_string_equal(c->alerts[0].name, "hook");
	assert_int_equal(c->alerts[0].type, CONF_ALERT_WEBHOOK);
	assert_string_equal(c->alerts[0].url, "http://127.0.0.1:9999/");
	assert_true(c->metrics.enabled);
	assert_string_equal(endpoint_format(&c->metrics.listen, text), "127.0.0.1:9464");
	assert_int_equal(c->on_stop, CONF_ON_STOP_KEEP);
	assert_string_equal(c->control.socket, "/run/pprofwall/control.sock");
	assert_string_equal(c->state.directory, "/var/lib/pprofwall");
}

static void check_default_breaker(const struct conf_breaker *b)
{
	assert_string_equal(b->name, "default");
	assert_int_equal(b->trip_after, 3);
	assert_int_equal(b->trip_window, 3);
	assert_int_equal(b->confirm_interval_ms, 1000);
	assert_int_equal(b->open_for_ms, 3600 * 1000);
	assert_int_equal(b->close_after, 2);
	assert_int_equal(b->remind_every_ms, 86400 * 1000);
	assert_int_equal(b->unknown_after_ms, 600 * 1000);
	assert_int_equal(b->severity, SEVERITY_MEDIUM);
	assert_int_equal(b->action, CONF_ACTION_DROP);
	assert_false(b->seal_local);
	assert_false(b->whole_port);
	assert_int_equal(b->allow_from.count, 0);
}

static void fills_in_defaults(void **state)
{
	auto_conf struct conf *c =
	    conf_lab_load("breakers: []\nalerts:\n"
	                  "  - {name: a, type: webhook, url: 'https://h'}\n");
	char text[ENDPOINT_TEXT_LEN];

	(void)state;
	assert_int_equal(c->mode, CONF_MODE_OBSERVE);
	assert_int_equal(c->scan.targets.count, 0);
	assert_int_equal(c->scan.ports.count, 1);
	assert_string_equal(c->scan.ports.items[0], "top30");
	assert_int_equal(c->scan.interval_ms, 60000);
	assert_int_equal(c->scan.timeout_ms, 3000);
	assert_int_equal(c->scan.concurrency, 64);
	assert_int_equal(c->n_breakers, 1);
	check_default_breaker(&c->breakers[0]);
	assert_int_equal(c->protect.ports.count, 1);
	assert_int_equal(c->protect.ports.items[0], 22);
	assert_int_equal(c->protect.sources.count, 0);
	assert_int_equal(c->alerts[0].timeout_ms, 10000);
	assert_int_equal(c->alerts[0].give_up_after_ms, 3600 * 1000);
	assert_int_equal(c->alerts[0].group_wait_ms, 0);
	assert_int_equal(c->alerts[0].max_per_minute, 0);
	assert_int_equal(c->alerts[0].severity, SEVERITY_INFO);
	assert_int_equal(c->alerts[0].events.count, 0);
	assert_int_equal(c->alerts[0].quiet_hours.count, 0);
	assert_int_equal(c->alerts[0].quiet_except, SEVERITY_HIGH);
	assert_int_equal(c->alerts[0].escalate_after_ms, 0);
	assert_true(c->metrics.enabled);
	assert_string_equal(endpoint_format(&c->metrics.listen, text), "127.0.0.1:9464");
	assert_int_equal(c->on_stop, CONF_ON_STOP_KEEP);
	assert_string_equal(c->control.socket, "/run/pprofwall/control.sock");
	assert_string_equal(c->control.group, "pprofwall");
	assert_string_equal(c->state.directory, "/var/lib/pprofwall");
	assert_int_equal(c->firewall.persist, CONF_PERSIST_AUTO);
	assert_int_equal(c->firewall.max_blocks, 1000);
	assert_int_equal(c->firewall.max_blocks_per_minute, 60);
	assert_int_equal(c->firewall.slack_ms, 600 * 1000);
	assert_int_equal(c->firewall.mark, 0x50000000);
	assert_int_equal(c->firewall.mark_mask, 0xf0000000);
	assert_string_equal(c->users.agent, "pprofwall");
	assert_string_equal(c->users.prober, "pprofwall-prober");
	assert_string_equal(c->users.firewall, "pprofwall-firewall");
	assert_string_equal(c->users.sender, "pprofwall-sender");
	assert_string_equal(c->users.inventory, "pprofwall-inventory");
	assert_string_equal(c->users.filter, "pprofwall-filter");
	assert_string_equal(c->users.runner, "pprofwall-runner");
	assert_int_equal(c->firewall.route_mark, 0x60000000);
	assert_int_equal(c->firewall.route_table, 28791);
	assert_int_equal(c->n_filters, 0);
	assert_false(conf_has_filter(c));
	assert_true(c->firewall.verify);
}

/* People are told less often, and more at once; a machine is told everything, when it happens. */
static void groups_for_people(void **state)
{
	auto_conf struct conf *c =
	    conf_lab_load("alerts: [{name: a, type: webhook, url: 'http://h', "
	                  "group_wait: 700ms, max_per_minute: 3}, "
	                  "{name: b, type: slack, url: 'https://h'}, "
	                  "{name: c, type: slack, url: 'https://h', "
	                  "group_wait: off, max_per_minute: 0}]\n");

	(void)state;
	assert_int_equal(c->alerts[0].group_wait_ms, 700);
	assert_int_equal(c->alerts[0].max_per_minute, 3);
	assert_int_equal(c->alerts[1].group_wait_ms, 5000);
	assert_int_equal(c->alerts[1].max_per_minute, 10);
	assert_int_equal(c->alerts[2].group_wait_ms, 0);
	assert_int_equal(c->alerts[2].max_per_minute, 0);
	for (unsigned type = 0; type < CONF_ALERT_TYPES; type++) {
		bool people = type == CONF_ALERT_SMTP || type == CONF_ALERT_SLACK;

		assert_int_equal(conf_alert_default_group_wait_ms(type), people ? 5000 : 0);
		assert_int_equal(conf_alert_default_per_minute(type), people ? 10 : 0);
	}
}

static void reads_every_other_form(void **state)
{
	auto_conf struct conf *c = conf_lab_load(
	    "scan: {ports: [6060, \"8080-8090\", top10], targets: [h, 'H:80', \"http://h/x\"]}\n"
	    "breakers:\n"
	    "- {name: a, remind_every: off, trip_after: 2, trip_window: 5, severity: high}\n"
	    "- {name: b, remind_every: 0, open_for: \"30d\", seal_local: true, whole_port: true, "
	    "action: alert}\n"
	    "protect: {ports: [], sources: [10.0.0.0/8, '::/0']}\n"
	    "metrics: {listen: off}\n"
	    "firewall: {mark: 3, mark_mask: 0xF, persist: off, verify: false}\n"
	    "users: {agent: 65534, prober: '1001'}\n"
	    "control: {group: 0}\n"
	    "on_stop: \"remove\"\n");
	auto_conf struct conf *m = conf_lab_load(
	    "scan: {listeners: false, poll: 200ms}\n"
	    "breakers:\n"
	    "- {name: a, match: {ports: [80, \"81-82\"], process: [\"x*\"], loopback: false}}\n"
	    "- {name: b, action: alert, match: {loopback: true, verdict: [likely]}}\n");

	(void)state;
	assert_false(m->scan.listeners);
	assert_int_equal(m->scan.poll_ms, 200);
	assert_int_equal(m->breakers[0].match.ports.count, 2);
	assert_string_equal(m->breakers[0].match.process.items[0], "x*");
	assert_int_equal(m->breakers[0].match.loopback, CONF_LOOPBACK_NEVER);
	assert_int_equal(m->breakers[1].match.loopback, CONF_LOOPBACK_ONLY);
	assert_string_equal(m->breakers[1].match.verdict.items[0], "likely");
	assert_true(m->has_unmatched);
	assert_string_equal(m->breakers[2].name, CONF_UNMATCHED);
	assert_int_equal(m->breakers[2].action, CONF_ACTION_ALERT);
	assert_string_equal(c->scan.ports.items[0], "6060");
	assert_int_equal(c->scan.ports.count, 3);
	assert_int_equal(c->scan.targets.count, 3);
	assert_int_equal(c->n_breakers, 2);
	assert_int_equal(c->breakers[0].remind_every_ms, 0);
	assert_int_equal(c->breakers[0].trip_window, 5);
	assert_int_equal(c->breakers[0].severity, SEVERITY_HIGH);
	assert_int_equal(c->breakers[1].remind_every_ms, 0);
	assert_int_equal(c->breakers[1].open_for_ms, INT64_C(30) * 86400 * 1000);
	assert_true(c->breakers[1].seal_local);
	assert_true(c->breakers[1].whole_port);
	assert_int_equal(c->breakers[1].action, CONF_ACTION_ALERT);
	assert_int_equal(c->protect.ports.count, 0);
	assert_int_equal(c->protect.sources.count, 2);
	assert_false(c->metrics.enabled);
	assert_int_equal(c->firewall.mark, 3);
	assert_int_equal(c->firewall.mark_mask, 15);
	assert_int_equal(c->firewall.persist, CONF_PERSIST_OFF);
	assert_false(c->firewall.verify);
	assert_string_equal(c->users.agent, "65534");
	assert_string_equal(c->users.prober, "1001");
	assert_string_equal(c->control.group, "0");
	assert_int_equal(c->on_stop, CONF_ON_STOP_REMOVE);
}

/* Addresses, files and names in one list, and again from what is dumped. */
static void reads_sources(void **state)
{
	auto_conf struct conf *c =
	    conf_lab_load("breakers:\n- name: a\n  allow_from:\n"
	                  "  - prometheus.example\n  - '@/etc/pprofwall/scrapers.txt'\n"
	                  "  - 10.0.9.1\n  - prometheus.\n  - 2001:db8::/32\n"
	                  "  - 163.com\n  - 10.0.0.1.nip.io\n"
	                  "- name: b\n  allow_from: [10.0.9.1]\n");
	auto_free char *text = dump(c, true);
	auto_conf struct conf *again = conf_lab_load(text);
	const struct conf *both[] = {c, again};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		const struct conf_breaker *b = &both[i]->breakers[0];
		char prefix[PREFIX_TEXT_LEN];

		assert_int_equal(b->allow_from.count, 2);
		assert_string_equal(prefix_format(&b->allow_from.items[1], prefix),
		                    "2001:db8::/32");
		assert_int_equal(b->allow_sources.files.count, 1);
		assert_string_equal(b->allow_sources.files.items[0], "/etc/pprofwall/scrapers.txt");
		assert_int_equal(b->allow_sources.names.count, 4);
		assert_string_equal(b->allow_sources.names.items[0], "prometheus.example");
		assert_string_equal(b->allow_sources.names.items[1], "prometheus.");
		assert_true(b->allow_dynamic);
		assert_false(both[i]->breakers[1].allow_dynamic);
		assert_int_equal(both[i]->breakers[1].allow_from.count, 1);
	}
	assert_int_equal(c->breakers[0].allow_sources.files.marks[0].line, 5);
	assert_int_equal(c->breakers[0].allow_sources.files.marks[0].column, 5);
}

static void refuses_each_bad_input(void **state)
{
	(void)state;
	conf_lab_expect_refused(bad_inputs, ARRAY_LEN(bad_inputs));
	conf_lab_expect_refused(bad_alerts, ARRAY_LEN(bad_alerts));
}

static void dumps_what_loads_again(void **state)
{
	static const char *const files[] = {
	    good_file,
	    "mode: observe\n",
	    "breakers: [{name: a, remind_every: off, trip_window: 64}, {name: b}]\n"
	    "metrics: {listen: '[::1]:1'}\nalerts: [{name: a, type: webhook, url: 'http://h'}, "
	    "{name: b, type: webhook, url: 'http://h', group_wait: 5s, max_per_minute: 10}, "
	    "{name: c, type: webhook, url: 'http://h', group_wait: off, max_per_minute: 0}]\n"
	    "protect: {ports: [], sources: ['::/0', 10.0.0.0/8]}\nusers: {agent: 65534}\n"
	    "state: {directory: \"/a b/\\\"c\\\\d\\u00e9\"}\nfirewall: {mark: 1, mark_mask: 1}\n",
	    "alerts:\n- {name: a, type: webhook, url_file: /a, secret_file: /b, headers_file: /c,\n"
	    "   ca_file: /d, cert_file: /e, key_file: /f}\n"
	    "- {name: b, type: webhook, url_credential: a, secret_credential: b,\n"
	    "   headers_credential: c}\n"
	    "- {name: am, type: alertmanager, url: 'https://h/am', refresh: 30s}\n"
	    "- {name: s, type: slack, url_file: /s}\n- {name: p, type: pagerduty, secret: k}\n"
	    "- {name: c, type: webhook, url: 'https://u:p@h/', secret: 'x \"y\" z',\n"
	    "   headers: ['A: \"b\\c\"', 'D-E:f']}\n",
	    "alerts:\n- {name: m, type: smtp, url: 'smtp://h:587', user: u, secret: 's p', from: "
	    "a@b,\n"
	    "   to: [c@d, e@f], subject: '{event}', ca_file: /c}\n"
	    "- {name: n, type: smtp, url: 'smtp://[::1]', from: a@b, to: [c@d], starttls: off}\n"
	    "- {name: l, type: syslog, url: 'unix:///dev/log', facility: local0}\n"
	    "- {name: t, type: syslog, url: 'tls://h', ca_file: /c}\n- {name: j, type: journald}\n"
	    "- {name: x, type: exec, command: [/bin/x, 'a \"b\"', é]}\n",
	    "metrics: {listen: off}\nscan: {ports: ['1-3', top60], targets: [a, b, 'c:80']}\n",
	    "scan: {listeners: false, poll: 5s}\nbreakers: [{name: a, trip_after: 2, match: "
	    "{ports: "
	    "[80, top10], addresses: ['::/0'], process: ['/a \"b\"/*'], unit: [x.service], "
	    "container: "
	    "[any, abcdef], user: [root, 7], verdict: [likely], loopback: false}}, {name: b, "
	    "match: {}}]\n",
	    "filters: [{name: f, match: {ports: [80, top10], addresses: ['::/0'], process: [x], "
	    "unit: [y], container: [any], user: [7], loopback: false}, deny: [/a, '/b c/', /], "
	    "on_opaque: pass, on_failure: open, fallback: drop, drain: 0, seal_local: true, "
	    "refuse: drop, allow_from: [10.0.0.0/8, '@/f', x.example]}, "
	    "{name: g, match: {unit: [z]}, allow: [/metrics]}]\n"
	    "breakers: [{name: a}, {name: b, action: filter, deny: [/é], drain: 10m}]\n"
	    "firewall: {mark: 1, mark_mask: 3, route_table: 4294967295}\n",
	    "filters: [{name: f, match: {container: [none]}}]\n",
	    "alerts: [{name: a, type: webhook, url: 'http://h', quiet_hours: ['22:00-07:00', 'Sat "
	    "00:00-24:00'], quiet_except: none, escalate_after: 30m, match: {severity: high, "
	    "events: [opened, closed], ports: [80, top10], addresses: ['::/0'], process: ['x*'], "
	    "unit: [x.service], container: [any]}}, {name: b, type: webhook, url: 'http://h', "
	    "match: {}}]\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		auto_conf struct conf *first = conf_lab_load(files[i]);
		auto_free char *once = dump(first, true);
		auto_conf struct conf *second = conf_lab_load(once);
		auto_free char *twice = dump(second, true);

		assert_string_equal(once, twice);
		assert_null(conf_find_fixed_change(first, second));
	}
}

static void masks_and_forgets_secrets(void **state)
{
	auto_conf struct conf *c = conf_lab_load(
	    "alerts: [{name: a, type: webhook, url: 'http://h/hunter2', secret: hunter2, "
	    "headers: ['Authorization: hunter2']}]\n");
	auto_free char *masked = dump(c, false);
	auto_free char *shown = dump(c, true);
	auto_free char *forgotten = NULL;
	char error[CONF_ERROR_LEN];

	(void)state;
	assert_null(strstr(masked, "hunter2"));
	assert_non_null(strstr(masked, "url: \"***\""));
	assert_non_null(strstr(masked, "secret: \"***\""));
	assert_non_null(strstr(masked, "- \"Authorization: ***\""));
	assert_non_null(strstr(shown, "url: \"http://h/hunter2\""));
	assert_non_null(strstr(shown, "secret: \"hunter2\""));
	assert_non_null(strstr(shown, "- \"Authorization: hunter2\""));
	assert_null(conf_load("f", masked, strlen(masked), error));
	conf_forget_secrets(c);
	assert_string_equal(c->alerts[0].url, "");
	assert_string_equal(c->alerts[0].name, "a");
	forgotten = dump(c, true);
	assert_string_equal(forgotten, masked);
}

/* "#key: value" and "#  key: value" are settings; "# prose" is prose. */
static char *uncomment(const char *text)
{
	char *out = calloc(1, strlen(text) + 1);
	char *to = out;
	bool start = true;

	assert_non_null(out);
	for (; *text; text++) {
		if (!start || *text != '#' || text[1] == '\n' || (text[1] == ' ' && text[2] != ' '))
			*to++ = *text;
		start = *text == '\n';
	}
	return out;
}

static void ships_its_defaults(void **state)
{
	auto_free char *shipped = read_source("conf/pprofwall.yaml");
	auto_free char *explicit = uncomment(shipped);
	auto_conf struct conf *c = conf_lab_load(shipped);
	auto_conf struct conf *spelt_out = conf_lab_load(explicit);
	auto_conf struct conf *bare = conf_lab_load("mode: observe\n");
	auto_conf struct conf *with_alert =
	    conf_lab_load("alerts:\n  - name: hook\n    type: webhook\n"
	                  "    url: \"https://alerts.example/pprofwall\"\n"
	                  "filters:\n  - name: exporters\n"
	                  "    match: {ports: [9100]}\n");
	auto_free char *shipped_dump = dump(c, true), *bare_dump = dump(bare, true);
	auto_free char *explicit_dump = dump(spelt_out, true), *alert_dump = dump(with_alert, true);

	(void)state;
	assert_int_equal(c->mode, CONF_MODE_OBSERVE);
	assert_string_equal(shipped_dump, bare_dump);
	assert_string_equal(explicit_dump, alert_dump);
}

/* Each key of the schema stands in the reference, and in the shipped file. */
static void documents_every_key(void **state)
{
	auto_free char *docs = read_source("docs/configuration.md");
	auto_free char *shipped = read_source("conf/pprofwall.yaml");
	auto_free char *schema = NULL;
	char *rest, *line;
	size_t length, keys = 0;
	FILE *out = open_memstream(&schema, &length);

	(void)state;
	assert_int_equal(conf_print_schema(out), 0);
	fclose(out);
	rest = schema;
	while ((line = strsep(&rest, "\n"))) {
		const char *dot = strrchr(line, '.');
		char cell[128];

		if (*line == ' ' || *line == '\0')
			continue;
		keys++;
		snprintf(cell, sizeof(cell), "`%s`", line);
		if (!strstr(docs, cell))
			fail_msg("docs/configuration.md lacks %s", cell);
		snprintf(cell, sizeof(cell), "%s:", dot ? dot + 1 : line);
		if (!strstr(shipped, cell))
			fail_msg("conf/pprofwall.yaml lacks %s", cell);
	}
	assert_true(keys > 40);
}

static void names_what_needs_a_restart(void **state)
{
	static const struct {
		const char *text, *key;
	} cases[] = {
	    {"mode: enforce", NULL},
	    {"control: {group: wheel}", NULL},
	    {"firewall: {max_blocks: 5}", NULL},
	    {"metrics: {listen: off}", NULL},
	    {"control: {socket: /run/other}", "control.socket"},
	    {"state: {directory: /srv/x}", "state.directory"},
	    {"firewall: {persist: off}", "firewall.persist"},
	    {"users: {agent: x}", "users.agent"},
	    {"users: {prober: x}", "users.prober"},
	    {"users: {firewall: x}", "users.firewall"},
	    {"users: {sender: x}", "users.sender"},
	    {"users: {inventory: x}", "users.inventory"},
	    {"users: {runner: x}", "users.runner"},
	    {"users: {filter: x}", "users.filter"},
	    {"firewall: {verify: false}", "firewall.verify"},
	    {"firewall: {route_mark: 0x20000000}", "firewall.route_mark"},
	    {"firewall: {route_table: 7}", "firewall.route_table"},
	    {"filters: [{name: f, match: {ports: [1]}}]", NULL},
	};
	auto_conf struct conf *running = conf_lab_load("mode: observe");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_conf struct conf *next = conf_lab_load(cases[i].text);
		const char *key = conf_find_fixed_change(running, next);

		assert_string_equal(key ? key : "none", cases[i].key ? cases[i].key : "none");
	}
}

static void reads_files_without_moving_them(void **state)
{
	auto_close int fd = memfd_create("conf", MFD_CLOEXEC);
	auto_close int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char error[CONF_ERROR_LEN] = "";
	int pipes[2];

	(void)state;
	assert_int_equal(write(fd, good_file, strlen(good_file)), strlen(good_file));
	assert_int_equal(lseek(fd, 7, SEEK_SET), 7);
	for (int i = 0; i < 2; i++) {
		auto_conf struct conf *c = conf_load_fd("f", fd, error);

		assert_string_equal(error, "");
		assert_non_null(c);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 7);
	}
	assert_int_equal(ftruncate(fd, 10485760), 0);
	assert_null(conf_load_fd("f", fd, error));
	assert_string_equal(error, "f:1:1: file is 10485760 bytes; expected at most 1048576");
	assert_null(conf_load_fd("f", directory, error));
	assert_string_equal(error,
	                    "f:1:1: cannot be read: Is a directory; expected a readable file");
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_null(conf_load_fd("f", pipes[0], error));
	assert_string_equal(error, "f:1:1: cannot be read: Illegal seek; expected a readable file");
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loads_the_good_file),
	    cmocka_unit_test(fills_in_defaults),
	    cmocka_unit_test(groups_for_people),
	    cmocka_unit_test(reads_every_other_form),
	    cmocka_unit_test(reads_sources),
	    cmocka_unit_test(refuses_each_bad_input),
	    cmocka_unit_test(dumps_what_loads_again),
	    cmocka_unit_test(masks_and_forgets_secrets),
	    cmocka_unit_test(ships_its_defaults),
	    cmocka_unit_test(documents_every_key),
	    cmocka_unit_test(names_what_needs_a_restart),
	    cmocka_unit_test(reads_files_without_moving_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
