// Command connector is a countersign connector written in Go that runs as a separate process. It manages teams kept as
// JSON files in a folder, as many in-house tools do. The operator binds it to a name on the command line:
//
//	go build -o /opt/countersign/teamfiles ./examples/exec-go/connector
//	countersign apply --exec teamfiles=/opt/countersign/teamfiles
//
// It implements connectors.Connector like countersign's own connectors, and exec.Serve handles the protocol. The same
// conformance suite tests it; with --test-hand it is the suite's outside hand:
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
