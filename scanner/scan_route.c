/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/scan_route.h"

#include "common/cleanup.h"
#include "scanner/idn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

enum { PROXY_DEFAULT_PORT = 1080, PROXY_MAX_LEN = 1000 };

__attribute__((format(printf, 2, 3))) static int refuse(char why[static SCAN_ROUTE_ERROR_LEN],
                                                        const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, SCAN_ROUTE_ERROR_LEN, format, args);
	va_end(args);
	return -EINVAL;
}

/* A name alone, in ASCII, as targets have them. */
static int read_name(const char *text, char out[static TARGET_HOST_MAX_LEN + 1],
                     char why[static SCAN_ROUTE_ERROR_LEN])
{
	char ascii[IDN_TEXT_LEN], reason[TARGET_ERROR_LEN];
	struct target t;

	if (idn_to_ascii(text, ascii, reason) < 0 || target_parse(ascii, &t, reason) < 0)
		return refuse(why, "%s", reason);
	if (!t.host[0] || t.port || t.path[0] || t.scheme != TARGET_ANY)
		return refuse(why, "'%.64s' is not a name alone", text);
	memcpy(out, t.host, sizeof(t.host));
	return 0;
}

int scan_route_set_host(struct scan_route *r, const char *text,
                        char why[static SCAN_ROUTE_ERROR_LEN])
{
	return read_name(text, r->host, why);
}

int scan_route_add_resolve(struct scan_route *r, const char *text,
                           char why[static SCAN_ROUTE_ERROR_LEN])
{
	auto_free char *copy = strdup(text);
	char *port = copy ? strchr(copy, ':') : NULL;
	char *address = port ? strchr(port + 1, ':') : NULL;
	struct scan_resolve entry = {0}, *grown;
	size_t length;
	uint16_t number;
	int err;

	if (!address)
		return refuse(why, "'%.64s' is not HOST:PORT:ADDRESS", text);
	*port++ = '\0';
	*address++ = '\0';
	length = strlen(address);
	if (address[0] == '[' && address[length - 1] == ']') {
		address[length - 1] = '\0';
		address++;
	}
	err = read_name(copy, entry.host, why);
	if (err)
		return err;
	if (endpoint_parse_port(port, &number) < 0)
		return refuse(why, "'%.32s' is no port; expected 1 to 65535", port);
	if (endpoint_parse_address(address, &entry.endpoint) < 0)
		return refuse(why, "'%.64s' is no numeric address", address);
	entry.endpoint.port = number;
	if (scan_route_find(r, entry.host, number))
		return refuse(why, "%.64s:%u stands there twice", entry.host, (unsigned)number);
	if (r->n_resolves == SCAN_MAX_RESOLVES)
		return refuse(why, "more than %d names", SCAN_MAX_RESOLVES);
	grown = reallocarray(r->resolves, r->n_resolves + 1, sizeof(*grown));
	if (!grown)
		return refuse(why, "out of memory");
	r->resolves = grown;
	grown[r->n_resolves++] = entry;
	return 0;
}

int scan_route_set_source(struct scan_route *r, const char *text,
                          char why[static SCAN_ROUTE_ERROR_LEN])
{
	struct endpoint e;

	if (endpoint_parse_address(text, &e) < 0)
		return refuse(why, "'%.64s' is no numeric address", text);
	r->probe.source = e;
	return 0;
}

int scan_route_set_interface(struct scan_route *r, const char *text,
                             char why[static SCAN_ROUTE_ERROR_LEN])
{
	size_t length = strlen(text);

	if (length == 0 || length >= sizeof(r->probe.interface))
		return refuse(why, "'%.32s' is not the name of an interface", text);
	memcpy(r->probe.interface, text, length + 1);
	return 0;
}

int scan_route_set_proxy(struct scan_route *r, const char *text,
                         char why[static SCAN_ROUTE_ERROR_LEN])
{
	/* Everybody on the machine can read a command line. */
	if (text[0] != '@' && strchr(text, '@'))
		return refuse(why, "credentials do not belong into a command line; "
		                   "write the URL into a file and give @FILE");
	r->proxy = text;
	return 0;
}

static int read_proxy_file(const char *file, char url[static PROXY_MAX_LEN],
                           char why[static SCAN_ROUTE_ERROR_LEN])
{
	auto_close int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = fd < 0 ? -1 : read(fd, url, PROXY_MAX_LEN);

	if (n < 0)
		return refuse(why, "--proxy: %.200s: %s", file, strerror(errno));
	if (n == PROXY_MAX_LEN)
		return refuse(why, "--proxy: %.200s: longer than %d bytes", file,
		              PROXY_MAX_LEN - 1);
	url[n] = '\0';
	if (strlen(url) != (size_t)n)
		return refuse(why, "--proxy: %.200s: a NUL byte", file);
	while (n > 0 && strchr(" \t\r\n", url[n - 1]))
		url[--n] = '\0';
	return strpbrk(url, " \t\r\n") ? refuse(why, "--proxy: %.200s: more than one line", file)
	                               : 0;
}

/* "%40" and the like, in place. */
static bool decode(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		char hex[3] = {0};

		if (*p != '%') {
			*to++ = *p;
			continue;
		}
		if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
			return false;
		memcpy(hex, p + 1, 2);
		*to = (char)strtoul(hex, NULL, 16);
		if (*to == '\0')
			return false;
		to++;
		p += 2;
	}
	*to = '\0';
	return true;
}

static int set_credentials(struct scan_route *r, char *userinfo,
                           char why[static SCAN_ROUTE_ERROR_LEN])
{
	char *password = strchr(userinfo, ':');

	if (password)
		*password++ = '\0';
	r->proxy_user = strdup(userinfo);
	r->proxy_password = strdup(password ? password : "");
	if (!r->proxy_user || !r->proxy_password)
		return refuse(why, "out of memory");
	if (!decode(r->proxy_user) || !decode(r->proxy_password))
		return refuse(why, "--proxy: a '%%' in the credentials is no escape");
	r->probe.proxy_user = r->proxy_user;
	r->probe.proxy_password = r->proxy_password;
	return 0;
}

/* Once, before the sandbox: getaddrinfo(3) may take its time and read what files it likes. */
static int find_proxy(struct scan_route *r, const char *authority,
                      char why[static SCAN_ROUTE_ERROR_LEN])
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char url[PROXY_MAX_LEN + 8], reason[TARGET_ERROR_LEN];
	struct addrinfo *list = NULL;
	struct target t;
	int rc;

	snprintf(url, sizeof(url), "http://%s", authority);
	if (target_parse(url, &t, reason) < 0 || t.path[0] || t.zone[0])
		return refuse(why, "--proxy: expected http://HOST:PORT");
	if (!strchr(strchr(authority, ']') ? strchr(authority, ']') : authority, ':'))
		t.port = PROXY_DEFAULT_PORT; /* as curl has it */
	if (!t.host[0]) {
		r->probe.proxy.family = t.prefix.family;
		memcpy(r->probe.proxy.address, t.prefix.address, sizeof(t.prefix.address));
		r->probe.proxy.scope_id = t.scope_id;
	} else {
		rc = getaddrinfo(t.host, NULL, &hints, &list);
		if (rc != 0 || endpoint_from_sockaddr(list->ai_addr, &r->probe.proxy) < 0) {
			if (list)
				freeaddrinfo(list);
			return refuse(why, "--proxy: %.100s: %s", t.host, gai_strerror(rc));
		}
		freeaddrinfo(list);
	}
	r->probe.proxy.port = t.port;
	return 0;
}

static int open_proxy(struct scan_route *r, char why[static SCAN_ROUTE_ERROR_LEN])
{
	char url[PROXY_MAX_LEN] = "", *authority, *at;
	int err = 0;

	if (r->proxy[0] == '@')
		err = read_proxy_file(r->proxy + 1, url, why);
	else if (strlen(r->proxy) >= sizeof(url))
		err = refuse(why, "--proxy: too long");
	else
		strcpy(url, r->proxy);
	if (err)
		return err;
	authority = url;
	if (strncasecmp(url, "http://", 7) == 0)
		authority += 7;
	else if (strstr(url, "://"))
		return refuse(why, "--proxy: only HTTP proxies (http://HOST:PORT) are known");
	if (*authority && authority[strlen(authority) - 1] == '/')
		authority[strlen(authority) - 1] = '\0';
	at = strrchr(authority, '@');
	if (at) {
		*at = '\0';
		err = set_credentials(r, authority, why);
		authority = at + 1;
	}
	if (!err)
		err = find_proxy(r, authority, why);
	explicit_bzero(url, sizeof(url));
	return err;
}

static const char *family_name(sa_family_t family)
{
	return family == AF_INET6 ? "IPv6" : "IPv4";
}

static int try_route(const struct probe_route *route, char why[static SCAN_ROUTE_ERROR_LEN])
{
	sa_family_t family = route->source.family ? route->source.family : AF_INET;
	auto_close int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage source;
	socklen_t length;

	if (fd < 0)
		return refuse(why, "socket: %s", strerror(errno));
	if (route->interface[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, route->interface,
	                                      (socklen_t)strlen(route->interface)) < 0)
		return refuse(why, "--interface: %s: %s%s", route->interface, strerror(errno),
		              errno == EPERM ? " (before Linux 5.7 it takes CAP_NET_RAW)" : "");
	if (route->source.family == 0)
		return 0;
	length = endpoint_to_sockaddr(&route->source, &source);
	if (bind(fd, (struct sockaddr *)&source, length) < 0)
		return refuse(why, "--source-address: %s", strerror(errno));
	return 0;
}

int scan_route_open(struct scan_route *r, char why[static SCAN_ROUTE_ERROR_LEN])
{
	const struct probe_route *route = &r->probe;
	int err = r->proxy ? open_proxy(r, why) : 0;

	if (err)
		return err;
	if (route->source.family && route->proxy.family &&
	    route->source.family != route->proxy.family)
		return refuse(why, "--source-address: %s, and the proxy has an address of %s",
		              family_name(route->source.family), family_name(route->proxy.family));
	return try_route(route, why);
}

int scan_route_check_target(const struct scan_route *r, const char *text,
                            char why[static SCAN_ROUTE_ERROR_LEN])
{
	const struct probe_route *route = &r->probe;
	char reason[TARGET_ERROR_LEN];
	struct target t;

	/* To a proxy the target is a text. What is in a file shows when it is its turn. */
	if (route->source.family == 0 || route->proxy.family != 0 || text[0] == '@' ||
	    target_parse(text, &t, reason) < 0 || t.host[0] ||
	    t.prefix.family == route->source.family)
		return 0;
	return refuse(why, "--source-address: %s, from there '%.64s' cannot be asked",
	              family_name(route->source.family), text);
}

bool scan_route_has_failed(const struct scan_route *r, const struct probe_stats *stats,
                           char why[static SCAN_ROUTE_ERROR_LEN])
{
	const char *failed = NULL;

	if (stats->finished == 0)
		return false;
	/* Of a name's addresses some may be of the other family. */
	if (r->probe.source.family && stats->no_family == stats->finished)
		failed = "--source-address is of another family than all of the targets";
	else if (stats->behind_proxy == stats->finished)
		failed = "the proxy has connected to none of the endpoints";
	if (failed) {
		refuse(why, "%s", failed);
		return true;
	}
	if (stats->proxy_failure == 0)
		return false;
	refuse(why,
	       "the proxy failed or refused for %" PRIu64 " of %" PRIu64
	       " endpoints: nothing is known of them",
	       stats->proxy_failure, stats->finished);
	return true;
}

void scan_route_fini(struct scan_route *r)
{
	free(r->resolves);
	free(r->proxy_user);
	if (r->proxy_password)
		explicit_bzero(r->proxy_password, strlen(r->proxy_password));
	free(r->proxy_password);
}

const struct endpoint *scan_route_find(const struct scan_route *r, const char *host, uint16_t port)
{
	for (size_t i = 0; i < r->n_resolves; i++) {
		if (r->resolves[i].endpoint.port == port &&
		    strcasecmp(r->resolves[i].host, host) == 0)
			return &r->resolves[i].endpoint;
	}
	return NULL;
}
