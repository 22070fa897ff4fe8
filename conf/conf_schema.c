/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_schema.h"
#include "common/control.h"
#include "common/spelling.h"
#include "common/template.h"

#include <string.h>
#include <sys/un.h>

static const struct conf_choice modes[] = {
    {"observe", CONF_MODE_OBSERVE}, {"enforce", CONF_MODE_ENFORCE}, {NULL, 0}};
static const struct conf_choice actions[] = {
    {"drop", CONF_ACTION_DROP}, {"alert", CONF_ACTION_ALERT}, {NULL, 0}};
static const struct conf_choice refusals[] = {
    {"reset", CONF_REFUSE_RESET}, {"drop", CONF_REFUSE_DROP}, {NULL, 0}};
static const struct conf_choice on_stops[] = {
    {"keep", CONF_ON_STOP_KEEP}, {"remove", CONF_ON_STOP_REMOVE}, {NULL, 0}};
static const struct conf_choice persists[] = {
    {"auto", CONF_PERSIST_AUTO}, {"off", CONF_PERSIST_OFF}, {NULL, 0}};
/* clang-format off: one a line */
/* RFC 5424, 6.2.1 */
static const struct conf_choice facilities[] = {
    {"kern", 0},      {"user", 1},    {"mail", 2},    {"daemon", 3},  {"auth", 4},
    {"syslog", 5},    {"lpr", 6},     {"news", 7},    {"uucp", 8},    {"cron", 9},
    {"authpriv", 10}, {"ftp", 11},    {"local0", 16}, {"local1", 17}, {"local2", 18},
    {"local3", 19},   {"local4", 20}, {"local5", 21}, {"local6", 22}, {"local7", 23},
    {NULL, 0}};
static const struct conf_choice starttls_choices[] = {
    {"require", CONF_STARTTLS_REQUIRE}, {"off", CONF_STARTTLS_OFF}, {NULL, 0}};
static const struct conf_choice alert_types[] = {
    {"webhook", CONF_ALERT_WEBHOOK},
    {"alertmanager", CONF_ALERT_ALERTMANAGER},
    {"slack", CONF_ALERT_SLACK},
    {"pagerduty", CONF_ALERT_PAGERDUTY},
    {"smtp", CONF_ALERT_SMTP},
    {"syslog", CONF_ALERT_SYSLOG},
    {"journald", CONF_ALERT_JOURNALD},
    {"exec", CONF_ALERT_EXEC},
    {NULL, 0},
};
/* clang-format on */
static const struct conf_choice insides[] = {{"containers", CONF_INSIDE_CONTAINERS},
                                             {"all", CONF_INSIDE_ALL},
                                             {"none", CONF_INSIDE_NONE},
                                             {NULL, 0}};
static const struct conf_choice loopbacks[] = {{"any", CONF_LOOPBACK_ANY},
                                               {"true", CONF_LOOPBACK_ONLY},
                                               {"false", CONF_LOOPBACK_NEVER},
                                               {NULL, 0}};
static const struct conf_choice severities[] = {
    {"low", SEVERITY_LOW}, {"medium", SEVERITY_MEDIUM}, {"high", SEVERITY_HIGH}, {NULL, 0}};

static const struct conf_choice told_severities[] = {{"info", SEVERITY_INFO},
                                                     {"low", SEVERITY_LOW},
                                                     {"medium", SEVERITY_MEDIUM},
                                                     {"high", SEVERITY_HIGH},
                                                     {NULL, 0}};
static const struct conf_choice quiet_severities[] = {{"low", SEVERITY_LOW},
                                                      {"medium", SEVERITY_MEDIUM},
                                                      {"high", SEVERITY_HIGH},
                                                      {"none", SEVERITY_COUNT},
                                                      {NULL, 0}};

/* clang-format off: one row a key, its columns on few lines */
#define SECTION(p, h)                                                                              \
	{                                                                                          \
		.path = p, .type = CONF_TYPE_SECTION, .help = h                                    \
	}
#define CONF(t, member)    .type = CONF_TYPE_##t, .offset = offsetof(struct conf, member)
#define BREAKER(t, member) .type = CONF_TYPE_##t, .offset = offsetof(struct conf_breaker, member)
#define ALERT(t, member)   .type = CONF_TYPE_##t, .offset = offsetof(struct conf_alert, member)
#define TYPE(name)         (1U << CONF_ALERT_##name)
#define GROUPED            (TYPE(WEBHOOK) | TYPE(ALERTMANAGER) | TYPE(SMTP) | TYPE(SLACK))
#define HTTP_TYPES         (TYPE(WEBHOOK) | TYPE(ALERTMANAGER) | TYPE(SLACK) | TYPE(PAGERDUTY))
#define URL_TYPES          (HTTP_TYPES | TYPE(SMTP) | TYPE(SYSLOG))
#define TLS_TYPES          (HTTP_TYPES | TYPE(SMTP) | TYPE(SYSLOG))
#define SECRET_TYPES       (TYPE(WEBHOOK) | TYPE(PAGERDUTY) | TYPE(SMTP))
#define HEADER_TYPES       (TYPE(WEBHOOK) | TYPE(ALERTMANAGER) | TYPE(SLACK))
#define RANGE(least, most) .min = (least), .max = (most)
#define SECONDS(n)         ((n)*INT64_C(1000))
#define DAYS(n)            SECONDS((n)*INT64_C(86400))

const struct conf_key conf_schema[] = {
    {"mode", CONF(CHOICE, mode), .choices = modes, .preset = "observe",
     .help = "observe: probe, alert and say what would be blocked; enforce: block it"},
    {"enforce_percent", CONF(NUMBER, enforce_percent), RANGE(0, 100), .preset = "100",
     .help = "With mode enforce: the part of all hosts that do; the others observe"},
    {"enforce_salt", CONF(TEXT, enforce_salt), .max = 64, .preset = "pprofwall",
     .help = "Another text makes other hosts the first of a roll-out"},

    SECTION("scan", "What is probed, and how often"),
    {"scan.targets", CONF(TARGETS, scan.targets), RANGE(0, CONF_MAX_TARGETS),
     .help = "Endpoints to probe: address, prefix or name, each with or without a port, or a URL"},
    {"scan.ports", CONF(PORT_LISTS, scan.ports), RANGE(1, 1024), .preset = "top30",
     .flags = CONF_KEY_NONEMPTY, .help = "Ports of targets that are written without one"},
    {"scan.listeners", CONF(BOOL, scan.listeners), .preset = "true",
     .help = "Also probe what listens on this host and in its containers"},
    {"scan.inside", CONF(CHOICE, scan.inside), .choices = insides, .preset = "containers",
     .help = "Whose listeners are probed in their own network namespace if the host does not reach "
             "them"},
    {"scan.poll", CONF(DURATION, scan.poll_ms), RANGE(100, SECONDS(3600)), .preset = "1s",
     .help = "Between looks at all listeners, where the kernel tells of none"},
    {"scan.interval", CONF(DURATION, scan.interval_ms), RANGE(100, DAYS(7)), .preset = "60s",
     .help = "From one probe of an endpoint to the next"},
    {"scan.timeout", CONF(DURATION, scan.timeout_ms), RANGE(50, SECONDS(60)), .preset = "3s",
     .help = "How long one request may take in all"},
    {"scan.concurrency", CONF(NUMBER, scan.concurrency), RANGE(1, 1024), .preset = "64",
     .help = "Endpoints probed at once"},

    {"breakers", CONF(RECORDS, breakers), .extra = offsetof(struct conf, n_breakers),
     .size = sizeof(struct conf_breaker), RANGE(0, CONF_MAX_BREAKERS),
     .note = "one, named \"default\"",
     .help = "When an endpoint is walled off, how, and when the wall comes down"},
    {"breakers[].name", BREAKER(NAME, name), .flags = CONF_KEY_REQUIRED,
     .help = "Stands in alerts, metrics and the control socket's answers; unique"},
    SECTION("breakers[].match",
            "For which endpoints it is: all that is given must fit; the first wins"),
    {"breakers[].match.ports", BREAKER(PORT_LISTS, match.ports), RANGE(0, CONF_MAX_MATCHES),
     .help = "On one of these ports; empty: on any"},
    {"breakers[].match.addresses", BREAKER(PREFIXES, match.addresses), RANGE(0, CONF_MAX_PREFIXES),
     .help = "At one of these addresses"},
    {"breakers[].match.process", BREAKER(TEXTS, match.process), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 255,
     .help = "Whose command, executable's name or (with a slash) path is like this"},
    {"breakers[].match.unit", BREAKER(TEXTS, match.unit), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 127, .help = "Whose systemd unit is like this: nginx.service, user@*"},
    {"breakers[].match.container", BREAKER(TEXTS, match.container), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 64, .help = "In any container, none, or those whose id begins like this"},
    {"breakers[].match.user", BREAKER(TEXTS, match.user), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 32, .help = "Whose socket belongs to this user, by name or number"},
    {"breakers[].match.verdict", BREAKER(TEXTS, match.verdict), RANGE(0, 2), .item_max = 16,
     .help = "With this verdict: confirmed or likely"},
    {"breakers[].match.loopback", BREAKER(CHOICE, match.loopback), .choices = loopbacks,
     .preset = "any",
     .help = "true: only what the host alone reaches, and block that too; false: only the rest"},
    {"breakers[].trip_after", BREAKER(NUMBER, trip_after), RANGE(1, 64), .preset = "3",
     .help = "Exposed probes, of the last trip_window, that open the breaker"},
    {"breakers[].trip_window", BREAKER(NUMBER, trip_window), RANGE(1, 64), .note = "as trip_after",
     .help = "Probes that are looked back at; more than trip_after for servers that alternate"},
    {"breakers[].confirm_interval", BREAKER(DURATION, confirm_interval_ms),
     RANGE(10, SECONDS(3600)), .preset = "1s",
     .help = "Between probes that confirm an exposure or a cure"},
    {"breakers[].open_for", BREAKER(DURATION, open_for_ms), RANGE(SECONDS(1), DAYS(30)),
     .preset = "1h", .help = "How long an endpoint stays blocked before it is probed again"},
    {"breakers[].close_after", BREAKER(NUMBER, close_after), RANGE(1, 64), .preset = "2",
     .help = "Clean probes in a row that lift the block"},
    {"breakers[].remind_every", BREAKER(DURATION, remind_every_ms), RANGE(SECONDS(1), DAYS(30)),
     .flags = CONF_KEY_OR_OFF, .preset = "24h",
     .help = "Between reminders of an endpoint that is still exposed"},
    {"breakers[].unknown_after", BREAKER(DURATION, unknown_after_ms), RANGE(SECONDS(1), DAYS(7)),
     .preset = "10m", .help = "Alert when a blocked endpoint has given no verdict for so long"},
    {"breakers[].severity", BREAKER(CHOICE, severity), .choices = severities, .preset = "medium",
     .help = "The least severity that counts as exposed"},
    {"breakers[].action", BREAKER(CHOICE, action), .choices = actions, .preset = "drop",
     .help = "drop: block the port, except from allow_from; alert: only tell"},
    {"breakers[].seal_local", BREAKER(BOOL, seal_local), .preset = "false",
     .help = "Also cut clients on the host itself, kubelet's health probes among them"},
    {"breakers[].whole_port", BREAKER(BOOL, whole_port), .preset = "false",
     .help = "Block the port even if it serves more than profiling, and allow_from names nobody"},
    {"breakers[].refuse", BREAKER(CHOICE, refuse), .choices = refusals, .preset = "reset",
     .help = "reset: who may not connect is told so at once; drop: hears nothing"},
    {"breakers[].allow_from", BREAKER(SOURCES, allow_from),
     .extra = offsetof(struct conf_breaker, allow_sources), RANGE(0, CONF_MAX_PREFIXES),
     .help = "Who may still connect to a blocked port, such as the Prometheus servers: addresses, "
             "prefixes, @/path of a file of these, DNS names"},

    SECTION("protect", "What is never blocked, whatever a breaker says"),
    {"protect.ports", CONF(PORTS, protect.ports), RANGE(0, UINT16_MAX), .preset = "22",
     .help = "Ports that are never blocked; the list replaces the default"},
    {"protect.sources", CONF(PREFIXES, protect.sources), RANGE(0, CONF_MAX_PREFIXES),
     .help = "Clients that are never cut off"},

    {"alerts", CONF(RECORDS, alerts), .extra = offsetof(struct conf, n_alerts),
     .size = sizeof(struct conf_alert), RANGE(0, CONF_MAX_ALERTS), .note = "none",
     .help = "Where alerts go, and which"},
    {"alerts[].name", ALERT(NAME, name), .flags = CONF_KEY_REQUIRED,
     .help = "Stands in metrics and logs; unique"},
    {"alerts[].type", ALERT(CHOICE, type), .choices = alert_types,
     .flags = CONF_KEY_REQUIRED | CONF_KEY_CONNECTION,
     .help = "webhook: JSON, POSTed; journald: the journal of this host; exec: a program"},
    {"alerts[].url", ALERT(URL, url), .extra = offsetof(struct conf_alert, url_at),
     .flags = CONF_KEY_SECRET | CONF_KEY_CONNECTION, .types = URL_TYPES,
     .note = "none; this or one of the next two is required",
     .help = "Where to; kept secret, since it may hold a token"},
    {"alerts[].url_file", ALERT(PATH, url_file), .extra = offsetof(struct conf_alert, url_at),
     .max = 1024, .types = URL_TYPES, .help = "A file that holds the URL; the sender reads it"},
    {"alerts[].url_credential", ALERT(NAME, url_credential),
     .extra = offsetof(struct conf_alert, url_at), .types = URL_TYPES,
     .help = "The systemd credential that holds the URL (LoadCredential= of the unit)"},
    {"alerts[].secret", ALERT(TEXT, secret), .extra = offsetof(struct conf_alert, secret_at),
     .max = CONF_SECRET_MAX_LEN, .flags = CONF_KEY_SECRET | CONF_KEY_CONNECTION,
     .types = SECRET_TYPES,
     .help = "webhook: the key that requests are signed with; pagerduty: the routing key"},
    {"alerts[].secret_file", ALERT(PATH, secret_file),
     .extra = offsetof(struct conf_alert, secret_at), .max = 1024, .types = SECRET_TYPES,
     .help = "A file that holds the secret; the sender reads it"},
    {"alerts[].secret_credential", ALERT(NAME, secret_credential),
     .extra = offsetof(struct conf_alert, secret_at), .types = SECRET_TYPES,
     .help = "The systemd credential that holds the secret"},
    {"alerts[].headers", ALERT(HEADERS, headers), RANGE(0, CONF_MAX_HEADERS),
     .item_max = CONF_HEADER_MAX_LEN, .flags = CONF_KEY_SECRET | CONF_KEY_CONNECTION,
     .types = HEADER_TYPES,
     .help = "More headers of the request, \"Name: value\"; the values are secret"},
    {"alerts[].headers_file", ALERT(PATH, headers_file),
     .extra = offsetof(struct conf_alert, headers_at), .max = 1024, .types = HEADER_TYPES,
     .help = "A file that holds them, one a line; the sender reads it"},
    {"alerts[].headers_credential", ALERT(NAME, headers_credential),
     .extra = offsetof(struct conf_alert, headers_at), .types = HEADER_TYPES,
     .help = "The systemd credential that holds them, one a line"},
    {"alerts[].ca_file", ALERT(PATH, ca_file), .extra = offsetof(struct conf_alert, ca_at),
     .max = 1024, .flags = CONF_KEY_CONNECTION, .types = TLS_TYPES, .note = "the system's",
     .help = "The certificates (PEM) of who may certify the receiver, in place of the system's"},
    {"alerts[].cert_file", ALERT(PATH, cert_file), .extra = offsetof(struct conf_alert, cert_at),
     .max = 1024, .flags = CONF_KEY_CONNECTION, .types = TLS_TYPES,
     .help = "The certificate (PEM) that is shown to the receiver"},
    {"alerts[].key_file", ALERT(PATH, key_file), .extra = offsetof(struct conf_alert, key_at),
     .max = 1024, .flags = CONF_KEY_CONNECTION, .types = TLS_TYPES,
     .help = "The key (PEM, not encrypted) of cert_file"},
    {"alerts[].refresh", ALERT(DURATION, refresh_ms), RANGE(SECONDS(10), SECONDS(3600)),
     .preset = "1m", .types = TYPE(ALERTMANAGER),
     .help = "Between repetitions of what is still open; it ends three times as far away"},
    {"alerts[].subject", ALERT(TEMPLATE, subject), RANGE(0, 512), .types = TYPE(SMTP),
     .note = "see [templates](alerts.md#in-your-own-words)",
     .help = "A mail's subject, with {fields} of the event"},
    {"alerts[].text", ALERT(TEMPLATE, text), RANGE(1, TEMPLATE_MAX_BYTES),
     .types = TYPE(SMTP) | TYPE(SLACK) | TYPE(PAGERDUTY) | TYPE(SYSLOG) | TYPE(JOURNALD),
     .note = "see [templates](alerts.md#in-your-own-words)",
     .help = "What people read, with {fields} of the event"},
    {"alerts[].user", ALERT(TEXT, user), .extra = offsetof(struct conf_alert, user_at), .max = 255,
     .flags = CONF_KEY_CONNECTION, .types = TYPE(SMTP),
     .help = "Who we are to the mail server; secret: is the password"},
    {"alerts[].from", ALERT(TEXT, from), .extra = offsetof(struct conf_alert, from_at), .max = 254,
     .types = TYPE(SMTP), .note = "none, required", .help = "The address that mails come from"},
    {"alerts[].to", ALERT(TEXTS, to), RANGE(0, CONF_MAX_RECIPIENTS), .item_max = 254,
     .types = TYPE(SMTP), .note = "none, required", .help = "The addresses that they go to"},
    {"alerts[].starttls", ALERT(CHOICE, starttls), .choices = starttls_choices, .preset = "require",
     .flags = CONF_KEY_CONNECTION, .types = TYPE(SMTP),
     .help = "Of smtp:// URLs: require: TLS or nothing; off: everything in the clear"},
    {"alerts[].facility", ALERT(CHOICE, facility), .choices = facilities, .preset = "daemon",
     .types = TYPE(SYSLOG), .help = "As which of syslog's facilities"},
    {"alerts[].command", ALERT(TEXTS, command), RANGE(0, CONF_COMMAND_MAX_WORDS), .item_max = 255,
     .flags = CONF_KEY_CONNECTION, .types = TYPE(EXEC), .note = "none, required",
     .help =
         "The program, by its absolute path, and its arguments; no shell; gets the event's JSON"},
    {"alerts[].timeout", ALERT(DURATION, timeout_ms), RANGE(100, SECONDS(300)), .preset = "10s",
     .help = "How long one attempt may take in all"},
    {"alerts[].give_up_after", ALERT(DURATION, give_up_after_ms), RANGE(SECONDS(1), DAYS(30)),
     .preset = "1h", .help = "An alert that could not be delivered for so long is dropped"},
    {"alerts[].group_wait", ALERT(DURATION, group_wait_ms), RANGE(100, SECONDS(600)),
     .flags = CONF_KEY_OR_OFF, .types = GROUPED, .note = "5s for smtp and slack, else off",
     .help = "How long events are collected, from the first, to go in one message"},
    {"alerts[].max_per_minute", ALERT(NUMBER, max_per_minute), RANGE(0, 600), .types = GROUPED,
     .note = "10 for smtp and slack, else 0, no limit",
     .help = "Messages in a minute; past it events wait, and go together"},
    SECTION("alerts[].match", "What it is told of: all that is given must fit"),
    {"alerts[].match.severity", ALERT(CHOICE, severity), .choices = told_severities,
     .preset = "info", .help = "Endpoints that have shown at least this"},
    {"alerts[].match.events", ALERT(TEXTS, events), RANGE(0, 32), .item_max = 32,
     .help = "These events: opened, closed, ...; empty: all"},
    {"alerts[].match.ports", ALERT(PORT_LISTS, match.ports), RANGE(0, CONF_MAX_MATCHES),
     .help = "Endpoints on one of these ports"},
    {"alerts[].match.addresses", ALERT(PREFIXES, match.addresses), RANGE(0, CONF_MAX_PREFIXES),
     .help = "Endpoints at one of these addresses"},
    {"alerts[].match.process", ALERT(TEXTS, match.process), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 255, .help = "Listeners whose command, executable's name or path is like this"},
    {"alerts[].match.unit", ALERT(TEXTS, match.unit), RANGE(0, CONF_MAX_MATCHES), .item_max = 127,
     .help = "Listeners whose systemd unit is like this"},
    {"alerts[].match.container", ALERT(TEXTS, match.container), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 64, .help = "Listeners in any container, none, or one whose id begins like this"},
    {"alerts[].quiet_hours", ALERT(TEXTS, quiet_hours), RANGE(0, 32), .item_max = 32,
     .types = ~TYPE(ALERTMANAGER),
     .help = "When it is told nothing, by the host's clock: 22:00-07:00, Sat-Sun 00:00-24:00"},
    {"alerts[].quiet_except", ALERT(CHOICE, quiet_except), .choices = quiet_severities,
     .types = ~TYPE(ALERTMANAGER), .preset = "high",
     .help = "The least severity that is told in quiet hours, too"},
    {"alerts[].escalate_after", ALERT(DURATION, escalate_after_ms), RANGE(SECONDS(1), DAYS(30)),
     .flags = CONF_KEY_OR_OFF, .preset = "off",
     .help = "Told only of what is open, and acknowledged by nobody, for so long"},

    SECTION("outbox", "Alerts that are not delivered yet; they survive restarts"),
    {"outbox.max_events", CONF(NUMBER, outbox.max_events), RANGE(100, 100000), .preset = "10000",
     .help = "How many events are kept; past it the oldest are given up"},
    {"outbox.max_age", CONF(DURATION, outbox.max_age_ms), RANGE(SECONDS(60), DAYS(90)),
     .preset = "7d", .help = "An event that is older is given up"},

    SECTION("metrics", "Prometheus metrics and health"),
    {"metrics.listen", CONF(LISTEN, metrics.listen),
     .extra = offsetof(struct conf, metrics.enabled), .preset = "127.0.0.1:9464",
     .help = "Where /metrics, /healthz and /readyz are served"},

    {"on_stop", CONF(CHOICE, on_stop), .choices = on_stops, .preset = "keep",
     .help = "What happens to blocks when the service stops: keep until they expire, or remove"},

    SECTION("control", "The control socket"),
    {"control.socket", CONF(PATH, control.socket),
     .max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1, .flags = CONF_KEY_RESTART,
     .preset = CONTROL_DEFAULT_SOCKET, .help = "Its path"},
    {"control.group", CONF(ACCOUNT, control.group), .min = 0, .preset = "pprofwall",
     .help = "The group whose members may use it, besides root"},

    SECTION("state", "What survives a restart"),
    {"state.directory", CONF(PATH, state.directory), .max = 1024, .flags = CONF_KEY_RESTART,
     .preset = PPROFWALL_STATE_DIRECTORY,
     .help = "Breakers' states, alerts still to deliver, the panic marker"},

    SECTION("firewall", "Limits of what may be done to the packet filter"),
    {"firewall.persist", CONF(CHOICE, firewall.persist), .choices = persists,
     .flags = CONF_KEY_RESTART, .preset = "auto",
     .help = "auto: a table that survives a foreign flush, where the kernel can; off: never"},
    {"firewall.max_blocks", CONF(NUMBER, firewall.max_blocks), RANGE(1, 100000), .preset = "1000",
     .help = "Blocks at once; past it: alert, no block"},
    {"firewall.max_blocks_per_minute", CONF(NUMBER, firewall.max_blocks_per_minute),
     RANGE(1, 100000), .preset = "60", .help = "New blocks a minute; past it: alert, no block"},
    {"firewall.slack", CONF(DURATION, firewall.slack_ms), RANGE(SECONDS(60), DAYS(1)),
     .preset = "10m", .help = "A block expires in the kernel so long after open_for"},
    {"firewall.mark", CONF(BITS, firewall.mark), RANGE(1, UINT32_MAX), .preset = "0x50000000",
     .help = "Packet mark of our own probes on loopback; within mark_mask"},
    {"firewall.mark_mask", CONF(BITS, firewall.mark_mask), RANGE(1, UINT32_MAX),
     .preset = "0xf0000000", .help = "The bits of the mark that are ours"},
    {"firewall.verify", CONF(BOOL, firewall.verify), .flags = CONF_KEY_RESTART, .preset = "true",
     .help = "Believe a block only when a stranger is refused, in a network namespace of our own"},

    SECTION("users", "Whom the processes run as"),
    {"users.agent", CONF(ACCOUNT, users.agent), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall", .help = "The agent"},
    {"users.prober", CONF(ACCOUNT, users.prober), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-prober", .help = "The prober, whose packets pass our own wall"},
    {"users.firewall", CONF(ACCOUNT, users.firewall), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-firewall", .help = "The firewall process"},
    {"users.sender", CONF(ACCOUNT, users.sender), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-sender", .help = "The sender of alerts"},
    {"users.inventory", CONF(ACCOUNT, users.inventory), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-inventory", .help = "The finder of listening sockets"},
    {"users.runner", CONF(ACCOUNT, users.runner), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-runner",
     .help = "The programs of alerts of type exec, and who starts them"},
};
/* clang-format on */

const size_t conf_schema_count = ARRAY_LEN(conf_schema);
const struct conf_table conf_table = {
    .keys = conf_schema,
    .count = ARRAY_LEN(conf_schema),
    .least = "mode: observe",
};
_Static_assert(ARRAY_LEN(conf_schema) <= CONF_SCHEMA_MAX, "readers have room for each row");

const char *conf_key_name(const struct conf_key *key)
{
	const char *dot = strrchr(key->path, '.');

	return dot ? dot + 1 : key->path;
}

bool conf_key_is_in(const struct conf_key *key, const char *prefix)
{
	size_t n = (size_t)(conf_key_name(key) - key->path);

	return strlen(prefix) == n && memcmp(key->path, prefix, n) == 0;
}

bool conf_key_is_below(const struct conf_key *key, const char *prefix)
{
	return *prefix ? strncmp(key->path, prefix, strlen(prefix)) == 0
	               : !conf_key_is_of_record(key);
}

bool conf_key_is_of_record(const struct conf_key *key)
{
	return strchr(key->path, '[') != NULL;
}

bool conf_key_fits(const struct conf_key *key, const void *base)
{
	const struct conf_alert *alert = base;

	return !key->types || (key->types & 1U << alert->type);
}

const char *conf_alert_type_name(enum conf_alert_type type)
{
	const struct conf_choice *c = alert_types;

	while (c->name && c->value != type)
		c++;
	return c->name ? c->name : "?";
}

bool conf_type_is_list(enum conf_type type)
{
	return type == CONF_TYPE_RECORDS || type >= CONF_TYPE_TARGETS;
}

bool conf_type_is_text(enum conf_type type)
{
	return type >= CONF_TYPE_NAME && type <= CONF_TYPE_TEXT;
}

const struct conf_key *conf_schema_find(const struct conf_table *table, const char *prefix,
                                        const char *name, size_t length)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];

		if (conf_key_is_in(key, prefix) && strlen(conf_key_name(key)) == length &&
		    memcmp(conf_key_name(key), name, length) == 0)
			return key;
	}
	return NULL;
}

const struct conf_key *conf_schema_guess(const struct conf_table *table, const char *prefix,
                                         const char *name)
{
	const struct conf_key *best = NULL;
	unsigned least = SPELLING_MAX_EDITS + 1;

	for (size_t i = 0; i < table->count; i++) {
		const struct conf_key *key = &table->keys[i];
		unsigned edits = spelling_edits(name, conf_key_name(key));

		/* The same name elsewhere is a slip of the indentation. */
		if (!conf_key_is_in(key, prefix) && edits > 0)
			continue;
		if (edits < least && edits < strlen(name)) {
			least = edits;
			best = key;
		}
	}
	return best;
}

static const char *expect_choice(const struct conf_choice *choices,
                                 char out[static CONF_EXPECT_LEN])
{
	size_t n = 0;

	out[0] = '\0';
	for (const struct conf_choice *c = choices; c->name && n < CONF_EXPECT_LEN; c++)
		n += (size_t)snprintf(out + n, CONF_EXPECT_LEN - n, "%s%s", c->name,
		                      !c[1].name ? "" : (c[2].name ? ", " : " or "));
	return out;
}

static const char *expect_duration(const struct conf_key *key, char out[static CONF_EXPECT_LEN])
{
	char min[32], max[32];

	snprintf(out, CONF_EXPECT_LEN, "a duration in %s..%s%s",
	         conf_format_duration(key->min, min), conf_format_duration(key->max, max),
	         key->flags & CONF_KEY_OR_OFF ? ", or off" : "");
	return out;
}

const char *conf_key_expects(const struct conf_key *key, char out[static CONF_EXPECT_LEN])
{
	static const char *const fixed[] = {
	    [CONF_TYPE_SECTION] = "a mapping of keys",
	    [CONF_TYPE_RECORDS] = "a list of mappings",
	    [CONF_TYPE_BOOL] = "true or false",
	    [CONF_TYPE_NAME] = "1 to 63 of A-Z, a-z, 0-9, '_', '.' and '-'",
	    [CONF_TYPE_URL] = "an http:// or https:// URL",
	    [CONF_TYPE_LISTEN] = "address:port, with an IPv6 address in brackets, or off",
	    [CONF_TYPE_TARGETS] = "a list of targets",
	    [CONF_TYPE_PORT_LISTS] = "a list of ports, ranges and port lists' names",
	    [CONF_TYPE_PORTS] = "a list of ports in 1..65535",
	    [CONF_TYPE_PREFIXES] = "a list of addresses and prefixes",
	    [CONF_TYPE_URL_PATHS] = "a list of paths such as /debug/pprof/",
	    [CONF_TYPE_TEXTS] = "a list of texts",
	    [CONF_TYPE_SOURCES] = "a list of addresses, prefixes, @files and DNS names",
	    [CONF_TYPE_HEADERS] = "a list of \"Name: value\"",
	};

	if (key->type == CONF_TYPE_CHOICE)
		return expect_choice(key->choices, out);
	if (key->type == CONF_TYPE_DURATION)
		return expect_duration(key, out);
	if (key->type == CONF_TYPE_NUMBER)
		snprintf(out, CONF_EXPECT_LEN, "a number in %lld..%lld", (long long)key->min,
		         (long long)key->max);
	else if (key->type == CONF_TYPE_BITS)
		snprintf(out, CONF_EXPECT_LEN, "a number in 0x%llx..0x%llx", (long long)key->min,
		         (long long)key->max);
	else if (key->type == CONF_TYPE_TEXT)
		snprintf(out, CONF_EXPECT_LEN, "one line of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_TEMPLATE)
		snprintf(out, CONF_EXPECT_LEN, "%s of at most %lld bytes, with {fields}",
		         key->min ? "a text" : "one line", (long long)key->max);
	else if (key->type == CONF_TYPE_URL_PATH)
		snprintf(out, CONF_EXPECT_LEN, "a path of a URL, of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_PATH)
		snprintf(out, CONF_EXPECT_LEN, "an absolute path of at most %lld bytes",
		         (long long)key->max);
	else if (key->type == CONF_TYPE_ACCOUNT)
		snprintf(out, CONF_EXPECT_LEN, "a %s's name or number%s",
		         key->min ? "user" : "group", key->min ? ", not root" : "");
	else
		snprintf(out, CONF_EXPECT_LEN, "%s", fixed[key->type]);
	return out;
}
