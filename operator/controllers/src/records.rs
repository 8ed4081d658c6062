//! The record of one cluster: read by name, written by compare-and-swap.
//! Must not be read from a cache, nor guessed after a write whose end was not seen.

use k8s_openapi::api::core::v1::ConfigMap;
use objects::Cluster;
use objects::record::{self, read_record};
use topology::record::Record;

use crate::exact::{self, Exact, Outcome};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to reach the record")]
    Call(#[source] exact::Error),
    /// A person has to look at it: it is the truth that decisions rest on.
    #[error("failed to read the record in the ConfigMap {name}: {source}")]
    Unreadable {
        name: String,
        #[source]
        source: record::Error,
    },
    #[error("failed to write the record: {0}")]
    Unwritable(#[source] record::Error),
}

/// The record as it was read or written last, with the version that the next write replaces.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) record: Option<Record>,
    object: Option<ConfigMap>,
}

impl Known {
    fn of(object: Option<ConfigMap>, name: &str) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable {
            name: name.to_owned(),
            source,
        };
        let record = object.as_ref().map(read_record).transpose().map_err(unreadable)?;
        Ok(Self { record, object })
    }
}

pub(crate) async fn read(exact: &Exact, cluster: &Cluster) -> Result<Known, Error> {
    let name = cluster.record_name();
    let object = exact.read::<ConfigMap>(&name).await.map_err(Error::Call)?;
    Known::of(object, &name)
}

/// In place of what is known, and of nothing else.
pub(crate) async fn write(
    exact: &Exact,
    cluster: &Cluster,
    known: &Known,
    next: &Record,
) -> Result<Outcome<Known>, Error> {
    let mut wanted = record::record(cluster, next).map_err(Error::Unwritable)?;
    let written = match &known.object {
        None => exact.create(&wanted).await,
        Some(object) => {
            wanted.metadata.uid = object.metadata.uid.clone();
            wanted.metadata.resource_version = object.metadata.resource_version.clone();
            exact.replace(&wanted).await
        }
    };
    match written.map_err(Error::Call)? {
        Outcome::Done(object) => Known::of(Some(object), &cluster.record_name()).map(Outcome::Done),
        Outcome::Overtaken => Ok(Outcome::Overtaken),
    }
}
