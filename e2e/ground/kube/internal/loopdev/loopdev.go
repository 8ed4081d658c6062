// Package loopdev owns attaching files to loop devices, at most one device a file.
// It must not know about file systems, mounts or volumes, and never detaches: the kernel does, at the last close.
package loopdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	controlPath = "/dev/loop-control"
	sysPattern  = "/sys/block/loop*/loop/backing_file"
	loopMajor   = 7
	// Several nodes take free devices at the same time, and whoever asked for the same one second must ask again.
	configureTries = 100
	configurePause = 5 * time.Millisecond
)

// ErrNotAttached says that no loop device is attached to the file.
var ErrNotAttached = errors.New("no loop device is attached")

// attaching keeps two callers in this process from attaching one file twice.
var attaching sync.Mutex

// Device is an open loop device. The device stays attached while this, or a mount, holds it.
type Device struct {
	Path  string
	Major uint32
	Minor uint32
	file  *os.File
}

// Close lets go of the device. Without a mount this detaches it.
func (d *Device) Close() error { return d.file.Close() }

// Attach opens the device that is attached to the file, or attaches a free one. Two devices on one file would be two
// caches of one disk, so a device left behind by an earlier life of the node is used again.
func Attach(image string) (*Device, error) {
	attaching.Lock()
	defer attaching.Unlock()

	device, err := Find(image)
	if err == nil || !errors.Is(err, ErrNotAttached) {
		return device, err
	}
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("failed to open the file: %w", err)
	}
	defer file.Close()
	for range configureTries {
		device, err = configureFree(file)
		if err == nil {
			return device, nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENXIO) {
			break
		}
		time.Sleep(configurePause)
	}
	return nil, err
}

// Find opens the device that is attached to the file.
func Find(image string) (*Device, error) {
	var want unix.Stat_t
	if err := unix.Stat(image, &want); err != nil {
		return nil, fmt.Errorf("failed to look at %s: %w", image, err)
	}
	entries, err := filepath.Glob(sysPattern)
	if err != nil {
		return nil, fmt.Errorf("failed to list loop devices: %w", err)
	}
	for _, entry := range entries {
		// The name comes first: opening another's device would hold up its detaching.
		backing, err := os.ReadFile(entry)
		if err != nil || filepath.Base(strings.TrimSpace(string(backing))) != filepath.Base(image) {
			continue
		}
		name := filepath.Base(filepath.Dir(filepath.Dir(entry)))
		number, err := strconv.Atoi(strings.TrimPrefix(name, "loop"))
		if err != nil {
			continue
		}
		device, err := open(number)
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.file.Fd()))
		if err == nil && info.Device == want.Dev && info.Inode == want.Ino {
			return device, nil
		}
		_ = device.Close()
	}
	return nil, ErrNotAttached
}

// Refresh makes the device as large as its file has become.
func (d *Device) Refresh() error {
	if err := unix.IoctlSetInt(int(d.file.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("failed to refresh the size of %s: %w", d.Path, err)
	}
	return nil
}

func configureFree(image *os.File) (*Device, error) {
	control, err := os.OpenFile(controlPath, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("failed to open %s: %w", controlPath, err)
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("failed to find a free loop device: %w", err)
	}
	device, err := open(number)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{
		Fd:   uint32(image.Fd()),
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR},
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image.Name())
	if err := unix.IoctlLoopConfigure(int(device.file.Fd()), &config); err != nil {
		_ = device.Close()
		return nil, fmt.Errorf("failed to attach %s: %w", device.Path, err)
	}
	return device, nil
}

func open(number int) (*Device, error) {
	path := fmt.Sprintf("/dev/loop%d", number)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		// Where /dev is not kept by the kernel, the node of a new device is ours to make.
		dev := unix.Mkdev(loopMajor, uint32(number))
		if err := unix.Mknod(path, syscall.S_IFBLK|0o600, int(dev)); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("failed to make %s: %w", path, err)
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("failed to open %s: %w", path, err)
	}
	return &Device{Path: path, Major: loopMajor, Minor: uint32(number), file: file}, nil
}
