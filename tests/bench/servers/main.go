// SPDX-License-Identifier: GPL-2.0-or-later

// The servers of the bench, all in one process: reads "KIND ADDRESS:PORT" lines from standard
// input, listens on each, and says "ready" when all do; on SIGUSR1 "asked N", the requests since
// the last time. Kinds: pprof (net/http/pprof), clear (Go's own 404), page (200 with the same page
// for every path), other (a 404 that is not Go's).
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
)

var asked atomic.Int64

func counted(next http.Handler) *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		next.ServeHTTP(w, r)
	})}
}

func exposed() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func page(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintln(w, "<!doctype html><title>Dashboard</title><p>Sign in to go on.")
	})
}

func main() {
	kinds := map[string]*http.Server{
		"pprof": counted(exposed()),
		"clear": counted(http.NewServeMux()),
		"page":  counted(page(http.StatusOK)),
		"other": counted(page(http.StatusNotFound)),
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		kind, address, _ := strings.Cut(lines.Text(), " ")
		server := kinds[kind]
		if server == nil {
			log.Fatalf("no such kind: %q", kind)
		}
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(server.Serve(listener)) }()
	}
	fmt.Println("ready")
	for range signals {
		fmt.Println("asked", asked.Swap(0))
	}
}
