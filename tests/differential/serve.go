// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

// What stands behind the filter in a namespace: http.DefaultServeMux with net/http/pprof and expvar;
// all else is answered with what was seen. Says "listening" when it does, and
// "profile PORT METHOD URI" for each profile that it serves.
func serve(addresses string) {
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(answer)}
	for _, address := range strings.Split(addresses, ",") {
		listener, err := net.Listen("tcp", address)
		fatal(err)
		go func() { fatal(server.Serve(listener)) }()
	}
	fmt.Println("listening")
	select {}
}

func answer(w http.ResponseWriter, r *http.Request) {
	if routed(r, r.URL.Path) {
		_, port, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		fmt.Printf("profile %s %s %q\n", port, r.Method, r.URL.RequestURI())
		if strings.HasSuffix(r.URL.Path, "/profile") || strings.HasSuffix(r.URL.Path, "/trace") {
			io.WriteString(w, "it would take its time\n")
			return
		}
		http.DefaultServeMux.ServeHTTP(w, r)
		return
	}
	text := look(r).text()
	w.Header().Set("X-Seen", digest(text))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.Write(text)
}

// What is the same directly and behind the filter.
func (s seen) text() []byte {
	s.Header = endToEnd(s.Header)
	s.Profiles = nil
	text, err := json.Marshal(s)
	fatal(err)
	return append(text, '\n')
}

func digest(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text)) }
