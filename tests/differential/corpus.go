// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sort"
)

// One line of the corpus: a case, what the filter makes of it, and what Go then serves. Bytes are
// the first 256 characters of Unicode, so that the file is a text.
type entry struct {
	Policy, Step byte
	Stream       string
	Requests     []entryRequest
}

type entryRequest struct {
	Verdict, Fault string
	Sent           string `json:",omitempty"`
	Served         string `json:",omitempty"` // "METHOD URI"
}

func toText(bytes []byte) string {
	runes := make([]rune, len(bytes))
	for i, b := range bytes {
		runes[i] = rune(b)
	}
	return string(runes)
}

func toBytes(text string) []byte {
	var bytes []byte
	for _, r := range text {
		bytes = append(bytes, byte(r))
	}
	return bytes
}

func describe(server *memoryServer, c testCase, outcomes []outcome) entry {
	e := entry{Policy: c.policy, Step: c.step, Stream: toText(c.stream)}
	for _, o := range outcomes {
		r := entryRequest{Verdict: string(rune(o.verdict)), Fault: faultName(o.fault), Sent: toText(o.sent)}
		if len(o.sent) > 0 {
			if got := server.read(o.sent); len(got.served) > 0 {
				r.Served = toText([]byte(got.served[0].Method + " " + got.served[0].URI))
			} else {
				r.Served = got.refused
			}
		}
		e.Requests = append(e.Requests, r)
	}
	return e
}

func readCorpus(name string) ([]entry, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []entry
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, len(entries)+1, err)
		}
		entries = append(entries, e)
	}
	return entries, lines.Err()
}

func writeCorpus(name string, entries []entry) error {
	var lines []string
	for _, e := range entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		lines = append(lines, string(line))
	}
	sort.Strings(lines)
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	for _, line := range lines {
		fmt.Fprintln(out, line)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}
