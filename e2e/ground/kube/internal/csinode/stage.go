// This file owns the volume's own mount on a node: staging and unstaging.
// It must not know about pods.
package csinode

import (
	"context"
	"os"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdfast.dev/ground/kube/internal/loopdev"
)

// NodeStageVolume implements csi.NodeServer. After a restart of the node it finds the file but no mount, and mounts
// again what is there.
func (d *Driver) NodeStageVolume(
	_ context.Context, request *csi.NodeStageVolumeRequest,
) (*csi.NodeStageVolumeResponse, error) {
	target := request.GetStagingTargetPath()
	if target == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no staging path")
	}
	kind, flags, err := readCapability(request.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	image, err := d.image(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	release, err := d.busy.take(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer release()

	device, err := loopdev.Attach(image)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to attach %s: %v", image, err)
	}
	// From here the mount keeps the device; without a mount, closing detaches it.
	defer device.Close()

	mounted, err := mountAt(target)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
	}
	if mounted != nil {
		if !mounted.isOn(device) {
			return nil, status.Errorf(codes.Internal, "something else is mounted at %s: %s", target, mounted.source)
		}
		if mounted.kind != kind {
			return nil, status.Errorf(codes.AlreadyExists, "%s is mounted as %s, not %s", image, mounted.kind, kind)
		}
		return &csi.NodeStageVolumeResponse{}, nil
	}
	if err := d.ensureFormat(image, device, kind); err != nil {
		return nil, err
	}
	if kind == ext4 {
		if err := d.growUnmounted(image, device); err != nil {
			return nil, status.Errorf(codes.Internal, "failed to grow the file system of %s: %v", image, err)
		}
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return nil, status.Errorf(codes.Internal, "failed to make %s: %v", target, err)
	}
	if err := d.mountStaged(device, target, kind, flags); err != nil {
		return nil, status.Errorf(codes.Internal, "failed to mount %s: %v", image, err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// mountStaged checks the file system and mounts it. It cannot format: there is a file system by now.
func (d *Driver) mountStaged(device *loopdev.Device, target, kind string, flags []string) error {
	options := append(slices.Clone(mountOptions[kind]), flags...)
	return d.mounter.FormatAndMount(device.Path, target, kind, options)
}

// NodeUnstageVolume implements csi.NodeServer. It works without the file too, so that lost volumes can be let go.
func (d *Driver) NodeUnstageVolume(
	_ context.Context, request *csi.NodeUnstageVolumeRequest,
) (*csi.NodeUnstageVolumeResponse, error) {
	if request.GetVolumeId() == "" || request.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no volume or no staging path")
	}
	release, err := d.busy.take(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := d.unmountAll(request.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// readCapability says which file system is asked for, and with which mount options.
func readCapability(capability *csi.VolumeCapability) (string, []string, error) {
	if capability == nil {
		return "", nil, status.Error(codes.InvalidArgument, "the request says nothing of the volume's use")
	}
	if capability.GetMount() == nil {
		return "", nil, status.Error(codes.InvalidArgument, "only volumes with a file system are served, not raw devices")
	}
	switch mode := capability.GetAccessMode().GetMode(); mode {
	case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER,
		csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
	default:
		return "", nil, status.Errorf(codes.InvalidArgument, "a volume lives on one node; access mode %s is not served", mode)
	}
	kind := capability.GetMount().GetFsType()
	if kind == "" {
		kind = ext4
	}
	if _, known := makeOptions[kind]; !known {
		return "", nil, status.Errorf(codes.InvalidArgument, "file system %q is not served, only ext4 and xfs", kind)
	}
	return kind, capability.GetMount().GetMountFlags(), nil
}
