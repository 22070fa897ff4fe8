/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_rollout.h"

#include "common/siphash.h"

#include <string.h>

enum { STEPS = 10000, STEPS_PER_PERCENT = STEPS / 100, MESSAGE_LEN = 512 };

unsigned conf_rollout_draw(const char *host_id, const char *salt)
{
	/* No secret: it only keeps a machine-id from being read off the number. */
	static const struct siphash_key key = {.low = 0x6c6c61776670726fU,
	                                       .high = 0x74756f6c6c6f7200U};
	char message[MESSAGE_LEN] = {0};
	/* The NUL in between parts the two: "a" + "bc" is not "ab" + "c". */
	int length = snprintf(message, sizeof(message), "%s%c%s", salt, '\0', host_id);

	if (length >= MESSAGE_LEN)
		length = MESSAGE_LEN - 1;
	return (unsigned)(siphash_compute(&key, message, (size_t)length) % STEPS);
}

void conf_rollout_apply(struct conf *conf, const char *host_id)
{
	conf->rollout.draw = conf_rollout_draw(host_id, conf->enforce_salt);
	conf->rollout.held_back = conf->mode == CONF_MODE_ENFORCE &&
	                          conf->rollout.draw >= conf->enforce_percent * STEPS_PER_PERCENT;
	if (conf->rollout.held_back)
		conf->mode = CONF_MODE_OBSERVE;
}
