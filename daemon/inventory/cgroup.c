/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/cgroup.h"

#include "common/cleanup.h"

#include <stdbool.h>
#include <string.h>

enum { ID_LENGTH = 64 };

struct span {
	const char *at;
	size_t length;
};

static bool begins_with(struct span s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.length >= n && memcmp(s.at, prefix, n) == 0;
}

static bool ends_with(struct span s, const char *suffix)
{
	size_t n = strlen(suffix);

	return s.length >= n && memcmp(s.at + s.length - n, suffix, n) == 0;
}

static bool is(struct span s, const char *text)
{
	return s.length == strlen(text) && memcmp(s.at, text, s.length) == 0;
}

static bool is_id(struct span s)
{
	if (s.length != ID_LENGTH)
		return false;
	for (size_t i = 0; i < s.length; i++) {
		if (!((s.at[i] >= '0' && s.at[i] <= '9') || (s.at[i] >= 'a' && s.at[i] <= 'f')))
			return false;
	}
	return true;
}

/* How a runtime names the group of a container: PREFIX, id, and ".scope" with systemd's driver. */
static const struct {
	const char *prefix, *runtime;
} named[] = {
    {"docker-", "docker"},
    {"cri-containerd-", "containerd"},
    {"nerdctl-", "containerd"},
    {"containerd-", "containerd"},
    {"crio-", "cri-o"},
    {"libpod-", "podman"},
    {"libpod-payload-", "podman"}, /* podman run --cgroups=split, as quadlets do */
};

/* "kubepods-besteffort-pod1f2e.slice:cri-containerd:ID": cgroupfs told of systemd's paths. */
static bool read_colons(struct span part, struct span *id, const char **runtime)
{
	const char *last = memrchr(part.at, ':', part.length);

	if (!last)
		return false;
	*id = (struct span){last + 1, (size_t)(part.at + part.length - last - 1)};
	part.length = (size_t)(last - part.at);
	*runtime = ends_with(part, ":docker") ? "docker"
	           : ends_with(part, ":crio") ? "cri-o"
	                                      : "containerd";
	return is_id(*id);
}

/*
 * A bare id: whose, the path above says. Below kubepods it is containerd's with the cgroupfs
 * driver; Docker has not been there since Kubernetes 1.24.
 */
static const char *runtime_above(struct span above)
{
	struct span parent = above;
	const char *slash = memrchr(above.at, '/', above.length);

	if (slash)
		parent = (struct span){slash + 1, (size_t)(above.at + above.length - slash - 1)};
	if (is(parent, "docker") || memmem(above.at, above.length, "/ecs/", 5))
		return "docker";
	return is(parent, "libpod_parent") ? "podman" : "containerd";
}

static bool read_container(struct span above, struct span part, struct span *id,
                           const char **runtime)
{
	struct span bare = part;

	if (ends_with(bare, ".scope"))
		bare.length -= strlen(".scope");
	for (size_t i = 0; i < ARRAY_LEN(named); i++) {
		size_t n = strlen(named[i].prefix);

		if (!begins_with(bare, named[i].prefix))
			continue;
		*id = (struct span){bare.at + n, bare.length - n};
		*runtime = named[i].runtime;
		if (is_id(*id))
			return true;
	}
	if (read_colons(part, id, runtime))
		return true;
	*id = part;
	*runtime = runtime_above(above);
	return is_id(part);
}

/*
 * The innermost service; one outside of a container is its runtime's (k3s.service above its pods),
 * and not the process's. systemd puts a "_" before names that control groups keep for themselves
 * ("_memory.service"); "\x2d" and its like are part of a unit's name, as systemctl shows it.
 */
static void read_path(struct span path, struct cgroup_owner *out)
{
	const char *end = path.at + path.length;

	for (const char *p = path.at; p < end;) {
		const char *slash = memchr(p, '/', (size_t)(end - p));
		struct span part = {p, (size_t)((slash ? slash : end) - p)};
		struct span above = {path.at, p > path.at ? (size_t)(p - path.at - 1) : 0};
		const char *runtime;
		struct span id;

		p += part.length + 1;
		if (read_container(above, part, &id, &runtime)) {
			memset(out->unit, 0, sizeof(out->unit));
			memset(out->container, 0, sizeof(out->container));
			memset(out->runtime, 0, sizeof(out->runtime));
			memcpy(out->container, id.at, id.length);
			memcpy(out->runtime, runtime, strlen(runtime));
		} else if (ends_with(part, ".service") && part.length > strlen(".service")) {
			if (part.at[0] == '_') {
				part.at++;
				part.length--;
			}
			if (part.length < sizeof(out->unit)) {
				memset(out->unit, 0, sizeof(out->unit));
				memcpy(out->unit, part.at, part.length);
			}
		}
	}
}

/* "0::/path", "4:memory:/path", "1:name=systemd:/path"; the path may hold colons. */
static bool read_line(struct span line, bool *unified, bool *systemd, struct span *path)
{
	const char *first = memchr(line.at, ':', line.length), *second,
	           *end = line.at + line.length;
	struct span controllers;

	if (!first)
		return false;
	second = memchr(first + 1, ':', (size_t)(end - first - 1));
	if (!second)
		return false;
	controllers = (struct span){first + 1, (size_t)(second - first - 1)};
	*unified = controllers.length == 0;
	*systemd = is(controllers, "name=systemd");
	*path = (struct span){second + 1, (size_t)(end - second - 1)};
	return true;
}

static void take_better(const struct cgroup_owner *found, struct cgroup_owner *out)
{
	if (!out->container[0] && found->container[0]) {
		memcpy(out->container, found->container, sizeof(out->container));
		memcpy(out->runtime, found->runtime, sizeof(out->runtime));
		memcpy(out->unit, found->unit, sizeof(out->unit));
	} else if (!out->unit[0] && !out->container[0]) {
		memcpy(out->unit, found->unit, sizeof(out->unit));
	}
}

void cgroup_parse(const char *text, size_t length, struct cgroup_owner *out)
{
	const char *end = text + length;
	int best = 0;

	*out = (struct cgroup_owner){.path = text};
	for (const char *p = text; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		struct span line = {p, (size_t)((newline ? newline : end) - p)}, path;
		struct cgroup_owner found = {0};
		bool unified, systemd;
		int rank;

		p += line.length + 1;
		if (!read_line(line, &unified, &systemd, &path))
			continue;
		read_path(path, &found);
		take_better(&found, out);
		/* The root group says nothing: with both versions mounted, one of them often does.
		 */
		rank = path.length <= 1 ? 1 : unified ? 4 : systemd ? 3 : 2;
		if (rank > best) {
			best = rank;
			out->path = path.at;
			out->path_length = path.length;
		}
	}
}
