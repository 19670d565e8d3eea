package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// model is a read model: a folder, shared by all replicas and versions of a service. One file for each event,
// written beside and then linked to its name. Only one of two that try can succeed, so an event has its effect once.
type model struct{ folder string }

func openModel(service string) (model, error) {
	folder := filepath.Join(or(os.Getenv("BANK_STATE"), "."), service)
	return model{folder}, os.MkdirAll(folder, 0o755)
}

func (m model) account(account string) string { return filepath.Join(m.folder, account) }

func (m model) path(e *event) string {
	return filepath.Join(m.account(e.Account), fmt.Sprintf("%012d.json", e.Sequence))
}

// isDone says whether this event had its effect before.
func (m model) isDone(e *event) (bool, error) {
	data, err := os.ReadFile(m.path(e))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var found struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return false, err
	}
	if found.ID != e.ID {
		return false, refused(http.StatusConflict, "sequence-taken", "Another event has this place",
			fmt.Sprintf("%s number %d is %s, not %s.", e.Account, e.Sequence, found.ID, e.ID))
	}
	return true, nil
}

// keep writes the effect: to the places in `before` first, since the account's file is what tells that it is done.
func (m model) keep(e *event, failPoint string, before ...string) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	targets := append(before, m.path(e))
	for _, target := range targets {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
	}
	temporary, err := m.write(data)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	dieAt(failPoint)
	for _, target := range targets {
		// That there is one already means that another replica was faster with the same event.
		if err := os.Link(temporary, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// write makes a new file each time: what a death leaves may be linked already, and must not be written again.
func (m model) write(data []byte) (string, error) {
	name := make([]byte, 12)
	if _, err := rand.Read(name); err != nil {
		return "", err
	}
	path := filepath.Join(m.folder, "."+hex.EncodeToString(name))
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	return path, errors.Join(err, file.Sync(), file.Close())
}

// names are the files of a folder in order; none if there is no folder.
func names(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	found := make([]string, 0, len(entries))
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".json") {
			found = append(found, name)
		}
	}
	return found, nil
}
