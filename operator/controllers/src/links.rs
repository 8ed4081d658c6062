//! The streams to a cluster's members: one for each Pod that has an address.
//! Must not judge what comes over them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use agent_api::client::{Event, Leads, Link};
use agent_api::tls::ClientTls;
use k8s_openapi::api::core::v1::Pod;
use kit::lease::Witness;
use kube::ResourceExt;
use objects::names::PORT_AGENT;
use tokio::sync::{mpsc, watch};
use topology::assignment::Assignment;

/// Events of one member that nobody has looked at yet; its link waits beyond that.
const EVENTS_LIMIT: usize = 64;

/// One Pod at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    uid: String,
    ip: IpAddr,
}

struct Open {
    place: Place,
    link: Link,
    events: mpsc::Receiver<Event>,
    /// On its way; none once it was answered.
    sent: Option<Assignment>,
}

/// The links of one cluster. Nothing is open before there is a certificate to show.
pub(crate) struct Links {
    leads: Leads,
    tls: Option<watch::Sender<ClientTls>>,
    open: BTreeMap<String, Open>,
}

impl Links {
    pub(crate) fn new(leadership: Witness) -> Self {
        Self {
            leads: Arc::new(move || leadership.is_held()),
            tls: None,
            open: BTreeMap::new(),
        }
    }

    /// Connections from now on show this.
    pub(crate) fn show(&mut self, tls: ClientTls) {
        match &self.tls {
            Some(sender) => {
                sender.send_replace(tls);
            }
            None => self.tls = Some(watch::channel(tls).0),
        }
    }

    /// Opens what is missing and closes what is no more. Returns the members whose link was closed:
    /// what they said is of another Pod.
    pub(crate) fn keep(&mut self, pods: &BTreeMap<String, Arc<Pod>>) -> Vec<String> {
        let places: BTreeMap<_, _> = pods
            .iter()
            .filter_map(|(name, pod)| Some((name, place_of(pod)?)))
            .collect();
        let is_over = |name: &String, open: &Open| places.get(name) != Some(&open.place);
        let over: Vec<_> = self
            .open
            .iter()
            .filter(|(name, open)| is_over(name, open))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &over {
            self.open.remove(name);
        }
        let Some(tls) = &self.tls else { return over };
        for (name, place) in places {
            if self.open.contains_key(name) {
                continue;
            }
            let (sender, events) = mpsc::channel(EVENTS_LIMIT);
            let address = SocketAddr::new(place.ip, PORT_AGENT);
            let link = Link::open(
                name.clone(),
                address,
                tls.subscribe(),
                Arc::clone(&self.leads),
                sender,
            );
            let opened = Open {
                place,
                link,
                events,
                sent: None,
            };
            self.open.insert(name.clone(), opened);
        }
        over
    }

    /// The next event of any of them. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Event {
        std::future::poll_fn(|context| {
            for open in self.open.values_mut() {
                if let Poll::Ready(Some(event)) = open.events.poll_recv(context) {
                    return Poll::Ready(event);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// What else has come already.
    pub(crate) fn more(&mut self) -> Option<Event> {
        self.open
            .values_mut()
            .find_map(|open| open.events.try_recv().ok())
    }

    /// Whether it is on its way. A member that cannot be reached is told when it can.
    pub(crate) fn assign(&mut self, assignment: &Assignment) -> bool {
        let Some(open) = self.open.get_mut(&assignment.member) else {
            return false;
        };
        if open.sent.as_ref() != Some(assignment) {
            open.link.assign(Box::new(assignment.clone()));
            open.sent = Some(assignment.clone());
        }
        true
    }

    /// Whether this very one is on its way already.
    pub(crate) fn is_sent(&self, assignment: &Assignment) -> bool {
        let open = self.open.get(&assignment.member);
        open.is_some_and(|open| open.sent.as_ref() == Some(assignment))
    }

    /// It was answered, or the connection is another: whether the member has it, its report says.
    pub(crate) fn answered(&mut self, member: &str) {
        if let Some(open) = self.open.get_mut(member) {
            open.sent = None;
        }
    }
}

fn place_of(pod: &Pod) -> Option<Place> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?;
    Some(Place {
        uid: pod.uid()?,
        ip: ip.parse().ok()?,
    })
}
