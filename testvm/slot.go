package testvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// slot is one of the machine's places for guests. A nil slot is no bound.
type slot struct{ file *os.File }

// acquireSlot waits for one of the lock files of HVINSTALL_GUEST_SLOTS.
func acquireSlot(ctx context.Context) (*slot, error) {
	places := os.Getenv("HVINSTALL_GUEST_SLOTS")
	if places == "" {
		return nil, nil
	}
	for {
		for place := range strings.SplitSeq(places, ":") {
			file, err := os.OpenFile(place, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
			if err != nil {
				return nil, fmt.Errorf("HVINSTALL_GUEST_SLOTS: %w", err)
			}
			err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
			if err == nil {
				return &slot{file}, nil
			}
			file.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("HVINSTALL_GUEST_SLOTS: %s: %w", place, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

func (s *slot) release() {
	if s != nil {
		s.file.Close()
	}
}
