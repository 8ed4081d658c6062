//! What may take its time: supplies, status, Events, labels, asking why something is stuck.
//! Must not hold up a decision: it runs beside the loop, one job at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::cluster::{MySQLCluster, MySQLClusterStatus};
use crds::switchover::Switchover;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kit::apply::{self, Applied};
use kit::client::{self, Class};
use kit::events::{self, EventType, Note};
use kube::Resource;
use kube::api::{Api, ListParams};

use crate::context::Context;
use crate::exact::{self, Exact};
use crate::labels::{self, Label};
use crate::supply::{self, Order, Supplied};
use crate::{problems, switching};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one object; the newest are what is asked for.
const EVENTS_LIMIT: u32 = 100;

/// Something to be told with an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) is_warning: bool,
    pub(crate) reason: &'static str,
    /// Events of one reason and action are counted as one within minutes, with the note of the first: what differs in a
    /// way that matters is named here too.
    pub(crate) action: Cow<'static, str>,
    pub(crate) note: String,
}

/// An object that does not come along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) uid: String,
}

/// All that is due now.
pub(crate) struct Job {
    pub(crate) context: Arc<Context>,
    pub(crate) exact: Exact,
    pub(crate) object: Arc<MySQLCluster>,
    pub(crate) order: Option<Order>,
    /// With what is to be told once it is written, and not before: else it would be told twice.
    pub(crate) status: Option<(MySQLClusterStatus, Vec<Notice>)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) stuck: Vec<Stuck>,
    pub(crate) switchovers: Vec<switching::Told>,
    pub(crate) labels: Vec<Label>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) supplied: Option<Supplied>,
    /// The object as it was and with its new status; `None` if somebody else changed it meanwhile.
    pub(crate) written: Option<Result<Option<Written>, apply::Error>>,
    /// By the uid of the object. Those that could not be asked for are not in it.
    pub(crate) problems: BTreeMap<String, Option<String>>,
    pub(crate) event_error: Option<events::Error>,
    pub(crate) switchovers: Vec<(Arc<Switchover>, Result<(), apply::Error>)>,
    /// Whether Pods are labelled; `None` if none was to be.
    pub(crate) labelled: Option<Result<bool, exact::Error>>,
}

pub(crate) struct Written {
    pub(crate) before: Arc<MySQLCluster>,
    pub(crate) after: MySQLCluster,
}

pub(crate) async fn work(job: Job) -> Done {
    let mut done = Done::default();
    let mut notices = job.notices.clone();
    if let Some((status, announcements)) = &job.status {
        let written = write_status(&job, status).await;
        if let Ok(Some(_)) = &written {
            notices.extend(announcements.iter().cloned());
        }
        done.written = Some(written);
    }
    done.event_error = publish(&job.context, &*job.object, &notices).await.err();
    for told in &job.switchovers {
        let written = tell(&job.context, told, &mut done.event_error).await;
        done.switchovers.push((told.asked.clone(), written));
    }
    if !job.labels.is_empty() {
        done.labelled = Some(labels::write(&job.exact, &job.labels).await);
    }
    if let Some(order) = &job.order {
        // Never closed, so this cannot fail.
        let _permit = job.context.supplies.acquire().await;
        done.supplied = Some(supply::supply(order, Timestamp::now()).await);
    }
    for stuck in &job.stuck {
        match events_of(&job.context, &job.object, &stuck.uid).await {
            Ok(events) => {
                done.problems
                    .insert(stuck.uid.clone(), problems::of_events(&events));
            }
            Err(error) => tracing::debug!(uid = stuck.uid, %error, "failed to ask what is the matter"),
        }
    }
    done
}

/// One that somebody else changed meanwhile comes by the watch, and is told then.
async fn tell(
    context: &Context,
    told: &switching::Told,
    event_error: &mut Option<events::Error>,
) -> Result<(), apply::Error> {
    let client = context.clients.prompt.client();
    match apply::status(client, &*told.asked, &told.status, CALL_TIMEOUT).await {
        Ok(_) => {
            let published = publish(context, &*told.asked, told.notice.as_slice()).await;
            *event_error = published.err().or(event_error.take());
            Ok(())
        }
        Err(error) if matches!(error.class(), Some(Class::Conflict | Class::NotFound)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn write_status(job: &Job, status: &MySQLClusterStatus) -> Result<Option<Written>, apply::Error> {
    let client = job.context.clients.prompt.client();
    let written = apply::status(client, &*job.object, status, CALL_TIMEOUT).await;
    match written {
        Ok(Applied { object, .. }) => Ok(Some(Written {
            before: job.object.clone(),
            after: object,
        })),
        Err(error) if matches!(error.class(), Some(Class::Conflict | Class::NotFound)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Those that come first if one fails: an Event that is lost is lost.
pub(crate) async fn publish(
    context: &Context,
    object: &(impl Resource<DynamicType = ()> + Sync),
    notices: &[Notice],
) -> Result<(), events::Error> {
    let about = object.object_ref(&());
    for notice in notices {
        let note = Note {
            type_: match notice.is_warning {
                true => EventType::Warning,
                false => EventType::Normal,
            },
            reason: notice.reason,
            action: &notice.action,
            note: &notice.note,
        };
        context.events.publish(&about, note).await?;
    }
    Ok(())
}

async fn events_of(context: &Context, object: &MySQLCluster, uid: &str) -> Result<Vec<Event>, client::Error> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<Event>::namespaced(context.clients.prompt.client().clone(), namespace);
    let params = ListParams::default()
        .fields(&format!("involvedObject.uid={uid}"))
        .limit(EVENTS_LIMIT);
    let page = client::call(CALL_TIMEOUT, api.list(&params)).await?;
    Ok(page.items)
}
