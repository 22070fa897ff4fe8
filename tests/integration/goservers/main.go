// SPDX-License-Identifier: GPL-2.0-or-later

// Go servers that have pprof, or look as if: one a mode. Says "listening PORT", then every request
// as "asked METHOD URI", and "mark" on SIGUSR1.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"expvar"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"runtime/metrics"
	"strings"
	"syscall"
	"time"
)

var (
	mode       = flag.String("mode", "std", "which server")
	goroutines = flag.Int("goroutines", 0, "so many wait")
	_          = flag.String("dbpass", "", "a secret on the command line")
)

// The handlers one by one, as routers other than net/http's have it; names may be left out.
func explicit(prefix string, without ...string) *http.ServeMux {
	mux := http.NewServeMux()
	handlers := map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile,
		"symbol": pprof.Symbol, "trace": pprof.Trace,
	}
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		handlers[name] = pprof.Handler(name).ServeHTTP
	}
	for _, name := range without {
		delete(handlers, name)
	}
	for name, handler := range handlers {
		name, handler := name, handler
		mux.HandleFunc(prefix+name, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != prefix+name { // no subtrees
				http.NotFound(w, r)
				return
			}
			handler(w, r)
		})
	}
	return mux
}

func std() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

func deny(status int, only string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); strings.HasPrefix(r.URL.Path, only) && (!ok || user != "root") {
			if status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
			}
			http.Error(w, http.StatusText(status), status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Like gin, whose own 404 has neither newline nor nosniff; or echo.
func notFoundLike(kind, text string, next *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := next.Handler(r); pattern != "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, text)
	})
}

func page(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		fmt.Fprint(w, text)
	}
}

const html = "text/html; charset=utf-8"

func handler() http.Handler {
	mux := http.NewServeMux()
	switch *mode {
	case "std", "tls", "h2c", "h2tls", "busy":
		return std()
	case "explicit":
		return explicit("/debug/pprof/")
	case "gin":
		return notFoundLike("text/plain", "404 page not found", explicit("/debug/pprof/", ""))
	case "echo":
		return notFoundLike("application/json", "{\"message\":\"Not Found\"}\n",
			explicit("/debug/pprof/", ""))
	case "raw-index": // answers the index on every path below
		mux.HandleFunc("/internal/prof/", pprof.Index)
		return mux
	case "strip":
		mux.Handle("/api/", http.StripPrefix("/api", std()))
		return mux
	case "pprof-prefix":
		return explicit("/pprof/")
	case "admin-prefix":
		return explicit("/admin/debug/pprof/")
	case "auth-all":
		return deny(http.StatusUnauthorized, "/", std())
	case "auth-debug":
		return deny(http.StatusUnauthorized, "/debug/", std())
	case "forbidden-debug":
		return deny(http.StatusForbidden, "/debug/", std())
	case "plain": // Go, and nothing to see
		mux.Handle("/hello", page(html, "hello"))
		return mux
	case "expvar":
		mux.Handle("/debug/vars", expvar.Handler())
		return mux
	case "trace": // as golang.org/x/net/trace begins
		mux.Handle("/debug/requests", page(html, "<html>\n\t<head>\n\t<meta charset=\"utf-8\">\n"+
			"\t<title>/debug/requests</title>\n\t<style type=\"text/css\">\n\t\ttable#tr-status td.family {\n"+
			"</style></head><body><h1>/debug/requests</h1>\n<table id=\"tr-status\">\n</table></body></html>"))
		return mux
	case "own-page": // has all the words
		mux.Handle("/debug/pprof/", page(html, "<html><head><title>Profiling our service</title></head>"+
			"<body><h1>/debug/pprof/</h1>Types of profiles available: goroutine heap. "+
			"<a href=\"http://localhost:6060/debug/pprof/goroutine?debug=2\">full goroutine stack dump</a>"))
		return mux
	case "root-index":
		return http.HandlerFunc(pprof.Index)
	case "mimic-everywhere":
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/"
			pprof.Index(w, r)
		})
	case "index-only-title":
		mux.Handle("/debug/pprof/", page(html, "<html><head><title>/debug/pprof/</title></head>moved"))
		return mux
	}
	fmt.Fprintln(os.Stderr, "no such mode:", *mode)
	os.Exit(2)
	return nil
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// How many pauses of the world there were, and the longest's upper bound in seconds.
func pauses(name string) (count uint64, longest float64) {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0, 0
	}
	h := sample[0].Value.Float64Histogram()
	for i, n := range h.Counts {
		if count += n; n > 0 {
			longest = h.Buckets[i+1]
		}
	}
	return count, longest
}

func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/test/pauses" { // the test's own
			count, longest := pauses("/sched/pauses/total/other:seconds")
			fmt.Fprintf(w, "%d %g %d", count, longest, runtime.NumGoroutine())
			return
		}
		fmt.Println("asked", r.Method, r.RequestURI)
		next.ServeHTTP(w, r)
	})
}

func main() {
	flag.Parse()
	for i := 0; i < *goroutines; i++ {
		go func() { select {} }()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	marks := make(chan os.Signal, 1)
	signal.Notify(marks, syscall.SIGUSR1)
	go func() { // everything that was asked until now has been said
		for range marks {
			fmt.Println("mark")
		}
	}()
	server := &http.Server{Handler: logged(handler())}
	if !setProtocols(server, *mode) {
		fmt.Println("unsupported")
		return
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	if *mode == "tls" || *mode == "h2tls" {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{selfSigned()}}
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	panic(err)
}
