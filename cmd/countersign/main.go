// Command countersign turns access requests into Git: people ask in a pull request and approve in its review, and
// approved changes become access in the real application.
package main

import (
	"os"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:])) }
