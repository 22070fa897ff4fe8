// SPDX-License-Identifier: GPL-2.0-or-later

// An exporter with a page for local clients alone, which decides as golang.org/x/net/trace does.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
)

// trace.AuthRequest's rule: by the address that the connection is from.
func isLocal(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	switch host {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}

func main() {
	http.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "# seen from %s\nup 1\n", host)
	})
	http.HandleFunc("/debug/requests", func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			http.Error(w, "not allowed", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, "who asked for what")
	})
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
