// This file owns how the files are written: whole or not at all, with the right mode.
// It must not decide what is in them, but for the form of a kubeconfig.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kubeconfig is the part of the format that is used here: one cluster, one user, one context.
type kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []namedCluster `json:"clusters"`
	Users          []namedUser    `json:"users"`
	Contexts       []namedContext `json:"contexts"`
}

type namedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server    string `json:"server"`
		Authority []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type namedUser struct {
	Name string `json:"name"`
	User struct {
		Certificate []byte `json:"client-certificate-data"`
		Key         []byte `json:"client-key-data"`
	} `json:"user"`
}

type namedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

const clusterName = "ground"

// ensureKubeconfig keeps a kubeconfig whose certificate, authority and server still fit.
func (a *authority) ensureKubeconfig(path, server string, who subject) error {
	if old, err := os.ReadFile(path); err == nil {
		var have kubeconfig
		if yaml.Unmarshal(old, &have) == nil && len(have.Clusters) == 1 && len(have.Users) == 1 &&
			have.Clusters[0].Cluster.Server == server &&
			bytes.Equal(have.Clusters[0].Cluster.Authority, a.pem) &&
			a.fits(have.Users[0].User.Certificate, have.Users[0].User.Key, who) == nil {
			return nil
		}
	}
	certPEM, key, err := a.issue(who)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	config := kubeconfig{
		APIVersion:     "v1",
		Kind:           "Config",
		CurrentContext: clusterName,
		Clusters:       []namedCluster{{Name: clusterName}},
		Users:          []namedUser{{Name: who.name}},
		Contexts:       []namedContext{{Name: clusterName}},
	}
	config.Clusters[0].Cluster.Server = server
	config.Clusters[0].Cluster.Authority = a.pem
	config.Users[0].User.Certificate = certPEM
	config.Users[0].User.Key = keyPEM
	config.Contexts[0].Context.Cluster = clusterName
	config.Contexts[0].Context.User = who.name
	text, err := yaml.Marshal(config)
	if err != nil {
		return fmt.Errorf("failed to encode the kubeconfig of %s: %w", who.name, err)
	}
	return writeFile(path, text, 0o600)
}

// writePair writes the key before the certificate: a certificate that is there always has its key.
func writePair(certPath, keyPath string, certPEM []byte, key *ecdsa.PrivateKey) error {
	if err := writeKey(keyPath, key); err != nil {
		return err
	}
	return writeFile(certPath, certPEM, 0o644)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, text, 0o600)
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("failed to encode a key: %w", err)
	}
	return encode("EC PRIVATE KEY", der), nil
}

func writeChanged(path string, text []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return writeFile(path, text, mode)
}

func writeFile(path string, text []byte, mode os.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("failed to make the directory of %s: %w", path, err)
	}
	// os.CreateTemp gives mode 0600, so a key is never readable by others, not even for a moment.
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("failed to write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
			err = fmt.Errorf("failed to write %s: %w", path, err)
		}
	}()
	if _, err = file.Write(text); err != nil {
		return err
	}
	if err = file.Chmod(mode); err != nil {
		return err
	}
	if err = file.Sync(); err != nil {
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
