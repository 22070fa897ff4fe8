// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const (
	policyDeny  = 0 // what is denied by default
	policyAllow = 1 // all but /metrics and /-/healthy
)

// A client's bytes, the policy they meet, and in what pieces they come.
type testCase struct {
	policy, step byte
	stream       []byte
}

// What the filter makes of one request: see driver/filter_driver.c.
type outcome struct {
	verdict, fault byte
	keepAlive      bool
	toHead         bool
	sent           []byte
}

const (
	forwarded = 'F'
	denied    = 'D'
	refused   = 'R'
	cut       = 'C'
	unended   = 'U'
	noHead    = 'N'
)

// Of enum http_fault, in its order.
var faultNames = []string{"none", "opaque", "too_long", "line_break", "request_line", "method",
	"target", "version", "field", "host", "length", "coding", "chunk", "expect", "path"}

func faultName(fault byte) string {
	if int(fault) < len(faultNames) {
		return faultNames[fault]
	}
	return fmt.Sprintf("fault %d", fault)
}

type driver struct {
	command *exec.Cmd
	in      *bufio.Writer
	out     *bufio.Reader
}

func startDriver(program, signatures string) (*driver, error) {
	command := exec.Command(program, signatures)
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	return &driver{command, bufio.NewWriterSize(in, 1<<16), bufio.NewReaderSize(out, 1<<16)}, nil
}

// Many at once, since each time of waiting costs as much as a hundred cases.
func (d *driver) run(cases []testCase) ([][]outcome, error) {
	failed := make(chan error, 1)
	go func() {
		for _, c := range cases {
			var head [6]byte
			binary.NativeEndian.PutUint32(head[:], uint32(len(c.stream)+2))
			head[4], head[5] = c.policy, c.step
			d.in.Write(head[:])
			d.in.Write(c.stream)
		}
		failed <- d.in.Flush()
	}()
	results := make([][]outcome, len(cases))
	for i := range cases {
		var err error
		if results[i], err = d.receive(); err != nil {
			return nil, fmt.Errorf("the driver ended at %q: %w", cases[i].stream, err)
		}
	}
	return results, <-failed
}

func (d *driver) receive() ([]outcome, error) {
	var length uint32
	var results []outcome
	if err := binary.Read(d.out, binary.NativeEndian, &length); err != nil {
		return nil, err
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(d.out, rest); err != nil {
		return nil, err
	}
	for len(rest) >= 8 {
		n := binary.NativeEndian.Uint32(rest[4:])
		results = append(results, outcome{rest[0], rest[1], rest[2] != 0, rest[3] != 0, rest[8 : 8+n]})
		rest = rest[8+n:]
	}
	return results, nil
}
