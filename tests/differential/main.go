// SPDX-License-Identifier: GPL-2.0-or-later

// A differential fuzzer: a client's bytes go to a net/http server as they stand, and as the filter
// would pass them on. The server must serve no profile behind the filter, and all else as it does
// directly. A case that breaks this is written to standard output, and the exit status is 1.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"time"
)

var (
	program  = flag.String("driver", "", "the program that says what the filter does: driver/filter_driver.c")
	known    = flag.String("signatures", "../../conf/signatures.yaml", "what is denied by default")
	seed     = flag.Int64("seed", 1, "where chance begins; batch N of a run has seed SEED+N")
	duration = flag.Duration("for", 10*time.Second, "how long to run")
	replay   = flag.String("replay", "", "only run this corpus")
	start    = flag.String("start", "", "begin with this corpus")
	grow     = flag.String("grow", "", "begin with this corpus, and write it anew with what behaves otherwise")
	serving  = flag.String("serve", "", "be the server, on these addresses, comma-separated")
	network  = flag.String("network", "", "speak to the filter that stands before a server at this address")
	limit    = flag.Int("limit", 400, "so many cases, the smallest, are kept: half with a request that is passed on, half without")
)

const batch = 256

type fuzzer struct {
	driver *driver
	server *memoryServer
	tally  *tally
	known  map[string]testCase // by signature
	pool   []testCase
	broken map[string]bool
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "differential:", err)
		os.Exit(2)
	}
}

func (f *fuzzer) run(cases []testCase) {
	results, err := f.driver.run(cases)
	fatal(err)
	for i, c := range cases {
		wrong, signature := check(f.server, c, results[i], f.tally)
		if wrong != "" && !f.broken[signature] {
			f.broken[signature] = true
			fmt.Printf("BROKEN policy %d, step %d, %q:\n  %s\n", c.policy, c.step, c.stream, wrong)
		}
		signature = fmt.Sprintf("%d %s", c.policy, signature)
		old, found := f.known[signature]
		if !found {
			f.pool = append(f.pool, c)
		}
		if !found || len(c.stream) < len(old.stream) {
			f.known[signature] = c
		}
	}
}

func (f *fuzzer) generate(g *generator) []testCase {
	cases := make([]testCase, batch)
	for i := range cases {
		c := testCase{policy: byte(g.Intn(2)), step: byte([]int{0, 0, 1, 7, g.Intn(256)}[g.Intn(5)])}
		if len(f.pool) > 0 && g.oneIn(2) {
			base := f.pool[g.Intn(len(f.pool))]
			c.policy, c.stream = base.policy, g.mutate(base.stream, f.pool[g.Intn(len(f.pool))].stream)
		} else {
			c.stream = g.stream()
		}
		cases[i] = c
	}
	return cases
}

// The smallest case of every signature, made smaller where it stays what it is.
func (f *fuzzer) smallest() []entry {
	var signatures []string
	var entries []entry
	for signature := range f.known {
		signatures = append(signatures, signature)
	}
	sort.Slice(signatures, func(i, k int) bool {
		a, b := f.known[signatures[i]], f.known[signatures[k]]
		if len(a.stream) != len(b.stream) {
			return len(a.stream) < len(b.stream)
		}
		return string(a.stream) < string(b.stream)
	})
	passed, other := *limit/2, *limit-*limit/2
	for _, signature := range signatures {
		left := &other
		if strings.Contains(signature, string(rune(forwarded))) {
			left = &passed
		}
		if *left == 0 {
			continue
		}
		*left--
		c := f.minimise(f.known[signature], signature)
		results, err := f.driver.run([]testCase{c})
		fatal(err)
		entries = append(entries, describe(f.server, c, results[0]))
	}
	return entries
}

func (f *fuzzer) minimise(c testCase, signature string) testCase {
	for size := len(c.stream) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(c.stream); {
			less := c
			less.stream = append(append([]byte(nil), c.stream[:at]...), c.stream[at+size:]...)
			results, err := f.driver.run([]testCase{less})
			fatal(err)
			_, now := check(f.server, less, results[0], newTally())
			if fmt.Sprintf("%d %s", less.policy, now) == signature {
				c = less
			} else {
				at += size
			}
		}
	}
	return c
}

func (f *fuzzer) report(began time.Time) {
	t := f.tally
	seconds := time.Since(began).Seconds()
	fmt.Printf("%d cases (%.0f a second), %d requests: %d passed on, %d of them served and compared, "+
		"%d denied (%d of them profiles to no model); %d behaviours\n", t.cases, float64(t.cases)/seconds,
		t.requests, t.forwarded, t.compared, t.denied, t.harmless, len(f.known))
	printCounts("refused, though Go serves it", t.strict)
	printCounts("noted", t.notes)
}

func printCounts(what string, counts map[string]uint64) {
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("  %s: %s %d\n", what, name, counts[name])
	}
}

func (f *fuzzer) replay(entries []entry) {
	changed := 0
	for i, e := range entries {
		c := testCase{e.Policy, e.Step, toBytes(e.Stream)}
		f.run([]testCase{c})
		results, err := f.driver.run([]testCase{c})
		fatal(err)
		if now := fmt.Sprint(describe(f.server, c, results[0])); *replay != "" && now != fmt.Sprint(e) {
			changed++
			fmt.Printf("CHANGED case %d, %q:\n  was %+v\n  is  %s\n", i+1, e.Stream, e, now)
		}
	}
	if changed > 0 {
		os.Exit(1)
	}
}

func main() {
	flag.Parse()
	if *serving != "" {
		serve(*serving)
	}
	d, err := startDriver(*program, *known)
	fatal(err)
	f := &fuzzer{driver: d, server: newMemoryServer(), tally: newTally(), known: map[string]testCase{},
		broken: map[string]bool{}}
	began := time.Now()
	for _, name := range []string{*replay, *start, *grow} {
		if entries, err := readCorpus(name); err == nil {
			f.replay(entries)
		} else if name != "" && (name != *grow || !os.IsNotExist(err)) {
			fatal(err)
		}
	}
	if *network != "" {
		if !f.network(*network) {
			os.Exit(1)
		}
		return
	}
	if *replay == "" {
		for n := int64(0); time.Since(began) < *duration; n++ {
			f.run(f.generate(&generator{Rand: rand.New(rand.NewSource(*seed + n))}))
		}
	}
	f.report(began)
	if *grow != "" {
		fatal(writeCorpus(*grow, f.smallest()))
	}
	if len(f.broken) > 0 {
		os.Exit(1)
	}
}
