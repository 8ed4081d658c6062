//! Whom members and controller believe: the cluster's authority and the certificates it issues.
//! Must not show a key, nor replace a certificate that is still good.

use std::time::Duration;

use agent_api::CONTROLLER_NAME;
use agent_api::tls::{self, ClientTls};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kit::certificates::{self, Authority, Renewal, Validity, bundle, is_issued_by, names, renewal};
use objects::Cluster;
use objects::secrets::{self, KEY_CERTIFICATE, KEY_PRIVATE, KeyPair, members_name, server_names, value};
use zeroize::Zeroizing;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
/// The controller's own certificate is kept in memory alone and is made anew by every one.
const CLIENT_LIFETIME: Duration = DAY;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to make or read a certificate of the cluster's authority")]
    Certificate(#[from] certificates::Error),
    #[error("failed to make use of the controller's certificate")]
    Client(#[from] tls::Error),
}

/// The two Secrets as they should be, and until when that is so.
pub(crate) struct Trust {
    pub(crate) ca: Secret,
    pub(crate) server: Secret,
    /// All authorities that are believed, as PEM.
    pub(crate) authorities: String,
    pub(crate) server_end: Timestamp,
    pub(crate) due: Timestamp,
    authority: Authority,
}

/// The controller's own certificate.
#[derive(Clone)]
pub(crate) struct Own {
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    authorities: String,
    due: Timestamp,
    pub(crate) tls: ClientTls,
}

impl Own {
    pub(crate) fn due(&self) -> Timestamp {
        self.due
    }
}

/// From what is there, with as little change as is needed.
pub(crate) fn renew(
    cluster: &Cluster,
    ca: Option<&Secret>,
    server: Option<&Secret>,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Trust, Error> {
    let (authority, authorities) = authority(cluster, ca, now)?;
    let pair = server.and_then(|secret| Some((value(secret, KEY_CERTIFICATE)?, value(secret, KEY_PRIVATE)?)));
    let kept = pair.filter(|(certificate, _)| is_good(cluster, certificate, &authorities, now));
    let (certificate_pem, key_pem) = match kept {
        Some((certificate, key)) => (certificate.to_owned(), Zeroizing::new(key.to_owned())),
        None => {
            let issued = authority.issue_server(&server_names(cluster), &[], lifetime, now)?;
            (issued.certificate_pem, issued.key_pem)
        }
    };
    let validity = Validity::of(&certificate_pem)?;
    let own = authority.validity();
    let due = due_at(validity, now).min(due_at(own, now));
    let key = authority.key_pem();
    let ca = secrets::ca(
        cluster,
        KeyPair {
            certificate: &authorities,
            key: &key,
        },
    );
    let server = secrets::tls(
        cluster,
        KeyPair {
            certificate: &certificate_pem,
            key: &key_pem,
        },
        &authorities,
    );
    Ok(Trust {
        ca,
        server,
        authorities,
        server_end: validity.not_after,
        due,
        authority,
    })
}

/// The authority that issues, and all that are believed: those before it too, until they end, so
/// that nobody is shown a certificate that he does not know yet.
fn authority(cluster: &Cluster, ca: Option<&Secret>, now: Timestamp) -> Result<(Authority, String), Error> {
    let make = || {
        Authority::new(
            &format!("{} {}", cluster.name, cluster.namespace),
            AUTHORITY_LIFETIME,
            now,
        )
    };
    let pair = ca.and_then(|secret| Some((value(secret, KEY_CERTIFICATE)?, value(secret, KEY_PRIVATE)?)));
    let Some((certificates, key)) = pair else {
        let made = make()?;
        let text = made.certificate_pem().to_owned();
        return Ok((made, text));
    };
    let kept = Authority::from_pem(certificates, key)?;
    let validity = kept.validity();
    if renewal(validity.not_before, validity.not_after, now) != Renewal::Due {
        let text = bundle(&[certificates])?;
        return Ok((kept, text));
    }
    let made = make()?;
    // What has ended proves nothing any more.
    let before = if validity.not_after > now {
        certificates
    } else {
        ""
    };
    let text = bundle(&[made.certificate_pem(), before])?;
    Ok((made, text))
}

/// A certificate of an older authority is good until its own end: by then everybody knows the new one.
fn is_good(cluster: &Cluster, certificate: &str, authorities: &str, now: Timestamp) -> bool {
    let Ok(validity) = Validity::of(certificate) else {
        return false;
    };
    let is_due = renewal(validity.not_before, validity.not_after, now) == Renewal::Due;
    let has_names = names(certificate).is_ok_and(|names| {
        let wanted = server_names(cluster);
        names.len() == wanted.len() && wanted.iter().all(|name| names.contains(name))
    });
    !is_due && has_names && is_issued_by(certificate, authorities).unwrap_or(false)
}

fn due_at(validity: Validity, now: Timestamp) -> Timestamp {
    match renewal(validity.not_before, validity.not_after, now) {
        Renewal::Due => now,
        Renewal::At(at) => at,
    }
}

impl Trust {
    /// The controller's own, kept as long as it is good: members may not know a new authority yet.
    pub(crate) fn own(&self, cluster: &Cluster, before: Option<&Own>, now: Timestamp) -> Result<Own, Error> {
        if let Some(before) = before.filter(|before| before.due > now)
            && is_issued_by(&before.certificate_pem, &self.authorities).unwrap_or(false)
        {
            if before.authorities == self.authorities {
                return Ok(before.clone());
            }
            return self.with(
                cluster,
                before.certificate_pem.clone(),
                before.key_pem.clone(),
                before.due,
            );
        }
        let issued = self
            .authority
            .issue_client(CONTROLLER_NAME, CLIENT_LIFETIME, now)?;
        let due = due_at(Validity::of(&issued.certificate_pem)?, now);
        self.with(cluster, issued.certificate_pem, issued.key_pem, due)
    }

    fn with(
        &self,
        cluster: &Cluster,
        certificate_pem: String,
        key_pem: Zeroizing<String>,
        due: Timestamp,
    ) -> Result<Own, Error> {
        let name = members_name(cluster);
        let tls = ClientTls::new(&self.authorities, &certificate_pem, &key_pem, &name)?;
        Ok(Own {
            certificate_pem,
            key_pem,
            authorities: self.authorities.clone(),
            due,
            tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{cluster, provider};

    fn at(days: i64) -> Timestamp {
        let start: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        start + jiff::SignedDuration::from_hours(24 * days)
    }

    fn again(cluster: &Cluster, before: &Trust, days: i64) -> Trust {
        renew(
            cluster,
            Some(&before.ca),
            Some(&before.server),
            90 * DAY,
            at(days),
        )
        .unwrap()
    }

    #[test]
    fn what_is_good_stays_as_it_is() {
        provider();
        let cluster = cluster();
        let first = renew(&cluster, None, None, 90 * DAY, at(0)).unwrap();
        let second = again(&cluster, &first, 59);
        assert!(second.ca == first.ca && second.server == first.server);
        assert!(first.due > at(59) && first.due < at(61), "{}", first.due);
    }

    #[test]
    fn a_certificate_is_renewed_in_time_under_the_same_authority() {
        provider();
        let cluster = cluster();
        let first = renew(&cluster, None, None, 90 * DAY, at(0)).unwrap();
        let second = again(&cluster, &first, 61);
        assert!(second.ca == first.ca && second.server != first.server);
        assert!(second.server_end > at(150));
    }

    #[test]
    fn an_old_authority_is_believed_beside_the_new_one() {
        provider();
        let cluster = cluster();
        let first = renew(&cluster, None, None, 90 * DAY, at(0)).unwrap();
        let young = again(&cluster, &first, 2400);
        let second = again(&cluster, &young, 2440);
        assert_eq!(second.authorities.matches("BEGIN CERTIFICATE").count(), 2);
        // Nobody is shown a certificate of one that he does not know yet.
        let certificate = |trust: &Trust| value(&trust.server, KEY_CERTIFICATE).unwrap().to_owned();
        assert_eq!(certificate(&second), certificate(&young));
        let third = again(&cluster, &second, 2480);
        assert_ne!(certificate(&third), certificate(&second));
        assert!(is_issued_by(&certificate(&third), third.authority.certificate_pem()).unwrap());
    }

    #[test]
    fn the_controllers_own_is_kept_until_it_is_due() {
        provider();
        let cluster = cluster();
        let trust = renew(&cluster, None, None, 90 * DAY, at(0)).unwrap();
        let own = trust.own(&cluster, None, at(0)).unwrap();
        let hour = jiff::SignedDuration::from_hours(1);
        let kept = trust.own(&cluster, Some(&own), at(0) + hour).unwrap();
        assert_eq!(kept.certificate_pem, own.certificate_pem);
        assert!(own.due() > at(0) + hour * 15 && own.due() < at(0) + hour * 17);
        let renewed = trust.own(&cluster, Some(&own), at(0) + hour * 17).unwrap();
        assert_ne!(renewed.certificate_pem, own.certificate_pem);
    }

    #[test]
    fn a_certificate_for_other_names_is_replaced() {
        provider();
        let cluster = cluster();
        let mut other = cluster.clone();
        other.namespace = "elsewhere".into();
        let first = renew(&other, None, None, 90 * DAY, at(0)).unwrap();
        let second = again(&cluster, &first, 1);
        assert!(second.server != first.server);
        let certificate = value(&second.server, KEY_CERTIFICATE).unwrap();
        assert!(names(certificate).unwrap().contains(&members_name(&cluster)));
    }
}
