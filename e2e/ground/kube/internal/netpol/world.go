// Package netpol owns the proving ground's NetworkPolicy engine: one process a node, one nftables table.
// This file owns what the engine knows of the cluster, and which pods and addresses a selector means.
// It must not know nftables, nor talk to a server.
package netpol

import (
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// world is everything that rules are made of, at one moment.
type world struct {
	node       string
	pods       []*v1.Pod
	namespaces []*v1.Namespace
	policies   []*networking.NetworkPolicy
}

// pod is one that has an address of its own and uses it.
type pod struct {
	*v1.Pod
	address netip.Addr
}

// livePods gives those that packets can come from or go to, by address. A pod on its node's network is the node, and
// an ended one has given its address away. Of two with one address the younger has it.
func (w *world) livePods() []pod {
	holders := map[netip.Addr]*v1.Pod{}
	for _, one := range w.pods {
		address, err := netip.ParseAddr(one.Status.PodIP)
		isEnded := one.Status.Phase == v1.PodSucceeded || one.Status.Phase == v1.PodFailed
		if err != nil || !address.Is4() || one.Spec.HostNetwork || isEnded {
			continue
		}
		other, isTaken := holders[address]
		if !isTaken || other.CreationTimestamp.Before(&one.CreationTimestamp) {
			holders[address] = one
		}
	}
	live := make([]pod, 0, len(holders))
	for address, one := range holders {
		live = append(live, pod{one, address})
	}
	slices.SortFunc(live, func(a, b pod) int { return a.address.Compare(b.address) })
	return live
}

// sortedPolicies gives them in an order that does not change from one time to the next.
func (w *world) sortedPolicies() []*networking.NetworkPolicy {
	return slices.SortedFunc(slices.Values(w.policies), func(a, b *networking.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
}

// peers is who the other end of a packet may be; nobody, if all is empty.
type peers struct {
	everybody bool
	pods      []pod
	blocks    []block
}

// block is a range of addresses with holes.
type block struct {
	within netip.Prefix
	except []netip.Prefix
}

// peersOf resolves a rule's list of peers. No list is everybody.
func (w *world) peersOf(namespace string, list []networking.NetworkPolicyPeer, live []pod) peers {
	if len(list) == 0 {
		return peers{everybody: true}
	}
	var found peers
	for _, peer := range list {
		if peer.IPBlock != nil {
			if parsed, isUsable := parseBlock(peer.IPBlock); isUsable {
				found.blocks = append(found.blocks, parsed)
			}
		}
	}
	found.pods = filter(live, func(one pod) bool {
		return slices.ContainsFunc(list, func(peer networking.NetworkPolicyPeer) bool {
			return w.isMeant(namespace, peer, one)
		})
	})
	return found
}

// isMeant says whether a peer's selectors name a pod: of the policy's own namespace, if they name no other.
func (w *world) isMeant(namespace string, peer networking.NetworkPolicyPeer, one pod) bool {
	switch {
	case peer.IPBlock != nil, peer.NamespaceSelector == nil && peer.PodSelector == nil:
		return false
	case peer.NamespaceSelector == nil && one.Namespace != namespace:
		return false
	case peer.NamespaceSelector != nil && !selects(peer.NamespaceSelector, w.labelsOf(one.Namespace)):
		return false
	}
	return peer.PodSelector == nil || selects(peer.PodSelector, one.Labels)
}

func (w *world) labelsOf(namespace string) map[string]string {
	for _, one := range w.namespaces {
		if one.Name == namespace {
			return one.Labels
		}
	}
	return nil
}

// selects says whether a selector names these labels. An empty one names all; the API server lets no broken one in.
func selects(selector *meta.LabelSelector, of map[string]string) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}

// parseBlock gives a block of IPv4 addresses: the ground has no others.
func parseBlock(from *networking.IPBlock) (block, bool) {
	within, err := netip.ParsePrefix(from.CIDR)
	if err != nil || !within.Addr().Is4() {
		return block{}, false
	}
	parsed := block{within: within.Masked()}
	for _, text := range from.Except {
		if except, err := netip.ParsePrefix(text); err == nil {
			parsed.except = append(parsed.except, except.Masked())
		}
	}
	return parsed, true
}

// appliesTo says which of the two types a policy has. A policy that does not say has Ingress, and Egress if it has
// rules for it.
func appliesTo(policy *networking.NetworkPolicy, direction networking.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) > 0 {
		return slices.Contains(policy.Spec.PolicyTypes, direction)
	}
	return direction == networking.PolicyTypeIngress || len(policy.Spec.Egress) > 0
}

// portsNamed gives the numbers that pods have under a port's name, with the pods of each number.
func portsNamed(name string, protocol v1.Protocol, among []pod) map[int32][]pod {
	found := map[int32][]pod{}
	for _, one := range among {
		containers := slices.Concat(one.Spec.Containers, one.Spec.InitContainers)
		for _, container := range containers {
			for _, port := range container.Ports {
				if port.Name == name && protocolOr(port.Protocol) == protocol {
					found[port.ContainerPort] = append(found[port.ContainerPort], one)
				}
			}
		}
	}
	return found
}

// protocolOr is TCP where none is said.
func protocolOr(said v1.Protocol) v1.Protocol {
	if said == "" {
		return v1.ProtocolTCP
	}
	return said
}

func filter[T any](all []T, is func(T) bool) []T {
	var kept []T
	for _, one := range all {
		if is(one) {
			kept = append(kept, one)
		}
	}
	return kept
}
