// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What a handler was called for.
type seen struct {
	Method, URI, Host, Proto string
	Path, RawPath, Query     string
	Header                   http.Header
	Length                   int64
	Body                     string
	Cut                      bool     // the body did not come whole
	Profiles                 []string // the models that serve a profile for it
}

func look(r *http.Request) seen {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	return seen{Method: r.Method, URI: r.RequestURI, Host: r.Host, Proto: r.Proto,
		Path: r.URL.Path, RawPath: r.URL.RawPath, Query: r.URL.RawQuery, Header: r.Header,
		Length: r.ContentLength, Body: string(body), Cut: err != nil, Profiles: profiles(r)}
}

// What a server made of one connection: what it served, and its own last word, if it refused more.
type reading struct {
	served  []seen
	refused string
}

// A net/http server whose connections are in memory.
type memoryServer struct {
	connections chan net.Conn
}

func (s *memoryServer) Accept() (net.Conn, error) { return <-s.connections, nil }
func (s *memoryServer) Close() error              { return nil }
func (s *memoryServer) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

type connectionKey struct{}

func newMemoryServer() *memoryServer {
	s := &memoryServer{connections: make(chan net.Conn)}
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := r.Context().Value(connectionKey{}).(*memoryConn)
			c.served = append(c.served, look(r))
			w.Header().Set("Content-Length", "3")
			io.WriteString(w, "ok\n")
		}),
	}
	go server.Serve(s)
	return s
}

// Lets the server read these bytes, and then the end.
func (s *memoryServer) read(stream []byte) reading {
	c := &memoryConn{rest: stream, done: make(chan struct{})}
	s.connections <- c
	<-c.done
	result := reading{served: c.served}
	answers := c.answers.String()
	if i := strings.LastIndex(answers, "HTTP/1.1 "); i >= 0 {
		status, _, _ := strings.Cut(answers[i+len("HTTP/1.1 "):], "\r\n")
		if status != "200 OK" && status != "100 Continue" {
			result.refused = status
		}
	}
	return result
}

type memoryConn struct {
	mutex   sync.Mutex
	rest    []byte
	answers bytes.Buffer
	served  []seen
	done    chan struct{}
	once    sync.Once
}

func (c *memoryConn) Read(p []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *memoryConn) Write(p []byte) (int, error) { return c.answers.Write(p) }

func (c *memoryConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// The server sleeps for half a second after this, for the sake of clients on a network.
func (c *memoryConn) CloseWrite() error { return c.Close() }

func (c *memoryConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (c *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c *memoryConn) SetDeadline(time.Time) error      { return nil }
func (c *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }
