package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// look is how often the folder of a connected account is looked at.
	look = 100 * time.Millisecond
	// alive is how often a quiet stream says that it lives, so that nobody on the way ends it.
	alive = 10 * time.Second
	// accountsLimit bounds the accounts of one stream.
	accountsLimit = 32
)

// notifications keeps events and pushes them to who listens, as server-sent events.
type notifications struct {
	model   model
	version string
	ending  <-chan struct{}
}

func (n notifications) serve(routes *http.ServeMux) {
	routes.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		isNew, err := n.take(w, r)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, map[string]any{"new": isNew})
	})
	routes.HandleFunc("GET /notifications/{whose}/events", func(w http.ResponseWriter, r *http.Request) {
		if err := n.push(w, r); err != nil {
			refuse(w, err)
		}
	})
}

func (n notifications) take(w http.ResponseWriter, r *http.Request) (bool, error) {
	e, err := readEvent(w, r)
	if err != nil {
		return false, err
	}
	dieAt("notifications.received")
	if done, err := n.model.isDone(e); done || err != nil {
		return false, err
	}
	if err := n.model.keep(e, "notifications.written"); err != nil {
		return false, err
	}
	dieAt("notifications.kept")
	return true, nil
}

// push streams the events of accounts: the one in the path, or those of `?account=` for a customer in it.
//
// An event's id says how far the stream is in every account, `acc-1:12,acc-2:7`, so that it can go on from there;
// with one account it is the sequence alone.
func (n notifications) push(w http.ResponseWriter, r *http.Request) error {
	whose := r.PathValue("whose")
	accounts := r.URL.Query()["account"]
	if strings.HasPrefix(whose, "acc-") {
		accounts = []string{whose}
	}
	if len(accounts) == 0 || len(accounts) > accountsLimit {
		return refused(http.StatusBadRequest, "malformed", "Whose events?",
			fmt.Sprintf("Ask for /notifications/ACCOUNT/events, or name 1 to %d accounts with ?account=.", accountsLimit))
	}
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	for _, account := range accounts {
		if !idForm.MatchString(account) {
			return malformed("'%s' is no identifier of an account.", account)
		}
	}
	from := or(r.Header.Get("last-event-id"), r.URL.Query().Get("after"))
	stream, err := n.open(accounts, from)
	if err != nil {
		return err
	}
	stream.run(w, r)
	return nil
}

// stream is one listener's place in its accounts.
type stream struct {
	notifications
	accounts []string
	at       map[string]string // the last file name sent, by account
	changed  map[string]time.Time
}

func (n notifications) open(accounts []string, from string) (*stream, error) {
	s := &stream{n, accounts, map[string]string{}, map[string]time.Time{}}
	given := map[string]int64{}
	for _, part := range strings.Split(from, ",") {
		account, number, named := strings.Cut(part, ":")
		if !named {
			account, number = accounts[0], part
		}
		if sequence, err := strconv.ParseInt(number, 10, 64); err == nil && sequence >= 0 {
			given[account] = sequence
		}
	}
	for _, account := range accounts {
		sequence, isGiven := given[account]
		if isGiven {
			s.at[account] = fmt.Sprintf("%012d.json", sequence)
			continue
		}
		// Who says nothing wants what is new.
		files, err := names(n.model.account(account))
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			s.at[account] = files[len(files)-1]
		}
	}
	return s, nil
}

func (s *stream) run(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("content-type", "text/event-stream")
	w.Header().Set("cache-control", "no-store")
	control := http.NewResponseController(w)
	_, _ = fmt.Fprintf(w, ": notifications %s\nretry: 1000\n\n", s.version)
	_ = control.Flush() // an error shows again at the next write
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	quiet := time.Now()
	for {
		sent, err := s.send(w)
		if err == nil && !sent && time.Since(quiet) > alive {
			_, err = fmt.Fprint(w, ": alive\n\n")
			sent = true
		}
		if sent && err == nil {
			quiet = time.Now()
			err = control.Flush()
		}
		if err != nil {
			return // the listener went away, or the folder did: it comes back and says where it was
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		case <-ticker.C:
		}
	}
}

// send writes what is new since the last look.
func (s *stream) send(w http.ResponseWriter) (bool, error) {
	sent := false
	for _, account := range s.accounts {
		folder := s.model.account(account)
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return sent, err
		}
		if info.ModTime().Equal(s.changed[account]) && time.Since(info.ModTime()) > time.Second {
			continue
		}
		files, err := names(folder)
		if err != nil {
			return sent, err
		}
		first, _ := slices.BinarySearch(files, s.at[account]+"\x00")
		for _, name := range files[first:] {
			data, err := os.ReadFile(filepath.Join(folder, name))
			if err != nil {
				return sent, err
			}
			s.at[account] = name
			if _, err := fmt.Fprintf(w, "id: %s\nevent: item\ndata: %s\n\n", s.place(), data); err != nil {
				return sent, err
			}
			sent = true
		}
		s.changed[account] = info.ModTime()
	}
	return sent, nil
}

func (s *stream) place() string {
	number := func(account string) string {
		return or(strings.TrimLeft(strings.TrimSuffix(s.at[account], ".json"), "0"), "0")
	}
	if len(s.accounts) == 1 {
		return number(s.accounts[0])
	}
	parts := make([]string, len(s.accounts))
	for i, account := range s.accounts {
		parts[i] = account + ":" + number(account)
	}
	return strings.Join(parts, ",")
}
