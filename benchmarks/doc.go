// SPDX-License-Identifier: Apache-2.0

// Command benchmarks compares this SDK with paho.golang, as documented and
// tuned, and with what raw sockets cost, and writes docs/benchmarks.md.
//
//	go run . compare -doc ../docs/benchmarks.md   all rows
//	go run . compare -quick -only 'pub|recv'      some of them, on the screen
//	go run . client -peer ours -workload pub ...  one measurement
//	go run . serve                                the server that the others talk to
//
// Each measurement is a process of its own, so that CPU time and memory are
// those of one client. Repetitions are interleaved (A B C, A B C); repetitions
// during which other programs used the processors are done again.
package main
