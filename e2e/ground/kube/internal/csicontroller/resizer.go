// This file owns the control plane's part of growing a volume: recording the new size so that the kubelet acts on it.
// It must not touch the file: the node grows it, and only the kubelet says when that is done.
package csicontroller

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"holdfast.dev/ground/kube/internal/csinode"
)

// preResizeCapacity is how the volume controllers remember a claim's size while its volume is already larger. The
// controller manager takes it off again.
const preResizeCapacity = "volume.alpha.kubernetes.io/pre-resize-capacity"

// resizer does what the external resizer does for a driver whose volumes grow on the node alone. It is written out
// here because that program's own release wants newer Kubernetes libraries than the rest of this one.
type resizer struct {
	client   kubernetes.Interface
	recorder record.EventRecorder
	queue    workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

func newResizer(client kubernetes.Interface, recorder record.EventRecorder) *resizer {
	return &resizer{
		client:   client,
		recorder: recorder,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryFirst, retryMost)),
	}
}

// watch puts claims that may have to grow on the queue.
func (r *resizer) watch(claims cache.SharedIndexInformer) error {
	enqueue := func(object any) {
		claim, ok := object.(*v1.PersistentVolumeClaim)
		if ok && wantsMore(claim) {
			r.queue.Add(cache.ObjectName{Namespace: claim.Namespace, Name: claim.Name})
		}
	}
	_, err := claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	return err
}

func (r *resizer) run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		r.queue.ShutDown()
	}()
	for {
		name, stopped := r.queue.Get()
		if stopped {
			return
		}
		if err := r.sync(ctx, name.Namespace, name.Name); err != nil {
			klog.ErrorS(err, "Growing failed, to be tried again", "claim", name)
			r.queue.AddRateLimited(name)
		} else {
			r.queue.Forget(name)
		}
		r.queue.Done(name)
	}
}

// sync reads claim and volume from the API server, not from a cache: it is about to write both.
func (r *resizer) sync(ctx context.Context, namespace, name string) error {
	claim, err := r.client.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to read the claim: %w", err)
	}
	if !wantsMore(claim) {
		return nil
	}
	volume, err := r.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("failed to read the volume: %w", err)
	}
	if !isOurs(volume, claim) {
		return nil
	}
	size, act := nextSize(claim, volume)
	if !act {
		return nil
	}
	return r.expand(ctx, claim, volume, size)
}

// expand writes the three records in the order in which a reader may meet them half done: the claim says what is
// under way, the volume is given its size, the claim says that the node is next.
func (r *resizer) expand(
	ctx context.Context, claim *v1.PersistentVolumeClaim, volume *v1.PersistentVolume, size resource.Quantity,
) error {
	old := claim.Status.Capacity[v1.ResourceStorage]
	claim, err := r.record(ctx, claim, size, v1.PersistentVolumeClaimControllerResizeInProgress,
		[]v1.PersistentVolumeClaimCondition{condition(v1.PersistentVolumeClaimResizing, "")})
	if err != nil {
		return fmt.Errorf("failed to record the growth on the claim: %w", err)
	}

	volume = volume.DeepCopy()
	volume.Spec.Capacity[v1.ResourceStorage] = size
	if !metav1.HasAnnotation(volume.ObjectMeta, preResizeCapacity) {
		metav1.SetMetaDataAnnotation(&volume.ObjectMeta, preResizeCapacity, old.String())
	}
	if _, err := r.client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("failed to record the new size on the volume: %w", err)
	}

	claim, err = r.record(ctx, claim, size, v1.PersistentVolumeClaimNodeResizePending,
		[]v1.PersistentVolumeClaimCondition{
			condition(v1.PersistentVolumeClaimResizing, ""),
			condition(v1.PersistentVolumeClaimFileSystemResizePending, "Waiting for the node to grow the file system."),
		})
	if err != nil {
		return fmt.Errorf("failed to record on the claim that the node is next: %w", err)
	}
	r.recorder.Eventf(claim, v1.EventTypeNormal, "FileSystemResizeRequired",
		"Volume %s may grow to %s; the node does the rest", volume.Name, size.String())
	return nil
}

func (r *resizer) record(
	ctx context.Context, claim *v1.PersistentVolumeClaim, size resource.Quantity,
	state v1.ClaimResourceStatus, conditions []v1.PersistentVolumeClaimCondition,
) (*v1.PersistentVolumeClaim, error) {
	claim = claim.DeepCopy()
	if claim.Status.AllocatedResources == nil {
		claim.Status.AllocatedResources = v1.ResourceList{}
	}
	claim.Status.AllocatedResources[v1.ResourceStorage] = size
	if claim.Status.AllocatedResourceStatuses == nil {
		claim.Status.AllocatedResourceStatuses = map[v1.ResourceName]v1.ClaimResourceStatus{}
	}
	claim.Status.AllocatedResourceStatuses[v1.ResourceStorage] = state
	claim.Status.Conditions = replaceResizeConditions(claim.Status.Conditions, conditions)
	return r.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, claim, metav1.UpdateOptions{})
}

func wantsMore(claim *v1.PersistentVolumeClaim) bool {
	if claim.Status.Phase != v1.ClaimBound || claim.Spec.VolumeName == "" || claim.DeletionTimestamp != nil {
		return false
	}
	want, have := claim.Spec.Resources.Requests[v1.ResourceStorage], claim.Status.Capacity[v1.ResourceStorage]
	return want.Cmp(have) > 0
}

func isOurs(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) bool {
	source, ref := volume.Spec.CSI, volume.Spec.ClaimRef
	return source != nil && source.Driver == csinode.DriverName && ref != nil && ref.UID == claim.UID
}

// nextSize says to which size to grow now, if at all. Its cases are those of the external resizer: a growth that the
// node has begun ends before the next one starts, and one that the node found impossible may be asked for anew.
func nextSize(claim *v1.PersistentVolumeClaim, volume *v1.PersistentVolume) (resource.Quantity, bool) {
	want, have := claim.Spec.Resources.Requests[v1.ResourceStorage], volume.Spec.Capacity[v1.ResourceStorage]
	allocated, known := claim.Status.AllocatedResources[v1.ResourceStorage]
	if !known {
		allocated = want
	}
	state := claim.Status.AllocatedResourceStatuses[v1.ResourceStorage]
	small := have.Cmp(want) < 0
	switch state {
	case v1.PersistentVolumeClaimNodeResizePending, v1.PersistentVolumeClaimNodeResizeInProgress:
		return allocated, small && have.Cmp(allocated) < 0
	case v1.PersistentVolumeClaimNodeResizeInfeasible:
		if small {
			return allocated, true
		}
		return want, true
	case v1.PersistentVolumeClaimControllerResizeInProgress:
		return allocated, true
	default:
		if small || !known {
			return want, small || !pendsOnNode(claim)
		}
		return allocated, true
	}
}

func pendsOnNode(claim *v1.PersistentVolumeClaim) bool {
	for _, c := range claim.Status.Conditions {
		if c.Type == v1.PersistentVolumeClaimFileSystemResizePending && c.Status == v1.ConditionTrue {
			return true
		}
	}
	return false
}

func condition(kind v1.PersistentVolumeClaimConditionType, message string) v1.PersistentVolumeClaimCondition {
	return v1.PersistentVolumeClaimCondition{
		Type:               kind,
		Status:             v1.ConditionTrue,
		LastTransitionTime: metav1.Now(),
		Message:            message,
	}
}

// replaceResizeConditions keeps the conditions that are not about growing.
func replaceResizeConditions(old, fresh []v1.PersistentVolumeClaimCondition) []v1.PersistentVolumeClaimCondition {
	var all []v1.PersistentVolumeClaimCondition
	for _, c := range old {
		switch c.Type {
		case v1.PersistentVolumeClaimResizing, v1.PersistentVolumeClaimFileSystemResizePending,
			v1.PersistentVolumeClaimControllerResizeError, v1.PersistentVolumeClaimNodeResizeError:
		default:
			all = append(all, c)
		}
	}
	return append(all, fresh...)
}
