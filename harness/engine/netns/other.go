//go:build !linux

package netns

// Without Linux there are no labs, hence no children.
func runIfChild() {}
