// This file owns the volumes' files in the nodes' directories: making them empty, removing them.
// It must not write into one, nor make file systems: the node does.
package csicontroller

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"holdfast.dev/ground/kube/internal/csinode"
	"holdfast.dev/ground/kube/internal/loopdev"
)

const (
	// A node lets go of a volume a moment after the last pod is gone.
	releaseWait  = 5 * time.Second
	releasePause = 100 * time.Millisecond
)

// Names come from objects and become paths, so nothing that could leave a directory is let in.
var safeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,126}[a-z0-9])?$`)

// files finds volume files by a pattern such as /somewhere/%s/volumes.
type files struct {
	pattern string
}

func newFiles(pattern string) (files, error) {
	if strings.Count(pattern, "%") != 1 || !strings.Contains(pattern, "%s") {
		return files{}, errors.New("--volumes-dir-pattern must hold %s once, for the node's name")
	}
	return files{pattern: pattern}, nil
}

func (f files) path(node, handle string) (string, error) {
	if !safeName.MatchString(node) {
		return "", fmt.Errorf("failed to use %q as a node's name", node)
	}
	if !safeName.MatchString(handle) {
		return "", fmt.Errorf("failed to use %q as a volume's name", handle)
	}
	return filepath.Join(strings.Replace(f.pattern, "%s", node, 1), handle+csinode.ImageSuffix), nil
}

// create makes a sparse file of a size. A file that is there already is from an earlier try for the same claim.
func (f files) create(node, handle string, size int64) error {
	path, err := f.path(node, handle)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("failed to find the volume directory of node %s: %w", node, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("failed to make the file of volume %s: %w", handle, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("failed to look at %s: %w", path, err)
	}
	if info.Size() < size {
		if err := file.Truncate(size); err != nil {
			return fmt.Errorf("failed to size %s: %w", path, err)
		}
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("failed to keep %s: %w", path, err)
	}
	return nil
}

// remove deletes a file once no node holds it any longer. A file that is gone already is removed.
func (f files) remove(ctx context.Context, node, handle string) error {
	path, err := f.path(node, handle)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(releaseWait)
	for {
		attached, err := isAttached(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("failed to see whether %s is in use: %w", path, err)
		}
		if !attached {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("failed to delete volume %s: node %s still holds it", handle, node)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(releasePause):
		}
	}
	// The volume's own file goes last: while it is there, a try that was cut short is found again.
	for _, name := range []string{path + csinode.FormattingSuffix, path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("failed to delete volume %s: %w", handle, err)
		}
	}
	return nil
}

func isAttached(path string) (bool, error) {
	device, err := loopdev.Find(path)
	if errors.Is(err, loopdev.ErrNotAttached) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Opening the device can be what keeps it: it is let go of at once, and looked at again.
	return true, device.Close()
}
