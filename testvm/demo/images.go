package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hvinstall/vmstore/appliance"
)

// images makes the demo's appliance, once, as what vendors publish: a
// qcow2.xz, and an ISO.
func images(ctx context.Context, dir string) error {
	packed := filepath.Join(dir, "appliance.qcow2.xz")
	if _, err := os.Stat(packed); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	a, err := appliance.Build(ctx, dir, "appliance")
	if err != nil {
		return err
	}
	qcow2 := filepath.Join(dir, "appliance.qcow2")
	for _, argv := range [][]string{
		{"qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", a.Disk, qcow2},
		{"xz", "-f", "-1", "-T0", qcow2},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", argv, err, out)
		}
	}
	return nil
}

// serve serves the images on loopback until ctx ends, and returns the port.
func serve(ctx context.Context, dir string) (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{Handler: http.FileServer(http.Dir(dir)), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // ends with ErrServerClosed
	context.AfterFunc(ctx, func() { server.Close() })
	return listener.Addr().(*net.TCPAddr).Port, nil
}
