package unlock

import "sync"

// trials counts the keys that are being tried, beside each other.
type trials struct {
	changed *sync.Cond
	count   int
}

func newTrials() trials { return trials{changed: sync.NewCond(&sync.Mutex{})} }

func (t *trials) began() { t.add(1) }

func (t *trials) ended() { t.add(-1) }

func (t *trials) add(n int) {
	t.changed.L.Lock()
	t.count += n
	t.changed.L.Unlock()
	t.changed.Broadcast()
}

// letEnd returns when no key is being tried.
func (t *trials) letEnd() {
	t.changed.L.Lock()
	defer t.changed.L.Unlock()
	for t.count > 0 {
		t.changed.Wait()
	}
}
