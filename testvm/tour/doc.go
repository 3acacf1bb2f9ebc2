// Package tour is the whole of hvinstall in one go, with its own assertions on
// the way: from blank disks to a running VM and back. A person would type the
// same. 'make demo' shows it, and 'make test-e2e' begins with it.
package tour
