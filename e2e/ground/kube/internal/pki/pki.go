// This file owns the list of everything that is issued, and for whom.
// It must not hold cryptography or file handling.
package pki

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// KubeletAPIGroup is the group of the API server's client certificate for kubelets. The system manifest binds it to
// the role system:kubelet-api-admin; the certificate can do nothing else.
const KubeletAPIGroup = "ground:apiservers"

const apiPort = 6443

// Ensure writes what is missing or no longer fits, and keeps the rest as it is.
func Ensure(config Config) error {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return fmt.Errorf("failed to make the directory: %w", err)
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{config.Dir}, parts...)...) }

	authority, err := ensureAuthority(at("ca.crt"), at("ca.key"))
	if err != nil {
		return err
	}
	if err := ensureServiceAccountKey(at("sa.key"), at("sa.pub")); err != nil {
		return err
	}
	for base, subject := range certificates(config) {
		if err := authority.ensurePair(at(base+".crt"), at(base+".key"), subject); err != nil {
			return err
		}
	}
	server := fmt.Sprintf("https://%s", netip.AddrPortFrom(config.APIIP, apiPort))
	for name, subject := range users(config) {
		if err := authority.ensureKubeconfig(at(name), server, subject); err != nil {
			return err
		}
	}
	return nil
}

// certificates are the key pairs kept as files of their own, by their path without ending.
func certificates(config Config) map[string]subject {
	all := map[string]subject{
		"apiserver": {
			name: "kube-apiserver",
			hosts: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local",
			},
			addresses: []netip.Addr{config.APIIP, config.ServiceIP, netip.MustParseAddr("127.0.0.1")},
			server:    true,
		},
		"apiserver-kubelet-client": {name: "kube-apiserver-kubelet-client", groups: []string{KubeletAPIGroup}},
	}
	for _, node := range config.Nodes {
		all[filepath.Join("nodes", node.Name, "kubelet")] = subject{
			name:      "system:node:" + node.Name,
			groups:    []string{"system:nodes"},
			hosts:     []string{node.Name},
			addresses: []netip.Addr{node.IP},
			server:    true,
		}
	}
	return all
}

// users are the holders of kubeconfigs, by the kubeconfig's path.
func users(config Config) map[string]subject {
	const masters = "system:masters"
	all := map[string]subject{
		"admin.conf":              {name: "ground:admin", groups: []string{masters}},
		"controller-manager.conf": {name: "system:kube-controller-manager"},
		"scheduler.conf":          {name: "system:kube-scheduler"},
		"proxy.conf":              {name: "system:kube-proxy"},
		"coredns.conf":            {name: "system:coredns"},
		"netpol.conf":             {name: "ground:netpol"},
		"csi.conf":                {name: "ground:csi", groups: []string{masters}},
	}
	for _, node := range config.Nodes {
		all[filepath.Join("nodes", node.Name, "kubelet.conf")] = subject{
			name:   "system:node:" + node.Name,
			groups: []string{"system:nodes"},
		}
	}
	return all
}
