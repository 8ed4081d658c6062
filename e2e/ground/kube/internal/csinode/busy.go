// This file owns the rule that one volume has one operation at a time.
// It must not wait: the kubelet tries again.
package csinode

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// busySet holds the names that are being worked on.
type busySet struct {
	mutex sync.Mutex
	names map[string]bool
}

// take marks a name as being worked on, and returns what takes the mark off again.
func (b *busySet) take(name string) (func(), error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.names[name] {
		return nil, status.Errorf(codes.Aborted, "another operation on volume %s is under way", name)
	}
	if b.names == nil {
		b.names = map[string]bool{}
	}
	b.names[name] = true
	return func() {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		delete(b.names, name)
	}, nil
}
