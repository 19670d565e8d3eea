// Command bank is two services of the bank: merchants version 2 and notifications version 1.
//
//	bank merchants
//	bank notifications
//
// Go's own library only. It knows the bank by names (http://queue/...) and reaches them through http_proxy,
// which net/http reads itself; of the mesh it knows nothing but that `traceparent` is copied.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Connections may be quiet this long; longer than a proxy keeps them.
const idle = 75 * time.Second

// Requests in work have this long to finish when the process is told to end.
const grace = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bank:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say which service: bank merchants, or bank notifications")
	}
	port, err := strconv.ParseUint(os.Getenv("PORT"), 10, 16)
	if err != nil {
		return fmt.Errorf("PORT must be a port number: %w", err)
	}
	model, err := openModel(args[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	routes := http.NewServeMux()
	version := os.Getenv("BANK_VERSION")
	switch args[0] {
	case "merchants":
		version = or(version, "v2")
		catalogue, err := readCatalogue()
		if err != nil {
			return err
		}
		merchants{model, version, catalogue}.serve(routes)
	case "notifications":
		version = or(version, "v1")
		notifications{model: model, version: version, ending: ctx.Done()}.serve(routes)
	default:
		return fmt.Errorf("there is no service %q: merchants, or notifications", args[0])
	}
	routes.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"ready": true})
	})
	routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, notFound("There is nothing at "+r.URL.Path+"."))
	})
	server := &http.Server{
		Addr:              fmt.Sprintf("127.0.0.1:%d", port),
		Handler:           signed(routes, version),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idle,
		BaseContext:       func(net.Listener) context.Context { return context.Background() },
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		ended <- server.Shutdown(last)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}

// signed says with every answer who made it.
func signed(next http.Handler, version string) http.Handler {
	replica := strconv.Itoa(os.Getpid())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("bank-version", version)
		w.Header().Set("bank-replica", replica)
		next.ServeHTTP(w, r)
	})
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
