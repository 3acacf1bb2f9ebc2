// Package testvm runs QEMU guests for tests: whole machines with the disks,
// sticks and NICs a test asks for, driven over a serial console and QMP, and a
// small guest in which compiled Go test binaries run as root.
//
// It is imported by tests only. Guests run under TCG, which works everywhere;
// HVINSTALL_QEMU_ACCEL names another accelerator ("kvm"), and nothing is ever
// probed. Every guest has a hard time limit and dies with its test. Disks are
// sparse files in a temporary folder; the network of a guest is restricted to
// this machine. Logs are kept below build/testvm/<package>/<test>/ when a test fails.
//
// # A machine
//
//	vm := testvm.Boot(t, testvm.Config{
//		Memory: 2048,
//		Kernel: kernel, Initrd: initrd, Append: "console=ttyS0",
//		Drives: []testvm.Drive{{ID: "os", Model: testvm.NVMe, Serial: "NV001", Size: 500e9}},
//		NICs:   []testvm.NIC{{MAC: "52:54:00:12:34:56", PCIBus: 5}}, // enp5s0
//	})
//	vm.Expect(time.Minute, `login: $`)
//	vm.Send("root\n")
//	vm.PowerCut()
//
// # Tests that run inside a guest
//
// An outer test (build tag guest) calls RunTests, which compiles the packages'
// tests with the build tag guest_inner, boots one guest and runs them all as
// root in it, with udev, Debian's kernel and Debian's tools. Each inner test
// shows up as a subtest of the outer one.
//
//	//go:build guest
//	func TestInGuest(t *testing.T) {
//		testvm.RunTests(t, testvm.Guest{Config: testvm.Config{Drives: …}}, "./disk", "./crypt")
//	}
//
// BootGuest boots the same guest with a root shell on its console, for a test
// that is easier to write as commands (see VM.Shell).
//
// # Environment
//
//	HVINSTALL_QEMU_ACCEL   QEMU's -accel; default tcg,thread=multi
//	HVINSTALL_GUEST_CPUS   CPUs of a guest that asks for none; default 2
//	HVINSTALL_KEEP_LOGS    keep the logs of tests that pass, too
//	HVINSTALL_GUEST_SLOTS  lock files joined by ":"; a guest holds one of them
//	                       while it runs, which bounds the guests of one machine
package testvm
