// Conformance suites that others wrote in Go, as one program: h2spec, and the interop cases of grpc-go.
//
//	suites-go version h2spec|grpc
//	suites-go h2spec ADDRESS plain|tls
//	suites-go h2spec-client ADDRESS
//	suites-go interop-serve
//	suites-go interop ADDRESS CASE
//	suites-go interop-cases
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

const usage = `usage: suites-go version h2spec|grpc
       suites-go h2spec ADDRESS plain|tls
       suites-go h2spec-client ADDRESS
       suites-go interop-serve
       suites-go interop ADDRESS CASE
       suites-go interop-cases`

func main() {
	arguments := os.Args[1:]
	var err error
	switch {
	case is(arguments, "version", 1):
		err = version(arguments[1])
	case is(arguments, "h2spec", 2):
		err = specCases(arguments[1], arguments[2] == "tls")
	case is(arguments, "h2spec-client", 1):
		err = clientCases(arguments[1])
	case is(arguments, "interop-serve", 0):
		err = interopServe()
	case is(arguments, "interop", 2):
		err = interopCase(arguments[1], arguments[2])
	case is(arguments, "interop-cases", 0):
		interopCases()
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func is(arguments []string, word string, more int) bool {
	return len(arguments) == more+1 && arguments[0] == word
}

// version prints the version of a module that this program was built with.
func version(suite string) error {
	path := map[string]string{
		"h2spec": "github.com/summerwind/h2spec",
		"grpc":   "google.golang.org/grpc",
	}[suite]
	built, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("this program does not know what it was built with")
	}
	for _, module := range built.Deps {
		if module.Path == path {
			fmt.Println(module.Version)
			return nil
		}
	}
	return fmt.Errorf("there is no suite %q in this program", suite)
}
