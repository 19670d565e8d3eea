// Clients in Go for the whole-system tests: net/http and grpc-go.
//
//	clients-go version go|grpc
//	clients-go http HOW ADDRESS NAME
//	clients-go interim HOW ADDRESS NAME
//	clients-go grpc HOW TARGET NAME
//	clients-go serve PORT
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"google.golang.org/grpc"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "version" {
		if os.Args[2] == "grpc" {
			fmt.Println(grpc.Version)
		} else {
			fmt.Println(runtime.Version())
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		fmt.Fprintln(os.Stderr, serve(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: clients-go http|interim|grpc HOW ADDRESS NAME, or serve PORT")
		os.Exit(2)
	}
	run := httpSteps
	switch os.Args[1] {
	case "interim":
		run = interimAnswers
	case "grpc":
		run = grpcCases
	}
	results, err := run(os.Args[2], os.Args[3], os.Args[4])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
