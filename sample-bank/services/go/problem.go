package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// refusal is an answer that is an error, for a person (RFC 9457).
type refusal struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (r *refusal) Error() string { return r.Detail }

func refused(status int, code, title, detail string) *refusal {
	return &refusal{"urn:heddle-bank:" + code, title, status, detail}
}

func malformed(format string, values ...any) *refusal {
	return refused(http.StatusBadRequest, "malformed", "The event cannot be read", fmt.Sprintf(format, values...))
}

func notFound(detail string) *refusal {
	return refused(http.StatusNotFound, "not-found", "Nothing is here", detail)
}

func unavailable(title string, err error) *refusal {
	return refused(http.StatusServiceUnavailable, "unavailable", title, fmt.Sprintf("It is not done and may be sent again: %v.", err))
}

// refuse answers with the error; one that is no refusal is the read model's.
func refuse(w http.ResponseWriter, err error) {
	var known *refusal
	if !errors.As(err, &known) {
		known = unavailable("The read model is away", err)
	}
	w.Header().Set("content-type", "application/problem+json")
	write(w, known.Status, known)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("content-type", "application/json")
	write(w, status, value)
}

func write(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // a caller that went away is told nothing
}
