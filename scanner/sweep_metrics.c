/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/sweep_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX "pprofwall_sweep_last_"

static void head(FILE *to, const char *name, const char *help)
{
	fprintf(to, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s gauge\n", name, help, name);
}

static void put_count(FILE *to, const char *name, const char *help, uint64_t value)
{
	head(to, name, help);
	fprintf(to, PREFIX "%s %" PRIu64 "\n", name, value);
}

/* Milliseconds as seconds, exactly. */
static void put_seconds(FILE *to, const char *name, const char *help, int64_t ms)
{
	if (ms < 0)
		ms = 0;
	head(to, name, help);
	fprintf(to, PREFIX "%s %" PRId64 ".%03" PRId64 "\n", name, ms / 1000, ms % 1000);
}

static void put_endpoints(FILE *to, const struct sweep_metrics *m)
{
	head(to, "endpoints", "Endpoints that the sweep has looked at, by verdict.");
	for (unsigned i = 0; i < VERDICT_COUNT; i++)
		fprintf(to, PREFIX "endpoints{verdict=\"%s\"} %" PRIu64 "\n",
		        finding_verdict_name(i), m->verdicts[i]);
}

/* All of them, zeros too: an alert on a series that comes and goes is a hard thing to write. */
static void put_exposures(FILE *to, const struct sweep_metrics *m)
{
	static const enum finding_verdict verdicts[] = {VERDICT_CONFIRMED, VERDICT_LIKELY};

	head(to, "exposures", "Exposures that are not accepted, by verdict and severity.");
	for (size_t v = 0; v < sizeof(verdicts) / sizeof(verdicts[0]); v++) {
		for (unsigned s = SEVERITY_LOW; s < SEVERITY_COUNT; s++)
			fprintf(to,
			        PREFIX "exposures{verdict=\"%s\",severity=\"%s\"} %" PRIu64 "\n",
			        finding_verdict_name(verdicts[v]), finding_severity_name(s),
			        m->exposures[verdicts[v]][s]);
	}
}

static void put_shard(FILE *to, const struct sweep_metrics *m)
{
	head(to, "shard_info", "Which shard of the sweep this was, from 1; always 1.");
	fprintf(to, PREFIX "shard_info{shard=\"%u\",shards=\"%u\"} 1\n", m->shard, m->shards);
}

static void put_discovery(FILE *to, const struct sweep_metrics *m)
{
	put_count(to, "packets_sent", "SYNs and connects of the discovery, repeated ones too.",
	          m->packets_sent);
	put_count(to, "packets_retransmitted", "Those of them that were repeated.",
	          m->packets_retransmitted);
	put_count(to, "packets_dropped", "Answers that the scanner's own sockets have dropped.",
	          m->packets_dropped);
	if (m->loss_ratio < 0)
		return;
	head(to, "packet_loss_ratio", "Measured loss of packets, from 0 to 1.");
	fprintf(to, PREFIX "packet_loss_ratio %.6f\n", m->loss_ratio);
}

char *sweep_metrics_render(const struct sweep_metrics *m, size_t *length)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, length);

	if (!to)
		return NULL;
	put_seconds(to, "start_timestamp_seconds", "When the last sweep began.", m->started_ms);
	put_seconds(to, "end_timestamp_seconds", "When the last sweep ended.", m->ended_ms);
	put_seconds(to, "duration_seconds", "How long the last sweep took.",
	            m->ended_ms - m->started_ms);
	put_count(to, "complete", "Whether it looked everywhere.", m->complete);
	put_shard(to, m);
	if (m->targets)
		put_count(to, "targets", "Endpoints that the sweep had to look at.", m->targets);
	put_endpoints(to, m);
	put_exposures(to, m);
	put_count(to, "exposures_accepted", "Exposures that the user has accepted.", m->accepted);
	put_discovery(to, m);
	if (fclose(to) == 0)
		return text;
	free(text);
	return NULL;
}
