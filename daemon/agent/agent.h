/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent: what its modules share. agent.c carries the talk with the parent, agent_conf.c the
 * configuration; observe.c turns findings into decisions; enforce.c turns decisions into blocks, in
 * the order block, commit, alert; report.c writes status and metrics; verbs.c serves people. Loop's
 * thread, all of it.
 */
#pragma once

#include "common/host_id.h"
#include "conf/conf.h"
#include "daemon/agent/admit.h"
#include "daemon/agent/control_server.h"
#include "daemon/agent/filters.h"
#include "daemon/agent/http_server.h"
#include "daemon/agent/impact.h"
#include "daemon/agent/inventory.h"
#include "daemon/agent/listeners.h"
#include "daemon/agent/logins.h"
#include "daemon/agent/metrics.h"
#include "daemon/agent/outbox.h"
#include "daemon/agent/refusals.h"
#include "daemon/agent/route.h"
#include "daemon/agent/schedule.h"
#include "daemon/agent/state.h"
#include "daemon/agent/story.h"
#include "daemon/agent/targets.h"
#include "daemon/agent/verify.h"
#include "daemon/agent/wall.h"
#include "daemon/channel.h"

enum {
	AGENT_TICK_MS = 1000,
	AGENT_BUSY_TICK_MS = 500, /* while somebody waits for an answer */
	AGENT_SILENT_AFTER_MS = 3000,
	AGENT_LIST_EVERY_MS = 10 * 1000,
	AGENT_LIST_AT_LEAST_MS = 5 * 60 * 1000 /* with many blocks */
};

struct block_list;

struct agent_peer {
	int pid;
	unsigned restarts;
	int64_t last_pong_ms; /* 0: none yet */
	bool connected;
};

/* A client of the control socket whose answer waits for somebody else's. */
enum waiter_kind { WAIT_RELOAD, WAIT_LIST, WAIT_PANIC, WAIT_WALL, WAIT_IMPACT, WAIT_ACK };

struct waiter {
	TAILQ_ENTRY(waiter) link;
	enum waiter_kind kind;
	struct control_request *request;
	struct endpoint endpoint; /* WAIT_WALL; WAIT_IMPACT, family 0: all; WAIT_ACK... */
	uint64_t netns;           /* ...with this: see struct watch_key */
	bool on; /* WAIT_WALL: block, WAIT_PANIC: panic, WAIT_ACK: ack; else unblock, ... */
	int64_t since_ms;
};

struct agent {
	struct event_base *base;
	const char *config_path;   /* for messages */
	char host[65];             /* our host's name, for events */
	char host_id[HOST_ID_LEN]; /* for enforce_percent; not to be shown */
	int64_t started_ms;
	int exit_status;

	struct channel *parent;
	struct agent_peer peers[IPC_ROLE_COUNT];
	struct event *tick;
	int64_t listed_ms;

	struct conf *conf, *candidate;
	struct rules *rules, *candidate_rules;    /* made from them... */
	struct routes *routes, *candidate_routes; /* ...and these too */
	struct ipc_conf meta;
	struct http_server *candidate_http;
	int64_t conf_loaded_wall_ms;
	bool last_reload_ok;
	char last_reload_error[IPC_TEXT_LEN];

	struct watch_set *watches;
	struct targets *targets;
	struct schedule *schedule;
	struct wall *wall;
	struct admit *admit;
	struct outbox *outbox;
	struct inventory *inventory;
	unsigned verifying;    /* connections that are tried (verify.c) */
	int64_t verify_due_ms; /* when the next one may be; 0: none is */
	struct listeners *listeners;
	int64_t synced_ms; /* when the inventory had first told everything; 0: not yet */
	bool swept;        /* what was expected of it, and did not come, has been let go */
	struct impact *impact;
	struct logins *logins;
	struct filters *filters;
	struct state *state;
	struct event *written;            /* the state has written something (record.c) */
	struct watch_queue untold;        /* what waits for the state */
	struct state_breaker *remembered; /* owned, sorted: of the last run; rule "": taken */
	size_t n_remembered;
	struct state_manual *acks; /* owned: likewise */
	size_t n_acks;
	bool has_unsaved;   /* the state had no room for some rows... */
	int64_t retried_ms; /* ...and when that was tried again */
	bool remembers;     /* the state is that of the last run: what is not in it was not told */

	int control_sock;
	struct control_server *control;
	struct http_server *http;
	TAILQ_HEAD(, waiter) waiters;
	struct block_list *block_list;   /* under way, or NULL */
	struct control_request *testing; /* likewise (verbs_test.c) */

	bool spreading; /* blocks that were found are renewed at times of their own */
	bool adopted;   /* the kernel's blocks were read once, at the start */
	bool panic;
	char panic_reason[STATE_REASON_LEN];

	uint64_t probes[VERDICT_COUNT];
	struct metrics_histogram probe_duration;
	struct metrics_histogram block_latency; /* listener seen to block in the kernel */
};

/* agent.c */
int agent_run(int parent_sock, const char *config_path);

/* agent_conf.c: what the parent sends of configurations, in frames whose results it is sent */
/* Loads and checks the candidate. Its secrets are forgotten at once. */
void agent_check_conf(struct agent *a, const struct frame *f);
/* The candidate is the configuration from now on; the first one begins the service. */
void agent_commit_conf(struct agent *a, const struct frame *f);
void agent_drop_candidate(struct agent *a);
/*
 * Watches what the targets name now. `keep_open`: a name's addresses have changed, which is no
 * evidence that a server is clean. Whoever answers for the name would else lift the wall: such a
 * watch goes when its breaker has closed.
 */
void agent_apply_targets(struct agent *a, bool keep_open);

/* observe.c: handlers of the schedule */
void observe_begin(struct watch *w, void *arg);
void observe_done(struct watch *w, struct finding *finding, void *arg);
void observe_died(struct watch *w, bool alone, void *arg);
void observe_released(struct watch *w, void *arg);
struct breaker_conf observe_breaker_conf(const struct conf *conf, const struct watch *w);
/* What rules are chosen by; points into the watch. */
struct match_facts observe_facts(const struct watch *w);
/* Target, listener or rules have changed: is there another winner? Moves or lifts a block. */
void observe_reconsider(struct agent *a, struct watch *w);
/* After a reload: rules are known by name, and the winner is sought again. */
void observe_renumber(struct agent *a, const struct conf *old);

/* local.c: listeners of this host */
int local_init(struct agent *a);
/* A (new) helper; takes over `sock`. */
int local_set_helper(struct agent *a, int sock);
/* The configuration is new. */
void local_configure(struct agent *a);
void local_tick(struct agent *a);
/*
 * A listener that has several addresses is asked at one of them each interval, and at the others
 * each LOCAL_OTHERS_EVERY intervals while all is clean; what shows at the one is looked for at once
 * at the others.
 */
enum { LOCAL_OTHERS_EVERY = 10 };
int64_t local_stretch(const struct watch *w, int64_t in_ms);
void local_alarm_others(struct agent *a, const struct watch *w);
/* A block was acknowledged: how long it took, if it was a new listener's. */
void local_note_block(struct agent *a, struct watch *w);
/* Why a block is not even asked for, though its breaker is open: static text, or NULL. */
const char *local_why_not_blocked(const struct agent *a, const struct watch *w);

/* inside.c: endpoints that are asked in their own network namespace */
/* Handler of the schedule. */
void inside_ask_socket(struct watch *w, uint64_t probe, void *arg);
/* Says from where it was seen; or, of a container's seen from the host, whether it was reached. */
void inside_note_finding(struct agent *a, struct watch *w, struct finding *f);
/* Static text. */
const char *inside_why_not_blocked(const struct watch *w, const struct conf_breaker *rule);

/* enforce.c */
/* Makes the kernel's state what is wanted now; enforce_settled() follows, now or later. */
void enforce_apply(struct agent *a, struct watch *w); /* the watch may be gone afterwards */
/* Makes one of the watch's timers, if it has none yet, and sets it. */
void enforce_set_timer(struct agent *a, struct watch *w, struct event **timer,
                       event_callback_fn callback, int64_t in_ms);
/* An alert for when the kernel has answered. */
void enforce_owe(struct watch *w, enum breaker_alert alert);
/* Handler of the wall; commits, alerts, answers, and sets the date of the next renewal. */
void enforce_settled(struct watch *w, void *arg);
/* The events of what was done and is owed: a part of what record_save() writes. */
void enforce_make_events(struct agent *a, struct watch *w);
/* What was done is remembered: answers. May free the watch. */
void enforce_tell(struct agent *a, struct watch *w);
/* The configuration has changed. */
void enforce_all(struct agent *a);
void enforce_decide(struct agent *a, struct watch *w, const struct state_manual *decision);
/* For a watch with `in_list`, whose decision is not told before the whole list stands: tells it. */
void enforce_announce(struct agent *a, struct watch *w);
/* Goes back to the decision that was there before, NULL for none. */
void enforce_take_back(struct agent *a, struct watch *w, const struct state_manual *previous);
void enforce_set_panic(struct agent *a, bool panic, const char *reason);
/* No target names it any more. */
void enforce_abandon(struct agent *a, struct watch *w);
/* Frees the watch if nothing keeps it. */
void enforce_drop_unused(struct agent *a, struct watch *w);

/* enforce_wanted.c */
/* Has the kernel something else than what is wanted, and nothing is under way? */
bool enforce_is_due(const struct agent *a, const struct watch *w);
/* Is what is in the kernel a filter in front of the port, which cuts nobody off? */
bool enforce_filters(const struct agent *a, const struct watch *w);
/* Would the rule that wins filter this endpoint? */
bool enforce_means_filter(const struct agent *a, const struct watch *w);
/* Is it behind a standing filter, or in a moment, so that what it shows, it shows to us alone? */
bool enforce_is_shielded(const struct agent *a, const struct watch *w);
/* What does this endpoint meet, or would it but for the mode? "filter", "drop", "observe", ... */
const char *enforce_action(const struct agent *a, const struct watch *w);
/* Why it is not what the rule says; NULL where there is nothing to explain. */
const char *enforce_reason(const struct agent *a, const struct watch *w,
                           char out[static BLAST_REASON_LEN]);

/* enforce_restore.c */
/* The decisions of people that are still in force. */
void enforce_restore(struct agent *a, struct state_snapshot *snapshot);
void enforce_restore_breaker(struct agent *a, struct watch *w, const struct state_breaker *row);
/* One block of a list, and the list's end: adopts the first, and mends what later ones lack. */
void enforce_note_block(struct agent *a, const struct firewall_reply *block);
void enforce_compare_list(struct agent *a, bool complete);
/* A target names it from now on. */
void enforce_take_up(struct agent *a, struct watch *w);

/* follow.c: who is told of an endpoint, and what of it as time goes by */
/* What sinks are chosen by; points into the watch. */
struct route_facts follow_facts(const struct watch *w, const char *event);
/* Has somebody taken it on? */
bool follow_is_acknowledged(const struct watch *w);
/*
 * The breaker, the configuration or who has taken it on has changed: plans what is to be told next.
 * What is known of a breaker that has closed is forgotten.
 */
void follow_update(struct agent *a, struct watch *w);
/* Somebody takes it on; copies. Returns 0 or -ENOMEM. */
int follow_take_on(struct watch *w, const struct state_manual *ack);
/* As above, or NULL: nobody does any more; remembers and tells it. Returns 0 or -ENOMEM. */
int follow_acknowledge(struct agent *a, struct watch *w, const struct state_manual *ack);

/* record.c: what outlives us, and what is told only when it does */
/* Takes over the snapshot's breakers, and restores those that are watched. Returns 0 or -ENOMEM. */
int record_begin(struct agent *a, struct state_snapshot *snapshot);
void record_end(struct agent *a);
/* A target names it from now on: its breaker as the last run left it. */
void record_take_up(struct agent *a, struct watch *w);
void record_note_exposure(struct watch *w, const struct finding *f);
void record_forget_exposure(struct watch *w);
/* Adds to an object of people's: since when, until when, and why. */
void record_to_json(const struct watch *w, json_t *object);
/* Queues what has changed of its breaker and of a person's decision. */
void record_save(struct agent *a, struct watch *w);
/* An event of what stands in the breaker's row, if it has one, or of who has taken it on; or NULL.
 */
void record_event(struct agent *a, struct watch *w, const char *event, const char *reason,
                  const char *who);
/* Does the disk have what was decided last? */
bool record_is_saved(const struct agent *a, const struct watch *w);
/* Calls enforce_tell(), now or when the disk has it; a slow disk is not waited for. */
void record_tell(struct agent *a, struct watch *w);
/* Every now and then: those who have waited long enough, and what the queue had no room for. */
void record_check(struct agent *a);

/* event.c: what alerts carry (docs/alerts.md); who hears of it, and how, is the outbox's */
void event_send(struct agent *a, const char *event, struct watch *w, const char *reason,
                const char *who);
/* An open breaker, for those who forget it otherwise; kept for nobody. */
void event_refresh(struct agent *a, const struct watch *w);
/* Of a file or name in allow_from, not of an endpoint; takes over `rules`. */
void event_send_source(struct agent *a, const char *event, const char *source, json_t *rules,
                       const char *reason);
/* Of requests that the filter in front of it has refused. */
void event_send_refusal(struct agent *a, struct watch *w, const struct refusal *refusal);
/* For outbox_handlers: `alerts_lost`. */
json_t *event_describe_loss(const struct state_loss *loss, void *arg);
/* For outbox_test(). */
json_t *event_make_test(const struct agent *a, const char *who);

/* report.c */
struct report_range {
	bool all;                      /* every endpoint, else those with something to tell */
	const struct watch_key *after; /* those behind this one; NULL: from the first */
};
json_t *report_status(const struct agent *a, const struct report_range *range);
json_t *report_watch(const struct agent *a, const struct watch *w);
json_t *report_blocks(const struct agent *a);
bool report_ready(struct evbuffer *out, void *arg);
/* Does this process of ours (enum ipc_role) answer? True too where nothing needs it. */
bool report_is_up(const struct agent *a, int role);

/* report_local.c */
bool report_is_of_interest(const struct watch *w);
/* Endpoints by what they are; whatever the status lists. */
json_t *report_counts(const struct agent *a);
/* Who listens there, and what its block has held off, into the watch's object. */
void report_add_owner(const struct agent *a, json_t *watch, const struct watch *w);
json_t *report_listener(const struct listener *l);
/* `all`: every one that is not probed, else some of them. */
json_t *report_listeners(const struct agent *a, bool all);
/* NULL: the endpoint is neither watched nor a listener. */
json_t *report_explanation(const struct agent *a, const struct watch_key *key);

/* exposition.c */
void exposition_write(struct evbuffer *out, void *arg);

/* verbs.c */
void verbs_handle(struct control_request *cr, const struct control_peer *peer,
                  const json_t *request, void *arg);
void verbs_answer_reload(struct agent *a, const struct ipc_result *result);
void verbs_answer_list(struct agent *a);
void verbs_answer_impact(struct agent *a);
/* The state has written something, or a moment has passed. */
void verbs_answer_acks(struct agent *a);
/* `why` it failed, or NULL. */
void verbs_answer_panic(struct agent *a, bool panic, const char *why);
/* Answers those who have waited too long for somebody else's answer. */
void verbs_check_deadlines(struct agent *a);
void verbs_answer_wall(struct agent *a, const struct watch *w);
