// Package pki owns the keys, certificates and kubeconfigs of the proving ground.
// It must not know what the files are used for beyond the names in them, nor talk to any server.
package pki

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// Node is one node of the cluster.
type Node struct {
	Name string
	IP   netip.Addr
}

// Config says what to issue and where.
type Config struct {
	Dir       string
	APIIP     netip.Addr
	ServiceIP netip.Addr
	Nodes     []Node
}

// A node's name becomes a directory and a certificate's name, so only what Kubernetes takes as a name is let in.
var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// ParseConfig reads the command line's values. Nodes are written name=address, separated by commas.
func ParseConfig(dir, apiIP, serviceIP, nodes string) (Config, error) {
	if dir == "" {
		return Config{}, errors.New("--dir is required")
	}
	config := Config{Dir: dir}
	var err error
	if config.APIIP, err = netip.ParseAddr(apiIP); err != nil {
		return Config{}, fmt.Errorf("failed to read --api-ip: %w", err)
	}
	if config.ServiceIP, err = netip.ParseAddr(serviceIP); err != nil {
		return Config{}, fmt.Errorf("failed to read --service-ip: %w", err)
	}
	seen := map[string]bool{}
	for _, item := range strings.FieldsFunc(nodes, func(r rune) bool { return r == ',' }) {
		name, address, found := strings.Cut(item, "=")
		if !found || !nodeName.MatchString(name) {
			return Config{}, fmt.Errorf("failed to read --nodes: %q is not name=address", item)
		}
		if seen[name] {
			return Config{}, fmt.Errorf("failed to read --nodes: %q is named twice", name)
		}
		seen[name] = true
		ip, err := netip.ParseAddr(address)
		if err != nil {
			return Config{}, fmt.Errorf("failed to read --nodes: %w", err)
		}
		config.Nodes = append(config.Nodes, Node{Name: name, IP: ip})
	}
	return config, nil
}
