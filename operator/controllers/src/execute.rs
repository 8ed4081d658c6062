//! The steps of a plan, carried out as they are.
//! Must not choose: what to do and to whom is in the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::conditions::Reason as Word;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kit::apply::{self, Applier, Lifetime};
use kit::client::Class;
use kit::lease::Leadership;
use objects::endpoints::{self, Endpoint, Family, Which};
use objects::names::ANNOTATION_CLUSTER_UID;
use objects::{Cluster, Inputs, endpoint_slice, pod, volume_claim};
use topology::observed::{self, Exposed};
use topology::record::Record;

use crate::exact::{self, Exact, Outcome};
use crate::paperwork::Notice;
use crate::says;
use crate::status::Stall;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Write(#[from] exact::Error),
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Endpoint(#[from] endpoints::Error),
    #[error("failed to go on: this process does not lead now")]
    NotLeading,
}

impl Error {
    /// What trying again does not cure: a quota, a policy, an object of somebody else.
    pub(crate) fn stall(&self) -> Option<Stall> {
        let class = match self {
            Error::Write(error) => Some(error.class()),
            Error::Apply(apply::Error::Foreign { .. }) => Some(Class::Invalid),
            Error::Apply(error) => error.class(),
            Error::Endpoint(_) | Error::NotLeading => None,
        };
        matches!(class, Some(Class::Forbidden | Class::Invalid)).then(|| Stall {
            reason: Word::SpecRefused,
            message: says::chain(self),
        })
    }
}

/// Whether all was done, or somebody was first and a look at what is there now is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Done,
    LookAgain,
}

/// Who acts, for whom, on what was seen.
pub(crate) struct Hands<'a> {
    pub(crate) exact: &'a Exact,
    pub(crate) applier: &'a Applier,
    pub(crate) leadership: &'a Leadership,
    pub(crate) cluster: &'a Cluster,
    pub(crate) inputs: &'a Inputs,
    pub(crate) record: Option<&'a Record>,
    pub(crate) pods: &'a BTreeMap<String, Arc<Pod>>,
    pub(crate) volumes: &'a BTreeMap<String, Arc<PersistentVolumeClaim>>,
    pub(crate) slices: &'a BTreeMap<String, Arc<EndpointSlice>>,
}

/// What there is to say of it afterwards.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) stalls: Vec<Stall>,
    pub(crate) notices: Vec<Notice>,
}

impl Hands<'_> {
    /// Before everything that must not be done by one who was replaced: it is refused there as
    /// well, this only spares the effort.
    pub(crate) fn must_lead(&self) -> Result<(), Error> {
        match self.leadership.is_held() {
            true => Ok(()),
            false => Err(Error::NotLeading),
        }
    }

    /// A Pod and a volume for each. Whoever cannot be made does not keep the others from it.
    pub(crate) async fn exist(&self, names: &BTreeSet<String>, told: &mut Told) -> Result<(), Error> {
        self.must_lead()?;
        let mut failed = Ok(());
        for name in names {
            if let Err(error) = self.member(name, told).await {
                told.stalls.extend(error.stall());
                failed = Err(error);
            }
        }
        failed
    }

    async fn member(&self, name: &str, told: &mut Told) -> Result<(), Error> {
        let claim = self.volume(name, told).await?;
        if claim.metadata.deletion_timestamp.is_some() {
            // It goes when no Pod uses it any more, and then there is a new one.
            return Ok(());
        }
        match self.pods.get(name) {
            None => {
                let mut wanted = pod(self.cluster, name, self.inputs);
                wanted.metadata.owner_references = Some(vec![self.cluster.owner()]);
                // One that is there already has not come by the watch yet.
                self.exact.create(&wanted).await?;
            }
            Some(live) if has_ended(live) => {
                self.delete_pod(live).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    async fn volume(&self, name: &str, told: &mut Told) -> Result<PersistentVolumeClaim, Error> {
        let known = self.volumes.get(name).map(Arc::as_ref);
        let mut wanted = volume_claim(self.cluster, name, known);
        // Taken over with the record, not before: it may be needed to tell whose data these are.
        if self.record.is_some() {
            let annotations = wanted.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_CLUSTER_UID.to_owned(), self.cluster.uid.clone());
        }
        let applied = self.applier.apply(wanted, known, Lifetime::BeyondOwner).await;
        match (applied, known) {
            (Ok(applied), _) => Ok(applied.object),
            (Err(error), Some(known)) if is_refused(&error) => {
                told.stalls.push(Stall {
                    reason: Word::ResizeRefused,
                    message: format!("{name}: {}", says::chain(&error)),
                });
                Ok(known.clone())
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Where the Services lead: writes first.
    pub(crate) async fn expose(&self, wanted: &Exposed, epoch: u64) -> Result<Flow, Error> {
        self.must_lead()?;
        let primary: BTreeSet<_> = wanted.primary.iter().cloned().collect();
        if self.lead(Which::Primary, epoch, &primary).await? == Flow::LookAgain {
            return Ok(Flow::LookAgain);
        }
        self.lead(Which::Replicas, epoch, &wanted.replicas).await
    }

    async fn lead(
        &self,
        which: Which,
        epoch: u64,
        members: &BTreeSet<observed::Endpoint>,
    ) -> Result<Flow, Error> {
        let name = match which {
            Which::Primary => self.cluster.service_primary(),
            Which::Replicas => self.cluster.service_replicas(),
        };
        let live = self.slices.get(&name);
        let endpoints: BTreeSet<_> = members.iter().map(|member| self.endpoint(member)).collect();
        let family = family(members, live.map(Arc::as_ref));
        let mut wanted = endpoint_slice(self.cluster, which, family, epoch, &endpoints)?;
        wanted.metadata.owner_references = Some(vec![self.cluster.owner()]);
        let written = match live {
            None => self.exact.create(&wanted).await?,
            Some(live) => {
                let written_under = endpoints::epoch(live);
                if written_under.is_some_and(|written_under| written_under > epoch) {
                    return Ok(Flow::LookAgain);
                }
                if written_under == Some(epoch) && live.endpoints == wanted.endpoints {
                    return Ok(Flow::Done);
                }
                wanted.metadata.uid = live.metadata.uid.clone();
                wanted.metadata.resource_version = live.metadata.resource_version.clone();
                self.exact.replace(&wanted).await?
            }
        };
        Ok(flow(&written))
    }

    fn endpoint(&self, member: &observed::Endpoint) -> Endpoint {
        let live = self.pods.get(&member.member);
        Endpoint {
            member: member.member.clone(),
            ip: member.ip.clone(),
            node: live.and_then(|live| live.spec.as_ref()?.node_name.clone()),
            is_ready: true,
        }
    }

    /// It is made anew when it is gone.
    pub(crate) async fn replace(&self, name: &str) -> Result<Flow, Error> {
        self.must_lead()?;
        match self.pods.get(name) {
            Some(live) => self.delete_pod(live).await,
            None => Ok(Flow::Done),
        }
    }

    /// Where a volume goes it is told so first: it waits for its Pod, and is not forgotten with it.
    pub(crate) async fn remove(&self, names: &BTreeSet<String>, told: &mut Told) -> Result<Flow, Error> {
        self.must_lead()?;
        let mut flow = Flow::Done;
        for name in names {
            if !self.cluster.keeps_data() {
                self.delete_volume(name, told).await?;
            }
            let Some(live) = self.pods.get(name) else { continue };
            let is_new = live.metadata.deletion_timestamp.is_none();
            if self.delete_pod(live).await? == Flow::LookAgain {
                flow = Flow::LookAgain;
            } else if is_new && self.cluster.keeps_data() {
                told.notices.push(retained(name));
            }
        }
        Ok(flow)
    }

    async fn delete_pod(&self, live: &Pod) -> Result<Flow, Error> {
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(Flow::Done);
        }
        Ok(flow(&self.exact.delete(live).await?))
    }

    async fn delete_volume(&self, name: &str, told: &mut Told) -> Result<(), Error> {
        let claim = self.volumes.get(name);
        let Some(claim) = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        if self.exact.delete(&**claim).await?.is_done() {
            told.notices.push(Notice {
                is_warning: false,
                reason: "VolumeDeleted",
                action: format!("Remove {name}").into(),
                note: format!("the volume {name} is deleted with its member, as spec.deletionPolicy says"),
            });
        }
        Ok(())
    }
}

fn retained(name: &str) -> Notice {
    Notice {
        is_warning: false,
        reason: "VolumeRetained",
        action: format!("Remove {name}").into(),
        note: format!(
            "the volume {name} is kept, as spec.deletionPolicy says: a member of this name takes it over again; \
             delete the PersistentVolumeClaim when its data are not needed any more"
        ),
    }
}

fn flow<T>(outcome: &Outcome<T>) -> Flow {
    match outcome.is_done() {
        true => Flow::Done,
        false => Flow::LookAgain,
    }
}

/// For good, as after an eviction: the kubelet says so when nothing of it runs any more.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded")) && pod.metadata.deletion_timestamp.is_none()
}

/// A change of a volume that is there: its class does not let it grow, or a quota is in the way.
fn is_refused(error: &apply::Error) -> bool {
    matches!(error.class(), Some(Class::Forbidden | Class::Invalid))
}

/// A slice holds one family for ever; a new one takes that of its first address.
fn family(members: &BTreeSet<observed::Endpoint>, live: Option<&EndpointSlice>) -> Family {
    let is_ipv6 = match (live, members.first()) {
        (Some(live), _) => live.address_type == "IPv6",
        (None, first) => first.is_some_and(|first| first.ip.contains(':')),
    };
    match is_ipv6 {
        true => Family::IPv6,
        false => Family::IPv4,
    }
}
