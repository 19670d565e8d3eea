package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

type answer struct {
	Status int             `json:"status"`
	Bytes  int             `json:"bytes"`
	Error  *string         `json:"error"`
	Report json.RawMessage `json:"report,omitempty"`
}

type httpClient struct {
	client  *http.Client
	address string
	byHost  bool
	scheme  string
}

// hidden keeps net/http from seeing how long a body is.
type hidden struct{ io.Reader }

func pattern(count int) []byte {
	body := make([]byte, count)
	for position := range body {
		body[position] = byte(position % 251)
	}
	return body
}

func (c httpClient) ask(method, target string, body io.Reader, name string, report bool) (answer, error) {
	base := c.scheme + "://" + name
	if c.byHost {
		base = c.scheme + "://" + c.address
	}
	request, err := http.NewRequest(method, base+target, body)
	if err != nil {
		return answer{}, err
	}
	request.Host = name
	response, err := c.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	result := answer{Status: response.StatusCode, Bytes: len(content)}
	if value := response.Header.Get("heddle-err"); value != "" {
		result.Error = &value
	}
	if report {
		result.Report = content
	}
	return result, nil
}

// httpSteps takes the steps of ../README.md: host-1 and host-2 with HTTP/1.1 and HTTP/2 with prior
// knowledge, tls-1 and tls-2 the same over TLS (SSL_CERT_FILE says whom to trust), proxy-1 through HTTP_PROXY.
func httpSteps(how, address, name string) (any, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment}
	scheme := "http"
	switch how {
	case "host-2":
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	case "tls-1", "tls-2":
		scheme = "https"
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(how == "tls-1")
		transport.Protocols.SetHTTP2(how == "tls-2")
	}
	client := httpClient{
		client:  &http.Client{Transport: transport, Timeout: 20 * time.Second},
		address: address,
		byHost:  how != "proxy-1",
		scheme:  scheme,
	}
	steps := []struct {
		name, method, target string
		body                 io.Reader
		to                   string
		report               bool
	}{
		{"get", "GET", "/hello?x=1", nil, name, true},
		{"post", "POST", "/post", bytes.NewReader(pattern(1 << 20)), name, true},
		{"stream", "POST", "/stream", hidden{bytes.NewReader(pattern(300_000))}, name, true},
		{"status", "GET", "/?status=404", nil, name, false},
		{"large", "GET", "/?bytes=3000000", nil, name, false},
		{"head", "HEAD", "/", nil, name, false},
		{"unknown", "GET", "/", nil, "nobody", false},
	}
	results := map[string]any{}
	for _, step := range steps {
		result, err := client.ask(step.method, step.target, step.body, step.to, step.report)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
		results[step.name] = result
	}
	ok := 0
	for range 20 {
		result, err := client.ask("GET", "/", nil, name, false)
		if err != nil {
			return nil, err
		}
		if result.Status == http.StatusOK {
			ok++
		}
	}
	results["repeat"] = map[string]int{"ok": ok}
	return results, nil
}
