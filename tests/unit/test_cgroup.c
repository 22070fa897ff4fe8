/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths as they were seen: what each runtime and each driver makes of a container's group. */
#include "common/cleanup.h"
#include "daemon/inventory/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ID  "3f0b8a1c2d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
#define POD "1f2e3d4c_5b6a_7980_91a2_b3c4d5e6f708"

struct example {
	const char *text;
	const char *path, *unit, *container, *runtime;
};

static const struct example examples[] = {
    /* services and users */
    {"0::/system.slice/nginx.service\n", "/system.slice/nginx.service", "nginx.service", "", ""},
    {"0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n",
     "/system.slice/system-postgresql.slice/postgresql@15-main.service",
     "postgresql@15-main.service", "", ""},
    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/exporter.service\n",
     "/user.slice/user-1000.slice/user@1000.service/app.slice/exporter.service", "exporter.service",
     "", ""},
    {"0::/user.slice/user-1000.slice/session-3.scope\n",
     "/user.slice/user-1000.slice/session-3.scope", "", "", ""},
    {"0::/system.slice/my\\x2dapp.service\n", "/system.slice/my\\x2dapp.service",
     "my\\x2dapp.service", "", ""},
    /* systemd keeps "memory." for the controller's own files */
    {"0::/system.slice/_memory.service\n", "/system.slice/_memory.service", "memory.service", "",
     ""},
    {"0::/system.slice/a.service/worker\n", "/system.slice/a.service/worker", "a.service", "", ""},
    {"0::/system.slice/.service\n", "/system.slice/.service", "", "", ""},
    {"0::/init.scope\n", "/init.scope", "", "", ""},
    /* Docker */
    {"0::/system.slice/docker-" ID ".scope\n", "/system.slice/docker-" ID ".scope", "", ID,
     "docker"},
    {"0::/docker/" ID "\n", "/docker/" ID, "", ID, "docker"},
    {"12:pids:/docker/" ID "\n1:name=systemd:/docker/" ID "\n0::/system.slice/containerd.service\n",
     "/system.slice/containerd.service", "", ID, "docker"},
    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" ID ".scope\n",
     "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" ID ".scope", "", ID,
     "docker"},
    {"9:memory:/ecs/4f1d/" ID "\n", "/ecs/4f1d/" ID, "", ID, "docker"},
    /* Kubernetes: containerd and CRI-O, both drivers, both versions */
    {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD
     ".slice/cri-containerd-" ID ".scope\n",
     "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" POD
     ".slice/cri-containerd-" ID ".scope",
     "", ID, "containerd"},
    {"0::/kubepods/besteffort/pod" POD "/" ID "\n", "/kubepods/besteffort/pod" POD "/" ID, "", ID,
     "containerd"},
    {"4:memory:/kubepods/burstable/pod" POD "/" ID "\n0::/\n", "/kubepods/burstable/pod" POD "/" ID,
     "", ID, "containerd"},
    {"11:cpu,cpuacct:/system.slice/containerd.service/kubepods-besteffort-pod" POD
     ".slice:cri-containerd:" ID "\n",
     "/system.slice/containerd.service/kubepods-besteffort-pod" POD ".slice:cri-containerd:" ID, "",
     ID, "containerd"},
    {"0::/kubepods.slice/kubepods-pod" POD ".slice/crio-" ID ".scope\n",
     "/kubepods.slice/kubepods-pod" POD ".slice/crio-" ID ".scope", "", ID, "cri-o"},
    {"0::/kubepods.slice/kubepods-pod" POD ".slice/crio-" ID ".scope/container\n",
     "/kubepods.slice/kubepods-pod" POD ".slice/crio-" ID ".scope/container", "", ID, "cri-o"},
    {"0::/kubepods/pod" POD "/crio-" ID "\n", "/kubepods/pod" POD "/crio-" ID, "", ID, "cri-o"},
    {"0::/kubepods.slice/kubepods-pod" POD ".slice/docker-" ID ".scope\n",
     "/kubepods.slice/kubepods-pod" POD ".slice/docker-" ID ".scope", "", ID, "docker"},
    /* the pods of a runtime that is a service itself are not that service */
    {"0::/system.slice/k3s.service/kubepods/burstable/pod" POD "/" ID "\n",
     "/system.slice/k3s.service/kubepods/burstable/pod" POD "/" ID, "", ID, "containerd"},
    /* conmon watches over a container from outside of it */
    {"0::/kubepods.slice/kubepods-pod" POD ".slice/crio-conmon-" ID ".scope\n",
     "/kubepods.slice/kubepods-pod" POD ".slice/crio-conmon-" ID ".scope", "", "", ""},
    {"0::/machine.slice/libpod-conmon-" ID ".scope\n", "/machine.slice/libpod-conmon-" ID ".scope",
     "", "", ""},
    /* Podman */
    {"0::/machine.slice/libpod-" ID ".scope/container\n",
     "/machine.slice/libpod-" ID ".scope/container", "", ID, "podman"},
    {"0::/libpod_parent/libpod-" ID "\n", "/libpod_parent/libpod-" ID, "", ID, "podman"},
    {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container\n",
     "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container", "",
     ID, "podman"},
    {"0::/system.slice/web.service/libpod-payload-" ID "\n",
     "/system.slice/web.service/libpod-payload-" ID, "", ID, "podman"},
    /* containerd by itself */
    {"0::/system.slice/nerdctl-" ID ".scope\n", "/system.slice/nerdctl-" ID ".scope", "", ID,
     "containerd"},
    {"0::/default/" ID "\n", "/default/" ID, "", ID, "containerd"},
    /* a service within a container; a container within a container */
    {"0::/docker/" ID "/system.slice/nginx.service\n", "/docker/" ID "/system.slice/nginx.service",
     "nginx.service", ID, "docker"},
    /* seen from a control group namespace of another */
    {"0::/../../system.slice/nginx.service\n", "/../../system.slice/nginx.service", "nginx.service",
     "", ""},
    /* not quite an id */
    {"0::/docker/3f0b\n", "/docker/3f0b", "", "", ""},
    {"0::/docker/" ID "0\n", "/docker/" ID "0", "", "", ""},
    {"0::/docker-" ID ".scope.d\n", "/docker-" ID ".scope.d", "", "", ""},
    /* nothing, and nonsense */
    {"", "", "", "", ""},
    {"0::/\n", "/", "", "", ""},
    {"no colons\n0\n0:\n", "", "", "", ""},
    {"0::/a:b.service", "/a:b.service", "a:b.service", "", ""},
};

static void test_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
		const struct example *e = &examples[i];
		struct cgroup_owner o;

		cgroup_parse(e->text, strlen(e->text), &o);
		print_message("%.60s\n", e->text);
		assert_int_equal(o.path_length, strlen(e->path));
		assert_memory_equal(o.path, e->path, o.path_length);
		assert_string_equal(o.unit, e->unit);
		assert_string_equal(o.container, e->container);
		assert_string_equal(o.runtime, e->runtime);
	}
}

static void test_a_unit_that_is_too_long_is_none(void **state)
{
	char text[512];
	struct cgroup_owner o;

	(void)state;
	snprintf(text, sizeof(text), "0::/%0*d.service\n", INVENTORY_UNIT_LEN, 7);
	cgroup_parse(text, strlen(text), &o);
	assert_string_equal(o.unit, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_examples),
	    cmocka_unit_test(test_a_unit_that_is_too_long_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
