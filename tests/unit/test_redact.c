/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/cleanup.h"
#include "scanner/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define X REDACTED

/* The arguments of a command line, and what is left of them; both joined by '|'. */
static void check(const char *given, const char *expected)
{
	struct redactor r = {0};
	char got[4096] = "";
	size_t used = 0;

	for (const char *p = given;;) {
		size_t length = strcspn(p, "|");
		auto_free char *clean = redact_argument(&r, p, length);

		assert_non_null(clean);
		used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%s",
		                         p == given ? "" : "|", clean);
		if (!p[length])
			break;
		p += length + 1;
	}
	if (strcmp(got, expected) != 0)
		fail_msg("\"%s\": got \"%s\", expected \"%s\"", given, got, expected);
}

static void test_flags(void **state)
{
	(void)state;
	check("app|-dbpass|hunter2|-v", "app|-dbpass|" X "|-v");
	check("app|--password|a|b", "app|--password|" X "|b");
	check("app|--db.Password=a b,c|x", "app|--db.Password=" X "|x");
	check("app|-token=abc", "app|-token=" X);
	check("app|--token:abc", "app|--token:" X);
	check("app|--auth-key|abc", "app|--auth-key|" X);
	check("app|--token=", "app|--token=");
	check("app|--token=|abc", "app|--token=|" X);
	check("app|-token|-secret|abc", "app|-token|" X "|" X);
	check("app|--dsn|postgres://u:p@h/d", "app|--dsn|" X);
	check("-secret-tool|start", "-secret-tool|start"); /* a program's name is no flag */
	check("app|--credentials-file=/x|-k", "app|--credentials-file=" X "|-k");
}

static void test_variables_and_texts(void **state)
{
	(void)state;
	check("env|AWS_SECRET_ACCESS_KEY=abc|app", "env|AWS_SECRET_ACCESS_KEY=" X "|app");
	check("env|PGPASSWORD=abc|psql", "env|PGPASSWORD=" X "|psql");
	check("app|-conn|host=h password=x dbname=d", "app|-conn|host=h password=" X);
	check("app|-H|Authorization: Bearer abc", "app|-H|Authorization:" X);
	check("app|-H|X-Api-Key: abc", "app|-H|X-Api-Key:" X);
	check("app|{\"user\":\"u\",\"password\":\"p\"}", "app|{\"user\":\"u\",\"password\":" X);
	check("app|http://h/x?a=1&token=abc&b=2", "app|http://h/x?a=1&token=" X);
	check("sh|-c|mysql -u root --password hunter2", "sh|-c|mysql -u root --password " X);
	check("sh|-c|PASS='a b' app", "sh|-c|PASS=" X);
	check("java|-Ddb.password=x|-jar|a.jar", "java|-Ddb.password=" X "|-jar|a.jar");
}

static void test_userinfo(void **state)
{
	(void)state;
	check("app|postgres://u:p@h:5432/d", "app|postgres://" X "@h:5432/d");
	check("app|--db=postgres://u:p@h/d", "app|--db=postgres://" X "@h/d");
	check("app|https://ghp_abc@github.com/x", "app|https://" X "@github.com/x");
	check("app|amqp://u:p@w/o@h/v", "app|amqp://" X "@h/v");  /* '@' and '/' unescaped */
	check("app|amqp://u:pass=w@h/v", "app|amqp://" X "@h/v"); /* a name inside a password */
	check("app|amqp://u:p w@h/v", "app|amqp://" X "@h/v");
	check("app|root:hunter2@tcp(db:3306)/x", "app|" X "@tcp(db:3306)/x");
	check("app|root:a=b@tcp(db)/x", "app|" X "@tcp(db)/x");
	check("app|--source=root:a@b@tcp(db)/x", "app|--source=" X "@tcp(db)/x");
	check("app|a:b@x,http://h", "app|" X "@x,http://h");
	check("app|http://a:1,http://u:p@h", "app|http://" X "@h");
	check("app|a:b@x http://u:p@h", "app|" X "@h");
}

static void test_what_stays(void **state)
{
	(void)state;
	check("prometheus|--config.file=data/prom.yml|--web.listen-address=127.0.0.1:9090",
	      "prometheus|--config.file=data/prom.yml|--web.listen-address=127.0.0.1:9090");
	check("app|--mail=ops@example.org|-p|4222", "app|--mail=ops@example.org|-p|4222");
	check("app||-v|", "app||-v|");
	check("app|http://127.0.0.1:2379,http://[::1]:2380",
	      "app|http://127.0.0.1:2379,http://[::1]:2380");
	check("app|@|:@|=|:|://|://@", "app|@|" X "@|=|:|://|://" X "@");
}

static void test_bytes(void **state)
{
	(void)state;
	struct redactor r = {0};
	auto_free char *one = redact_argument(&r, "a\0-token=x", 10);
	auto_free char *two = redact_argument(&r, "\xff\xfe=\x80", 4);
	auto_free char *three = redact_argument(&r, "", 0);

	assert_string_equal(one, "a");
	assert_string_equal(two, "\xff\xfe=\x80");
	assert_string_equal(three, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_flags),    cmocka_unit_test(test_variables_and_texts),
	    cmocka_unit_test(test_userinfo), cmocka_unit_test(test_what_stays),
	    cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
