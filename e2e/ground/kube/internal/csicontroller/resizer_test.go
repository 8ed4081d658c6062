// This file owns the proof that a larger claim is recorded the way the kubelet reads it, and never twice at once.
// It must not grow a file.
package csicontroller

import (
	"context"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"holdfast.dev/ground/kube/internal/csinode"
)

// bound is a claim and its volume in some state of growing. An empty size is left out.
func bound(want, have, volumeSize, allocated string, state v1.ClaimResourceStatus) (
	*v1.PersistentVolumeClaim, *v1.PersistentVolume,
) {
	c := claim()
	c.Spec.VolumeName = "pvc-uid-0"
	c.Spec.Resources.Requests[v1.ResourceStorage] = resource.MustParse(want)
	c.Status.Phase = v1.ClaimBound
	c.Status.Capacity = v1.ResourceList{v1.ResourceStorage: resource.MustParse(have)}
	if allocated != "" {
		c.Status.AllocatedResources = v1.ResourceList{v1.ResourceStorage: resource.MustParse(allocated)}
	}
	if state != "" {
		c.Status.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: state}
	}
	return c, &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-uid-0"},
		Spec: v1.PersistentVolumeSpec{
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse(volumeSize)},
			ClaimRef: &v1.ObjectReference{Namespace: "default", Name: "data-0", UID: "uid-0"},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{
				Driver: csinode.DriverName, VolumeHandle: "pvc-uid-0",
			}},
		},
	}
}

func TestALargerClaimIsHandedToTheNode(t *testing.T) {
	c, pv := bound("2Gi", "1Gi", "1Gi", "", "")
	c.Status.Conditions = []v1.PersistentVolumeClaimCondition{{Type: "Unrelated", Status: v1.ConditionTrue}}
	client := fake.NewClientset(c, pv)
	grower := newResizer(client, record.NewFakeRecorder(10))
	for range 2 { // The second time there is nothing left to do.
		if err := grower.sync(context.Background(), "default", "data-0"); err != nil {
			t.Fatal(err)
		}
	}
	pv, err := client.CoreV1().PersistentVolumes().Get(context.Background(), "pvc-uid-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if size := pv.Spec.Capacity[v1.ResourceStorage]; size.String() != "2Gi" {
		t.Errorf("the volume is of %s", size.String())
	}
	if pv.Annotations[preResizeCapacity] != "1Gi" {
		t.Errorf("the annotations are %v", pv.Annotations)
	}
	c, err = client.CoreV1().PersistentVolumeClaims("default").Get(context.Background(), "data-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if size := c.Status.AllocatedResources[v1.ResourceStorage]; size.String() != "2Gi" {
		t.Errorf("allocated are %s", size.String())
	}
	if state := c.Status.AllocatedResourceStatuses[v1.ResourceStorage]; state != v1.PersistentVolumeClaimNodeResizePending {
		t.Errorf("the state is %s", state)
	}
	if size := c.Status.Capacity[v1.ResourceStorage]; size.String() != "1Gi" {
		t.Errorf("the claim's capacity is %s before the node grew anything", size.String())
	}
	if !pendsOnNode(c) || len(c.Status.Conditions) != 3 || c.Status.Conditions[0].Type != "Unrelated" {
		t.Errorf("the conditions are %v", c.Status.Conditions)
	}
}

func TestTheNextSizeFollowsTheStateOfTheLastGrowth(t *testing.T) {
	cases := []struct {
		name                    string
		want, volume, allocated string
		state                   v1.ClaimResourceStatus
		size                    string // Empty: nothing to do now.
	}{
		{"nothing is under way", "3Gi", "1Gi", "", "", "3Gi"},
		{"an earlier growth is done", "3Gi", "2Gi", "2Gi", "", "3Gi"},
		{"the node has not begun", "3Gi", "2Gi", "2Gi", v1.PersistentVolumeClaimNodeResizePending, ""},
		{"the node is at it", "3Gi", "3Gi", "3Gi", v1.PersistentVolumeClaimNodeResizeInProgress, ""},
		{"the volume was not written", "3Gi", "1Gi", "2Gi", v1.PersistentVolumeClaimControllerResizeInProgress, "2Gi"},
		{"the claim was not written", "3Gi", "3Gi", "3Gi", v1.PersistentVolumeClaimControllerResizeInProgress, "3Gi"},
		{"the node gave up, less is asked", "2Gi", "9Gi", "9Gi", v1.PersistentVolumeClaimNodeResizeInfeasible, "2Gi"},
		{"the node gave up, more is asked", "9Gi", "3Gi", "3Gi", v1.PersistentVolumeClaimNodeResizeInfeasible, "3Gi"},
	}
	for _, c := range cases {
		pvc, pv := bound(c.want, "1Gi", c.volume, c.allocated, c.state)
		size, act := nextSize(pvc, pv)
		if act != (c.size != "") || act && size.String() != c.size {
			t.Errorf("%s: %s, %v", c.name, size.String(), act)
		}
	}
}

func TestAClaimThatHasEnoughIsLeftAlone(t *testing.T) {
	enough, _ := bound("1Gi", "1Gi", "1Gi", "", "")
	pending, _ := bound("2Gi", "1Gi", "1Gi", "", "")
	pending.Status.Phase = v1.ClaimPending
	for _, c := range []*v1.PersistentVolumeClaim{enough, pending} {
		if wantsMore(c) {
			t.Errorf("%v is to grow", c)
		}
	}
}
