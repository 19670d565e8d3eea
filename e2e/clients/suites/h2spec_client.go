package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"
)

// clientCases runs those cases of h2spec that judge a client. The client is a proxy at this address, which
// connects to wherever the host of a request says: each case gets a port of its own, and a request that leads
// there. The outcomes are reported as those of the other cases.
func clientCases(address string) error {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	var outcomes []outcome
	for _, test := range clientTests(client.Spec()) {
		// A connection for each case, so that none meets what the case before has left.
		caller := &http.Client{
			Transport: &http.Transport{Protocols: protocols},
			Timeout:   2 * patience,
		}
		err := clientCase(caller, address, test)
		caller.CloseIdleConnections()
		found := outcome{
			ID:          fmt.Sprintf("%s/%d", test.Parent.ID(), test.Seq),
			Description: test.Desc,
			Result:      "passed",
		}
		switch {
		case errors.Is(err, spec.ErrSkipped):
			found.Result = "skipped"
		case err != nil:
			found.Result = "failed"
			found.Detail = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		outcomes = append(outcomes, found)
	}
	fmt.Print("outcomes ")
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func clientTests(group *spec.ClientTestGroup) []*spec.ClientTestCase {
	tests := group.Tests
	for _, below := range group.Groups {
		tests = append(tests, clientTests(below)...)
	}
	return tests
}

// clientCase runs one case over the first connection that the proxy makes for a request.
func clientCase(caller *http.Client, address string, test *spec.ClientTestCase) error {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer listener.Close()
	request, err := http.NewRequest("GET", "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	request.Host = listener.Addr().String()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		// What the caller gets is no part of the case.
		if answer, err := caller.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	if err := listener.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	accepted, err := listener.Accept()
	if err != nil {
		return fmt.Errorf("no connection came: %w", err)
	}
	c := &config.Config{Host: "127.0.0.1", Path: "/", Timeout: patience, MaxHeaderLen: 4000}
	conn, err := spec.Accept(c, accepted)
	if err != nil {
		return err
	}
	err = test.Run(c, conn)
	conn.Close()
	listener.Close()
	<-asked
	return err
}
