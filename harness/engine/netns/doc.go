// Package netns is the engine "netns": every host of a lab is a network
// namespace of the Linux kernel this runs on, and processes are ordinary
// processes. It needs no root where unprivileged user namespaces are allowed,
// and nothing to be installed.
//
// It promises that a lab leaves nothing behind, however the program that built
// it ends. A lab hangs on a single process, its init, which is PID 1 of a PID
// namespace and the only holder of the lab's network namespaces; they have no
// names and no mounts. The kernel kills the init with the thread that started
// it, and the init ends by itself when its connection to the controller does.
// With it go all of the lab's processes, and with them the namespaces and the
// interfaces in them.
//
// Any program can be run on a host (Lab.Run): it shares the machine's files, and finds
// the hosts by their names, which only the lab's own mounts have in /etc/hosts.
//
// The engine re-executes the running program for the init and for the link
// emulator. So every program that builds labs, test binaries included, must
// call RunIfChild before all else:
//
//	func main() {
//		netns.RunIfChild()
//		...
//	}
package netns

// RunIfChild turns the process into the init or the link emulator of a lab, if
// that is what it was started as, and then never returns. In any other process
// it does nothing. It must be called first in main, and in TestMain.
func RunIfChild() { runIfChild() }
