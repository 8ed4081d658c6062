// This file owns growing a volume: its file, its device, its file system.
// It must not shrink anything.
package csinode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"

	"holdfast.dev/ground/kube/internal/loopdev"
)

// NodeExpandVolume implements csi.NodeServer. Each of its steps may have been done by an earlier call.
func (d *Driver) NodeExpandVolume(
	_ context.Context, request *csi.NodeExpandVolumeRequest,
) (*csi.NodeExpandVolumeResponse, error) {
	path := request.GetStagingTargetPath()
	if path == "" {
		path = request.GetVolumePath()
	}
	if path == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no path")
	}
	image, err := d.image(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	required, limit := request.GetCapacityRange().GetRequiredBytes(), request.GetCapacityRange().GetLimitBytes()
	if limit > 0 && required > limit {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes are required but %d is the limit", required, limit)
	}
	release, err := d.busy.take(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer release()

	device, err := loopdev.Find(image)
	if err != nil {
		// Not NotFound: the kubelet would take that for a growth that can never be.
		return nil, status.Errorf(codes.Internal, "failed to find the device of %s: %v", image, err)
	}
	defer device.Close()
	found, err := mountAt(path)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
	}
	if found == nil || !found.isOn(device) {
		return nil, status.Errorf(codes.Internal, "volume %s is not mounted at %s", request.GetVolumeId(), path)
	}
	size, err := grow(image, required)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to grow %s: %v", image, err)
	}
	if err := device.Refresh(); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if _, err := mount.NewResizeFs(d.mounter.Exec).Resize(device.Path, path); err != nil {
		if found.kind == ext4 && !mayGrowMounted() {
			// The kubelet records this, leaves the volume in use, and asks again when a pod next starts with it.
			return nil, status.Errorf(codes.FailedPrecondition,
				"volume %s is in use, and growing a mounted ext4 needs a capability that this machine withholds: "+
					"it grows when its pod is next started, xfs grows at once", request.GetVolumeId())
		}
		return nil, status.Errorf(codes.Internal, "failed to grow the file system of %s: %v", image, err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: size}, nil
}

// mayGrowMounted says whether the kernel lets us grow a mounted ext4, which it does for CAP_SYS_RESOURCE alone.
// Containers and sandboxes often withhold it from their root.
func mayGrowMounted() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// growStaged takes a staged ext4 off for a moment to make it as large as its file, if nothing but the staging mount
// uses it. A kubelet keeps a volume staged from one pod to the next when the next comes soon.
func (d *Driver) growStaged(image, staging string, staged *mounted, flags []string) error {
	if staged.kind != ext4 || mayGrowMounted() {
		return nil
	}
	behind, err := ext4IsBehind(image)
	if err != nil || !behind {
		return err
	}
	if alone, err := staged.isAlone(); err != nil || !alone {
		return err
	}
	device, err := loopdev.Attach(image)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := d.mounter.Unmount(staging); err != nil {
		klog.InfoS("A volume stays as it is: it is in use after all", "image", image, "reason", err)
		return nil
	}
	if err := d.growUnmounted(image, device); err != nil {
		// The volume goes back as it was: better small than not there.
		klog.ErrorS(err, "A volume could not be grown", "image", image)
	}
	return d.mountStaged(device, staging, ext4, flags)
}

// growUnmounted makes an ext4 as large as its file, when an earlier growth could not be finished in use. Nothing is
// mounted yet, so this needs no capability beyond writing to the device.
func (d *Driver) growUnmounted(image string, device *loopdev.Device) error {
	behind, err := ext4IsBehind(image)
	if err != nil || !behind {
		return err
	}
	// resize2fs refuses a file system that was not checked in full since its last mount. 1 is "errors corrected".
	output, err := d.mounter.Exec.Command("e2fsck", "-f", "-p", device.Path).CombinedOutput()
	var exit utilexec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitStatus() == 1) {
		return fmt.Errorf("failed to check it: %w: %s", err, output)
	}
	if output, err := d.mounter.Exec.Command("resize2fs", device.Path).CombinedOutput(); err != nil {
		return fmt.Errorf("failed to grow it: %w: %s", err, output)
	}
	return nil
}

// ext4IsBehind compares the size in the file system's superblock with the size of the file.
func ext4IsBehind(image string) (bool, error) {
	const (
		superblock   = 1024
		blocksLow    = 0x04
		logBlockSize = 0x18
		blocksHigh   = 0x150
	)
	file, err := os.Open(image)
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	block := make([]byte, 1024)
	if _, err := file.ReadAt(block, superblock); err != nil {
		return false, fmt.Errorf("failed to read the superblock: %w", err)
	}
	number := func(at int) int64 { return int64(binary.LittleEndian.Uint32(block[at:])) }
	size := (number(blocksHigh)<<32 | number(blocksLow)) << (10 + number(logBlockSize))
	return info.Size()-size >= sizeUnit, nil
}
