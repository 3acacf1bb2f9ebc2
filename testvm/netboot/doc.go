// Package netboot holds the test of a machine that starts from the network,
// with neither a stick nor a person.
package netboot
