package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// What h2spec waits for an answer. Only a case that fails waits that long.
const patience = 5 * time.Second

// outcome is one case of h2spec. Its id is what h2spec itself takes as an argument.
type outcome struct {
	ID          string `json:"id"`
	Description string `json:"description"`
	Result      string `json:"result"`
	Detail      string `json:"detail"`
}

// specCases runs all of h2spec, strict cases too. h2spec reports to standard output for people; the
// outcomes follow on one line that starts with `outcomes `.
func specCases(address string, tls bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	c := &config.Config{
		Host:         host,
		Port:         number,
		Path:         "/",
		Timeout:      patience,
		MaxHeaderLen: 4000,
		Strict:       true,
		TLS:          tls,
		Insecure:     tls,
	}
	var outcomes []outcome
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(c)
		outcomes = append(outcomes, gather(group)...)
	}
	fmt.Print("\noutcomes ")
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func gather(group *spec.TestGroup) []outcome {
	var outcomes []outcome
	for _, list := range [][]*spec.TestCase{group.Tests, group.StrictTests} {
		for _, test := range list {
			outcomes = append(outcomes, judged(group, test))
		}
	}
	for _, below := range group.Groups {
		outcomes = append(outcomes, gather(below)...)
	}
	return outcomes
}

func judged(group *spec.TestGroup, test *spec.TestCase) outcome {
	found := outcome{ID: group.ID(), Description: test.Desc, Result: "missing"}
	if test.Result == nil {
		return found
	}
	found.ID = fmt.Sprintf("%s/%d", group.ID(), test.Result.Sequence)
	switch {
	case test.Result.Skipped:
		found.Result = "skipped"
	case test.Result.Failed:
		found.Result = "failed"
		found.Detail = strings.ReplaceAll(test.Result.Error.Error(), "\n", "; ")
	default:
		found.Result = "passed"
	}
	return found
}
