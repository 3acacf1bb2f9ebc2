// Package live is the live stick: its image as a file, and what its system
// does when it has come up: greet, or install unattended.
//
// Writing the image needs no root and touches only the file that is named. On
// the running live system it reads the medium, writes layouts to it when asked
// to, and never decides anything about the machine's disks.
package live
