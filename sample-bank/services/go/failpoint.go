package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
)

var failPoints = readFailPoints(os.Getenv("BANK_FAIL_POINTS"))

// readFailPoints reads `name=1/50,other=1` into probabilities.
func readFailPoints(text string) map[string]float64 {
	points := map[string]float64{}
	for _, part := range strings.Split(text, ",") {
		name, chance, _ := strings.Cut(part, "=")
		up, down, divided := strings.Cut(chance, "/")
		probability, err := strconv.ParseFloat(strings.TrimSpace(up), 64)
		if err != nil {
			continue
		}
		if divisor, err := strconv.ParseFloat(strings.TrimSpace(down), 64); divided && err == nil {
			probability /= divisor
		}
		points[strings.TrimSpace(name)] = probability
	}
	return points
}

// dieAt ends the process as by `kill -9`, with the probability that the environment gives to this place.
func dieAt(name string) {
	if chance := failPoints[name]; chance > 0 && rand.Float64() < chance {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
