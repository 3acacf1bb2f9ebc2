// Package e2e holds the end-to-end tests, whose build tag is e2e: a machine
// with UEFI firmware, the spec's seven disks at their real sizes and a key
// stick is installed from the live stick and booted from its own disk.
//
// 'make test-e2e' runs them; they need bin/hvinstall's live image
// (build/live.img, from 'make live').
package e2e
