// This file owns a volume's file and the making of the file system in it.
// It must not create or delete the file: an absent file is lost data, and says so.
package csinode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"holdfast.dev/ground/kube/internal/loopdev"
)

const (
	ext4 = "ext4"
	xfs  = "xfs"
	// A file system cannot end inside a page, and loop devices count in sectors.
	sizeUnit = 4096
	// FormattingSuffix marks a file whose file system is being made. It stays behind when that is cut short.
	FormattingSuffix = ".formatting"
)

// A handle becomes a file name, so a path can never come out of it.
var handlePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?$`)

// makeOptions are what each file system is made with. Ext4's tables are left to be zeroed later, which the mount
// option noinit_itable then never does: the file reads as zeroes where nothing was written, and stays sparse.
var makeOptions = map[string][]string{
	ext4: {"-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"},
	xfs:  {"-q", "-f"},
}

// mountOptions are added to what the volume's class asks for.
var mountOptions = map[string][]string{
	ext4: {"errors=remount-ro", "noinit_itable"},
	xfs:  nil,
}

// image finds the file of a volume.
func (d *Driver) image(handle string) (string, error) {
	if handle == "" {
		return "", status.Error(codes.InvalidArgument, "the volume has no name")
	}
	if !handlePattern.MatchString(handle) {
		return "", status.Errorf(codes.InvalidArgument, "%q cannot be the name of a volume", handle)
	}
	path := filepath.Join(d.config.Dir, handle+ImageSuffix)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", status.Errorf(codes.NotFound,
			"the file of volume %s is not on node %s: %s is missing, and its data with it", handle, d.config.Node, path)
	}
	if err != nil {
		return "", status.Errorf(codes.Internal, "failed to look at the file of volume %s: %v", handle, err)
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return "", status.Errorf(codes.Internal, "%s is not the file of a volume", path)
	}
	return path, nil
}

// ensureFormat makes a file system on a volume that never had one. A file that holds data but no file system is
// damaged, not new, and is left alone.
func (d *Driver) ensureFormat(image string, device *loopdev.Device, kind string) error {
	marker := image + FormattingSuffix
	_, err := os.Stat(marker)
	cutShort := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return status.Errorf(codes.Internal, "failed to look at %s: %v", marker, err)
	}
	found, err := d.mounter.GetDiskFormat(device.Path)
	if err != nil {
		return status.Errorf(codes.Internal, "failed to look for a file system on %s: %v", image, err)
	}
	if found == kind && !cutShort {
		return nil
	}
	if !cutShort {
		if found != "" {
			return status.Errorf(codes.FailedPrecondition, "%s holds %s, not %s", image, found, kind)
		}
		empty, err := holdsNothing(image)
		if err != nil {
			return status.Errorf(codes.Internal, "failed to look at %s: %v", image, err)
		}
		if !empty {
			return status.Errorf(codes.DataLoss, "%s holds data but no file system is found on it", image)
		}
	}
	return d.format(image, marker, device, kind)
}

func (d *Driver) format(image, marker string, device *loopdev.Device, kind string) error {
	if err := writeMarker(marker); err != nil {
		return status.Errorf(codes.Internal, "failed to write %s: %v", marker, err)
	}
	args := append(append([]string{}, makeOptions[kind]...), device.Path)
	klog.InfoS("Making a file system", "kind", kind, "image", image, "device", device.Path)
	if output, err := d.mounter.Exec.Command("mkfs."+kind, args...).CombinedOutput(); err != nil {
		return status.Errorf(codes.Internal, "failed to make %s on %s: %v: %s", kind, image, err, output)
	}
	if err := os.Remove(marker); err != nil {
		return status.Errorf(codes.Internal, "failed to remove %s: %v", marker, err)
	}
	return nil
}

func writeMarker(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// holdsNothing is true for a file of which no block was ever written.
func holdsNothing(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false, fmt.Errorf("failed to read the block count of %s", path)
	}
	return stat.Blocks == 0, nil
}

// grow makes the file at least as large as asked and returns its size. It never shrinks it.
func grow(path string, want int64) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	want = (want + sizeUnit - 1) / sizeUnit * sizeUnit
	if info.Size() >= want {
		return info.Size(), nil
	}
	return want, os.Truncate(path, want)
}
