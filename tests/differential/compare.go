// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"reflect"
	"strings"
)

// What a run has seen, for its report.
type tally struct {
	cases, requests, forwarded, denied, compared uint64
	strict                                       map[string]uint64 // refused by the filter, served by Go
	harmless                                     uint64            // denied, though no model serves a profile
	notes                                        map[string]uint64
}

func newTally() *tally {
	return &tally{strict: map[string]uint64{}, notes: map[string]uint64{}}
}

// Fields that the filter takes out: of one connection, or of those that name another path
// (docs/filter.md). The list is written down once more here, on purpose.
var dropped = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Http2-Settings": true, "Content-Length": true,
	"X-Original-Path": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "X-Original-Url": true,
	"X-Rewrite-Url": true, "X-Original-Uri": true, "X-Forwarded-Uri": true,
	"X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true,
}

func endToEnd(header http.Header) http.Header {
	named := map[string]bool{}
	for _, value := range header["Connection"] {
		for _, name := range strings.Split(value, ",") {
			named[textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t"))] = true
		}
	}
	rest := http.Header{}
	for name, values := range header {
		if !dropped[strings.ReplaceAll(name, "_", "-")] &&
			!dropped[textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))] &&
			!named[name] {
			rest[name] = values
		}
	}
	return rest
}

// The difference between what the server sees directly and behind the filter; "" for none.
func difference(direct, filtered seen) string {
	a, b := endToEnd(direct.Header), endToEnd(filtered.Header)
	if !reflect.DeepEqual(a, b) {
		return fmt.Sprintf("header %q became %q", a, b)
	}
	direct.Header, filtered.Header = nil, nil
	direct.Profiles, filtered.Profiles = nil, nil // by a header that is taken out
	if !reflect.DeepEqual(direct, filtered) {
		return fmt.Sprintf("%+v became %+v", direct, filtered)
	}
	return ""
}

// Everything that the filter promises, for one case. Returns what is broken ("" if nothing), and a
// signature by which cases that behave alike are told from new ones.
func check(server *memoryServer, c testCase, outcomes []outcome, t *tally) (string, string) {
	var signature strings.Builder
	direct := server.read(c.stream)
	t.cases++
	for i, o := range outcomes {
		var same *seen
		t.requests++
		if i < len(direct.served) {
			same = &direct.served[i]
		}
		wrong, kind := checkRequest(server, c, o, i, same, direct.refused, t)
		if i < 4 {
			fmt.Fprintf(&signature, "%c%s/%s;", o.verdict, faultName(o.fault), kind)
		}
		if wrong != "" {
			return fmt.Sprintf("request %d: %s", i, wrong), signature.String()
		}
	}
	fmt.Fprintf(&signature, "%d %s", min(len(direct.served)-len(outcomes), 2), direct.refused)
	return "", signature.String()
}

func checkRequest(server *memoryServer, c testCase, o outcome, i int, same *seen, answer string,
	t *tally,
) (wrong, kind string) {
	if same != nil {
		kind = fmt.Sprintf("%t %t", len(same.Profiles) > 0, same.Cut)
	}
	switch o.verdict {
	case denied:
		t.denied++
		if same != nil && len(same.Profiles) == 0 && c.policy == policyDeny {
			t.harmless++
		}
		return "", kind
	case refused, noHead:
		if same == nil || same.Cut {
			return "", kind
		}
		if o.verdict == noHead {
			return "a head that ends for Go and not for the filter", kind
		}
		// What is taken for no HTTP at all may be passed on as it is: it must not be HTTP.
		// (HTTP/2's preface is a request of its own for Go, and the last.)
		if faultName(o.fault) == "opaque" && i == 0 && same.Method != "PRI" {
			return "opaque for the filter, and a request for Go", kind
		}
		t.strict[faultName(o.fault)]++
		return "", kind
	}
	t.forwarded++
	behind := server.read(o.sent)
	if len(behind.served) > 1 {
		return fmt.Sprintf("one request became %d: %q", len(behind.served), o.sent), kind
	}
	if len(behind.served) == 0 {
		kind += " " + behind.refused
		if o.verdict == forwarded && same != nil {
			return fmt.Sprintf("served directly, and %q behind the filter: %q", behind.refused, o.sent), kind
		}
		return "", kind
	}
	got := behind.served[0]
	if wrong := checkPolicy(c.policy, got); wrong != "" {
		return wrong, kind
	}
	if (o.verdict == forwarded) == got.Cut {
		return fmt.Sprintf("verdict %c, and the server saw all: %t: %q", o.verdict, !got.Cut, o.sent), kind
	}
	if behind.refused != "" {
		return fmt.Sprintf("served and then %q: %q", behind.refused, o.sent), kind
	}
	if same == nil {
		return onlyBehind(c, o, answer, t), kind + " only"
	}
	if o.verdict != forwarded {
		if !same.Cut {
			t.strict[faultName(o.fault)]++
		}
		return "", kind
	}
	t.compared++
	return difference(*same, got), kind
}

func checkPolicy(policy byte, got seen) string {
	if len(got.Profiles) > 0 {
		return fmt.Sprintf("a profile is served to %s %q by %q", got.Method, got.URI, got.Profiles)
	}
	if policy == policyAllow && !isAllowed(got.Path) {
		return fmt.Sprintf("%s %q is not allowed, and served", got.Method, got.URI)
	}
	return ""
}

// Served behind the filter alone: there are two reasons that harm nobody.
func onlyBehind(c testCase, o outcome, answer string, t *tally) string {
	lower := bytes.ToLower(c.stream)
	switch {
	case answer == "" && bytes.Contains(lower, []byte("close")):
		t.notes["kept open by the filter, since \"x close\" is no list with \"close\" in it"]++
	case answer != "" && bytes.Contains(lower, []byte("trailer")):
		t.notes["refused by Go for a Trailer, which the filter takes out"]++
	default:
		return fmt.Sprintf("directly %q, and served behind the filter: %q", answer, o.sent)
	}
	return ""
}
