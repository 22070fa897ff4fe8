/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanner/input_formats.h"

#include "common/cleanup.h"

#include <stdarg.h>
#include <string.h>

#include <setjmp.h>
#include <stddef.h>

#include <cmocka.h>

AUTO_CLEANUP(input, struct input *, input_free)
#define auto_input __attribute__((cleanup(cleanup_input)))

enum { SAID_MAX = 65536 };

/*
 * Everything that the bytes are, one thing a line: targets as they are; others as
 * "bad 3:7 reason". The bytes come in pieces of `piece`, each in memory of its own, so that reading
 * beyond one, or in one that is gone, is seen by the sanitizers.
 */
static char *read_in_pieces(enum input_format format, const char *bytes, size_t length,
                            size_t piece)
{
	static const char *const names[] = {
	    [INPUT_BAD] = "bad", [INPUT_BROKEN] = "broken", [INPUT_TRUNCATED] = "truncated"};
	auto_input struct input *in = input_new(format);
	char *said = calloc(1, SAID_MAX), *at = said;
	char *chunk = NULL;
	size_t fed = 0;

	assert_non_null(in);
	assert_non_null(said);
	for (;;) {
		struct input_item item;
		char why[INPUT_ERROR_LEN];
		enum input_result result = input_next(in, &item, why);
		size_t n = length - fed < piece ? length - fed : piece;

		if (result == INPUT_MORE) {
			free(chunk);
			chunk = malloc(n + !n);
			assert_non_null(chunk);
			memcpy(chunk, bytes + fed, n);
			fed += n;
			input_feed(in, chunk, n);
			continue;
		}
		if (result == INPUT_END)
			break;
		if (result == INPUT_TARGET)
			at += snprintf(at, (size_t)(said + SAID_MAX - at), "%s\n", item.text);
		else
			at += snprintf(at, (size_t)(said + SAID_MAX - at), "%s %lu:%lu %s\n",
			               names[result], item.line, item.column, why);
		assert_true(at < said + SAID_MAX);
		if (result == INPUT_BROKEN || result == INPUT_TRUNCATED)
			break;
	}
	free(chunk);
	return said;
}

static void expect_bytes(enum input_format format, const char *bytes, size_t length,
                         const char *wanted)
{
	static const size_t pieces[] = {1, 2, 7, 64, 65, 1 << 20};

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		auto_free char *said = read_in_pieces(format, bytes, length, pieces[i]);

		assert_string_equal(said, wanted);
	}
}

static void expect(enum input_format format, const char *text, const char *wanted)
{
	expect_bytes(format, text, strlen(text), wanted);
}

static void test_names(void **state)
{
	enum input_format format;

	(void)state;
	for (int i = INPUT_AUTO; i <= INPUT_NAABU_JSON; i++) {
		assert_true(input_format_parse(input_format_name((enum input_format)i), &format));
		assert_int_equal(format, i);
	}
	assert_false(input_format_parse("nmap", &format));
	assert_false(input_format_parse("", &format));
}

static void test_lines(void **state)
{
	char longest[4096];

	(void)state;
	expect(INPUT_AUTO, "", "");
	expect(INPUT_AUTO, "\n\n# all of it\n", "");
	expect(INPUT_AUTO, "10.0.0.1 \r\n\t a:80 team=x # why\n[::1]:80\nlast",
	       "10.0.0.1\na:80 team=x\n[::1]:80\nlast\n");
	expect(INPUT_AUTO, "a#b\n", "a#b\n");
	expect(INPUT_AUTO, "# Nmap\n[::1]\nopen\n", "[::1]\nopen\n");
	expect(INPUT_AUTO, "#mass\nopen tcp\n", "open tcp\n");
	expect_bytes(INPUT_LINES, "a\nb\0c\nd", 7, "a\nbad 2:0 a NUL byte\nd\n");
	memset(longest, 'x', sizeof(longest));
	memcpy(longest + 3000, "\nb\nc", 5);
	expect(INPUT_LINES, longest, "bad 1:0 the line is too long\nb\nc\n");
}

/* ---- what other scanners write: after Nmap 7.93 and Masscan 1.3.2 (Debian 12) ---- */

#define XML_HEAD                                                                                   \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                             \
	"<!DOCTYPE nmaprun>\n"                                                                     \
	"<?xml-stylesheet href=\"file:///usr/bin/../share/nmap/nmap.xsl\" type=\"text/xsl\"?>\n"   \
	"<!-- Nmap 7.93 scan initiated -->\n"                                                      \
	"<nmaprun scanner=\"nmap\" version=\"7.93\">\n"
#define XML_HOST                                                                                   \
	"<host starttime=\"1\"><status state=\"up\" reason=\"user-set\"/>\n"                       \
	"<address addr=\"10.67.0.2\" addrtype=\"ipv4\"/>\n"                                        \
	"<address addr=\"AA:79:1A:9D:76:8B\" addrtype=\"mac\"/>\n"                                 \
	"<hostnames><hostname name=\"a.example\" type=\"PTR\"/></hostnames>\n"                     \
	"<ports><extraports state=\"closed\" count=\"9\"/>\n"                                      \
	"<port protocol=\"tcp\" portid=\"6060\"><state state=\"open\"/>"                           \
	"<script id=\"banner\" output=\"&lt;a&amp;b&gt;&#xa;\"/></port>\n"                         \
	"<port protocol=\"tcp\" portid=\"9100\"><state state=\"closed\"/></port>\n"                \
	"<port protocol=\"udp\" portid=\"53\"><state state=\"open\"/></port>\n"                    \
	"<port protocol=\"tcp\" portid=\"81\"><state state=\"open|filtered\"/></port>\n"           \
	"<port protocol=\"tcp\" portid=\"8080\"><state state=\"open\"/></port>\n"                  \
	"</ports></host>\n"

static void test_nmap_xml(void **state)
{
	(void)state;
	expect(INPUT_AUTO,
	       XML_HEAD
	       "<hosthint><address addr=\"10.9.9.9\" addrtype=\"ipv4\"/></hosthint>\n" XML_HOST
	       "<host><address addr=\"fd66::1\" addrtype=\"ipv6\"/><ports><port "
	       "protocol=\"tcp\" portid=\"1\"><state state=\"open\"/></port></ports></host>"
	       "<runstats><finished exit=\"success\"/></runstats>\n</nmaprun>\n",
	       "10.67.0.2:6060\n10.67.0.2:8080\n[fd66::1]:1\n");
	expect(INPUT_AUTO,
	       "<?xml version=\"1.0\"?>\n<!-- masscan v1.0 scan -->\n"
	       "<nmaprun scanner=\"masscan\" version=\"1.0-BETA\"  xmloutputversion=\"1.03\">\n"
	       "<host endtime=\"1795398369\"><address addr=\"10.67.0.2\" addrtype=\"ipv4\"/><ports>"
	       "<port protocol=\"tcp\" portid=\"9100\"><state state=\"open\" reason=\"syn-ack\" "
	       "reason_ttl=\"64\"/></port></ports></host>\n</nmaprun>\n",
	       "10.67.0.2:9100\n");
}

static void test_damaged_xml(void **state)
{
	static const char whole[] = XML_HEAD XML_HOST "</nmaprun>\n";
	const size_t before = sizeof(XML_HEAD XML_HOST) - 1;

	(void)state;
	/* Wherever it ends, whatever was whole before is given. */
	expect_bytes(INPUT_NMAP_XML, whole, before,
	             "10.67.0.2:6060\n10.67.0.2:8080\n"
	             "truncated 17:1 it ends before </nmaprun>: the file is not complete\n");
	for (size_t n = 1; n < before; n++) {
		auto_free char *said = read_in_pieces(INPUT_NMAP_XML, whole, n, 50);

		assert_non_null(strstr(said, "truncated "));
		assert_null(strstr(said, "broken "));
		assert_null(strstr(said, "bad "));
	}
	expect(INPUT_NMAP_XML, XML_HEAD "</wrong>",
	       "broken 6:3 mismatched tag; expected XML as nmap -oX writes it\n");
	expect(INPUT_AUTO, "<html><body>", "broken 1:1 expected <nmaprun>, as nmap -oX writes\n");
	expect(INPUT_AUTO, XML_HEAD "<finished exit=\"error\"/></nmaprun>\n",
	       "truncated 1:0 the scan that it tells of ended with an error\n");
	expect(INPUT_AUTO,
	       "<nmaprun><host><address addr=\"a.example\" addrtype=\"ipv4\"/><ports>\n"
	       " <port protocol=\"tcp\" portid=\"80\"><state state=\"open\"/></port>\n"
	       "</ports></host><host><address addr=\"10.0.0.1\" addrtype=\"ipv4\"/><ports>"
	       "<port protocol=\"tcp\" portid=\"80 x=1\"><state state=\"open\"/></port>"
	       "<port protocol=\"tcp\" portid=\"81\"><state state=\"open\"/></port>"
	       "</ports></host></nmaprun>",
	       "bad 2:2 'a.example' is not an address\n"
	       "bad 3:71 '80 x=1' is no port; expected 1 to 65535\n10.0.0.1:81\n");
}

static void test_hostile_xml(void **state)
{
	auto_free char *big = calloc(1, 1 << 20);
	auto_free char *said = NULL, *deep = NULL;

	(void)state;
	expect(INPUT_AUTO,
	       "<!DOCTYPE nmaprun [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;\">]>\n"
	       "<nmaprun>&b;</nmaprun>",
	       "broken 1:19 a document type with declarations of its own, as nmap never writes\n");
	expect(INPUT_AUTO, "<!DOCTYPE nmaprun SYSTEM \"file:///etc/passwd\">\n<nmaprun/>", "");
	assert_non_null(big);
	memset(big, 'x', (1 << 20) - 1);
	memcpy(big, "<nmaprun a=\"", 12);
	said = read_in_pieces(INPUT_AUTO, big, (1 << 20) - 1, 16384);
	assert_non_null(strstr(said, "a tag of more than 262144 bytes"));
	for (size_t i = 0; i < 1 << 16; i++)
		memcpy(big + 9 + 3 * i, "<a>", 3);
	memcpy(big, "<nmaprun>", 9);
	deep = read_in_pieces(INPUT_AUTO, big, 9 + 3 * (1 << 16), 16384);
	assert_non_null(strstr(deep, "nested too deeply"));
}

#define GREP_HEAD "# Nmap 7.93 scan initiated Mon Nov 23 01:46:01 2026 as: nmap -oG x 10.0.0.1\n"
#define GREP_END                                                                                   \
	"# Nmap done at Mon Nov 23 01:46:01 2026 -- 1 IP address (1 host up) scanned in 0.17 "     \
	"seconds\n"

static void test_nmap_grep(void **state)
{
	(void)state;
	expect(INPUT_AUTO,
	       GREP_HEAD "Host: 10.66.0.1 ()\tStatus: Up\n"
	                 "Host: 10.66.0.1 (a.example)\tPorts: 9100/open/tcp//jetdirect///, "
	                 "53/open/udp//domain///, 80/open/tcp//http//Apache httpd 2.4 (a, b)/, "
	                 "81/open|filtered/tcp//x///, 8080/open/tcp//http//nginx|1.22/\tIgnored "
	                 "State: closed (995)\tOS: Linux 5.4, or 4.15\n"
	                 "Host: fd66::1 ()\tPorts: 6060/open/tcp//x11///, "
	                 "9100/closed/tcp//jetdirect///\n" GREP_END,
	       "10.66.0.1:9100\n10.66.0.1:80\n10.66.0.1:8080\n[fd66::1]:6060\n");
	expect(INPUT_AUTO,
	       "# Masscan 1.3.2 scan initiated Mon Nov 23 01:46:07 2026\n"
	       "# Ports scanned: TCP(4;80-80) UDP(0;) SCTP(0;) PROTOCOLS(0;)\n"
	       "Timestamp: 1795398367\tHost: 10.67.0.3 ()\tPorts: 8080/open/tcp//http-alt//\n"
	       "Timestamp: 1795398367\tHost: 10.67.0.2 ()\tPorts: 9100/open/tcp//unknown//\n"
	       "# Masscan done at Mon Nov 23 01:46:09 2026\n",
	       "10.67.0.3:8080\n10.67.0.2:9100\n");
	expect(INPUT_AUTO, "Host: 10.0.0.1 ()\tPorts: 1/open/tcp//x///\r\n", "10.0.0.1:1\n");
}

static void test_damaged_grep(void **state)
{
	static const char cut[] = GREP_HEAD "Host: 10.66.0.1 ()\tPorts: 9100/open/tcp//x///, 91";

	(void)state;
	expect(INPUT_AUTO, cut,
	       "10.66.0.1:9100\n"
	       "truncated 2:50 '# Nmap done' is missing: the file is not complete\n");
	expect(INPUT_NMAP_GREP,
	       "Host: x ()\tPorts: 80/open/tcp//\n"
	       "Host: 10.0.0.1 ()\tPorts: 80/open\n"
	       "Nmap scan report for 10.0.0.1\n"
	       "PORT: 80\n"
	       "Timestamp: 1\tPorts: 80/open/tcp//\n"
	       "Host: 10.0.0.1 ()\tPorts: 0/open/tcp///, 80/open/tcp//\n",
	       "bad 1:19 'x' is not an address\n"
	       "bad 2:26 expected PORT/STATE/PROTOCOL/, as nmap -oG writes\n"
	       "bad 3:1 expected 'Host: ' or a comment, as nmap -oG writes\n"
	       "bad 4:1 expected 'Host: ' or a comment, as nmap -oG writes\n"
	       "bad 5:14 ports without a 'Host: ' before them\n"
	       "bad 6:26 '0' is no port; expected 1 to 65535\n10.0.0.1:80\n");
}

static void test_masscan_json(void **state)
{
	static const char odd[] =
	    "[\n{   \"ip\": \"10.67.0.2\",   \"timestamp\": \"1795398361\", \"ports\": [ "
	    "{\"port\": 9100, "
	    "\"proto\": \"tcp\", \"status\": \"open\", \"reason\": \"syn-ack\", \"ttl\": 64} ] "
	    "}\n,\n"
	    "{   \"ip\": \"10.67.0.3\",   \"ports\": [ {\"port\": 8080, \"proto\": \"tcp\", "
	    "\"service\": "
	    "{\"name\": \"http\", \"banner\": \"}{\\\"\"} } ] },\n"
	    "{\"ip\":\"fd66::1\",\"ports\":[{\"port\":53,\"proto\":\"udp\",\"status\":\"open\"},"
	    "{\"port\":1,\"proto\":\"tcp\",\"status\":\"open\"},"
	    "{\"port\":2,\"proto\":\"tcp\",\"status\":\"open\"},"
	    "{\"port\":3,\"proto\":\"tcp\",\"status\":\"closed\"}]},\n"
	    "{finished: 1}\n]\n";

	(void)state;
	expect(INPUT_AUTO, odd, "10.67.0.2:9100\n[fd66::1]:1\n[fd66::1]:2\n");
	expect(INPUT_AUTO, "[]\n", "");
	expect(INPUT_AUTO,
	       "{\"ip\":\"10.67.0.3\",\"timestamp\":\"1\",\"port\":8080,\"proto\":\"tcp\","
	       "\"rec_type\":\"status\",\"data\":{\"status\":\"open\",\"ttl\":64}}\n"
	       "{\"ip\":\"10.67.0.3\",\"port\":8080,\"proto\":\"tcp\",\"rec_type\":\"banner\","
	       "\"data\":{\"service_name\":\"http\"}}\n",
	       "10.67.0.3:8080\n");
}

static void test_damaged_json(void **state)
{
	auto_free char *big = calloc(1, 1 << 20);
	auto_free char *said = NULL;

	(void)state;
	expect(INPUT_AUTO, "[\n{\"ip\":\"10.0.0.1\",\"port\":1},\n{\"ip\":\"10.0.",
	       "10.0.0.1:1\n"
	       "truncated 3:1 it ends within an array or object: the file is not complete\n");
	expect(INPUT_MASSCAN_JSON,
	       "{\"ip\":1}\n{\"port\":1}\n {\"ip\":\"x y\",\"port\":1}\nnull\n"
	       "{\"ip\":\"10.0.0.1\",\"port\":\"80\"}{\"ip\":\"10.0.0.1\",\"port\":65536}\n"
	       "{\"ip\":\"10.0.0.1\",\"port\":80}\n",
	       "bad 1:1 a record without \"port\" or \"ports\"\n"
	       "bad 2:1 a record without \"ip\"\n"
	       "bad 3:2 'x y' is not an address\n"
	       "bad 4:1 expected {, as masscan -oJ and naabu -json write\n"
	       "bad 5:1 the port is no number\n"
	       "bad 5:30 '65536' is no port; expected 1 to 65535\n10.0.0.1:80\n");
	said = read_in_pieces(INPUT_NAABU_JSON, "{\"ip\":\n  oops}\n", 16, 3);
	assert_non_null(strstr(said, "bad 2:"));
	assert_non_null(big);
	memset(big, ' ', (1 << 20) - 1);
	big[0] = '{';
	memcpy(big + (1 << 20) - 40, "\n{\"ip\":\"10.0.0.1\",\"port\":80}\n", 29);
	free(said);
	said = read_in_pieces(INPUT_AUTO, big, (1 << 20) - 11, 16384);
	assert_string_equal(said, "bad 1:1 an object of more than 262144 bytes\n10.0.0.1:80\n");
}

/* As its sources have it: v2's writer, and the one before 2.1.2. */
static void test_naabu_json(void **state)
{
	(void)state;
	expect(INPUT_AUTO,
	       "{\"host\":\"a.example\",\"ip\":\"10.0.0.1\",\"timestamp\":\"2026-11-23T01:46:00Z\","
	       "\"port\":80,\"protocol\":\"tcp\",\"tls\":false}\n"
	       "{\"ip\":\"10.0.0.2\",\"port\":53,\"protocol\":\"udp\",\"tls\":false}\n"
	       "{\"host\":\"b.example\",\"port\":{\"Port\":443,\"Protocol\":0,\"TLS\":true}}\n"
	       "{\"ip\":\"10.0.0.3\",\"port\":{\"Port\":53,\"Protocol\":1,\"TLS\":false}}\n"
	       "{\"host\":\"fd66::1\",\"port\":6060}\n"
	       "{\"host\":\"c.example/debug\",\"port\":6060}\n",
	       "10.0.0.1:80\nb.example:443\n[fd66::1]:6060\n"
	       "bad 6:1 'c.example/debug' is neither an address nor a name\n");
}

static void test_masscan_list(void **state)
{
	(void)state;
	expect(INPUT_AUTO,
	       "#masscan\nopen tcp 9100 10.67.0.2 1795398364\nopen tcp 8080 fd66::1 1795398364\n"
	       "open udp 53 10.67.0.2 1\nclosed tcp 81 10.67.0.2 1\n"
	       "banner tcp 6060 10.67.0.2 1795398364 ssh SSH-2.0-x, and more\n# end\n",
	       "10.67.0.2:9100\n[fd66::1]:8080\n");
	/* The address of a line that was cut off may have been another one. */
	expect(INPUT_AUTO, "#masscan\nopen tcp 9100 10.67.0.2 1\nopen tcp 80 10.67.0.1",
	       "10.67.0.2:9100\n"
	       "truncated 3:0 '# end' is missing: the file is not complete\n");
	expect(INPUT_MASSCAN_LIST, "open tcp 80\nopen tcp 0 10.0.0.1 1\nopen tcp 1 x 1\n\n",
	       "bad 1:0 expected 'open tcp PORT ADDRESS TIME', as masscan -oL writes\n"
	       "bad 2:10 '0' is no port; expected 1 to 65535\n"
	       "bad 3:10 'x' is not an address\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),        cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_nmap_xml),     cmocka_unit_test(test_damaged_xml),
	    cmocka_unit_test(test_hostile_xml),  cmocka_unit_test(test_nmap_grep),
	    cmocka_unit_test(test_damaged_grep), cmocka_unit_test(test_masscan_json),
	    cmocka_unit_test(test_damaged_json), cmocka_unit_test(test_naabu_json),
	    cmocka_unit_test(test_masscan_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
