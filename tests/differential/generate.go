// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"fmt"
	"math/rand"
	"strings"
)

// Makes client's bytes from a grammar of what is meant to confuse. The same seed makes the same.
type generator struct {
	*rand.Rand
	calm bool // this request is to be a valid one, more or less
}

func (g *generator) oneIn(n int) bool { return g.Intn(n) == 0 }

func (g *generator) of(choices ...string) string { return choices[g.Intn(len(choices))] }

// The first of the choices nearly always.
func (g *generator) mostly(n int, choices ...string) string {
	if g.calm || !g.oneIn(n) {
		return choices[0]
	}
	return g.of(choices[1:]...)
}

var segments = []string{"debug", "pprof", "heap", "goroutine", "cmdline", "profile", "trace", "vars",
	"requests", "events", "statsviz", "tracez", "metrics", "app", "api", "v1", "-", "healthy", "",
	".", "..", "x", "...", "var\xc5\xbf", "reque\xc5\xbfts", "d\xc3\xa9bug", "_debug"}

var wholePaths = []string{"/debug/pprof/", "/debug/pprof", "/debug/pprof/heap", "/debug/pprof/cmdline",
	"/debug/vars", "/debug/requests", "/debug/events", "/debug/statsviz/", "/debug/tracez", "/metrics",
	"/metrics", "/", "/app/debug/pprof/", "/app/debug/vars", "/-/healthy", "/api/v1/query",
	"/metrics/debug/pprof/", "/x/../debug/pprof/", "/debug//pprof/", "//debug/pprof/",
	"/debug/pprof%2fheap", "/debug\\pprof/", "/debug/./pprof/", "/debug;x/pprof;y/", "/debug/pprofheap"}

func (g *generator) encode(c byte) string {
	switch g.Intn(9) {
	case 0, 1:
		return fmt.Sprintf("%%%02x", c)
	case 2, 3:
		return fmt.Sprintf("%%%02X", c)
	case 4:
		return fmt.Sprintf("%%25%02x", c)
	case 5:
		return fmt.Sprintf("%%%%3%x%%3%x", c>>4, c&15)
	case 6:
		return fmt.Sprintf("%%u00%02x", c)
	case 7: // overlong
		return fmt.Sprintf("%%%02x%%%02x", 0xc0|c>>6, 0x80|c&0x3f)
	default:
		return fmt.Sprintf("%%%x", c)
	}
}

func (g *generator) path() string {
	var path string
	if g.calm && !g.oneIn(3) {
		return g.of("/metrics", "/-/healthy", "/api/v1/query", "/", "/debug", "/a/b;c=d/e", "/%41/b%20c", "/metrics/")
	}
	if g.oneIn(2) {
		path = g.of(wholePaths...)
	} else {
		for n := 1 + g.Intn(5); n > 0; n-- {
			path += g.mostly(12, "/", "\\", "//", "/./", "/../", ";/", "%2f", "%5c") + g.of(segments...)
		}
		path += g.of("", "", "/", "/.", "/..", ";", "%20", "%00", ".json", "%0a", "#", "+")
	}
	var b strings.Builder
	quirks := g.Intn(4) // none, few, some, many
	if g.calm {
		quirks = 0
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c >= 0x80:
			fmt.Fprintf(&b, "%%%02X", c)
		case quirks == 0 || g.Intn(24) >= quirks*quirks:
			b.WriteByte(c)
		case g.oneIn(3) && c >= 'a' && c <= 'z':
			b.WriteByte(c - 'a' + 'A')
		case g.oneIn(8):
			b.WriteString(g.of(";", ";a=b", "%09", "%20", "%3b", "%c5%bf", "\\", "%7f", "\x80", "*"))
			b.WriteByte(c)
		default:
			b.WriteString(g.encode(c))
		}
	}
	return b.String()
}

func (g *generator) target() string {
	path := g.path()
	kind := g.Intn(24)
	if g.calm {
		kind = 24
	}
	switch kind {
	case 0:
		return g.of("http://", "HTTP://", "//", "https://", "x:", "http:") + g.of("a", "a:80", "a@b", "") + path
	case 1:
		return g.of("*", "", "a:80", "?"+path, "#", "."+path, "\\"+path)
	}
	if g.oneIn(4) {
		path += "?" + g.of("", "a=b", "match[]={__name__=~\"x.*\"}", "a=%zz", "/debug/pprof", "a=b?c", "a;b", "a#b",
			"a=\x80", "a= b", "seconds=1&debug=2")
	}
	return path
}

func (g *generator) requestLine() string {
	method := g.mostly(4, g.of("GET", "GET", "POST", "HEAD", "PUT"), "POST", "HEAD", "PUT", "get", "OPTIONS", "TRACE", "CONNECT", "PRI", "G\x80T",
		"", "M-SEARCH", "G\tET", "DELETE", "connect", " GET", "GET\x00")
	version := g.mostly(10, g.mostly(8, "HTTP/1.1", "HTTP/1.0"), "HTTP/1.0", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.2", "HTTP/01.1",
		"HTTP/1.1 ", "HTTP/0.9", "", "HTTP/1.10", "HTTP/1", "HTTP/1.1\t", "HTTP/3")
	space := func() string { return g.mostly(40, " ", "  ", "\t", "", "\v", "\xa0", " \t") }
	line := method + space() + g.target()
	if version == "" && g.oneIn(2) {
		return line
	}
	return line + space() + version
}

func (g *generator) end() string {
	return g.mostly(60, "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n ", "\x00\r\n")
}

// Adds the colon, and what may go wrong around it.
func (g *generator) field(name, value string) string {
	kind := g.Intn(40)
	if g.calm && kind > 1 {
		kind = 40
	}
	switch kind {
	case 0:
		name = strings.ToUpper(name)
	case 1:
		name = strings.ToLower(name)
	case 2:
		name = strings.ReplaceAll(name, "-", "_")
	case 3:
		name = g.of(" "+name, name+" ", name+"\t", "\t"+name, name+"\x00", "\xef\xbb\xbf"+name, "X:"+name)
	case 4:
		value = g.of(value+" ", " "+value, "\t"+value, value+"\t", "\v"+value, value+"\x00", value+",", "\""+value+"\"",
			value+"\r\n x", value+";x", value+"\x80", "\x85"+value)
	}
	return name + ":" + g.mostly(30, " ", "", "  ", "\t", "\r\n ") + value + g.end()
}

func (g *generator) fields() string {
	var b strings.Builder
	n := g.Intn(4)
	if g.oneIn(300) {
		n = 90 + g.Intn(20)
	}
	if g.oneIn(300) {
		b.WriteString(g.field("X-Long", strings.Repeat("x", 7000+g.Intn(3000))))
	}
	for ; n > 0; n-- {
		b.WriteString(g.field(g.of("Accept", "User-Agent", "X-A", "Cookie", "Accept-Encoding", "X-A", "Range",
			"Authorization", "If-None-Match"), g.of("*/*", "a=b", "gzip", "x, y", "", "bytes=0-1", "\"q\"", "a:b")))
	}
	if g.oneIn(6) {
		b.WriteString(g.field(g.of("X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "X-Forwarded-Uri",
			"X-HTTP-Method-Override", "X-Forwarded-Prefix", "X-Original-Path", "Forwarded"), g.path()))
	}
	if g.oneIn(5) {
		b.WriteString(g.field("Connection", g.of("close", "keep-alive", "Keep-Alive", "Close", "Host", "Content-Length",
			"Transfer-Encoding", "X-A", "close, X-A", "Upgrade", "upgrade, HTTP2-Settings", ",,close", "Cookie", "keep-alive, close",
			"Expect")))
	}
	if g.oneIn(12) {
		b.WriteString(g.field(g.of("Upgrade", "TE", "Trailer", "Keep-Alive", "HTTP2-Settings", "Proxy-Connection"),
			g.of("websocket", "h2c", "trailers", "Host", "timeout=5", "AAMAAABkAAQAAP__", "Content-Length")))
	}
	if g.oneIn(12) {
		b.WriteString(g.field("Expect", g.of("100-continue", "100-Continue", "200-ok", "", "100-continue, x")))
	}
	return b.String()
}

// A framing that may be right, and the body that goes with it, or with another.
func (g *generator) framed() (fields, body string) {
	content := g.of("", "a", "hello world", "GET /debug/pprof/ HTTP/1.1\r\nHost: a\r\n\r\n", "0\r\n\r\n", strings.Repeat("x", g.Intn(300)))
	chunked := g.chunks(content)
	length := fmt.Sprint(len(content))
	kind := g.Intn(16)
	if g.calm && kind >= 8 {
		return "", ""
	}
	switch kind {
	case 0, 1, 2, 3:
		return g.field("Content-Length", length), content
	case 4, 5, 6, 7:
		return g.field("Transfer-Encoding", "chunked"), chunked
	case 8:
		return g.field("Content-Length", length) + g.field("Transfer-Encoding", "chunked"), g.of(content, chunked)
	case 9:
		return g.field("Transfer-Encoding", "chunked") + g.field("Content-Length", length), g.of(content, chunked)
	case 10:
		return g.field("Transfer-Encoding", g.of("Chunked", "xchunked", "chunked, identity", "identity", "gzip, chunked",
			"chunked,chunked", " chunked", "chunked;x", "\"chunked\"", "chunked\x00", "\vchunked", "", "identity,chunked",
			"chun\r\n ked")), g.of(content, chunked)
	case 11:
		return g.field("Transfer-Encoding", "chunked") + g.field("Transfer-Encoding", g.of("chunked", "x", "identity", "")),
			g.of(content, chunked)
	case 12:
		return g.field("Content-Length", g.of("+"+length, "-1", "0x1", "0"+length, length+","+length, length+" "+length, "",
			" ", "1e1", "18446744073709551616", "9223372036854775807", length+".0", "000000000000000000000"+length)), content
	case 13:
		return g.field("Content-Length", length) + g.field("Content-Length", g.of(length, "0", "1")), content
	default:
		return "", g.of("", "", content)
	}
}

func (g *generator) chunks(content string) string {
	var b strings.Builder
	for len(content) > 0 {
		n := 1 + g.Intn(len(content))
		size := g.mostly(30, fmt.Sprintf("%x", n), fmt.Sprintf("%X", n), fmt.Sprintf("0%x", n), fmt.Sprintf("+%x", n),
			fmt.Sprintf("0x%x", n), fmt.Sprintf("%x ", n), fmt.Sprintf(" %x", n), fmt.Sprintf("10000000000000%04x", n),
			fmt.Sprintf("%020x", n), "", fmt.Sprintf("%x", n+1))
		b.WriteString(size + g.mostly(30, "", ";", ";a=b", " ;a", ";a=\"\r\n\"", ";\n", "\t") + g.end())
		b.WriteString(content[:n] + g.end())
		content = content[n:]
	}
	b.WriteString(g.mostly(20, "0", "00", "0;x", "", "-0") + g.end())
	if !g.calm && g.oneIn(10) {
		b.WriteString(g.field(g.of("X-T", "Content-Length", "Host", "Transfer-Encoding"), g.of("a", "1", "chunked")))
	}
	return b.String() + g.end()
}

func (g *generator) request() string {
	g.calm = g.oneIn(2)
	head := g.requestLine() + g.end()
	framing, body := g.framed()
	host := g.mostly(12, "Host: a\r\n", "", "Host: a\r\nHost: b\r\n", "Host:\r\n", "Host: a b\r\n", "Host: a/debug/pprof\r\n",
		"host: [::1]:80\r\n", "Host : a\r\n", "Host: a,b\r\n", "Host: a%2fb\r\n", "Host: a@b\r\n", "Host: a?b\r\n")
	parts := []string{host, g.fields(), framing}
	g.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	head += strings.Join(parts, "")
	return head + g.end() + body
}

func (g *generator) stream() []byte {
	var b strings.Builder
	b.WriteString(g.mostly(60, "", "\r\n", "\n", " ", "\r", "\x16\x03\x01\x00\x05", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00",
		"\x16\x03\r\n", "PRI /debug/pprof/ HTTP/1.1\r\n"))
	for n := 1 + g.Intn(3); n > 0; n-- {
		b.WriteString(g.request())
	}
	return []byte(b.String())
}

var dictionary = []string{"\r\n", "\n", "\r", "\x00", " ", "\t", ":", "/", "\\", "%", "%2f", "%2e", "..", "/debug/pprof/", "GET ",
	"HTTP/1.1", "HTTP/1.0", "Host: a", "Content-Length: ", "Transfer-Encoding: chunked\r\n", "chunked", "0\r\n\r\n", "\r\n\r\n", ";", ",",
	"Connection: close\r\n", "\x80", "\xff", "?", "#", "*", "http://a"}

// A few changes, anywhere; `other` is something to cross with.
func (g *generator) mutate(stream, other []byte) []byte {
	out := append([]byte(nil), stream...)
	for n := 1 + g.Intn(3); n > 0; n-- {
		at := g.Intn(len(out) + 1)
		to := min(at+1+g.Intn(8), len(out))
		switch g.Intn(8) {
		case 0:
			if at < len(out) {
				out[at] ^= 1 << g.Intn(8)
			}
		case 1:
			if at < len(out) {
				out[at] = byte(g.Intn(256))
			}
		case 2:
			out = append(out[:at:at], out[to:]...)
		case 3:
			out = append(append(out[:at:at], out[at:to]...), out[at:]...)
		case 4, 5:
			out = append(append(out[:at:at], g.of(dictionary...)...), out[at:]...)
		case 6:
			if len(other) > 0 {
				from := g.Intn(len(other))
				out = append(out[:at:at], other[from:]...)
			}
		case 7:
			out = append(append(out[:at:at], g.request()...), out[at:]...)
		}
	}
	return out[:min(len(out), 16384)]
}
