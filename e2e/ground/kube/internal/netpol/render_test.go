// This file owns the proof that selectors, ports and types mean what Kubernetes says they mean.
// It must not touch rules of the machine: stories show that packets obey them.
package netpol

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

type set = map[string]string

func aPod(namespace, name, node, address string, labels set) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       v1.PodSpec{NodeName: node},
		Status:     v1.PodStatus{PodIP: address, Phase: v1.PodRunning},
	}
}

func withPort(pod *v1.Pod, name string, number int32) *v1.Pod {
	ports := []v1.ContainerPort{{Name: name, ContainerPort: number}}
	pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Ports: ports})
	return pod
}

func aNamespace(name string, labels set) *v1.Namespace {
	return &v1.Namespace{ObjectMeta: meta.ObjectMeta{Name: name, Labels: labels}}
}

// shop has a database and an application on n1 and another of each on n2; office has one pod, on n2.
func shop(policies ...*networking.NetworkPolicy) world {
	return world{
		node: "n1",
		pods: []*v1.Pod{
			withPort(aPod("shop", "db-1", "n1", "10.0.1.1", set{"app": "db"}), "sql", 3306),
			aPod("shop", "web-1", "n1", "10.0.1.2", set{"app": "web"}),
			withPort(aPod("shop", "db-2", "n2", "10.0.2.1", set{"app": "db"}), "sql", 3307),
			aPod("shop", "web-2", "n2", "10.0.2.2", set{"app": "web"}),
			aPod("office", "web-3", "n2", "10.0.2.3", set{"app": "web"}),
		},
		namespaces: []*v1.Namespace{aNamespace("shop", set{"team": "shop"}), aNamespace("office", set{"team": "office"})},
		policies:   policies,
	}
}

// onDB selects the databases of shop.
func onDB(name string, spec networking.NetworkPolicySpec) *networking.NetworkPolicy {
	spec.PodSelector = *labelled(set{"app": "db"})
	return &networking.NetworkPolicy{ObjectMeta: meta.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
}

func labelled(labels set) *meta.LabelSelector { return &meta.LabelSelector{MatchLabels: labels} }

func from(peers ...networking.NetworkPolicyPeer) networking.NetworkPolicySpec {
	return networking.NetworkPolicySpec{Ingress: []networking.NetworkPolicyIngressRule{{From: peers}}}
}

func onPorts(ports ...networking.NetworkPolicyPort) networking.NetworkPolicySpec {
	return networking.NetworkPolicySpec{Ingress: []networking.NetworkPolicyIngressRule{{Ports: ports}}}
}

func to(rules ...networking.NetworkPolicyEgressRule) networking.NetworkPolicySpec {
	return networking.NetworkPolicySpec{Egress: rules, PolicyTypes: []networking.PolicyType{networking.PolicyTypeEgress}}
}

func port(value any) networking.NetworkPolicyPort {
	var number intstr.IntOrString
	switch value := value.(type) {
	case int:
		number = intstr.FromInt32(int32(value))
	case string:
		number = intstr.FromString(value)
	}
	return networking.NetworkPolicyPort{Port: &number}
}

// lines gives what stands in a chain; nothing too if there is none of this name.
func lines(t *testing.T, world world, chain string) []string {
	t.Helper()
	text := render(world)
	_, after, found := strings.Cut(text, "chain "+chain+" {\n")
	if !found {
		return nil
	}
	var body []string
	for line := range strings.Lines(after) {
		if line == "}\n" {
			break
		}
		body = append(body, strings.TrimSuffix(line, "\n"))
	}
	return body
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestWithoutPoliciesThereIsNoTable(t *testing.T) {
	want := "add table ip ground_policy\ndelete table ip ground_policy\n"
	if got := render(shop()); got != want {
		t.Errorf("got %q", got)
	}
}

func TestAPolicyWithoutRulesLetsNothingIn(t *testing.T) {
	world := shop(onDB("deny", networking.NetworkPolicySpec{}))
	expect(t, lines(t, world, "ingress_policy_0"))
	expect(t, lines(t, world, "ingress_10_0_1_1"),
		"ip saddr 10.0.1.1 accept", "jump ingress_policy_0", `counter drop comment "shop/db-1"`)
	expect(t, lines(t, world, "ingress"),
		"type filter hook forward priority 1; policy accept;",
		"ct state established,related accept",
		"ip daddr vmap { 10.0.1.1 : goto ingress_10_0_1_1 }")
}

func TestOnlyPodsOfThisNodeAreIsolated(t *testing.T) {
	text := render(shop(onDB("deny", networking.NetworkPolicySpec{})))
	if strings.Contains(text, "10_0_2_1") {
		t.Errorf("the pod of n2 has a chain:\n%s", text)
	}
}

func TestAnEmptyPodSelectorIsEveryPodOfTheNamespace(t *testing.T) {
	policy := onDB("deny", networking.NetworkPolicySpec{})
	policy.Spec.PodSelector = meta.LabelSelector{}
	expect(t, lines(t, shop(policy), "ingress")[2:],
		"ip daddr vmap { 10.0.1.1 : goto ingress_10_0_1_1, 10.0.1.2 : goto ingress_10_0_1_2 }")
	policy.Namespace = "office"
	expect(t, lines(t, shop(policy), "ingress"))
}

func TestPeersAreWhomTheirSelectorsName(t *testing.T) {
	web := labelled(set{"app": "web"})
	for name, test := range map[string]struct {
		peer networking.NetworkPolicyPeer
		want string
	}{
		"pods of the own namespace": {
			networking.NetworkPolicyPeer{PodSelector: web}, "ip saddr { 10.0.1.2, 10.0.2.2 } accept",
		},
		"every pod of the own namespace": {
			networking.NetworkPolicyPeer{PodSelector: &meta.LabelSelector{}},
			"ip saddr { 10.0.1.1, 10.0.1.2, 10.0.2.1, 10.0.2.2 } accept",
		},
		"every pod of a namespace": {
			networking.NetworkPolicyPeer{NamespaceSelector: labelled(set{"team": "office"})},
			"ip saddr { 10.0.2.3 } accept",
		},
		"every pod everywhere, and nothing that is no pod": {
			networking.NetworkPolicyPeer{NamespaceSelector: &meta.LabelSelector{}},
			"ip saddr { 10.0.1.1, 10.0.1.2, 10.0.2.1, 10.0.2.2, 10.0.2.3 } accept",
		},
		"pods by label everywhere": {
			networking.NetworkPolicyPeer{NamespaceSelector: &meta.LabelSelector{}, PodSelector: web},
			"ip saddr { 10.0.1.2, 10.0.2.2, 10.0.2.3 } accept",
		},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, lines(t, shop(onDB("some", from(test.peer))), "ingress_policy_0"), test.want)
		})
	}
}

func TestPeersWhomNobodyMatchesLetNobodyIn(t *testing.T) {
	nobody := networking.NetworkPolicyPeer{PodSelector: labelled(set{"app": "none"})}
	expect(t, lines(t, shop(onDB("none", from(nobody))), "ingress_policy_0"))
}

func TestARuleWithoutPeersIsForEverybody(t *testing.T) {
	expect(t, lines(t, shop(onDB("all", from())), "ingress_policy_0"), "accept")
	expect(t, lines(t, shop(onDB("port", onPorts(port(3306)))), "ingress_policy_0"), "tcp dport 3306 accept")
}

func TestPeersOfOneRuleAddUp(t *testing.T) {
	peers := from(
		networking.NetworkPolicyPeer{PodSelector: labelled(set{"app": "web"})},
		networking.NetworkPolicyPeer{NamespaceSelector: labelled(set{"team": "office"})},
	)
	expect(t, lines(t, shop(onDB("both", peers)), "ingress_policy_0"),
		"ip saddr { 10.0.1.2, 10.0.2.2, 10.0.2.3 } accept")
}

func TestABlockHasHoles(t *testing.T) {
	ranges := networking.IPBlock{CIDR: "10.0.0.7/8", Except: []string{"10.1.0.0/16", "10.1.2.0/24"}}
	spec := from(
		networking.NetworkPolicyPeer{IPBlock: &ranges},
		networking.NetworkPolicyPeer{IPBlock: &networking.IPBlock{CIDR: "fd00::/8"}},
	)
	spec.Ingress[0].Ports = []networking.NetworkPolicyPort{port(80)}
	expect(t, lines(t, shop(onDB("block", spec)), "ingress_policy_0"),
		"ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 ip saddr != 10.1.2.0/24 tcp dport 80 accept")
}

func TestPortsAreNumbersRangesAndProtocols(t *testing.T) {
	udp, sctp, end := v1.ProtocolUDP, v1.ProtocolSCTP, int32(8090)
	ranged, datagrams := port(8080), port(53)
	ranged.EndPort, datagrams.Protocol = &end, &udp
	ports := onPorts(ranged, datagrams, networking.NetworkPolicyPort{Protocol: &sctp}, networking.NetworkPolicyPort{})
	expect(t, lines(t, shop(onDB("ports", ports)), "ingress_policy_0"),
		"tcp dport 8080-8090 accept", "udp dport 53 accept", "ip protocol sctp accept", "ip protocol tcp accept")
}

func TestANamedPortIsTheNumberOfThePodThatIsConnectedTo(t *testing.T) {
	expect(t, lines(t, shop(onDB("named", onPorts(port("sql"), port("none")))), "ingress_policy_0"),
		"ip daddr { 10.0.1.1 } tcp dport 3306 accept")
	ports := []networking.NetworkPolicyPort{port("sql")}
	want := []string{"ip daddr { 10.0.1.1 } tcp dport 3306 accept", "ip daddr { 10.0.2.1 } tcp dport 3307 accept"}
	everybody := networking.NetworkPolicyEgressRule{Ports: ports}
	expect(t, lines(t, shop(onDB("named", to(everybody))), "egress_policy_0"), want...)
	web := []networking.NetworkPolicyPeer{{PodSelector: labelled(set{"app": "web"})}}
	expect(t, lines(t, shop(onDB("named", to(networking.NetworkPolicyEgressRule{Ports: ports, To: web}))), "egress_policy_0"))
}

func TestPoliciesOfAPodAddUp(t *testing.T) {
	world := shop(onDB("b", onPorts(port(2))), onDB("a", onPorts(port(1))))
	expect(t, lines(t, world, "ingress_policy_0"), "tcp dport 1 accept")
	expect(t, lines(t, world, "ingress_policy_1"), "tcp dport 2 accept")
	expect(t, lines(t, world, "ingress_10_0_1_1"), "ip saddr 10.0.1.1 accept",
		"jump ingress_policy_0", "jump ingress_policy_1", `counter drop comment "shop/db-1"`)
}

func TestTypesThatAreNotSaidFollowFromTheRules(t *testing.T) {
	only := func(types ...networking.PolicyType) networking.NetworkPolicySpec {
		return networking.NetworkPolicySpec{PolicyTypes: types}
	}
	out := to(networking.NetworkPolicyEgressRule{})
	out.PolicyTypes = nil
	for name, test := range map[string]struct {
		spec    networking.NetworkPolicySpec
		in, out bool
	}{
		"nothing said":           {only(), true, false},
		"nothing said, rules":    {out, true, true},
		"egress only":            {only(networking.PolicyTypeEgress), false, true},
		"ingress, with no rules": {only(networking.PolicyTypeIngress), true, false},
		"both":                   {only(networking.PolicyTypeIngress, networking.PolicyTypeEgress), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			world := shop(onDB("types", test.spec))
			if got := lines(t, world, "ingress") != nil; got != test.in {
				t.Errorf("ingress: %v", got)
			}
			if got := lines(t, world, "egress") != nil; got != test.out {
				t.Errorf("egress: %v", got)
			}
		})
	}
}

func TestEgressLooksAtWhereAPacketGoes(t *testing.T) {
	web := []networking.NetworkPolicyPeer{{PodSelector: labelled(set{"app": "web"})}}
	rule := networking.NetworkPolicyEgressRule{To: web, Ports: []networking.NetworkPolicyPort{port(80)}}
	world := shop(onDB("out", to(rule)))
	expect(t, lines(t, world, "egress_policy_0"), "ip daddr { 10.0.1.2, 10.0.2.2 } tcp dport 80 accept")
	expect(t, lines(t, world, "egress")[2:], "ip saddr vmap { 10.0.1.1 : goto egress_10_0_1_1 }")
	expect(t, lines(t, world, "ingress"))
}

func TestPodsWithoutAnAddressOfTheirOwnAreNobody(t *testing.T) {
	world := shop(onDB("all", from(networking.NetworkPolicyPeer{NamespaceSelector: &meta.LabelSelector{}})))
	world.pods[1].Status.PodIP = ""
	world.pods[2].Status.Phase = v1.PodSucceeded
	world.pods[3].Spec.HostNetwork = true
	// Its address was that of an older one, which is not known to have ended.
	world.pods[4].Status.PodIP = "10.0.1.1"
	world.pods[0].CreationTimestamp = meta.NewTime(time.Unix(2, 0))
	world.pods[4].CreationTimestamp = meta.NewTime(time.Unix(1, 0))
	expect(t, lines(t, world, "ingress_policy_0"), "ip saddr { 10.0.1.1 } accept")
}

func TestTheSameWorldGivesTheSameText(t *testing.T) {
	one, other := shop(onDB("a", from()), onDB("b", from())), shop(onDB("b", from()), onDB("a", from()))
	slices.Reverse(other.pods)
	if render(one) != render(other) {
		t.Errorf("the order of objects matters")
	}
}

// nft --check needs the rights to look at the rules of the machine, and changes none.
func TestNftTakesEveryKindOfRule(t *testing.T) {
	if exec.Command("nft", "list", "tables").Run() != nil {
		t.Skip("no nft, or not its rights")
	}
	udp, end := v1.ProtocolUDP, int32(90)
	ranged := port(80)
	ranged.EndPort = &end
	spec := from(
		networking.NetworkPolicyPeer{PodSelector: &meta.LabelSelector{}},
		networking.NetworkPolicyPeer{IPBlock: &networking.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}},
	)
	spec.Ingress[0].Ports = []networking.NetworkPolicyPort{ranged, {Protocol: &udp}, port("sql")}
	world := shop(onDB("a", spec), onDB("b", from()), onDB("c", to(networking.NetworkPolicyEgressRule{Ports: spec.Ingress[0].Ports})))
	world.pods[0].Name = strings.Repeat("x", 253)
	command := exec.Command("nft", "--check", "-f", "-")
	command.Stdin = strings.NewReader(render(world))
	if said, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, said, render(world))
	}
}
