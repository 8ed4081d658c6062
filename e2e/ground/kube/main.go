// Package main owns the choice of which program ground-kube is this time: by its own name, or by its first argument.
// It must not hold the logic of any of those programs, and must not set up signal contexts: each command does that.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// self is the name under which the first argument, not the file name, says what to be.
const self = "ground-kube"

// programs maps a name to the function that is that program; it returns the exit code.
var programs = map[string]func() int{
	"coredns":                 runDNS,
	"csi-controller":          runCSIController,
	"csi-node":                runCSINode,
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kube-proxy":              runProxy,
	"kube-scheduler":          runScheduler,
	"kubectl":                 runKubectl,
	"kubelet":                 runKubelet,
	"netpol":                  runNetpol,
	"pki":                     runPKI,
}

func main() {
	name := filepath.Base(os.Args[0])
	program, known := programs[name]
	if !known {
		// Any other name, not only our own, takes the first argument: a copy may be called anything.
		if len(os.Args) < 2 {
			usage(os.Stderr)
			os.Exit(2)
		}
		name = os.Args[1]
		os.Args = os.Args[1:]
		if program, known = programs[name]; !known {
			usage(os.Stderr)
			os.Exit(2)
		}
	}
	if name != "coredns" {
		hideDNSFlags()
	}
	os.Exit(program())
}

func usage(w io.Writer) {
	var names []string
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(w, "usage: %s NAME [ARGUMENT...]\nor call it by one of these names:\n", self)
	for _, name := range names {
		fmt.Fprintf(w, "  %s\n", name)
	}
}

// hideDNSFlags takes CoreDNS's flags off the process's flag set. CoreDNS adds them in init(), and the Kubernetes
// commands copy that whole set into their own, where "p" and "version" collide with flags of theirs.
func hideDNSFlags() {
	hidden := []string{"conf", "dns.port", "log-format", "p", "pidfile", "plugins", "quiet", "version"}
	kept := flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	flag.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(hidden, f.Name) {
			kept.Var(f.Value, f.Name, f.Usage)
		}
	})
	flag.CommandLine = kept
}
