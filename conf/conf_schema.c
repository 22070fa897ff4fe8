/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_schema.h"
#include "common/control.h"
#include "common/template.h"

#include <sys/un.h>

static const struct conf_choice modes[] = {
    {"observe", CONF_MODE_OBSERVE}, {"enforce", CONF_MODE_ENFORCE}, {NULL, 0}};
static const struct conf_choice actions[] = {{"drop", CONF_ACTION_DROP},
                                             {"filter", CONF_ACTION_FILTER},
                                             {"alert", CONF_ACTION_ALERT},
                                             {NULL, 0}};
static const struct conf_choice fallbacks[] = {
    {"alert", CONF_ACTION_ALERT}, {"drop", CONF_ACTION_DROP}, {NULL, 0}};
static const struct conf_choice on_opaques[] = {
    {"drop", CONF_ON_OPAQUE_DROP}, {"pass", CONF_ON_OPAQUE_PASS}, {NULL, 0}};
static const struct conf_choice on_failures[] = {
    {"closed", CONF_ON_FAILURE_CLOSED}, {"open", CONF_ON_FAILURE_OPEN}, {NULL, 0}};
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
#define FILTER             (1U << CONF_ACTION_FILTER)
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

    {"breakers", CONF(RECORDS, listed.breakers), .extra = offsetof(struct conf, listed.n_breakers),
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
     .flags = CONF_KEY_KIND,
     .help = "drop: block the port, except from allow_from; filter: deny profiling paths, serve "
             "the rest; alert: only tell"},
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
    {"breakers[].deny", BREAKER(PATH_PREFIXES, filter.deny), RANGE(0, CONF_MAX_PATHS),
     .item_max = CONF_PATH_MAX_LEN, .types = FILTER,
     .note = "every profiling path that the signatures know",
     .help = "Beginnings of paths, decoded, that are answered by 403"},
    {"breakers[].allow", BREAKER(PATH_PREFIXES, filter.allow), RANGE(0, CONF_MAX_PATHS),
     .item_max = CONF_PATH_MAX_LEN, .types = FILTER,
     .help = "If there are any, only paths that begin so are served: /metrics, /-/healthy"},
    {"breakers[].on_opaque", BREAKER(CHOICE, filter.on_opaque), .choices = on_opaques,
     .types = FILTER, .preset = "drop",
     .help = "What is no HTTP/1 is closed, or passed on unread: TLS, HTTP/2"},
    {"breakers[].on_failure", BREAKER(CHOICE, filter.on_failure), .choices = on_failures,
     .types = FILTER, .preset = "closed",
     .help =
         "While the filter does not answer: closed refuses every client, open lets all through"},
    {"breakers[].fallback", BREAKER(CHOICE, filter.fallback), .choices = fallbacks, .types = FILTER,
     .preset = "alert",
     .help = "What becomes of an endpoint that speaks TLS, which is not filtered"},
    {"breakers[].drain", BREAKER(DURATION, filter.drain_ms), RANGE(0, SECONDS(600)),
     .types = FILTER, .preset = "30s",
     .help = "How long connections from before may go on unfiltered"},

    {"filters", CONF(RECORDS, listed.filters), .extra = offsetof(struct conf, n_filters),
     .size = sizeof(struct conf_breaker), RANGE(0, CONF_MAX_BREAKERS), .note = "none",
     .help = "Endpoints that are filtered always, whether profiling was found there or not"},
    {"filters[].name", BREAKER(NAME, name), .flags = CONF_KEY_REQUIRED,
     .help = "Stands in alerts, metrics and answers; unique, among breakers, too"},
    SECTION("filters[].match",
            "For which endpoints it is: all that is given must fit; the first wins"),
    {"filters[].match.ports", BREAKER(PORT_LISTS, match.ports), RANGE(0, CONF_MAX_MATCHES),
     .help = "On one of these ports"},
    {"filters[].match.addresses", BREAKER(PREFIXES, match.addresses), RANGE(0, CONF_MAX_PREFIXES),
     .help = "At one of these addresses"},
    {"filters[].match.process", BREAKER(TEXTS, match.process), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 255,
     .help = "Whose command, executable's name or (with a slash) path is like this"},
    {"filters[].match.unit", BREAKER(TEXTS, match.unit), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 127, .help = "Whose systemd unit is like this"},
    {"filters[].match.container", BREAKER(TEXTS, match.container), RANGE(0, CONF_MAX_MATCHES),
     .item_max = 64, .help = "In any container, none, or those whose id begins like this"},
    {"filters[].match.user", BREAKER(TEXTS, match.user), RANGE(0, CONF_MAX_MATCHES), .item_max = 32,
     .help = "Whose socket belongs to this user, by name or number"},
    {"filters[].match.loopback", BREAKER(CHOICE, match.loopback), .choices = loopbacks,
     .preset = "any", .help = "true: only what the host alone reaches; false: only the rest"},
    {"filters[].deny", BREAKER(PATH_PREFIXES, filter.deny), RANGE(0, CONF_MAX_PATHS),
     .item_max = CONF_PATH_MAX_LEN, .note = "every profiling path that the signatures know",
     .help = "Beginnings of paths, decoded, that are answered by 403"},
    {"filters[].allow", BREAKER(PATH_PREFIXES, filter.allow), RANGE(0, CONF_MAX_PATHS),
     .item_max = CONF_PATH_MAX_LEN,
     .help = "If there are any, only paths that begin so are served: /metrics, /-/healthy"},
    {"filters[].on_opaque", BREAKER(CHOICE, filter.on_opaque), .choices = on_opaques,
     .preset = "drop", .help = "What is no HTTP/1 is closed, or passed on unread: TLS, HTTP/2"},
    {"filters[].on_failure", BREAKER(CHOICE, filter.on_failure), .choices = on_failures,
     .preset = "closed",
     .help =
         "While the filter does not answer: closed refuses every client, open lets all through"},
    {"filters[].fallback", BREAKER(CHOICE, filter.fallback), .choices = fallbacks,
     .preset = "alert",
     .help = "What becomes of an endpoint that speaks TLS, which is not filtered"},
    {"filters[].drain", BREAKER(DURATION, filter.drain_ms), RANGE(0, SECONDS(600)), .preset = "30s",
     .help = "How long connections from before may go on unfiltered"},
    {"filters[].seal_local", BREAKER(BOOL, seal_local), .preset = "false",
     .help = "Also filter clients on the host itself"},
    {"filters[].refuse", BREAKER(CHOICE, refuse), .choices = refusals, .preset = "reset",
     .help = "How a client is refused, while the filter does not answer or when fallback is drop"},
    {"filters[].allow_from", BREAKER(SOURCES, allow_from),
     .extra = offsetof(struct conf_breaker, allow_sources), RANGE(0, CONF_MAX_PREFIXES),
     .help = "Who is not filtered: addresses, prefixes, @/path of a file of these, DNS names"},

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
     .flags = CONF_KEY_REQUIRED | CONF_KEY_CONNECTION | CONF_KEY_KIND,
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
     .help = "These events: opened, closed, ...; empty: all but filtered and denied"},
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
    {"firewall.route_mark", CONF(BITS, firewall.route_mark), RANGE(0, UINT32_MAX),
     .flags = CONF_KEY_RESTART, .note = "0x60000000, or one that fits",
     .help = "Packet mark of what is routed to the filter; within mark_mask, and not mark"},
    {"firewall.route_table", CONF(NUMBER, firewall.route_table), RANGE(1, UINT32_MAX),
     .flags = CONF_KEY_RESTART, .preset = "28791",
     .help = "Number of the routing table that takes it there; no other's"},
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
    {"users.filter", CONF(ACCOUNT, users.filter), .min = 1, .flags = CONF_KEY_RESTART,
     .preset = "pprofwall-filter", .help = "The filter, which reads requests"},
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

const char *conf_alert_type_name(enum conf_alert_type type)
{
	return conf_choice_name(alert_types, type);
}
