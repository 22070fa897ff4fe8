/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/target.h"

#include "common/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LABEL_MAX_LEN = 63 /* RFC 1035, 2.3.4 */ };

__attribute__((format(printf, 2, 3))) static int refuse(char why[static TARGET_ERROR_LEN],
                                                        const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, TARGET_ERROR_LEN, format, args);
	va_end(args);
	/* It may quote bytes of a file that is not text. */
	for (char *p = why; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	return -EINVAL;
}

/* RFC 1123, 2.1; and underscores, which internal names have. */
static int check_label(const char *label, size_t len, char why[static TARGET_ERROR_LEN])
{
	if (len == 0)
		return refuse(why, "the name has an empty label");
	if (len > LABEL_MAX_LEN)
		return refuse(why, "a label of the name is longer than %d", LABEL_MAX_LEN);
	if (label[0] == '-' || label[len - 1] == '-')
		return refuse(why, "a label of the name begins or ends with '-'");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)label[i];

		if (c >= 0x80)
			return refuse(why, "write a name beyond ASCII in its xn-- form");
		if (!isalnum(c) && c != '-' && c != '_')
			return refuse(why, "'%c' cannot stand in a name", c);
	}
	return 0;
}

/*
 * "10.0.0.256", "1.2.3" and "0x7f.1" are meant as addresses: some resolvers read them as such, and
 * another one than the user meant (RFC 6943, 3.1.1). No top-level domain is a number.
 */
static bool looks_numeric(const char *last_label)
{
	if (last_label[0] == '0' && (last_label[1] | 0x20) == 'x')
		return true;
	return last_label[strspn(last_label, "0123456789")] == '\0';
}

static int set_name(const char *name, struct target *t, char why[static TARGET_ERROR_LEN])
{
	size_t len = strlen(name);
	const char *label = name, *last = name;
	bool more = true;

	if (len > TARGET_HOST_MAX_LEN)
		return refuse(why, "the name is longer than %d", TARGET_HOST_MAX_LEN);
	while (more) {
		size_t label_len = strcspn(label, ".");
		int err = check_label(label, label_len, why);

		if (err < 0)
			return err;
		last = label;
		/* One dot at the end is allowed: the name is absolute. */
		more = label[label_len] == '.' && label[label_len + 1] != '\0';
		label += label_len + 1;
	}
	if (looks_numeric(last))
		return refuse(why, "'%.64s' is neither an address nor a name", name);
	memcpy(t->host, name, len + 1);
	return 0;
}

/* What the kernel takes as an interface's name; the ioctls cut it off at a colon (aliases). */
static bool is_interface_name(const char *name)
{
	if (!*name || strlen(name) >= IF_NAMESIZE || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (const char *p = name; *p; p++) {
		if (*p <= 0x20 || *p >= 0x7f || *p == '/' || *p == ':')
			return false;
	}
	return true;
}

/* The zone of "fe80::1%eth0", by name or by number; a URL writes '%' as "%25" (RFC 6874). */
static int set_zone(const char *zone, struct target *t, char why[static TARGET_ERROR_LEN])
{
	char numeric[ENDPOINT_TEXT_LEN];
	struct endpoint e;

	if (zone[strspn(zone, "0123456789")] == '\0') {
		/* Let the one reader of zones judge the number. */
		snprintf(numeric, sizeof(numeric), "fe80::%%%.16s", zone);
		if (endpoint_parse_address(numeric, &e) < 0 || e.scope_id == 0)
			return refuse(why, "'%.32s' is not the number of an interface", zone);
		t->scope_id = e.scope_id;
		return 0;
	}
	if (!is_interface_name(zone))
		return refuse(why, "'%.32s' is not the name of an interface", zone);
	memcpy(t->zone, zone, strlen(zone) + 1);
	return 0;
}

static int set_address(const char *text, bool in_url, struct target *t,
                       char why[static TARGET_ERROR_LEN])
{
	char bare[INET6_ADDRSTRLEN];
	const char *zone = strchr(text, '%');
	size_t len = zone ? (size_t)(zone - text) : strlen(text);
	struct endpoint e;

	if (len >= sizeof(bare))
		return refuse(why, "'%.64s' is not an address", text);
	memcpy(bare, text, len);
	bare[len] = '\0';
	if (endpoint_parse_address(bare, &e) < 0)
		return refuse(why, "'%.64s' is not an address", text);
	if (zone) {
		int err;

		if (e.family != AF_INET6 || e.address[0] != 0xfe || (e.address[1] & 0xc0) != 0x80)
			return refuse(why, "only a link-local IPv6 address takes a zone");
		zone += in_url && strncmp(zone, "%25", 3) == 0 ? 3 : 1;
		err = set_zone(zone, t, why);
		if (err < 0)
			return err;
	}
	t->prefix.family = e.family;
	t->prefix.bits = e.family == AF_INET ? 32 : 128;
	memcpy(t->prefix.address, e.address, sizeof(e.address));
	return 0;
}

static int set_port(const char *text, struct target *t, char why[static TARGET_ERROR_LEN])
{
	if (endpoint_parse_port(text, &t->port) < 0)
		return refuse(why, "'%.32s' is no port; expected 1 to 65535", text);
	return 0;
}

/* "[v6]", "[v6]:port" */
static int set_bracketed(char *text, bool in_url, struct target *t,
                         char why[static TARGET_ERROR_LEN])
{
	char *end = strchr(text, ']');
	int err;

	if (!end)
		return refuse(why, "'[' without ']'");
	*end++ = '\0';
	if (!strchr(text + 1, ':'))
		return refuse(why, "only an IPv6 address stands in brackets");
	err = set_address(text + 1, in_url, t, why);
	if (err < 0)
		return err;
	if (*end == '\0')
		return 0;
	if (*end != ':')
		return refuse(why, "after ']' only a port may follow");
	return set_port(end + 1, t, why);
}

/* Host and port, as they stand in a URL or alone; `text` is changed. */
static int set_authority(char *text, bool in_url, struct target *t,
                         char why[static TARGET_ERROR_LEN])
{
	char *colon = strchr(text, ':');
	struct endpoint e;
	int err;

	if (text[0] == '[')
		return set_bracketed(text, in_url, t, why);
	if (colon && strchr(colon + 1, ':')) {
		if (in_url)
			return refuse(why, "an IPv6 address in a URL stands in brackets");
		return set_address(text, in_url, t, why);
	}
	if (colon) {
		err = set_port(colon + 1, t, why);
		if (err < 0)
			return err;
		*colon = '\0';
	}
	if (*text == '\0')
		return refuse(why, "the host is missing");
	if (endpoint_parse_address(text, &e) == 0)
		return set_address(text, in_url, t, why);
	return set_name(text, t, why);
}

/* The prefix to ask: what stands in a URL after the host, with a slash at its end. */
static int set_path(const char *path, struct target *t, char why[static TARGET_ERROR_LEN])
{
	size_t len = strlen(path);

	if (len <= 1)
		return 0;
	for (const char *p = path; *p; p++) {
		if (*p <= 0x20 || *p >= 0x7f || strchr("\"<>\\^`{|}", *p))
			return refuse(why, "a byte of the path must be percent-encoded");
	}
	if (len + 1 >= sizeof(t->path))
		return refuse(why, "the path is longer than %zu", sizeof(t->path) - 2);
	snprintf(t->path, sizeof(t->path), "%s%s", path, path[len - 1] == '/' ? "" : "/");
	return 0;
}

static int set_url(char *text, struct target *t, char why[static TARGET_ERROR_LEN])
{
	char *authority = strstr(text, "://");
	char path[TARGET_ERROR_LEN];
	size_t len;
	int err;

	*authority = '\0';
	authority += 3;
	if (strcasecmp(text, "http") == 0)
		t->scheme = TARGET_HTTP;
	else if (strcasecmp(text, "https") == 0)
		t->scheme = TARGET_HTTPS;
	else
		return refuse(why, "the scheme '%.32s' is not http or https", text);
	if (strpbrk(authority, "?#"))
		return refuse(why, "a target has no query and no fragment");
	len = strcspn(authority, "/");
	if (memchr(authority, '@', len))
		return refuse(why, "a target has no user name or password");
	if (strlen(authority + len) >= sizeof(path))
		return refuse(why, "the path is too long");
	memcpy(path, authority + len, strlen(authority + len) + 1);
	authority[len] = '\0';
	err = set_authority(authority, true, t, why);
	if (err < 0)
		return err;
	if (t->port == 0)
		t->port = t->scheme == TARGET_HTTPS ? 443 : 80;
	return set_path(path, t, why);
}

static int set_cidr(const char *text, struct target *t, char why[static TARGET_ERROR_LEN])
{
	switch (prefix_parse(text, &t->prefix)) {
	case PREFIX_OK:
	case PREFIX_HOST_BITS: return 0;
	case PREFIX_BAD_LENGTH:
		return refuse(why, "'%.64s' has no valid prefix length after '/'", text);
	case PREFIX_BAD_ADDRESS: break;
	}
	return refuse(why, "'%.64s' is no network; a path needs http:// or https:// before it",
	              text);
}

int target_parse(const char *text, struct target *out, char why[static TARGET_ERROR_LEN])
{
	char copy[1024];
	struct target t = {0};
	size_t len = strlen(text);
	int err;

	if (len == 0)
		return refuse(why, "the target is empty");
	if (len >= sizeof(copy))
		return refuse(why, "the target is longer than %zu", sizeof(copy) - 1);
	memcpy(copy, text, len + 1);
	if (strstr(copy, "://"))
		err = set_url(copy, &t, why);
	else if (strchr(copy, '/'))
		err = set_cidr(copy, &t, why);
	else
		err = set_authority(copy, false, &t, why);
	if (err < 0)
		return err;
	*out = t;
	return 0;
}

/* 2^64 and more: UINT64_MAX. */
static uint64_t count_addresses(const struct target *t)
{
	unsigned host_bits;

	if (t->host[0])
		return 1;
	host_bits = (t->prefix.family == AF_INET ? 32U : 128U) - t->prefix.bits;
	return host_bits >= 64 ? UINT64_MAX : UINT64_C(1) << host_bits;
}

uint64_t target_count(const struct target *t, const struct port_list *ports)
{
	uint64_t count;

	if (__builtin_mul_overflow(count_addresses(t), t->port ? 1 : (uint64_t)ports->count,
	                           &count))
		return UINT64_MAX;
	return count;
}

void target_at(const struct target *t, const struct port_list *ports, uint64_t i,
               struct endpoint *out)
{
	uint64_t n_ports = t->port ? 1 : (uint64_t)ports->count;
	uint64_t add = i / n_ports;
	unsigned at = t->prefix.family == AF_INET ? 4 : 16;

	memset(out, 0, sizeof(*out));
	out->family = t->prefix.family;
	out->scope_id = t->scope_id;
	out->port = t->port ? t->port : ports->ports[i % n_ports];
	memcpy(out->address, t->prefix.address, sizeof(out->address));
	/* Host bits are zero in a prefix, so nothing is carried out of them. */
	while (add > 0 && at > 0) {
		out->address[--at] |= (uint8_t)add;
		add >>= 8;
	}
}
