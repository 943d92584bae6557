// Command connector is a connector for countersign in Go, in a process of its own: teams that are JSON files in a
// folder, as many a tool of one's own has them. The operator binds it to a name on the command line:
//
//	go build -o /opt/countersign/teamfiles ./examples/exec-go/connector
//	countersign apply --exec teamfiles=/opt/countersign/teamfiles
//
// It implements connectors.Connector as countersign's own connectors do, and exec.Serve speaks the protocol for it.
// Test it as those are tested; with --test-hand it is the outside hand of the suite:
//
//	countersign connector test /opt/countersign/teamfiles --test-hand
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/connectors/exec"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) == 2 && os.Args[1] == "--test-hand" {
		err = exec.ServeHand(ctx, os.Stdin, os.Stdout, hand)
	} else {
		err = exec.Serve(ctx, os.Stdin, os.Stdout, teams{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
