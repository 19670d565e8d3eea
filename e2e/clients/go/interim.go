package main

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"time"
)

// interimAnswers tells of the interim answers to a POST that waits for its go-ahead: host-1 and host-2 with HTTP/1.1
// and HTTP/2 with prior knowledge.
func interimAnswers(how, address, name string) (any, error) {
	transport := &http.Transport{ExpectContinueTimeout: 15 * time.Second}
	if how == "host-2" {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	request, err := http.NewRequest("POST", "http://"+address+"/", strings.NewReader("hello"))
	if err != nil {
		return nil, err
	}
	request.Host = name
	request.Header.Set("Expect", "100-continue")
	seen := [][]any{}
	trace := &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			var link any
			if value := header.Get("Link"); value != "" {
				link = value
			}
			seen = append(seen, []any{code, link})
			return nil
		},
	}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return map[string]any{"interim": seen, "status": response.StatusCode, "body": string(body)}, nil
}
