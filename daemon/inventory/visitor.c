/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/inventory/visitor.h"

#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct visitor {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int home;
	/* What is to be done; `act` is NULL when nothing is. */
	int netns;
	int (*act)(void *arg);
	void *arg;
	int result;
	bool stop;
};

static int visit(const struct visitor *v)
{
	int result;

	if (v->netns < 0)
		return v->act(v->arg);
	if (setns(v->netns, CLONE_NEWNET) < 0)
		return -errno;
	result = v->act(v->arg);
	if (setns(v->home, CLONE_NEWNET) < 0) {
		/* What we would say from here on would be about somebody else. */
		log_error("no way back to our network namespace: %s", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	return result;
}

static void *run(void *arg)
{
	struct visitor *v = arg;

	pthread_mutex_lock(&v->lock);
	while (!v->stop) {
		if (v->act) {
			v->result = visit(v);
			v->act = NULL;
			pthread_cond_broadcast(&v->changed);
		}
		while (!v->act && !v->stop)
			pthread_cond_wait(&v->changed, &v->lock);
	}
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

int visitor_new(int home, struct visitor **out)
{
	struct visitor *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->home = home;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	err = pthread_create(&v->thread, NULL, run, v);
	if (err) {
		free(v);
		return -err;
	}
	*out = v;
	return 0;
}

void visitor_free(struct visitor *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&v->lock);
	v->stop = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	pthread_join(v->thread, NULL);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

int visitor_act(struct visitor *v, int netns, int (*act)(void *arg), void *arg)
{
	int result;

	pthread_mutex_lock(&v->lock);
	v->netns = netns;
	v->arg = arg;
	v->act = act;
	pthread_cond_broadcast(&v->changed);
	while (v->act)
		pthread_cond_wait(&v->changed, &v->lock);
	result = v->result;
	pthread_mutex_unlock(&v->lock);
	return result;
}
