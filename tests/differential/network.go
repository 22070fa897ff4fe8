// SPDX-License-Identifier: GPL-2.0-or-later

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// The same cases for the process itself. What it does has to be what the driver says: each answer is
// the server's own (serve.go) to what is passed on, or a refusal; and the connection ends.
type expected struct {
	method string
	status int
	seen   string // digest; "" for a refusal
}

// The answers that a client has to get, and whether more or an early end may follow.
func expectedOf(server *memoryServer, outcomes []outcome) (answers []expected, open bool) {
	for _, o := range outcomes {
		method := ""
		if o.toHead {
			method = "HEAD"
		}
		switch o.verdict {
		case denied:
			answers = append(answers, expected{method: method, status: http.StatusForbidden})
		case refused:
			if faultName(o.fault) == "opaque" {
				return answers, false
			}
			answers = append(answers, expected{method: method, status: http.StatusBadRequest})
		case noHead:
			return answers, false
		case cut, unended:
			return answers, true
		case forwarded:
			behind := server.read(o.sent)
			if len(behind.served) == 0 {
				var status int
				fmt.Sscan(behind.refused, &status)
				return append(answers, expected{status: status}), true
			}
			got := behind.served[0]
			answers = append(answers, expected{got.Method, http.StatusOK, digest(got.text())})
		}
	}
	return answers, false
}

// Says these bytes in pieces, then half-closes; what comes back until the end.
func converse(address string, stream []byte, chance *rand.Rand) ([]byte, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	tcp := c.(*net.TCPConn)
	tcp.SetLinger(0) // leaves no port in TIME_WAIT
	go func() {
		pieces := 1 + chance.Intn(4)
		for pieces > 1 && len(stream) > 1 {
			n := 1 + chance.Intn(len(stream)-1)
			if _, err := c.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
			pieces--
			if chance.Intn(4) == 0 {
				time.Sleep(time.Duration(chance.Intn(3000)) * time.Microsecond)
			}
		}
		c.Write(stream)
		tcp.CloseWrite()
	}()
	answers, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return answers, errors.New("it hangs")
	}
	return answers, nil // a reset is an end as good as any
}

// No case has a reason to take so long; on a busy machine.
const slow = 5 * time.Second

// What is wrong with the answers; "" if nothing.
func judge(raw []byte, answers []expected, open bool) string {
	reader := bufio.NewReader(bytes.NewReader(raw))
	for i, want := range answers {
		response, err := http.ReadResponse(reader, &http.Request{Method: want.method})
		for err == nil && response.StatusCode == http.StatusContinue {
			response, err = http.ReadResponse(reader, &http.Request{Method: want.method})
		}
		if err != nil {
			return fmt.Sprintf("answer %d: %v in %q, expected %+v", i, err, raw, want)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil && response.StatusCode == http.StatusOK {
			return fmt.Sprintf("answer %d: %v in %q", i, err, raw)
		}
		if response.StatusCode != want.status || response.Header.Get("X-Seen") != want.seen {
			return fmt.Sprintf("answer %d: %q, expected %+v", i, raw, want)
		}
		if want.seen != "" && want.method != "HEAD" && digest(body) != want.seen {
			return fmt.Sprintf("answer %d: the body is not what was sent: %q", i, body)
		}
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 && !open {
		return fmt.Sprintf("%q is too much", rest)
	}
	return ""
}

// Runs cases until the time is over, eight at once. Returns whether all went well.
func (f *fuzzer) network(address string) bool {
	var wait sync.WaitGroup
	var mutex sync.Mutex
	broken := 0
	jobs := make(chan func(*rand.Rand))
	for i := int64(0); i < 8; i++ {
		wait.Add(1)
		go func(chance *rand.Rand) {
			defer wait.Done()
			for job := range jobs {
				job(chance)
			}
		}(rand.New(rand.NewSource(*seed + i)))
	}
	began := time.Now()
	cases := uint64(0)
	for n := int64(0); time.Since(began) < *duration; n++ {
		batch := f.generate(&generator{Rand: rand.New(rand.NewSource(*seed + n))})
		for i := range batch {
			batch[i].policy = policyDeny
		}
		results, err := f.driver.run(batch)
		fatal(err)
		for i, c := range batch {
			cases++
			c, answers, open := c, []expected(nil), false
			answers, open = expectedOf(f.server, results[i])
			jobs <- func(chance *rand.Rand) {
				begin := time.Now()
				raw, err := converse(address, c.stream, chance)
				if time.Since(begin) > slow {
					err = errors.Join(err, fmt.Errorf("it took %s", time.Since(begin)))
				}
				wrong := judge(raw, answers, open)
				if err != nil {
					wrong = err.Error()
				}
				if wrong != "" {
					mutex.Lock()
					defer mutex.Unlock()
					if broken++; broken <= 20 {
						fmt.Printf("BROKEN %q:\n  %s\n", c.stream, wrong)
					}
				}
			}
		}
	}
	close(jobs)
	wait.Wait()
	fmt.Fprintf(os.Stdout, "%d connections (%.0f a second), %d went wrong\n", cases,
		float64(cases)/time.Since(began).Seconds(), broken)
	return broken == 0
}
