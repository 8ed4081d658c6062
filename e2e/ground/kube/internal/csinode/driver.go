// Package csinode owns the node's side of the volume driver: making file systems, mounting, growing, measuring.
// It must not create or delete volume files and must not talk to the API server.
package csinode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
)

const (
	// DriverName is the name of the driver and of the provisioner.
	DriverName = "volumes.ground.holdfast.dev"
	// DriverVersion is what the driver says of itself; nothing depends on it.
	DriverVersion = "1"
	// DefaultKubeletDir is where a kubelet keeps its files unless told otherwise.
	DefaultKubeletDir = "/var/lib/kubelet"
	// ImageSuffix ends the name of every volume's file.
	ImageSuffix = ".img"

	stopGrace = 5 * time.Second
)

// Config is what the driver must know about its node.
type Config struct {
	Node       string
	Dir        string
	KubeletDir string
}

// Driver serves the identity and the node service.
type Driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer

	config  Config
	mounter *mount.SafeFormatAndMount
	busy    busySet
}

// New makes a driver. It touches nothing yet.
func New(config Config) (*Driver, error) {
	if config.Node == "" || config.Dir == "" {
		return nil, errors.New("--node and --dir are required")
	}
	if config.KubeletDir == "" {
		config.KubeletDir = DefaultKubeletDir
	}
	return &Driver{
		config:  config,
		mounter: mount.NewSafeFormatAndMount(mount.New(""), utilexec.New()),
	}, nil
}

// Run serves until the context ends. Mounts outlive it: the kubelet goes on with the next process.
func Run(ctx context.Context, config Config) error {
	driver, err := New(config)
	if err != nil {
		return err
	}
	config = driver.config
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return fmt.Errorf("failed to make the volume directory: %w", err)
	}
	endpoint := filepath.Join(config.KubeletDir, "plugins", DriverName, "csi.sock")
	registration := filepath.Join(config.KubeletDir, "plugins_registry", DriverName+"-reg.sock")

	driverServer := grpc.NewServer(grpc.UnaryInterceptor(logErrors))
	csi.RegisterIdentityServer(driverServer, driver)
	csi.RegisterNodeServer(driverServer, driver)
	registrationServer := newRegistrationServer(endpoint)

	failed := make(chan error, 2)
	// The kubelet calls the driver as soon as it sees the registration socket, so the driver's comes first.
	if err := serve(driverServer, endpoint, failed); err != nil {
		return err
	}
	if err := serve(registrationServer, registration, failed); err != nil {
		return err
	}
	klog.InfoS("Serving", "node", config.Node, "dir", config.Dir, "endpoint", endpoint)

	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	registrationServer.Stop()
	stopSoon(driverServer)
	return err
}

// serve listens on a socket, after removing what an earlier process left there.
func serve(server *grpc.Server, socket string, failed chan<- error) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return fmt.Errorf("failed to make the socket's directory: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("failed to remove the old socket: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("failed to listen: %w", err)
	}
	go func() {
		if err := server.Serve(listener); err != nil {
			failed <- fmt.Errorf("failed to serve %s: %w", socket, err)
		}
	}()
	return nil
}

// stopSoon waits for calls under way, but not for one that hangs on a frozen file system.
func stopSoon(server *grpc.Server) {
	done := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(stopGrace):
		server.Stop()
	}
}

func logErrors(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	started := time.Now()
	answer, err := next(ctx, request)
	if err != nil {
		klog.ErrorS(err, "Call failed", "method", info.FullMethod, "took", time.Since(started))
	} else {
		klog.V(3).InfoS("Call done", "method", info.FullMethod, "took", time.Since(started))
	}
	return answer, err
}
