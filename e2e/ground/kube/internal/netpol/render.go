// This file owns the translation of a world into the text of one nftables table.
// It must not do IO: the same world gives the same text.
package netpol

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	table = "ground_policy"
	// nft takes comments of up to 128 bytes.
	commentMaxBytes = 120
)

// way is one direction of traffic, as the pod that a policy selects sees it.
type way struct {
	policyType networking.PolicyType
	// chain is the name of the hooked chain. What one hook accepts, the next still looks at, so a packet between two
	// pods of one node needs the consent of both.
	chain    string
	priority int
	// own and other are the fields with the selected pod's address and the other end's.
	own, other string
}

var (
	egress  = way{networking.PolicyTypeEgress, "egress", 0, "saddr", "daddr"}
	ingress = way{networking.PolicyTypeIngress, "ingress", 1, "daddr", "saddr"}
)

// rule is a rule of a policy, whichever way.
type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

func (w way) rules(policy *networking.NetworkPolicy) []rule {
	var all []rule
	if w.policyType == networking.PolicyTypeIngress {
		for _, one := range policy.Spec.Ingress {
			all = append(all, rule{one.From, one.Ports})
		}
		return all
	}
	for _, one := range policy.Spec.Egress {
		all = append(all, rule{one.To, one.Ports})
	}
	return all
}

// render gives what nft has to read for the node's table to be as the policies say: the whole of it, replaced at once.
//
// It looks at forwarded packets. Services are rewritten before, so addresses are those of pods; what the node itself
// sends to its pods, such as probes, is not forwarded and passes, and so does what pods send to their node.
func render(w world) string {
	var text strings.Builder
	fmt.Fprintf(&text, "add table ip %s\ndelete table ip %s\n", table, table)
	live := w.livePods()
	local := filter(live, func(one pod) bool { return one.Spec.NodeName == w.node })
	body := w.chains(egress, live, local) + w.chains(ingress, live, local)
	if body != "" {
		fmt.Fprintf(&text, "table ip %s {\n%s}\n", table, body)
	}
	return text.String()
}

// chains gives a chain for each policy that selects a pod here, one for each selected pod, and the hooked one.
func (w *world) chains(way way, live, local []pod) string {
	var text strings.Builder
	jumps := map[netip.Addr][]string{}
	for index, policy := range w.sortedPolicies() {
		if !appliesTo(policy, way.policyType) {
			continue
		}
		selected := filter(local, func(one pod) bool {
			return one.Namespace == policy.Namespace && selects(&policy.Spec.PodSelector, one.Labels)
		})
		if len(selected) == 0 {
			continue
		}
		name := fmt.Sprintf("%s_policy_%d", way.chain, index)
		fmt.Fprintf(&text, "chain %s {\n", name)
		for _, rule := range way.rules(policy) {
			for _, match := range w.matches(way, policy.Namespace, rule, live, selected) {
				text.WriteString(strings.TrimSpace(match+" accept") + "\n")
			}
		}
		text.WriteString("}\n")
		for _, one := range selected {
			jumps[one.address] = append(jumps[one.address], name)
		}
	}
	var entries []string
	for _, one := range local {
		if names := jumps[one.address]; len(names) > 0 {
			chain := way.chain + "_" + strings.ReplaceAll(one.address.String(), ".", "_")
			text.WriteString(podChain(way, chain, one, names))
			entries = append(entries, fmt.Sprintf("%s : goto %s", one.address, chain))
		}
	}
	if len(entries) == 0 {
		return ""
	}
	fmt.Fprintf(&text, "chain %s {\ntype filter hook forward priority %d; policy accept;\n", way.chain, way.priority)
	text.WriteString("ct state established,related accept\n")
	fmt.Fprintf(&text, "ip %s vmap { %s }\n}\n", way.own, strings.Join(entries, ", "))
	return text.String()
}

// podChain lets through what any of its policies lets through, and what a pod says to itself by way of a Service.
func podChain(way way, name string, one pod, policies []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "chain %s {\nip %s %s accept\n", name, way.other, one.address)
	for _, policy := range policies {
		fmt.Fprintf(&text, "jump %s\n", policy)
	}
	about := one.Namespace + "/" + one.Name
	fmt.Fprintf(&text, "counter drop comment %q\n}\n", about[:min(len(about), commentMaxBytes)])
	return text.String()
}

// matches gives the packets that a rule means; each is one expression.
func (w *world) matches(way way, namespace string, rule rule, live, selected []pod) []string {
	other := w.peersOf(namespace, rule.peers, live)
	ends := ends(way, other)
	if len(rule.ports) == 0 {
		return ends
	}
	var all []string
	for _, port := range rule.ports {
		protocol := protocolOr(ptrOr(port.Protocol, ""))
		if port.Port == nil || port.Port.Type == intstr.Int {
			all = append(all, joined(ends, numbered(protocol, port))...)
			continue
		}
		// A name means a number of the pod that is connected to: here the selected one, there the peer.
		among := selected
		if way.policyType == networking.PolicyTypeEgress {
			among = other.pods
			if other.everybody {
				among = live
			}
		}
		found := portsNamed(port.Port.StrVal, protocol, among)
		for _, number := range slices.Sorted(maps.Keys(found)) {
			to := addresses("daddr", found[number]) + " " + dport(protocol, fmt.Sprint(number))
			if way.policyType == networking.PolicyTypeEgress {
				all = append(all, to)
			} else {
				all = append(all, joined(ends, to)...)
			}
		}
	}
	return all
}

// ends gives the expressions for who the other end may be; an empty one for everybody, none for nobody.
func ends(way way, other peers) []string {
	if other.everybody {
		return []string{""}
	}
	var all []string
	if len(other.pods) > 0 {
		all = append(all, addresses(way.other, other.pods))
	}
	for _, block := range other.blocks {
		match := fmt.Sprintf("ip %s %s", way.other, block.within)
		for _, except := range block.except {
			match += fmt.Sprintf(" ip %s != %s", way.other, except)
		}
		all = append(all, match)
	}
	return all
}

func joined(ends []string, port string) []string {
	all := make([]string, 0, len(ends))
	for _, end := range ends {
		all = append(all, strings.TrimSpace(end+" "+port))
	}
	return all
}

// numbered is all ports of a protocol, one, or a range.
func numbered(protocol v1.Protocol, port networking.NetworkPolicyPort) string {
	switch {
	case port.Port == nil:
		return "ip protocol " + strings.ToLower(string(protocol))
	case port.EndPort != nil:
		return dport(protocol, fmt.Sprintf("%d-%d", port.Port.IntVal, *port.EndPort))
	default:
		return dport(protocol, fmt.Sprint(port.Port.IntVal))
	}
}

func dport(protocol v1.Protocol, numbers string) string {
	return strings.ToLower(string(protocol)) + " dport " + numbers
}

func addresses(field string, of []pod) string {
	texts := make([]string, 0, len(of))
	for _, one := range of {
		texts = append(texts, one.address.String())
	}
	return fmt.Sprintf("ip %s { %s }", field, strings.Join(slices.Compact(texts), ", "))
}

func ptrOr[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
