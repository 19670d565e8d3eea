package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

// serve answers every request with 200 and tells, on standard output, of each that came whole.
func serve(port string) error {
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(os.Stdout, "seen %s %s %d\n", r.Method, r.RequestURI, len(body))
		io.WriteString(w, "ok")
	}
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(answer))
}
