// This file owns the proof that claims become files and volumes, and that what cannot be served is refused aloud.
// It must not need root or a cluster.
package csicontroller

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"holdfast.dev/ground/kube/internal/csinode"
)

const patience = 20 * time.Second

func newGround(t *testing.T) (*provisioner, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "n1", "volumes"), 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := newFiles(filepath.Join(dir, "%s", "volumes"))
	if err != nil {
		t.Fatal(err)
	}
	return &provisioner{files: files}, dir
}

func class() *storagev1.StorageClass {
	reclaim, binding := v1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: "standard"},
		Provisioner:       csinode.DriverName,
		ReclaimPolicy:     &reclaim,
		VolumeBindingMode: &binding,
	}
}

func claim() *v1.PersistentVolumeClaim {
	name := "standard"
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "data-0", UID: "uid-0",
			Annotations: map[string]string{
				"volume.kubernetes.io/selected-node":       "n1",
				"volume.kubernetes.io/storage-provisioner": csinode.DriverName,
			},
		},
		Spec: v1.PersistentVolumeClaimSpec{
			StorageClassName: &name,
			AccessModes:      []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			Resources: v1.VolumeResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("100M")},
			},
		},
		Status: v1.PersistentVolumeClaimStatus{Phase: v1.ClaimPending},
	}
}

func options(change func(*controller.ProvisionOptions)) controller.ProvisionOptions {
	all := controller.ProvisionOptions{
		StorageClass: class(), PVName: "pvc-uid-0", PVC: claim(), SelectedNodeName: "n1",
	}
	if change != nil {
		change(&all)
	}
	return all
}

func TestAClaimBecomesAnEmptyFileOnTheChosenNode(t *testing.T) {
	ground, dir := newGround(t)
	for range 2 { // A try that failed after the file was made is repeated.
		volume, state, err := ground.Provision(context.Background(), options(nil))
		if err != nil || state != controller.ProvisioningFinished {
			t.Fatal(state, err)
		}
		capacity := volume.Spec.Capacity[v1.ResourceStorage]
		info, err := os.Stat(filepath.Join(dir, "n1", "volumes", "pvc-uid-0.img"))
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(96 << 20); info.Size() != want || capacity.Value() != want {
			t.Errorf("100M became a file of %d and a volume of %d, not %d", info.Size(), capacity.Value(), want)
		}
		source := volume.Spec.CSI
		if source.Driver != csinode.DriverName || source.VolumeHandle != "pvc-uid-0" || source.FSType != "ext4" {
			t.Errorf("the source is %v", source)
		}
		term := volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
		if term.Key != "kubernetes.io/hostname" || len(term.Values) != 1 || term.Values[0] != "n1" {
			t.Errorf("the affinity is %v", term)
		}
	}
}

func TestAnXFSVolumeIsNeverTooSmallToBeMade(t *testing.T) {
	ground, _ := newGround(t)
	volume, _, err := ground.Provision(context.Background(), options(func(o *controller.ProvisionOptions) {
		o.StorageClass.Parameters = map[string]string{"fsType": "xfs"}
	}))
	if err != nil {
		t.Fatal(err)
	}
	capacity := volume.Spec.Capacity[v1.ResourceStorage]
	if volume.Spec.CSI.FSType != "xfs" || capacity.Value() != 300<<20 {
		t.Errorf("made %s of %s", volume.Spec.CSI.FSType, capacity.String())
	}
}

func TestWhatCannotBeServedIsRefused(t *testing.T) {
	changes := map[string]func(*controller.ProvisionOptions){
		"access mode": func(o *controller.ProvisionOptions) {
			o.PVC.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}
		},
		"no node is selected": func(o *controller.ProvisionOptions) { o.SelectedNodeName = "" },
		"data source": func(o *controller.ProvisionOptions) {
			o.PVC.Spec.DataSource = &v1.TypedLocalObjectReference{Kind: "VolumeSnapshot", Name: "s"}
		},
		"selector": func(o *controller.ProvisionOptions) { o.PVC.Spec.Selector = &metav1.LabelSelector{} },
		"file system": func(o *controller.ProvisionOptions) {
			o.StorageClass.Parameters = map[string]string{"fsType": "btrfs"}
		},
		"parameter":            func(o *controller.ProvisionOptions) { o.StorageClass.Parameters = map[string]string{"speed": "1"} },
		"node's name":          func(o *controller.ProvisionOptions) { o.SelectedNodeName = "../n1" },
		"directory of node n2": func(o *controller.ProvisionOptions) { o.SelectedNodeName = "n2" },
	}
	for word, change := range changes {
		ground, _ := newGround(t)
		_, state, err := ground.Provision(context.Background(), options(change))
		if err == nil || state != controller.ProvisioningFinished || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, %v", word, state, err)
		}
	}
}

func TestDeletingTwiceIsDeleting(t *testing.T) {
	ground, dir := newGround(t)
	volume, _, err := ground.Provision(context.Background(), options(nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ground.Delete(context.Background(), volume); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "n1", "volumes")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestThePatternMustNameTheNodeOnce(t *testing.T) {
	for _, pattern := range []string{"", "volumes", "%s/%s", "%d/volumes"} {
		if _, err := newFiles(pattern); err == nil {
			t.Errorf("%q was taken", pattern)
		}
	}
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Millisecond) {
		if ask() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func TestTheControllerMakesAndDeletesVolumes(t *testing.T) {
	ground, dir := newGround(t)
	shared := claim()
	shared.Name, shared.UID = "shared-0", "uid-1"
	shared.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}
	client := fake.NewClientset(class(), claim(), shared)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = serve(ctx, client, ground.files) }()

	volumes := client.CoreV1().PersistentVolumes()
	var volume *v1.PersistentVolume
	eventually(t, "a volume", func() bool {
		var err error
		volume, err = volumes.Get(ctx, "pvc-uid-0", metav1.GetOptions{})
		return err == nil
	})
	eventually(t, "an event that says why the shared claim is refused", func() bool {
		events, err := client.CoreV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return false
		}
		for _, event := range events.Items {
			if event.InvolvedObject.Name == "shared-0" && strings.Contains(event.Message, "ReadWriteMany is not served") {
				return true
			}
		}
		return false
	})

	volume.Status.Phase = v1.VolumeReleased
	if _, err := volumes.UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no volume", func() bool {
		_, err := volumes.Get(ctx, "pvc-uid-0", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if left, err := os.ReadDir(filepath.Join(dir, "n1", "volumes")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
