// This file owns reading the mount table and unmounting.
// It must not mount.
package csinode

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/mount-utils"

	"holdfast.dev/ground/kube/internal/loopdev"
)

const mountTable = "/proc/self/mountinfo"

// mounted is the topmost mount at a path.
type mounted struct {
	source   string
	kind     string
	major    int
	minor    int
	readOnly bool
}

func (m *mounted) isOn(device *loopdev.Device) bool {
	return m.major == int(device.Major) && m.minor == int(device.Minor)
}

// isAlone is true when this is the only mount of its device in this namespace.
func (m *mounted) isAlone() (bool, error) {
	table, err := mount.ParseMountInfo(mountTable)
	if err != nil {
		return false, err
	}
	count := 0
	for _, entry := range table {
		if entry.Major == m.major && entry.Minor == m.minor {
			count++
		}
	}
	return count == 1, nil
}

// mountAt returns what is mounted exactly at a path, or nil.
func mountAt(path string) (*mounted, error) {
	// Resolved by the parent: the path itself may hang or fail when what is mounted there is broken.
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	resolved := filepath.Join(parent, filepath.Base(path))
	table, err := mount.ParseMountInfo(mountTable)
	if err != nil {
		return nil, err
	}
	var top *mounted
	for _, entry := range table {
		if entry.MountPoint == resolved {
			top = &mounted{
				source:   entry.Source,
				kind:     entry.FsType,
				major:    entry.Major,
				minor:    entry.Minor,
				readOnly: slices.Contains(entry.MountOptions, "ro"),
			}
		}
	}
	return top, nil
}

// unmountAll takes off every mount at a path, of which there may be more than one after repeated calls.
func (d *Driver) unmountAll(path string) error {
	for {
		found, err := mountAt(path)
		if err != nil {
			return status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
		}
		if found == nil {
			return nil
		}
		if err := d.mounter.Unmount(path); err != nil {
			return status.Errorf(codes.Internal, "failed to unmount %s: %v", path, err)
		}
	}
}
