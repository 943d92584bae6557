// Command countersign turns access requests into Git: a pull request asks, reviews sign it off, and what
// was signed off becomes access in the real application.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

func main() {
	// The first signal stops between operations and lets what is on the way be recorded; a second one kills.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.System()))
}
