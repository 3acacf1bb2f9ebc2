package vmstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
)

// connection is one connection to libvirt, opened when it is first needed and
// opened anew when libvirtd was restarted under it.
type connection struct {
	uri *url.URL
	// patience is how long a lost libvirtd may take to come back.
	patience time.Duration

	mu   sync.Mutex
	live *libvirt.Libvirt
}

// UnreachableError is a libvirt that does not answer.
type UnreachableError struct {
	URI string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("libvirt at %s: %v; is libvirtd running? see systemctl status libvirtd", e.URI, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

func newConnection(uri string) (*connection, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("libvirt_uri %q: %w", uri, err)
	}
	return &connection{uri: u, patience: 20 * time.Second}, nil
}

// isLocal reports whether the files of this libvirt are this machine's.
func isLocal(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	_, transport, _ := strings.Cut(u.Scheme, "+")
	return u.Host == "" && (transport == "" || transport == "unix")
}

// sockets are those of the one daemon and of QEMU's among the modular ones.
var sockets = []string{"/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"}

// dialURIs are the URI with each socket that there is. One may be stale: after
// a change from libvirtd to the modular daemons the former one's stays behind.
func dialURIs(u *url.URL, sockets []string) []*url.URL {
	if u.Scheme != "qemu" || u.Host != "" || u.RawQuery != "" {
		return []*url.URL{u}
	}
	var found []*url.URL
	for _, socket := range sockets {
		if _, err := os.Stat(socket); err == nil {
			with := *u
			with.RawQuery = "socket=" + socket
			found = append(found, &with)
		}
	}
	if len(found) == 0 {
		return []*url.URL{u}
	}
	return found
}

// dial connects to the first that answers.
func dial(uris []*url.URL) (l *libvirt.Libvirt, err error) {
	for _, u := range uris {
		live, e := libvirt.ConnectToURI(u)
		if e == nil {
			return live, nil
		}
		err = errors.Join(err, e)
	}
	return nil, err
}

func (c *connection) get() (*libvirt.Libvirt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live != nil {
		return c.live, nil
	}
	l, err := dial(dialURIs(c.uri, sockets))
	if err != nil {
		return nil, &UnreachableError{URI: c.uri.Redacted(), Err: err}
	}
	c.live = l
	return l, nil
}

// drop forgets a connection that broke, unless another has replaced it.
func (c *connection) drop(broken *libvirt.Libvirt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == broken {
		c.live = nil
	}
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live != nil {
		_ = c.live.Disconnect()
		c.live = nil
	}
}

// do calls f with a connection. When libvirtd goes away under it, f is called
// again with a new one: everything that is asked of libvirt here may be asked
// twice.
func (c *connection) do(ctx context.Context, f func(*libvirt.Libvirt) error) error {
	lost := time.Time{}
	for {
		l, err := c.get()
		if err == nil {
			err = f(l)
			var answer libvirt.Error
			if err == nil || errors.As(err, &answer) && !isBroken(answer) {
				return err
			}
			c.drop(l)
		} else if lost.IsZero() {
			// Never connected: nothing was lost, and nothing is gained by waiting.
			return err
		}
		if lost.IsZero() {
			lost = time.Now()
		}
		if time.Since(lost) > c.patience {
			return &UnreachableError{URI: c.uri.Redacted(), Err: err}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// isBroken are libvirt's own words for a daemon that is shutting down or lost.
func isBroken(e libvirt.Error) bool {
	switch libvirt.ErrorNumber(e.Code) {
	case libvirt.ErrRPC, libvirt.ErrNoConnect, libvirt.ErrInvalidConn:
		return true
	default:
		return false
	}
}

// lookup finds a domain by name; found is false when there is none.
func (c *connection) lookup(ctx context.Context, name string) (d libvirt.Domain, found bool, err error) {
	err = c.do(ctx, func(l *libvirt.Libvirt) error {
		d, err = l.DomainLookupByName(name)
		return err
	})
	if libvirt.IsNotFound(err) {
		return d, false, nil
	}
	return d, err == nil, err
}

// stateOf says whether a domain runs.
func (c *connection) stateOf(ctx context.Context, d libvirt.Domain) (libvirt.DomainState, error) {
	var state int32
	err := c.do(ctx, func(l *libvirt.Libvirt) (err error) {
		state, _, err = l.DomainGetState(d, 0)
		return err
	})
	return libvirt.DomainState(state), err
}

func stateName(s libvirt.DomainState) string {
	switch s {
	case libvirt.DomainRunning:
		return "running"
	case libvirt.DomainBlocked:
		return "running"
	case libvirt.DomainPaused:
		return "paused"
	case libvirt.DomainShutdown:
		return "shutting down"
	case libvirt.DomainShutoff:
		return "shut off"
	case libvirt.DomainCrashed:
		return "crashed"
	case libvirt.DomainPmsuspended:
		return "suspended"
	case libvirt.DomainNostate:
	}
	return "unknown"
}

func isActive(s libvirt.DomainState) bool {
	return s != libvirt.DomainShutoff && s != libvirt.DomainCrashed && s != libvirt.DomainNostate
}

// troubleOf is why a VM does not run, where nobody decided that: empty for one
// that somebody paused, or shut down.
func troubleOf(s libvirt.DomainState, reason int32) string {
	switch s {
	case libvirt.DomainPaused:
		switch libvirt.DomainPausedReason(reason) {
		case libvirt.DomainPausedIoerror:
			return "I/O error"
		case libvirt.DomainPausedWatchdog:
			return "its watchdog fired"
		case libvirt.DomainPausedCrashed:
			return "its guest crashed"
		case libvirt.DomainPausedPostcopyFailed, libvirt.DomainPausedAPIError:
			return "an operation of libvirt failed"
		default:
		}
	case libvirt.DomainCrashed:
		return "QEMU crashed"
	case libvirt.DomainShutoff:
		switch libvirt.DomainShutoffReason(reason) {
		case libvirt.DomainShutoffCrashed:
			return "QEMU crashed"
		case libvirt.DomainShutoffFailed:
			return "QEMU did not start"
		default:
		}
	default:
	}
	return ""
}
