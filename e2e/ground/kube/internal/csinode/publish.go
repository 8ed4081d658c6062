// This file owns the mounts that pods see: bind mounts of the staged volume, and their measures.
// It must not format, and changes the staged mount only to finish a growth before a pod starts.
package csinode

import (
	"context"
	"errors"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NodePublishVolume implements csi.NodeServer.
func (d *Driver) NodePublishVolume(
	_ context.Context, request *csi.NodePublishVolumeRequest,
) (*csi.NodePublishVolumeResponse, error) {
	staging, target := request.GetStagingTargetPath(), request.GetTargetPath()
	if staging == "" || target == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no staging path or no target path")
	}
	_, flags, err := readCapability(request.GetVolumeCapability())
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

	staged, err := mountAt(staging)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
	}
	if staged == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not staged at %s", request.GetVolumeId(), staging)
	}
	published, err := mountAt(target)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
	}
	if published != nil {
		if published.major != staged.major || published.minor != staged.minor {
			return nil, status.Errorf(codes.Internal, "something else is mounted at %s: %s", target, published.source)
		}
		if published.readOnly != request.GetReadonly() {
			return nil, status.Errorf(codes.AlreadyExists, "%s is mounted with another readonly setting", target)
		}
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := d.growStaged(image, staging, staged, flags); err != nil {
		return nil, status.Errorf(codes.Internal, "failed to grow volume %s: %v", request.GetVolumeId(), err)
	}
	if err := d.bind(staging, target, request.GetReadonly()); err != nil {
		return nil, status.Errorf(codes.Internal, "failed to mount at %s: %v", target, err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (d *Driver) bind(staging, target string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	options := []string{"bind"}
	if readOnly {
		options = append(options, "ro")
	}
	return d.mounter.Mount(staging, target, "", options)
}

// NodeUnpublishVolume implements csi.NodeServer.
func (d *Driver) NodeUnpublishVolume(
	_ context.Context, request *csi.NodeUnpublishVolumeRequest,
) (*csi.NodeUnpublishVolumeResponse, error) {
	target := request.GetTargetPath()
	if request.GetVolumeId() == "" || target == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no volume or no target path")
	}
	release, err := d.busy.take(request.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := d.unmountAll(target); err != nil {
		return nil, err
	}
	// Plain removal: should anything be left in the directory, it is not ours to delete.
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, status.Errorf(codes.Internal, "failed to remove %s: %v", target, err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeGetVolumeStats implements csi.NodeServer.
func (d *Driver) NodeGetVolumeStats(
	_ context.Context, request *csi.NodeGetVolumeStatsRequest,
) (*csi.NodeGetVolumeStatsResponse, error) {
	path := request.GetVolumePath()
	if request.GetVolumeId() == "" || path == "" {
		return nil, status.Error(codes.InvalidArgument, "the request names no volume or no path")
	}
	found, err := mountAt(path)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "failed to read the mounts: %v", err)
	}
	if found == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s is not mounted at %s", request.GetVolumeId(), path)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return nil, status.Errorf(codes.Internal, "failed to measure %s: %v", path, err)
	}
	block := stat.Bsize
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{
			Unit:      csi.VolumeUsage_BYTES,
			Total:     int64(stat.Blocks) * block,
			Available: int64(stat.Bavail) * block,
			Used:      int64(stat.Blocks-stat.Bfree) * block,
		},
		{
			Unit:      csi.VolumeUsage_INODES,
			Total:     int64(stat.Files),
			Available: int64(stat.Ffree),
			Used:      int64(stat.Files - stat.Ffree),
		},
	}}, nil
}
