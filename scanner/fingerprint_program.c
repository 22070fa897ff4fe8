/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which program it is, and how that is known: by the product's signature where there is one, else
 * by the name of its executable. All of it from answers that were asked for anyway.
 */
#include "common/cleanup.h"
#include "scanner/fingerprint_state.h"
#include "scanner/signatures.h"

#include <errno.h>
#include <string.h>

enum { TITLE_LOOKED_AT_BYTES = 4096 };

struct text {
	const char *p;
	size_t length;
};

static bool is_text(const struct text *t, const char *is)
{
	return t->length == strlen(is) && strncasecmp(t->p, is, t->length) == 0;
}

/* "go.etcd.io/etcd" is also "go.etcd.io/etcd/v3" and "go.etcd.io/etcd/server/v3". */
static bool is_module(const char *module, const char *of)
{
	size_t n = strlen(of);

	return strncmp(module, of, n) == 0 &&
	       (module[n] == '\0' || module[n] == '/' || module[n] == '@');
}

static bool has_module(const struct signature_product *p, const char *module)
{
	for (size_t i = 0; i < p->modules.count; i++)
		if (is_module(module, p->modules.items[i]))
			return true;
	return false;
}

static bool has_text(const struct conf_strings *list, const struct text *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (is_text(text, list->items[i]))
			return true;
	return false;
}

/* A line of the head begins so. Most are told apart by a look at one letter, of either case. */
static bool has_line(const char *head, const char *wanted)
{
	const char *line = head;

	while (*line) {
		const char *end;

		if (((line[0] ^ wanted[0]) & ~0x20) == 0 &&
		    strncasecmp(line, wanted, strlen(wanted)) == 0)
			return true;
		end = strchr(line, '\n');
		if (!end)
			return false;
		line = end + 1;
	}
	return false;
}

static bool has_header(const struct signature_product *p, const char *head)
{
	for (size_t i = 0; i < p->headers.count; i++)
		if (has_line(head, p->headers.items[i]))
			return true;
	return false;
}

static bool find_title(const struct http_answer *a, struct text *title)
{
	const char *p = (const char *)a->body, *end;
	size_t length = a->body_length;

	if (length > TITLE_LOOKED_AT_BYTES)
		length = TITLE_LOOKED_AT_BYTES;
	if (strncasecmp(a->content_type, "text/html", 9) != 0)
		return false;
	end = p + length;
	p = memmem(p, length, "<title>", 7);
	if (!p)
		return false;
	p += 7;
	end = memmem(p, (size_t)(end - p), "</title>", 8);
	if (!end)
		return false;
	*title = (struct text){p, (size_t)(end - p)};
	return true;
}

void program_note_answer(struct fingerprint *fp, const struct http_answer *a)
{
	struct text title = {0};
	bool titled;

	if (!fp->signatures || a->status == 0)
		return;
	titled = !fp->by_title && find_title(a, &title);
	for (size_t i = fp->signatures->n_products; i-- > 0;) {
		const struct signature_product *p = &fp->signatures->products[i];

		if (!fp->by_header && a->head && has_header(p, a->head))
			fp->by_header = p;
		if (titled && has_text(&p->titles, &title)) {
			fp->by_title = p;
			titled = false;
		}
	}
}

static struct text base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	/* a program may write its own argv: "nginx: worker process" */
	return (struct text){name, strcspn(name, " \t:")};
}

/* Of both, the user's own come last in the list, and first here. */
static const struct signature_product *find_by_module(const struct signatures *s,
                                                      const char *module)
{
	for (size_t i = s ? s->n_products : 0; i-- > 0;)
		if (has_module(&s->products[i], module))
			return &s->products[i];
	return NULL;
}

static const struct signature_product *find_by_executable(const struct signatures *s,
                                                          const struct text *name)
{
	for (size_t i = s ? s->n_products : 0; i-- > 0;)
		if (has_text(&s->products[i].executables, name))
			return &s->products[i];
	return NULL;
}

static int identify(struct finding *out, const char *how)
{
	int err = finding_list_add(&out->identified_by, how, strlen(how));

	return err == -ENOSPC ? 0 : err;
}

static int set_program(struct finding *out, const char *name, const char *how)
{
	int err = finding_set(&out->program, name);

	return err ? err : identify(out, how);
}

/* Of a finding, or of its draft; *name is set where there is a command line. */
static const struct signature_product *find_product(const struct fingerprint *fp,
                                                    const struct finding *of, struct text *name,
                                                    const char **how)
{
	const struct signature_product *product;

	if (of->command.count > 0)
		*name = base_name(of->command.items[0]);
	/* What the program is compiled from says more than what somebody called its file. */
	*how = "program=module";
	if (of->module && (product = find_by_module(fp->signatures, of->module)))
		return product;
	*how = "program=executable";
	if (name->length > 0 && (product = find_by_executable(fp->signatures, name)))
		return product;
	*how = "program=header";
	if (fp->by_header)
		return fp->by_header;
	*how = "program=title";
	return fp->by_title;
}

const struct signature_product *program_find_product(const struct fingerprint *fp)
{
	struct text name = {"", 0};
	const char *how;

	return find_product(fp, &fp->draft, &name, &how);
}

static int fill_program(const struct fingerprint *fp, struct finding *out,
                        const struct signature_product **product)
{
	struct text name = {"", 0};
	const char *how;
	int err;

	*product = find_product(fp, out, &name, &how);
	if (*product)
		return set_program(out, (*product)->name, how);
	if (name.length == 0)
		return 0;
	err = finding_set_bytes(&out->program, name.p, name.length);
	return err ? err : identify(out, "program=executable");
}

int program_fill(const struct fingerprint *fp, struct finding *out,
                 const struct signature_product **product)
{
	int err = fill_program(fp, out, product);

	if (!err && out->module)
		err = identify(out, "module=stack");
	if (!err && out->go_version)
		err = identify(out, fp->go_version_from_path ? "go_version=stack-path"
		                                             : "go_version=stack-lines");
	if (!err && out->command.count > 0)
		err = identify(out, fp->cmdline_read ? "command=cmdline" : "command=expvar");
	return err;
}
