// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	_ "expvar" // registers /debug/vars
	"fmt"
	"net/http"
	_ "net/http/pprof" // registers /debug/pprof/
	"net/textproto"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// The relatives of net/http/pprof that are filtered as it is.
var relatives = []string{"/debug/requests", "/debug/events", "/debug/statsviz", "/debug/tracez"}

// A model is a way in which some server finds its handlers. It says whether that server would serve
// profiles for this request. The strict ones are those of which the filter promises to let nothing
// through; the lax ones are stranger than any server that is known.
type model struct {
	name   string
	serves func(r *http.Request) bool
}

var models = []model{
	{"net/http", func(r *http.Request) bool { return routed(r, r.URL.Path) }},
	{"StripPrefix", func(r *http.Request) bool {
		rest, found := strings.CutPrefix(r.URL.Path, "/app")
		return found && routed(r, rest)
	}},
	{"case-insensitive", func(r *http.Request) bool {
		return isProfiling(strings.ToLower(r.URL.Path))
	}},
	{"regexp", func(r *http.Request) bool { return folding.MatchString(r.URL.Path) }},
	{"upper", func(r *http.Request) bool {
		return isProfiling(strings.ToLower(strings.ToUpper(r.URL.Path)))
	}},
	{"raw path", func(r *http.Request) bool { return isProfiling(r.URL.EscapedPath()) }},
	{"request URI", func(r *http.Request) bool {
		before, _, _ := strings.Cut(r.RequestURI, "?")
		if u, err := url.PathUnescape(before); err == nil {
			before = u
		}
		return isProfiling(path.Clean("/" + before))
	}},
	{"clean", func(r *http.Request) bool { return isProfiling(path.Clean("/" + r.URL.Path)) }},
	// gorilla's PathPrefix("/debug/pprof") has no end of a segment.
	{"prefix", func(r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/debug/pprof")
	}},
	{"decoded twice", func(r *http.Request) bool {
		again, err := url.PathUnescape(r.URL.Path)
		return err == nil && isProfiling(path.Clean("/"+again))
	}},
	{"header", func(r *http.Request) bool {
		for name, values := range r.Header {
			name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
			for _, value := range values {
				if rewriting[name] && isProfiling(strings.ToLower(path.Clean(value))) {
					return true
				}
			}
		}
		return false
	}},
	{"all at once", func(r *http.Request) bool {
		where := r.URL.Path
		for i := 0; i < 3; i++ {
			if again, err := url.PathUnescape(where); err == nil {
				where = again
			}
		}
		segments := strings.Split(strings.ReplaceAll(where, "\\", "/"), "/")
		for i, segment := range segments {
			segments[i], _, _ = strings.Cut(segment, ";")
		}
		where = path.Clean(strings.ToLower(strings.ToUpper(strings.Join(segments, "/"))))
		return isProfiling("/"+where) || strings.Contains(where, "/debug/pprof/")
	}},
}

var folding = regexp.MustCompile(`(?i)^/debug/(pprof|vars|requests|events|statsviz|tracez)(/|$)`)

var rewriting = map[string]bool{"X-Original-Url": true, "X-Rewrite-Url": true, "X-Original-Uri": true,
	"X-Forwarded-Uri": true, "X-Original-Path": true, "X-Override-Url": true}

// What http.DefaultServeMux really does, but for the profile itself. A redirect is none.
func routed(r *http.Request, where string) bool {
	other := new(http.Request)
	*other = *r
	other.URL = new(url.URL)
	*other.URL = *r.URL
	if other.URL.Path != where {
		other.URL.Path, other.URL.RawPath = where, ""
	}
	handler, pattern := http.DefaultServeMux.Handler(other)
	if !strings.Contains(pattern, "/debug/") {
		return false
	}
	return !strings.HasSuffix(fmt.Sprintf("%T", handler), ".redirectHandler")
}

func isProfiling(where string) bool {
	if where == "/debug/pprof" || strings.HasPrefix(where, "/debug/pprof/") ||
		where == "/debug/vars" || strings.HasPrefix(where, "/debug/vars/") {
		return true
	}
	for _, relative := range relatives {
		if where == relative || strings.HasPrefix(where, relative+"/") {
			return true
		}
	}
	return false
}

// The models by which this request is served a profile.
func profiles(r *http.Request) []string {
	var found []string
	for _, m := range models {
		if m.serves(r) {
			found = append(found, m.name)
		}
	}
	return found
}

// The one thing that an allow-list of /metrics and /-/healthy leaves.
func isAllowed(where string) bool {
	return where == "/metrics" || strings.HasPrefix(where, "/metrics/") || where == "/-/healthy" ||
		strings.HasPrefix(where, "/-/healthy/")
}
