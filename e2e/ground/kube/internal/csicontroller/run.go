// This file owns how the controller is put together and started.
// It must not decide anything about a volume.
package csicontroller

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"holdfast.dev/ground/kube/internal/csinode"
)

const (
	resync = 15 * time.Minute
	// Tests wait for volumes, so a failed try is repeated soon, and never long after its cause is gone.
	retryFirst = 200 * time.Millisecond
	retryMost  = 10 * time.Second

	requestsPerSecond = 50
	requestBurst      = 100
)

// Config is what the controller must know.
type Config struct {
	Kubeconfig string
	DirPattern string
}

// Run works until the context ends. There is one controller a cluster: it holds no lease.
func Run(ctx context.Context, config Config) error {
	files, err := newFiles(config.DirPattern)
	if err != nil {
		return err
	}
	rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return fmt.Errorf("failed to read the kubeconfig: %w", err)
	}
	rest.QPS, rest.Burst = requestsPerSecond, requestBurst
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("failed to make a client: %w", err)
	}
	return serve(ctx, client, files)
}

func serve(ctx context.Context, client kubernetes.Interface, files files) error {
	factory := informers.NewSharedInformerFactory(client, resync)
	claims := factory.Core().V1().PersistentVolumeClaims().Informer()
	volumes := factory.Core().V1().PersistentVolumes().Informer()
	classes := factory.Storage().V1().StorageClasses().Informer()

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&corev1.EventSinkImpl{Interface: client.CoreV1().Events(v1.NamespaceAll)})
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: csinode.DriverName})

	grower := newResizer(client, recorder)
	if err := grower.watch(claims); err != nil {
		return fmt.Errorf("failed to watch claims: %w", err)
	}
	provisions := controller.NewProvisionController(ctx, client, csinode.DriverName, &provisioner{files: files},
		controller.LeaderElection(false),
		controller.ClaimsInformer(claims),
		controller.VolumesInformer(volumes),
		controller.ClassesInformer(classes),
		controller.ResyncPeriod(resync),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryFirst, retryMost)),
		controller.FailedProvisionThreshold(0),
		controller.FailedDeleteThreshold(0),
	)

	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	klog.InfoS("Serving claims", "provisioner", csinode.DriverName)
	go grower.run(ctx)
	provisions.Run(ctx)
	return nil
}
