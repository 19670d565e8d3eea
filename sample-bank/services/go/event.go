package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
)

// bodyLimit bounds a body, in bytes; an event has a few hundred.
const bodyLimit = 64 * 1024

// amountLimit bounds an amount, in minor units.
const amountLimit = 1_000_000_000_000_000

var (
	idForm      = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	eventIDForm = regexp.MustCompile(`^[a-z0-9:-]{1,160}$`)
	currencies  = map[string]bool{"EUR": true, "USD": true, "GBP": true, "JPY": true, "CHF": true}
)

// event is what this program needs of one; `all` has every field, and goes on unchanged.
type event struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Account    string          `json:"account"`
	Customer   string          `json:"customer"`
	Sequence   int64           `json:"sequence"`
	Amount     *int64          `json:"amount"`
	Currency   string          `json:"currency"`
	Merchant   json.RawMessage `json:"merchant"`
	Descriptor string          `json:"descriptor"`

	all map[string]json.RawMessage
}

// readEvent is the event of a request, or a refusal that says what is wrong with it.
func readEvent(w http.ResponseWriter, r *http.Request) (*event, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refused(http.StatusRequestEntityTooLarge, "too-large", "The event is too large", "A body may have 65536 bytes.")
	}
	if err != nil {
		return nil, malformed("The body ended early: %v.", err)
	}
	return parseEvent(body)
}

func parseEvent(body []byte) (*event, error) {
	parsed := &event{}
	if err := json.Unmarshal(body, parsed); err != nil {
		return nil, malformed("The body is no event: %v.", err)
	}
	if err := json.Unmarshal(body, &parsed.all); err != nil {
		return nil, malformed("The body is no event: %v.", err)
	}
	switch {
	case !eventIDForm.MatchString(parsed.ID):
		return nil, malformed("'id' must be an identifier of %s.", eventIDForm)
	case !idForm.MatchString(parsed.Account):
		return nil, malformed("'account' must be an identifier of %s.", idForm)
	case parsed.Customer != "" && !idForm.MatchString(parsed.Customer):
		return nil, malformed("'customer' must be an identifier of %s.", idForm)
	case parsed.Sequence < 1 || parsed.Sequence >= 1_000_000_000_000:
		return nil, malformed("'sequence' must be a whole number from 1 to 999999999999.")
	case parsed.Amount == nil || *parsed.Amount < -amountLimit || *parsed.Amount > amountLimit:
		return nil, malformed("'amount' must be a whole number within 10^15.")
	case !currencies[parsed.Currency]:
		return nil, malformed("'currency' must be one of CHF, EUR, GBP, JPY, USD.")
	}
	return parsed, nil
}

// encode is the event as JSON, all fields of it.
func (e *event) encode() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(e.all); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
