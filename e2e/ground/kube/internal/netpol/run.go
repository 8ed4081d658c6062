// This file owns the engine as a process: watches, and the table given to nft.
// It must not decide which packets pass.
package netpol

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

const (
	// After each time, changes are gathered for this long.
	gatherFor = 20 * time.Millisecond
	// What nft refused is tried again after this long.
	retryAfter = time.Second
	// nft waits for others who change rules; never as long as this.
	nftWithin = 10 * time.Second
	// Memory is dearer here than time: there is little to do.
	garbagePercent = 25
)

// Config is what the engine must know.
type Config struct {
	Kubeconfig string
	Node       string
}

// engine keeps the node's table as the watched objects say.
type engine struct {
	node    string
	factory informers.SharedInformerFactory
	changed chan struct{}
	inForce string
}

// Run works until the context ends. It leaves its table in force: an engine that starts again replaces it once it has
// seen everything.
func Run(ctx context.Context, config Config) error {
	debug.SetGCPercent(garbagePercent)
	rest, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return fmt.Errorf("failed to read the kubeconfig: %w", err)
	}
	rest.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("failed to make a client: %w", err)
	}
	engine := &engine{
		node:    config.Node,
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim)),
		changed: make(chan struct{}, 1),
	}
	return engine.run(ctx)
}

func (e *engine) run(ctx context.Context) error {
	for _, informer := range []cache.SharedIndexInformer{
		e.factory.Core().V1().Pods().Informer(),
		e.factory.Core().V1().Namespaces().Informer(),
		e.factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { e.notice() },
			UpdateFunc: func(any, any) { e.notice() },
			DeleteFunc: func(any) { e.notice() },
		}); err != nil {
			return fmt.Errorf("failed to watch: %w", err)
		}
	}
	e.factory.Start(ctx.Done())
	for kind, isSynced := range e.factory.WaitForCacheSync(ctx.Done()) {
		if !isSynced {
			return fmt.Errorf("failed to list %s", kind)
		}
	}
	// What starting took is not needed again, and there is one of these on each node.
	debug.FreeOSMemory()
	e.notice()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
		}
		if err := e.sync(ctx); err != nil {
			klog.ErrorS(err, "Failed to put the rules in force")
			time.AfterFunc(retryAfter, e.notice)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gatherFor):
		}
	}
}

// notice asks for a sync; one that is asked for already will see this change too.
func (e *engine) notice() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *engine) sync(ctx context.Context) error {
	now, err := e.look()
	if err != nil {
		return err
	}
	text := render(now)
	if text == e.inForce {
		return nil
	}
	begun := time.Now()
	ctx, stop := context.WithTimeout(ctx, nftWithin)
	defer stop()
	command := exec.CommandContext(ctx, "nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to run nft: %w: %s", err, said)
	}
	e.inForce = text
	klog.InfoS("Rules are in force", "lines", strings.Count(text, "\n"), "took", time.Since(begun))
	return nil
}

func (e *engine) look() (world, error) {
	now := world{node: e.node}
	var err error
	if now.pods, err = e.factory.Core().V1().Pods().Lister().List(labels.Everything()); err != nil {
		return now, fmt.Errorf("failed to list pods: %w", err)
	}
	if now.namespaces, err = e.factory.Core().V1().Namespaces().Lister().List(labels.Everything()); err != nil {
		return now, fmt.Errorf("failed to list namespaces: %w", err)
	}
	policies := e.factory.Networking().V1().NetworkPolicies().Lister()
	if now.policies, err = policies.List(labels.Everything()); err != nil {
		return now, fmt.Errorf("failed to list policies: %w", err)
	}
	return now, nil
}

// slim keeps of an object what rules are made of.
func slim(object any) (any, error) {
	switch one := object.(type) {
	case *v1.Pod:
		kept := &v1.Pod{ObjectMeta: slimMeta(one.ObjectMeta)}
		kept.CreationTimestamp = one.CreationTimestamp
		kept.Spec.NodeName = one.Spec.NodeName
		kept.Spec.HostNetwork = one.Spec.HostNetwork
		for _, container := range append(one.Spec.Containers, one.Spec.InitContainers...) {
			if len(container.Ports) > 0 {
				kept.Spec.Containers = append(kept.Spec.Containers, v1.Container{Ports: container.Ports})
			}
		}
		kept.Status.PodIP = one.Status.PodIP
		kept.Status.Phase = one.Status.Phase
		return kept, nil
	case *v1.Namespace:
		return &v1.Namespace{ObjectMeta: slimMeta(one.ObjectMeta)}, nil
	case *networking.NetworkPolicy:
		return &networking.NetworkPolicy{ObjectMeta: slimMeta(one.ObjectMeta), Spec: one.Spec}, nil
	default:
		return object, nil
	}
}

func slimMeta(full meta.ObjectMeta) meta.ObjectMeta {
	return meta.ObjectMeta{
		Name:            full.Name,
		Namespace:       full.Namespace,
		UID:             full.UID,
		ResourceVersion: full.ResourceVersion,
		Labels:          full.Labels,
	}
}
