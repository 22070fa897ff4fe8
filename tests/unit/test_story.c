/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/agent/story.h"

#include "daemon/agent/listeners.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *line(json_t *story, size_t i)
{
	return json_string_value(json_object_get(json_array_get(story, i), "what"));
}

static void test_begins_with_the_listener(void **state)
{
	struct owner owner = {.pid = 7,
	                      .uid = 3,
	                      .command = "evil\xff",
	                      .executable = "",
	                      .cgroup = "",
	                      .unit = "a.service",
	                      .container = "0123456789abcdef",
	                      .runtime = "docker"};
	struct listener listener = {.owner = &owner, .seen_wall_ms = 1000};
	struct watch w = {.listener = &listener};
	json_t *story;

	(void)state;
	assert_int_equal(endpoint_parse("0.0.0.0:80", &listener.bound), 0);
	story_add(&w, "a clean one has none");
	assert_null(w.story);
	story_tell(&w, "something %d", 1);
	story_add(&w, "more");
	story = story_to_json(&w);
	assert_int_equal(json_array_size(story), 3);
	assert_non_null(strstr(line(story, 0), " listens at 0.0.0.0:80 (pid 7, uid 3, a.service, "
	                                       "container 0123456789ab)"));
	assert_string_equal(json_string_value(json_object_get(json_array_get(story, 0), "time")),
	                    "1970-01-01T00:00:01Z");
	assert_string_equal(line(story, 1), "something 1");
	assert_string_equal(line(story, 2), "more");
	json_decref(story);
	story_free(w.story);
}

static void test_keeps_the_first_and_the_last(void **state)
{
	struct watch w = {.listener = NULL};
	json_t *story;

	(void)state;
	for (int i = 0; i < 100; i++)
		story_tell(&w, "%d", i);
	story = story_to_json(&w);
	assert_int_equal(json_array_size(story), STORY_FIRST + STORY_LAST);
	assert_int_equal(story_dropped(&w), 100 - STORY_FIRST - STORY_LAST);
	assert_string_equal(line(story, STORY_FIRST - 1), "7");
	assert_string_equal(line(story, STORY_FIRST), "76");
	assert_string_equal(line(story, STORY_FIRST + STORY_LAST - 1), "99");
	json_decref(story);
	story_free(w.story);
}

static void test_tells_of_the_wall_once(void **state)
{
	struct watch w = {.wall = {.in_kernel = true}};
	json_t *story;

	(void)state;
	story_tell_wall(&w, false);
	story_tell_wall(&w, false);
	w.wall.in_kernel = false;
	w.wall.error = "the port is protected";
	story_tell_wall(&w, false);
	story_tell_wall(&w, false);
	story = story_to_json(&w);
	assert_int_equal(json_array_size(story), 3);
	assert_string_equal(line(story, 0), "the block is in the kernel");
	assert_string_equal(line(story, 1), "the block is lifted");
	assert_string_equal(line(story, 2), "not blocked: the port is protected");
	json_decref(story);
	story_free(w.story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_begins_with_the_listener),
	    cmocka_unit_test(test_keeps_the_first_and_the_last),
	    cmocka_unit_test(test_tells_of_the_wall_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
