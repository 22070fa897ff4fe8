/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf_value.h"
#include "conf/conf_alert.h"
#include "conf/conf_filter.h"

#include "common/template.h"

#include <errno.h>
#include <string.h>

/* A value on its way in: all that a reader of one type needs. */
struct input {
	const struct conf_key *key;
	const struct conf_scalar *scalar;
	const struct conf_diag *diag;
	void *base;
};

static void *slot_of(const struct input *in)
{
	return (char *)in->base + in->key->offset;
}

/* "PATH: VALUE WHAT; expected ..." with the value hidden where it may be a secret. */
static int refuse_for(const struct input *in, const char *what, const char *expected)
{
	char shown[CONF_QUOTE_LEN] = "value";

	if (!(in->key->flags & CONF_KEY_SECRET))
		conf_quote(in->scalar->text, in->scalar->length, shown);
	return conf_fail(in->diag, in->scalar->at, "%s: %s %s; expected %s", in->key->path, shown,
	                 what, expected);
}

static int refuse(const struct input *in, const char *what)
{
	char expected[CONF_EXPECT_LEN];

	return refuse_for(in, what, conf_key_expects(in->key, expected));
}

/* What is wrong with digits that conf_parse_number() or conf_parse_duration() refused. */
static const char *blame_digits(const char *text, int err, const char *otherwise)
{
	if (err == -ERANGE)
		return "is out of range";
	if (text[0] == '-' || text[0] == '+')
		return "has a sign";
	if (text[0] == '0' && text[1] >= '0' && text[1] <= '9')
		return "has a leading zero";
	return otherwise;
}

static int set_bool(const struct input *in)
{
	bool value = strcmp(in->scalar->text, "true") == 0;

	if (!in->scalar->plain)
		return refuse(in, "is quoted text");
	if (!value && strcmp(in->scalar->text, "false") != 0)
		return refuse(in, "is no boolean");
	memcpy(slot_of(in), &value, sizeof(value));
	return 0;
}

static int set_number(const struct input *in)
{
	unsigned number;
	uint64_t value;
	int err;

	if (!in->scalar->plain)
		return refuse(in, "is quoted text");
	err = conf_parse_number(in->scalar->text, (uint64_t)in->key->max, &value);
	if (err)
		return refuse(in, blame_digits(in->scalar->text, err, "is no number"));
	if (value < (uint64_t)in->key->min)
		return refuse(in, "is out of range");
	number = (unsigned)value;
	memcpy(slot_of(in), &number, sizeof(number));
	return 0;
}

static int parse_hex(const char *digits, uint64_t *out)
{
	size_t n = strspn(digits, "0123456789abcdefABCDEF");

	if (n == 0 || digits[n])
		return -EINVAL;
	if (n > 8)
		return -ERANGE;
	*out = strtoull(digits, NULL, 16);
	return 0;
}

static int set_bits(const struct input *in)
{
	const char *text = in->scalar->text;
	uint64_t value;
	uint32_t bits;
	int err;

	if (!in->scalar->plain)
		return refuse(in, "is quoted text");
	if (text[0] == '0' && text[1] == 'x')
		err = parse_hex(text + 2, &value);
	else
		err = conf_parse_number(text, (uint64_t)in->key->max, &value);
	if (err)
		return refuse(in, blame_digits(text, err, "is no number"));
	if (value < (uint64_t)in->key->min)
		return refuse(in, "is out of range");
	bits = (uint32_t)value;
	memcpy(slot_of(in), &bits, sizeof(bits));
	return 0;
}

static int set_duration(const struct input *in)
{
	const char *text = in->scalar->text;
	bool or_off = in->key->flags & CONF_KEY_OR_OFF;
	uint64_t number;
	int64_t ms = 0;
	int err = 0;

	if (!or_off || strcmp(text, "off") != 0)
		err = conf_parse_duration(text, &ms);
	if (err == -EINVAL && conf_parse_number(text, UINT64_MAX, &number) == 0)
		return refuse(in, "has no unit (ms, s, m, h or d)");
	if (err)
		return refuse(in, blame_digits(text, err, "is no duration"));
	if (!(or_off && ms == 0) && (ms < in->key->min || ms > in->key->max))
		return refuse(in, "is out of range");
	memcpy(slot_of(in), &ms, sizeof(ms));
	return 0;
}

static int set_choice(const struct input *in)
{
	for (const struct conf_choice *c = in->key->choices; c->name; c++) {
		if (strcmp(c->name, in->scalar->text) == 0) {
			memcpy(slot_of(in), &c->value, sizeof(c->value));
			return 0;
		}
	}
	return refuse(in, "is unknown");
}

/* Replaces the string in the slot. */
static int store_text(const struct input *in)
{
	char *copy = strdup(in->scalar->text);

	if (!copy)
		return conf_fail_memory(in->diag, in->scalar->at);
	conf_value_free(in->key, in->base);
	memcpy(slot_of(in), &copy, sizeof(copy));
	if (in->key->extra)
		memcpy((char *)in->base + in->key->extra, &in->scalar->at, sizeof(in->scalar->at));
	return 0;
}

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static int set_name(const struct input *in)
{
	size_t length = in->scalar->length;

	if (length > CONF_NAME_MAX_LEN)
		return refuse(in, "is too long");
	if (strspn(in->scalar->text, LETTERS_AND_DIGITS "_.-") != length)
		return refuse(in, "is no name");
	return store_text(in);
}

static int set_account(const struct input *in)
{
	const char *text = in->scalar->text;
	uint64_t id;
	int err;

	if (strspn(text, "0123456789") == in->scalar->length) {
		/* The highest number means "no user" to the kernel. */
		err = conf_parse_number(text, UINT32_MAX - 1, &id);
		if (err)
			return refuse(in, blame_digits(text, err, "is no number"));
		if (id < (uint64_t)in->key->min)
			return refuse(in, "is root");
		return store_text(in);
	}
	if (in->key->min > 0 && strcmp(text, "root") == 0)
		return refuse(in, "is root");
	if (in->scalar->length > 31 || text[0] == '-' ||
	    strspn(text, LETTERS_AND_DIGITS "_.-") != in->scalar->length)
		return refuse(in, "is no account name");
	return store_text(in);
}

static int set_path(const struct input *in)
{
	const char *text = in->scalar->text;

	if (text[0] != '/')
		return refuse(in, "is not absolute");
	if (in->scalar->length > (size_t)in->key->max)
		return refuse(in, "is too long");
	if (text[1] == '\0' || text[in->scalar->length - 1] == '/')
		return refuse(in, "ends with a slash");
	if (!conf_text_is_clean(text, in->scalar->length))
		return refuse(in, "has control characters");
	return store_text(in);
}

static bool is_printable_word(const char *text)
{
	while (*text > ' ' && *text < 0x7f)
		text++;
	return *text == '\0';
}

/* Nothing that could end a URL's path early, or that would have to be escaped in it. */
static int check_url_path(const struct input *in, int64_t max)
{
	const char *text = in->scalar->text;

	if (text[0] != '/')
		return refuse_for(in, "does not begin with a slash", "a path such as /debug/vars");
	if (in->scalar->length > (size_t)max)
		return refuse_for(in, "is too long", "a shorter path");
	if (!is_printable_word(text) || strpbrk(text, "?#\\\"<>^`{|}"))
		return refuse_for(in, "has a character that no path has",
		                  "one without query or fragment, escaped where need be");
	return 0;
}

static int set_url_path(const struct input *in)
{
	int err = check_url_path(in, in->key->max);

	return err ? err : store_text(in);
}

static int check_text(const struct input *in, int64_t max)
{
	char expected[CONF_EXPECT_LEN];

	snprintf(expected, sizeof(expected), "one line of at most %lld bytes", (long long)max);
	if (in->scalar->length > (size_t)max)
		return refuse_for(in, "is too long", expected);
	if (!conf_text_is_clean(in->scalar->text, in->scalar->length))
		return refuse_for(in, "has control characters or line breaks", expected);
	return 0;
}

/* What is clean in each line, where there may be several. */
static bool lines_are_clean(const char *text)
{
	for (;;) {
		size_t length = strcspn(text, "\n");

		if (!conf_text_is_clean(text, length))
			return false;
		if (!text[length])
			return true;
		text += length + 1;
	}
}

/* Characters, as an editor counts them, not bytes. */
static size_t characters_before(const char *text, size_t at)
{
	size_t n = 0;

	for (size_t i = 0; i < at; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

static int set_template(const struct input *in)
{
	const char *text = in->scalar->text;
	char why[TEMPLATE_ERROR_LEN];
	size_t at;

	if (in->scalar->length > (size_t)in->key->max)
		return refuse(in, "is too long");
	if (in->key->min ? !lines_are_clean(text) : !conf_text_is_clean(text, in->scalar->length))
		return refuse(in, in->key->min ? "has control characters"
		                               : "has control characters or line breaks");
	if (template_check(text, &at, why) < 0)
		return conf_fail(in->diag, in->scalar->at,
		                 "%s: character %zu: %s; expected a text with {fields} of an event",
		                 in->key->path, characters_before(text, at) + 1, why);
	return store_text(in);
}

static int set_text(const struct input *in)
{
	int err = check_text(in, in->key->max);

	return err ? err : store_text(in);
}

/* Scheme and host: conf_alert_check(), when the type is known. */
static int set_url(const struct input *in)
{
	if (in->scalar->length > CONF_URL_MAX_LEN)
		return refuse(in, "is longer than 2048 bytes");
	if (!is_printable_word(in->scalar->text) || strchr(in->scalar->text, '\\'))
		return refuse(in, "has spaces or characters that are not printable ASCII");
	return store_text(in);
}

static int set_listen(const struct input *in)
{
	bool enabled = strcmp(in->scalar->text, "off") != 0;
	struct endpoint listen;

	if (enabled && strchr(in->scalar->text, '%'))
		return refuse(in, "has a zone");
	if (enabled && endpoint_parse(in->scalar->text, &listen) < 0)
		return refuse(in, "is no address and port");
	if (enabled)
		memcpy(slot_of(in), &listen, sizeof(listen));
	memcpy((char *)in->base + in->key->extra, &enabled, sizeof(enabled));
	return 0;
}

static int append_text(const struct input *in)
{
	struct conf_strings *list = slot_of(in);
	char *copy = strdup(in->scalar->text);

	if (!copy)
		return conf_fail_memory(in->diag, in->scalar->at);
	list->marks[list->count] = in->scalar->at;
	list->items[list->count++] = copy;
	return 0;
}

static int add_string(const struct input *in)
{
	if (!is_printable_word(in->scalar->text))
		return refuse(in, "has spaces or characters that are not printable ASCII");
	return append_text(in);
}

static int add_url_path(const struct input *in)
{
	int err = check_url_path(in, in->key->item_max);

	if (!err && in->scalar->text[in->scalar->length - 1] != '/')
		return refuse_for(in, "does not end with a slash", "a path such as /debug/pprof/");
	return err ? err : append_text(in);
}

/* A slash at its end says nothing: a prefix is of whole segments. */
static int add_path_prefix(const struct input *in)
{
	const struct conf_strings *list = slot_of(in);
	const char *text = in->scalar->text, *expected = "a path such as /debug/pprof, decoded";
	size_t length = in->scalar->length;
	auto_free char *plain = NULL;
	struct conf_scalar scalar = *in->scalar;
	struct input stripped = *in;
	const char *wrong;

	if (length > (size_t)in->key->item_max)
		return refuse_for(in, "is too long", "at most 255 bytes");
	if (length > 1 && text[length - 1] == '/')
		length--;
	plain = strndup(text, length);
	if (!plain)
		return conf_fail_memory(in->diag, in->scalar->at);
	wrong = conf_filter_blame_path(plain, length);
	if (wrong)
		return refuse_for(in, wrong, expected);
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i], plain) == 0)
			return refuse_for(in, "is there twice", "each only once");
	}
	scalar.text = plain;
	stripped.scalar = &scalar;
	return append_text(&stripped);
}

static int add_text(const struct input *in)
{
	int err = check_text(in, in->key->item_max);

	return err ? err : append_text(in);
}

static int add_header(const struct input *in)
{
	const struct conf_strings *list = slot_of(in);
	const char *wrong = conf_alert_blame_header(in->scalar->text, list);

	return wrong ? refuse_for(in, wrong, CONF_HEADER_EXPECTED) : append_text(in);
}

static int add_port(const struct input *in)
{
	struct conf_ports *list = slot_of(in);
	const char *expected = "a port in 1..65535, without quotes";
	uint64_t port;
	int err;

	if (!in->scalar->plain)
		return refuse_for(in, "is quoted text", expected);
	err = conf_parse_number(in->scalar->text, UINT16_MAX, &port);
	if (!err && port == 0)
		err = -ERANGE;
	if (err)
		return refuse_for(in, blame_digits(in->scalar->text, err, "is no port"), expected);
	list->items[list->count++] = (uint16_t)port;
	return 0;
}

static int add_prefix(const struct input *in)
{
	struct conf_prefixes *list = slot_of(in);
	const char *text = in->scalar->text;
	char shown[CONF_QUOTE_LEN], hint[PREFIX_TEXT_LEN];
	struct prefix prefix;

	if (strchr(text, '%'))
		return refuse_for(in, "has a zone", "an address or prefix without one");
	switch (prefix_parse(text, &prefix)) {
	case PREFIX_OK: list->items[list->count++] = prefix; return 0;
	case PREFIX_BAD_LENGTH:
		return refuse_for(in, "has a wrong prefix length", "/0../32, or /0../128 for IPv6");
	case PREFIX_HOST_BITS:
		return conf_fail(in->diag, in->scalar->at,
		                 "%s: %s: host bits are set; did you mean %s?", in->key->path,
		                 conf_quote(text, in->scalar->length, shown),
		                 prefix_format(&prefix, hint));
	case PREFIX_BAD_ADDRESS:
	default:
		return refuse_for(in, "is no address",
		                  "an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/8");
	}
}

/* A typing error of an address must not become a name: 10.0.0.300, 10.0.9.l, 10.0.0.0-8. */
static bool looks_like_address(const char *text)
{
	const char *last = strrchr(text, '.');
	unsigned numeric = 0, labels = 1;

	if (strpbrk(text, ":/%"))
		return true;
	for (const char *label = text; *label; label += strcspn(label, ".")) {
		label += *label == '.';
		numeric += strspn(label, "0123456789") == strcspn(label, ".");
	}
	for (const char *p = text; *p; p++)
		labels += *p == '.';
	last = last ? last + 1 : text;
	return (*last >= '0' && *last <= '9') || (labels == 4 && numeric >= 3);
}

/* RFC 1035, 2.3.1 and RFC 1123, 2.1, and the underscore that some zones have. */
static bool is_dns_name(const char *text)
{
	enum { NAME_MAX_LEN = 253, LABEL_MAX_LEN = 63 };
	size_t length;

	if (strlen(text) > NAME_MAX_LEN || !strchr(text, '.'))
		return false;
	for (const char *label = text; *label; label += length + 1) {
		length = strcspn(label, ".");
		if (length == 0 || length > LABEL_MAX_LEN || label[0] == '-' ||
		    label[length - 1] == '-' || strspn(label, LETTERS_AND_DIGITS "_-") != length)
			return false;
		if (label[length] == '\0')
			break;
	}
	return true;
}

static int append_source(const struct input *in, struct conf_strings *list, const char *text)
{
	char *copy;

	for (size_t i = 0; i < list->count; i++) {
		if (strcasecmp(list->items[i], text) == 0)
			return refuse_for(in, "is there twice", "each only once");
	}
	if (list->count == CONF_MAX_SOURCES)
		return refuse_for(in, "is one too many", "at most 64 files and 64 names");
	copy = strdup(text);
	if (!copy)
		return conf_fail_memory(in->diag, in->scalar->at);
	list->marks[list->count] = in->scalar->at;
	list->items[list->count++] = copy;
	return 0;
}

static int add_source(const struct input *in)
{
	struct conf_sources *sources = (void *)((char *)in->base + in->key->extra);
	const char *text = in->scalar->text;

	if (text[0] == '@') {
		if (text[1] != '/' || in->scalar->length > 1024 ||
		    text[in->scalar->length - 1] == '/' ||
		    !conf_text_is_clean(text, in->scalar->length))
			return refuse_for(in, "is no file",
			                  "@ and an absolute path, such as "
			                  "@/etc/pprofwall/scrapers.txt");
		return append_source(in, &sources->files, text + 1);
	}
	if (looks_like_address(text))
		return add_prefix(in);
	if (!is_dns_name(text))
		return refuse_for(in, "is no address",
		                  "an address, a prefix such as 10.0.0.0/8, @/path of a file, or a "
		                  "DNS name with a dot");
	return append_source(in, &sources->names, text);
}

static bool is_null(const struct conf_scalar *scalar)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

	for (size_t i = 0; scalar->plain && i < ARRAY_LEN(nulls); i++) {
		if (strcmp(scalar->text, nulls[i]) == 0)
			return true;
	}
	return false;
}

int conf_value_set(const struct conf_key *key, void *base, const struct conf_scalar *scalar,
                   const struct conf_diag *diag)
{
	static int (*const setters[])(const struct input *in) = {
	    [CONF_TYPE_BOOL] = set_bool,         [CONF_TYPE_NUMBER] = set_number,
	    [CONF_TYPE_BITS] = set_bits,         [CONF_TYPE_DURATION] = set_duration,
	    [CONF_TYPE_CHOICE] = set_choice,     [CONF_TYPE_NAME] = set_name,
	    [CONF_TYPE_ACCOUNT] = set_account,   [CONF_TYPE_PATH] = set_path,
	    [CONF_TYPE_URL] = set_url,           [CONF_TYPE_LISTEN] = set_listen,
	    [CONF_TYPE_TARGETS] = add_string,    [CONF_TYPE_PORT_LISTS] = add_string,
	    [CONF_TYPE_PORTS] = add_port,        [CONF_TYPE_PREFIXES] = add_prefix,
	    [CONF_TYPE_URL_PATH] = set_url_path, [CONF_TYPE_URL_PATHS] = add_url_path,
	    [CONF_TYPE_TEXT] = set_text,         [CONF_TYPE_TEXTS] = add_text,
	    [CONF_TYPE_SOURCES] = add_source,    [CONF_TYPE_HEADERS] = add_header,
	    [CONF_TYPE_TEMPLATE] = set_template, [CONF_TYPE_PATH_PREFIXES] = add_path_prefix,
	};
	const struct input in = {.key = key, .scalar = scalar, .diag = diag, .base = base};
	char expected[CONF_EXPECT_LEN];

	if (scalar->length == 0 || is_null(scalar))
		return conf_fail(diag, scalar->at, "%s: empty%s; expected %s", key->path,
		                 conf_type_is_list(key->type) ? " item" : "",
		                 conf_key_expects(key, expected));
	/* So that strcmp() and the like see the whole value. */
	if (strlen(scalar->text) != scalar->length)
		return refuse(&in, "has a NUL character");
	/* sections and records have none, and no scalar either: the reader sees to that */
	return setters[key->type] ? setters[key->type](&in) : refuse(&in, "is a scalar");
}
