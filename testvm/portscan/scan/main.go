// Command scan asks every port of the hosts that it is given, and prints what
// answered, a line of JSON each.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"

	"hvinstall/testvm/portscan"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, text := range os.Args[1:] {
		if err := scan(ctx, text); err != nil {
			fmt.Fprintf(os.Stderr, "scan %s: %v\n", text, err)
			os.Exit(1)
		}
	}
}

func scan(ctx context.Context, text string) error {
	target, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	result, err := portscan.Scan(ctx, target)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
