package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
)

// queuePatience bounds the wait for the queue; the subscription tries again later.
const queuePatience = 8 * time.Second

// shop is what is shown of a merchant.
type shop struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Category string `json:"category"`
	Emoji    string `json:"emoji"`
	Place    string `json:"place,omitempty"`
}

// merchants says of a posting which shop it was, and passes it on to the topic feed.items. Version 2 knows the
// place as well.
type merchants struct {
	model     model
	version   string
	catalogue []entry
}

// entry is a line of the catalogue: what a descriptor contains, and the shop that it then is.
type entry struct {
	Match string `json:"match"`
	shop
}

// readCatalogue reads the file that BANK_MERCHANTS names.
func readCatalogue() ([]entry, error) {
	path := or(os.Getenv("BANK_MERCHANTS"), "merchants.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("BANK_MERCHANTS must name the catalogue: %w", err)
	}
	var catalogue []entry
	if err := json.Unmarshal(data, &catalogue); err != nil {
		return nil, fmt.Errorf("the catalogue %s: %w", path, err)
	}
	return catalogue, nil
}

// enrich is the event's shop; none if it has no merchant.
func (m merchants) enrich(e *event) (*shop, error) {
	var id string
	if len(e.Merchant) == 0 || string(e.Merchant) == "null" {
		return nil, nil
	}
	if err := json.Unmarshal(e.Merchant, &id); err != nil || !idForm.MatchString(id) {
		return nil, malformed("'merchant' must be an identifier.")
	}
	for _, entry := range m.catalogue {
		if strings.Contains(strings.ToUpper(e.Descriptor), entry.Match) {
			found := entry.shop
			found.ID = id
			return &found, nil
		}
	}
	return &shop{ID: id, Name: or(title(e.Descriptor), id), Category: "other", Emoji: "🏷️"}, nil
}

func (m merchants) serve(routes *http.ServeMux) {
	routes.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		isNew, err := m.take(w, r)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, map[string]any{"new": isNew})
	})
	totals := &totals{seen: map[string]*sum{}}
	routes.HandleFunc("GET /merchants/{id}", func(w http.ResponseWriter, r *http.Request) {
		found, err := totals.of(m, r.PathValue("id"))
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, found)
	})
}

// take is the whole life of an event. It says whether the event was new.
func (m merchants) take(w http.ResponseWriter, r *http.Request) (bool, error) {
	e, err := readEvent(w, r)
	if err != nil {
		return false, err
	}
	dieAt("merchants.received")
	if done, err := m.model.isDone(e); done || err != nil {
		return false, err
	}
	found, err := m.enrich(e)
	if err != nil {
		return false, err
	}
	var before []string
	if found != nil {
		if e.all["merchant"], err = json.Marshal(found); err != nil {
			return false, err
		}
		if e.Type != "release" {
			before = append(before, filepath.Join(m.of(found.ID), fmt.Sprintf("%s.%012d.json", e.Account, e.Sequence)))
		}
	}
	if err := publish(e, r); err != nil {
		return false, err
	}
	dieAt("merchants.published")
	if err := m.model.keep(e, "merchants.written", before...); err != nil {
		return false, err
	}
	dieAt("merchants.kept")
	return true, nil
}

func (m merchants) of(merchant string) string { return filepath.Join(m.model.folder, "of", merchant) }

var queue = &http.Client{Timeout: queuePatience}

// publish hands the event to the queue; it is safe there when this returns without error.
func publish(e *event, cause *http.Request) error {
	value, err := e.encode()
	if err != nil {
		return err
	}
	message, err := json.Marshal(map[string]any{"id": e.ID, "key": e.Account, "value": json.RawMessage(value)})
	if err != nil {
		return err
	}
	request, err := http.NewRequest("POST", "http://queue/topics/feed.items", bytes.NewReader(message))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("idempotency-key", e.ID)
	if trace := cause.Header.Get("traceparent"); trace != "" {
		request.Header.Set("traceparent", trace)
	}
	response, err := queue.Do(request)
	if err != nil {
		return unavailable("The queue did not take the event", err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		return unavailable("The queue did not take the event", fmt.Errorf("it answered %s", response.Status))
	}
	return nil
}

// totals are payments and sums by merchant, read off the folder and remembered by file name.
type totals struct {
	lock sync.Mutex
	seen map[string]*sum
}

type sum struct {
	names    map[string]bool
	payments int64
	total    map[string]int64
	last     map[string]any
}

func (t *totals) of(m merchants, merchant string) (map[string]any, error) {
	if !idForm.MatchString(merchant) {
		return nil, notFound("That is no identifier of a merchant.")
	}
	files, err := names(m.of(merchant))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, notFound("Nothing was ever paid to '" + merchant + "', or not yet.")
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	seen := t.seen[merchant]
	if seen == nil {
		seen = &sum{names: map[string]bool{}, total: map[string]int64{}}
		t.seen[merchant] = seen
	}
	for _, name := range files {
		if !seen.names[name] {
			if err := seen.add(filepath.Join(m.of(merchant), name)); err != nil {
				return nil, err
			}
			seen.names[name] = true
		}
	}
	found := map[string]any{}
	for key, value := range seen.last {
		found[key] = value
	}
	for _, known := range m.catalogue {
		// What version 1 has written has no place.
		if known.ID == merchant {
			found["place"] = known.Place
		}
	}
	found["id"], found["version"], found["payments"], found["total"] = merchant, m.version, seen.payments, copied(seen.total)
	return found, nil
}

// add counts one event. A hold is the promise of a payment; only the posting is one.
func (s *sum) add(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var e struct {
		Type     string         `json:"type"`
		Amount   int64          `json:"amount"`
		Currency string         `json:"currency"`
		Merchant map[string]any `json:"merchant"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	s.last = e.Merchant
	if e.Type == "posting" {
		s.payments++
		s.total[e.Currency] -= e.Amount
	}
	return nil
}

func copied(from map[string]int64) map[string]int64 {
	to := make(map[string]int64, len(from))
	for key, value := range from {
		to[key] = value
	}
	return to
}

// title writes a descriptor as a name: `BLUE DOOR 12` is `Blue Door 12`.
func title(text string) string {
	words := strings.Fields(strings.ToLower(text))
	for i, word := range words {
		letters := []rune(word)
		letters[0] = unicode.ToUpper(letters[0])
		words[i] = string(letters)
	}
	return strings.Join(words, " ")
}
