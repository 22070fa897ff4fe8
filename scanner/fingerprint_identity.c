/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which Go and which program, from the text of goroutine?debug=2: also stripped, trimmed ones. */
#include "common/cleanup.h"
#include "scanner/fingerprint_rules.h"

#include <errno.h>
#include <string.h>

/*
 * The line of net/http/server.go that starts a connection's goroutine, by Go release: read from
 * the sources of each release, and checked against binaries of 1.15, 1.19, 1.23 and 1.26. 1.24
 * and 1.25 are from the forks that CockroachDB builds with. Sorted by line.
 */
static const struct {
	unsigned line;
	const char *series;
} serve_lines[] = {
    {1040, "1.0"},  {1042, "1.0"},  {1057, "1.0"},  {1564, "1.1"},  {1644, "1.2"},  {1721, "1.3"},
    {1751, "1.4"},  {1910, "1.5"},  {2137, "1.6"},  {2293, "1.7"},  {2668, "1.8"},  {2720, "1.9"},
    {2795, "1.10"}, {2798, "1.10"}, {2851, "1.11"}, {2884, "1.12"}, {2927, "1.13"}, {2928, "1.13"},
    {2933, "1.14"}, {2957, "1.13"}, {2962, "1.14"}, {2969, "1.15"}, {2993, "1.16"}, {2994, "1.16"},
    {3013, "1.16"}, {3033, "1.17"}, {3034, "1.17"}, {3071, "1.18"}, {3086, "1.21"}, {3089, "1.20"},
    {3091, "1.21"}, {3102, "1.19"}, {3285, "1.22"}, {3290, "1.22"}, {3360, "1.23"}, {3454, "1.24"},
    {3464, "1.26"}, {3484, "1.26"}, {3493, "1.25"},
};

struct text {
	const char *p;
	size_t length;
};

static bool next_line(struct text *rest, struct text *line)
{
	const char *end;

	if (rest->length == 0)
		return false;
	end = memchr(rest->p, '\n', rest->length);
	line->p = rest->p;
	line->length = end ? (size_t)(end - rest->p) : rest->length;
	rest->p += line->length;
	rest->length -= line->length;
	if (end) {
		rest->p++;
		rest->length--;
	}
	return true;
}

static bool line_begins(const struct text *line, const char *with)
{
	size_t n = strlen(with);

	return line->length >= n && memcmp(line->p, with, n) == 0;
}

/* "\tPATH:LINE +0x4db": the line under a function's name. */
static bool read_position(const struct text *line, struct text *path, unsigned *number)
{
	const char *p = line->p, *end = p + line->length, *colon;
	unsigned value = 0;

	if (line->length < 2 || *p != '\t')
		return false;
	p++;
	colon = memmem(p, (size_t)(end - p), ".go:", 4);
	if (!colon)
		return false;
	path->p = p;
	path->length = (size_t)(colon - p) + 3;
	for (p = colon + 4; p < end && *p >= '0' && *p <= '9' && value < 100000000; p++)
		value = value * 10 + (unsigned)(*p - '0');
	*number = value;
	return value > 0;
}

static const char *find_series(unsigned line)
{
	for (size_t i = 0; i < ARRAY_LEN(serve_lines); i++)
		if (serve_lines[i].line == line)
			return serve_lines[i].series;
	return NULL;
}

static size_t count_digits(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && n < 4 && p[n] >= '0' && p[n] <= '9')
		n++;
	return n;
}

/*
 * A version in the path of the standard library: /usr/lib/go-1.19/src, /root/sdk/go1.22.3/src,
 * toolchain@v0.0.1-go1.22.3.linux-amd64/src, /opt/hostedtoolcache/go/1.22.3/x64/src.
 */
static bool find_path_version(const struct text *path, struct text *version)
{
	const char *end = path->p + path->length, *p = path->p;

	for (; (p = memmem(p, (size_t)(end - p), "go", 2)); p += 2) {
		const char *v = p + 2;
		size_t minor, patch;

		if (v < end && (*v == '-' || *v == '/'))
			v++;
		if (end - v < 3 || v[0] != '1' || v[1] != '.')
			continue;
		minor = count_digits(v + 2, end);
		if (minor == 0)
			continue;
		version->p = v;
		version->length = 2 + minor;
		v += version->length;
		patch = end - v > 1 && *v == '.' ? count_digits(v + 1, end) : 0;
		if (patch > 0)
			version->length += 1 + patch;
		return true;
	}
	return false;
}

static int set_version(const struct text *path, unsigned line, char **version, bool *from_path)
{
	const char *series = find_series(line);
	struct text named;

	/* a path may be a name only; where the line says another release, believe the line */
	if (find_path_version(path, &named) &&
	    (!series ||
	     (named.length >= strlen(series) && memcmp(named.p, series, strlen(series)) == 0 &&
	      (named.length == strlen(series) || named.p[strlen(series)] == '.')))) {
		*from_path = true;
		return finding_set_bytes(version, named.p, named.length);
	}
	return series ? finding_set(version, series) : 0;
}

int rule_find_go_version(const struct http_answer *a, char **version, bool *from_path)
{
	struct text rest = {(const char *)a->body, a->body_length}, line, path;
	static const char file[] = "net/http/server.go";

	/* our own request's goroutine stands first in the dump, and this is its last line */
	while (next_line(&rest, &line)) {
		unsigned number;

		if (!line_begins(&line, "created by net/http.(*Server).Serve"))
			continue;
		if (!next_line(&rest, &line) || !read_position(&line, &path, &number))
			return 0;
		if (path.length >= sizeof(file) - 1 &&
		    memcmp(path.p + path.length - (sizeof(file) - 1), file, sizeof(file) - 1) == 0)
			return set_version(&path, number, version, from_path);
	}
	return 0;
}

static bool is_module_text(const struct text *t)
{
	for (size_t i = 0; i < t->length; i++) {
		char c = t->p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c != '\0' && strchr("-_.~/@+!", c))))
			return false;
	}
	return t->length > 0;
}

static void cut_after(struct text *t, const char *marker)
{
	const char *at = memmem(t->p, t->length, marker, strlen(marker));

	if (at)
		t->length = (size_t)(at - t->p);
}

/* github.com/OWNER/REPOSITORY, or with a major version /vN behind it. (gitlab has groups in
 * groups.) */
static void cut_forge(struct text *t)
{
	const char *p = t->p, *end = t->p + t->length;

	if (!line_begins(t, "github.com/") && !line_begins(t, "bitbucket.org/"))
		return;
	for (int slashes = 0; p < end; p++)
		if (*p == '/' && ++slashes == 3)
			break;
	if (end - p > 2 && p[1] == 'v') {
		const char *after = p + 2 + count_digits(p + 2, end);

		if (after > p + 2 && (after == end || *after == '/'))
			p = after;
	}
	t->length = (size_t)(p - t->p);
}

/* Leaves what follows pkg/mod/ or src/, if a domain is its first part: "/src/std/main.go" is not.
 */
static bool cut_gopath(struct text *path)
{
	static const char *const roots[] = {"/pkg/mod/", "/src/"};
	const char *end = path->p + path->length;

	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		const char *at = memmem(path->p, path->length, roots[i], strlen(roots[i]));
		const char *begin, *slash;

		if (!at)
			continue;
		begin = at + strlen(roots[i]);
		slash = memchr(begin, '/', (size_t)(end - begin));
		if (!slash || *begin == '.' || !memchr(begin, '.', (size_t)(slash - begin)))
			continue;
		path->p = begin;
		path->length = (size_t)(end - begin);
		return true;
	}
	return false;
}

/*
 * The package path of main: the file's directory where the build was trimmed; under GOPATH what
 * follows src/ or pkg/mod/. A build directory names no module. The directory of the main package
 * is cut off as far as convention tells it (cmd/).
 */
static bool find_module_in(struct text path, struct text *module)
{
	const char *slash;

	if (path.p[0] == '/' && !cut_gopath(&path))
		return false;
	slash = memrchr(path.p, '/', path.length);
	if (!slash || slash == path.p || path.p[0] == '.' || path.p[0] == '_')
		return false;
	path.length = (size_t)(slash - path.p);
	cut_after(&path, "/cmd/");
	cut_forge(&path);
	if (!is_module_text(&path) || line_begins(&path, "command-line-arguments"))
		return false;
	*module = path;
	return true;
}

int rule_find_module(const struct http_answer *a, char **module)
{
	struct text rest = {(const char *)a->body, a->body_length}, line, path, found = {0};

	while (next_line(&rest, &line)) {
		bool is_main = line_begins(&line, "main.main(");
		unsigned number;

		/* any function of package main will do, but main() itself is the best */
		if (!is_main && (found.length > 0 || !line_begins(&line, "main.")))
			continue;
		if (next_line(&rest, &line) && read_position(&line, &path, &number) &&
		    find_module_in(path, &found) && is_main)
			break;
	}
	return found.length > 0 ? finding_set_bytes(module, found.p, found.length) : 0;
}
