package spechost

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"hvinstall/testvm"
	"hvinstall/vmstore/appliance"
)

// ServerURL is where a machine that forwards to a Server reaches it.
const ServerURL = "http://" + serverIP

const serverIP = "192.168.1.100"

// Server serves a folder on loopback, and fails when it is told to.
type Server struct {
	port   int
	cut    atomic.Int64 // bytes after which an answer breaks off; 0: none
	pace   atomic.Int64 // bytes a second; 0: no bound
	served atomic.Int64
}

// Serve serves dir until ctx ends.
func Serve(ctx context.Context, dir string) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{port: listener.Addr().(*net.TCPAddr).Port}
	files := http.FileServer(http.Dir(dir))
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		files.ServeHTTP(&answer{ResponseWriter: w, server: s}, r)
	})}
	go func() { _ = server.Serve(listener) }() // ends with ErrServerClosed
	context.AfterFunc(ctx, func() { server.Close() })
	return s, nil
}

// BreakAfter makes every answer break off after so many bytes, as a server that
// dies does; 0 makes it whole again.
func (s *Server) BreakAfter(bytes int64) { s.cut.Store(bytes) }

// Pace bounds what each answer sends in a second; 0 sets it free.
func (s *Server) Pace(bytesPerSecond int64) { s.pace.Store(bytesPerSecond) }

// Served is how many bytes were sent in all.
func (s *Server) Served() int64 { return s.served.Load() }

// Forward is the value for Machine.Forward: each connection of the guest's to
// ServerURL gets one of its own to this server.
func (s *Server) Forward() string {
	return fmt.Sprintf("guestfwd=tcp:%s:80-cmd:busybox nc 127.0.0.1 %d", serverIP, s.port)
}

// answer counts what is sent, and breaks off.
type answer struct {
	http.ResponseWriter
	server *Server
	sent   int64
}

func (a *answer) Write(p []byte) (int, error) {
	if cut := a.server.cut.Load(); cut > 0 && a.sent+int64(len(p)) > cut {
		panic(http.ErrAbortHandler) // closes the connection in the middle
	}
	n, err := a.ResponseWriter.Write(p)
	a.sent += int64(n)
	a.server.served.Add(int64(n))
	if pace := a.server.pace.Load(); pace > 0 {
		<-time.After(time.Duration(n) * time.Second / time.Duration(pace))
	}
	return n, err
}

// Images makes what the layout's VMs are made from, once: a qcow2.xz, as
// vendors publish appliances, and an ISO.
func Images(ctx context.Context, dir string) error {
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
	if _, err := testvm.Command(ctx, "qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", a.Disk, qcow2); err != nil {
		return err
	}
	_, err = testvm.Command(ctx, "xz", "-f", "-1", "-T0", qcow2)
	return err
}
