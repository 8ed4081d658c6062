// This file owns the command lines of the programs that are our own: pki, csi-node, csi-controller and netpol.
// It must not do their work, only read flags, call their package and turn an error into an exit code.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"

	"holdfast.dev/ground/kube/internal/csicontroller"
	"holdfast.dev/ground/kube/internal/csinode"
	"holdfast.dev/ground/kube/internal/netpol"
	"holdfast.dev/ground/kube/internal/pki"
)

func runPKI() int {
	flags := flag.NewFlagSet("pki", flag.ExitOnError)
	dir := flags.String("dir", "", "directory to write into")
	apiIP := flags.String("api-ip", "", "address of the API server")
	serviceIP := flags.String("service-ip", "", "first address of the service range, the kubernetes service")
	nodes := flags.String("nodes", "", "nodes as name=address, separated by commas")
	_ = flags.Parse(os.Args[1:])

	config, err := pki.ParseConfig(*dir, *apiIP, *serviceIP, *nodes)
	if err != nil {
		return fail("pki", err, 2)
	}
	if err := pki.Ensure(config); err != nil {
		return fail("pki", err, 1)
	}
	return 0
}

func runCSINode() int {
	flags := flag.NewFlagSet("csi-node", flag.ExitOnError)
	klog.InitFlags(flags)
	config := csinode.Config{}
	flags.StringVar(&config.Node, "node", "", "name of this node")
	flags.StringVar(&config.Dir, "dir", "", "directory of this node's volume files")
	flags.StringVar(&config.KubeletDir, "kubelet-dir", csinode.DefaultKubeletDir, "the kubelet's root directory")
	_ = flags.Parse(os.Args[1:])

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := csinode.Run(ctx, config); err != nil {
		return fail("csi-node", err, 1)
	}
	return 0
}

func runCSIController() int {
	flags := flag.NewFlagSet("csi-controller", flag.ExitOnError)
	klog.InitFlags(flags)
	config := csicontroller.Config{}
	flags.StringVar(&config.Kubeconfig, "kubeconfig", "", "kubeconfig of the control plane")
	flags.StringVar(&config.DirPattern, "volumes-dir-pattern", "", "a node's volume directory, %s being the node's name")
	_ = flags.Parse(os.Args[1:])

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := csicontroller.Run(ctx, config); err != nil {
		return fail("csi-controller", err, 1)
	}
	return 0
}

func runNetpol() int {
	flags := flag.NewFlagSet("netpol", flag.ExitOnError)
	klog.InitFlags(flags)
	config := netpol.Config{}
	flags.StringVar(&config.Kubeconfig, "kubeconfig", "", "kubeconfig with the right to watch pods, namespaces, policies")
	flags.StringVar(&config.Node, "node", "", "name of this node")
	_ = flags.Parse(os.Args[1:])

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := netpol.Run(ctx, config); err != nil {
		return fail("netpol", err, 1)
	}
	return 0
}

func fail(name string, err error, code int) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return code
}
