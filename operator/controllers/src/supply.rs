//! What a cluster needs besides its members: Secrets, Services and the rest, put as they should be.
//! Must not touch members, their volumes, or where Services lead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kit::apply::{self, Applier, Lifetime, Object};
use kit::client::Class;
use kube::ResourceExt;
use objects::{Bundle, Cluster, Inputs, bundle};

use crate::exact::{self, Exact};
use crate::trust::{self, Own};
use crate::{passwords, says};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Apply(#[from] apply::Error),
    #[error(transparent)]
    Read(#[from] exact::Error),
    #[error(transparent)]
    Trust(#[from] trust::Error),
    #[error(transparent)]
    Passwords(#[from] passwords::Error),
}

impl Error {
    /// What trying again does not cure.
    pub(crate) fn needs_a_person(&self) -> bool {
        match self {
            Error::Apply(apply::Error::Foreign { .. }) | Error::Trust(_) => true,
            Error::Apply(error) => error
                .class()
                .is_some_and(|class| matches!(class, Class::Forbidden | Class::Invalid)),
            Error::Read(_) | Error::Passwords(_) => false,
        }
    }

    pub(crate) fn in_words(&self) -> String {
        says::chain(self)
    }
}

/// What is needed for it.
pub(crate) struct Order {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) inputs: Inputs,
    pub(crate) exact: Exact,
    pub(crate) applier: Applier,
    pub(crate) certificate_lifetime: Duration,
    pub(crate) own: Option<Own>,
    /// The cluster is to be left alone.
    pub(crate) is_read_only: bool,
}

/// What came of it. Each part is kept where the next one failed.
#[derive(Default)]
pub(crate) struct Supplied {
    pub(crate) own: Option<Own>,
    pub(crate) certificate_end: Option<Timestamp>,
    /// When certificates are due.
    pub(crate) due: Option<Timestamp>,
    /// Everything that Pods need is there.
    pub(crate) is_complete: bool,
    pub(crate) error: Option<Error>,
}

pub(crate) async fn supply(order: &Order, now: Timestamp) -> Supplied {
    let mut supplied = Supplied::default();
    if let Err(error) = supply_all(order, now, &mut supplied).await {
        supplied.error = Some(error);
    }
    supplied
}

async fn supply_all(order: &Order, now: Timestamp, supplied: &mut Supplied) -> Result<(), Error> {
    if order.is_read_only {
        return own_only(order, now, supplied).await;
    }
    secrets(order, now, supplied).await?;
    let Bundle {
        service_primary,
        service_replicas,
        service_members,
        pod_disruption_budget,
        network_policy,
        service_account,
    } = bundle(&order.cluster, &order.inputs);
    put(order, service_account).await?;
    put(order, network_policy).await?;
    put(order, service_members).await?;
    put(order, service_primary).await?;
    put(order, service_replicas).await?;
    supplied.is_complete = true;
    let budget = match pod_disruption_budget {
        Some(budget) => Some(put(order, budget).await?),
        None => None,
    };
    let budget = budget.map(|budget| budget.name_any());
    remove_others::<PodDisruptionBudget>(order, budget).await?;
    remove_others::<Service>(order, services(&order.cluster)).await?;
    remove_others::<NetworkPolicy>(order, [order.cluster.name.clone()]).await?;
    remove_others::<ServiceAccount>(order, [order.cluster.name.clone()]).await
}

fn services(cluster: &Cluster) -> [String; 3] {
    [
        cluster.service_primary(),
        cluster.service_replicas(),
        cluster.service_members(),
    ]
}

/// Enough to listen to members, with nothing written.
async fn own_only(order: &Order, now: Timestamp, supplied: &mut Supplied) -> Result<(), Error> {
    let (cluster, exact) = (&order.cluster, &order.exact);
    let Some(ca) = exact.read::<Secret>(&cluster.secret_ca()).await? else {
        return Ok(());
    };
    let server = exact.read::<Secret>(&cluster.secret_tls()).await?;
    let trust = trust::renew(
        cluster,
        Some(&ca),
        server.as_ref(),
        order.certificate_lifetime,
        now,
    )?;
    let own = trust.own(cluster, order.own.as_ref(), now)?;
    supplied.due = Some(own.due());
    supplied.own = Some(own);
    Ok(())
}

async fn secrets(order: &Order, now: Timestamp, supplied: &mut Supplied) -> Result<(), Error> {
    let (cluster, exact) = (&order.cluster, &order.exact);
    let ca = exact.read::<Secret>(&cluster.secret_ca()).await?;
    let server = exact.read::<Secret>(&cluster.secret_tls()).await?;
    let lifetime = order.certificate_lifetime;
    let trust = trust::renew(cluster, ca.as_ref(), server.as_ref(), lifetime, now)?;
    // The authority first: what it issued is worth nothing without it.
    put_known(order, trust.ca.clone(), ca.as_ref(), Lifetime::OfOwner).await?;
    put_known(order, trust.server.clone(), server.as_ref(), Lifetime::OfOwner).await?;
    let own = trust.own(cluster, order.own.as_ref(), now)?;
    supplied.due = Some(trust.due.min(own.due()));
    supplied.own = Some(own);
    supplied.certificate_end = Some(trust.server_end);
    let internal = exact.read::<Secret>(&cluster.secret_internal()).await?;
    let wanted = passwords::internal(cluster, internal.as_ref())?;
    put_known(order, wanted, internal.as_ref(), Lifetime::BeyondOwner).await?;
    let app = exact.read::<Secret>(&cluster.secret_app()).await?;
    let wanted = passwords::app(cluster, app.as_ref(), &trust.authorities)?;
    put_known(order, wanted, app.as_ref(), Lifetime::OfOwner).await?;
    Ok(())
}

async fn put<K: Object>(order: &Order, wanted: K) -> Result<K, Error> {
    put_known(order, wanted, None, Lifetime::OfOwner).await
}

async fn put_known<K: Object>(
    order: &Order,
    wanted: K,
    known: Option<&K>,
    lifetime: Lifetime,
) -> Result<K, Error> {
    let applied = order.applier.apply(wanted, known, lifetime).await?;
    Ok(applied.object)
}

async fn remove_others<K: Object>(
    order: &Order,
    keep: impl IntoIterator<Item = String>,
) -> Result<(), Error> {
    let keep: BTreeSet<String> = keep.into_iter().collect();
    let removed = order.applier.remove_orphans::<K>(&keep).await?;
    for name in removed {
        let kind = K::kind(&());
        tracing::info!(%kind, name, "removed what the cluster does not need any more");
    }
    Ok(())
}
