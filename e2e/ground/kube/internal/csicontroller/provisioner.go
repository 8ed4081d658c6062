// Package csicontroller owns the cluster's side of the volume driver: volumes for claims, their deletion, their growth.
// It must not mount or format anything, and works only where all nodes' directories are on one machine.
package csicontroller

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"holdfast.dev/ground/kube/internal/csinode"
)

const (
	// nodeAttribute keeps the node a volume lives on, beside the affinity that says the same to the scheduler.
	nodeAttribute = "node"

	mebibyte = int64(1) << 20
)

// fsTypeParameters are the names under which a storage class may ask for a file system.
var fsTypeParameters = []string{"fsType", "csi.storage.k8s.io/fstype"}

// smallest is the least a file system can be made in: mkfs.xfs refuses below 300 MiB.
var smallest = map[string]int64{
	"ext4": 16 * mebibyte,
	"xfs":  300 * mebibyte,
}

// provisioner implements controller.Provisioner. Snapshots, when they come, are a copy of the file (a reflink where
// the disk below can) made here: in Provision for a claim with a data source, and in a third method for taking one.
type provisioner struct {
	files files
}

// Provision makes an empty volume on the node that the scheduler chose.
func (p *provisioner) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	kind, err := checkClaim(options)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	request := options.PVC.Spec.Resources.Requests[v1.ResourceStorage]
	size := (max(request.Value(), smallest[kind]) + mebibyte - 1) / mebibyte * mebibyte
	node, handle := options.SelectedNodeName, options.PVName
	if err := p.files.create(node, handle, size); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return newVolume(options, kind, size), controller.ProvisioningFinished, nil
}

// Delete removes a volume's file.
func (p *provisioner) Delete(ctx context.Context, volume *v1.PersistentVolume) error {
	source := volume.Spec.CSI
	if source == nil || source.Driver != csinode.DriverName {
		return &controller.IgnoredError{Reason: "the volume is another driver's"}
	}
	return p.files.remove(ctx, source.VolumeAttributes[nodeAttribute], source.VolumeHandle)
}

// checkClaim refuses what could not be served, and returns the file system to use. InvalidArgument becomes an event
// on the claim, and the claim is tried again more rarely.
func checkClaim(options controller.ProvisionOptions) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", status.Errorf(codes.InvalidArgument, format, args...)
	}
	spec := options.PVC.Spec
	allowed := []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce, v1.ReadWriteOncePod}
	for _, mode := range spec.AccessModes {
		if !slices.Contains(allowed, mode) {
			return refuse("access mode %s is not served: a volume lives on one node, so only %v", mode, allowed)
		}
	}
	if spec.Selector != nil {
		return refuse("a claim with a selector is not served")
	}
	if spec.DataSource != nil || spec.DataSourceRef != nil {
		return refuse("a claim with a data source is not served: volumes start empty")
	}
	if options.SelectedNodeName == "" {
		return refuse("no node is selected: the storage class must have volumeBindingMode WaitForFirstConsumer")
	}
	kind := "ext4"
	for name, value := range options.StorageClass.Parameters {
		if !slices.Contains(fsTypeParameters, name) {
			return refuse("storage class parameter %s is not known", name)
		}
		kind = value
	}
	if smallest[kind] == 0 {
		return refuse("file system %q is not served, only ext4 and xfs", kind)
	}
	return kind, nil
}

func newVolume(options controller.ProvisionOptions, kind string, size int64) *v1.PersistentVolume {
	mode := v1.PersistentVolumeFilesystem
	reclaim := v1.PersistentVolumeReclaimDelete
	if options.StorageClass.ReclaimPolicy != nil {
		reclaim = *options.StorageClass.ReclaimPolicy
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: reclaim,
			AccessModes:                   options.PVC.Spec.AccessModes,
			MountOptions:                  options.StorageClass.MountOptions,
			VolumeMode:                    &mode,
			Capacity: v1.ResourceList{
				v1.ResourceStorage: *resource.NewQuantity(size, resource.BinarySI),
			},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver:           csinode.DriverName,
				VolumeHandle:     options.PVName,
				FSType:           kind,
				VolumeAttributes: map[string]string{nodeAttribute: options.SelectedNodeName},
			}},
			NodeAffinity: onlyOn(options.SelectedNodeName),
		},
	}
}

func onlyOn(node string) *v1.VolumeNodeAffinity {
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{
			Key:      v1.LabelHostname,
			Operator: v1.NodeSelectorOpIn,
			Values:   []string{node},
		}},
	}}}}
}

var _ controller.Provisioner = (*provisioner)(nil)
