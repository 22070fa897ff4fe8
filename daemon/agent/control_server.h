/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket (common/control.h): reads one request a client, hands it over with who asked,
 * writes the answer, closes. Bounded clients, bytes and time; a client that sends garbage or never
 * reads costs one slot until its deadline. The program ignores SIGPIPE. Loop's thread.
 */
#pragma once

#include <event2/event.h>
#include <jansson.h>
#include <sys/types.h>

struct control_peer {
	pid_t pid;
	uid_t uid;
	uid_t login_uid; /* /proc/PID/loginuid; (uid_t)-1 when there is none */
	char who[128];   /* for people: "alice as root", "uid 1000" */
};

struct control_request; /* an answer is owed, exactly once */

/*
 * `request` is borrowed for the call; it is a JSON object. Call control_answer() now or later (a
 * reload takes a while); a client that has gone by then is handled there.
 */
typedef void control_handler(struct control_request *cr, const struct control_peer *peer,
                             const json_t *request, void *arg);

struct control_server;

/*
 * Takes over `listen_fd`, also on failure. Peers are admitted by SO_PEERCRED and SO_PEERGROUPS:
 * root, our own uid, or a member of `group`. Returns 0 or -errno.
 */
int control_server_new(struct event_base *base, int listen_fd, gid_t group,
                       control_handler *handler, void *arg, struct control_server **out);
/* Answers that are still owed may come later; they are thrown away. */
void control_server_free(struct control_server *server);

/* Takes over `answer` (a JSON object); {"ok":true} is added unless it has "ok". */
void control_answer(struct control_request *cr, json_t *answer);
void control_answer_error(struct control_request *cr, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
