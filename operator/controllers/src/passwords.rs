//! Passwords: drawn once, kept for as long as there is one.
//! Must not show one, nor draw another where one is already.

use k8s_openapi::api::core::v1::Secret;
use objects::Cluster;
use objects::secrets::{
    self, APP_DATABASE, APP_USERNAME, App, Internal, KEY_DATABASE, KEY_PASSWORD, KEY_USERNAME, value,
};
use rustls::crypto::CryptoProvider;
use zeroize::Zeroizing;

/// Of six bits each: 192 bits. A replica's receiver takes no more characters, and cuts what is longer.
const LENGTH: usize = 32;

/// Safe in URIs, option files and shells.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to draw random numbers: no TLS provider is installed")]
    NoProvider,
    #[error("failed to draw random numbers")]
    Random,
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Error> {
    let provider = CryptoProvider::get_default().ok_or(Error::NoProvider)?;
    provider.secure_random.fill(bytes).map_err(|_| Error::Random)
}

fn password() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0; LENGTH]);
    random(&mut *bytes)?;
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 63)]);
    Ok(Zeroizing::new(bytes.iter().map(letter).collect()))
}

fn kept_or_drawn(known: Option<&Secret>, key: &str) -> Result<Zeroizing<String>, Error> {
    let known = known.and_then(|known| value(known, key));
    match known.filter(|text| !text.is_empty()) {
        Some(text) => Ok(Zeroizing::new(text.to_owned())),
        None => password(),
    }
}

/// The operator's own accounts.
pub(crate) fn internal(cluster: &Cluster, known: Option<&Secret>) -> Result<Secret, Error> {
    let agent = kept_or_drawn(known, "agent")?;
    let accounts = kept_or_drawn(known, "accounts")?;
    let replication = kept_or_drawn(known, "replication")?;
    let clone = kept_or_drawn(known, "clone")?;
    let monitoring = kept_or_drawn(known, "monitoring")?;
    Ok(secrets::internal(
        cluster,
        Internal {
            agent: &agent,
            accounts: &accounts,
            replication: &replication,
            clone: &clone,
            monitoring: &monitoring,
        },
    ))
}

/// The application's: what a person changed in it stays.
pub(crate) fn app(cluster: &Cluster, known: Option<&Secret>, authorities: &str) -> Result<Secret, Error> {
    let password = kept_or_drawn(known, KEY_PASSWORD)?;
    let text = |key| {
        known
            .and_then(|known| value(known, key))
            .filter(|text| !text.is_empty())
    };
    Ok(secrets::app(
        cluster,
        App {
            username: text(KEY_USERNAME).unwrap_or(APP_USERNAME),
            password: &password,
            database: text(KEY_DATABASE).unwrap_or(APP_DATABASE),
            ca: authorities,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::cluster;

    #[test]
    fn passwords_are_drawn_once() {
        crate::testing::provider();
        let cluster = cluster();
        let first = internal(&cluster, None).unwrap();
        let agent = value(&first, "agent").unwrap();
        assert_eq!(agent.len(), LENGTH);
        assert!(agent.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(Some(agent), value(&first, "replication"));
        assert!(internal(&cluster, Some(&first)).unwrap() == first);
        assert!(internal(&cluster, None).unwrap() != first);
    }

    #[test]
    fn what_a_person_set_stays_and_the_rest_follows_it() {
        crate::testing::provider();
        let cluster = cluster();
        let mut changed = app(&cluster, None, "old").unwrap();
        let data = changed.data.as_mut().unwrap();
        data.insert(KEY_PASSWORD.into(), k8s_openapi::ByteString(b"s3cret".to_vec()));
        let now = app(&cluster, Some(&changed), "new").unwrap();
        assert_eq!(value(&now, KEY_PASSWORD), Some("s3cret"));
        assert!(value(&now, "uri").unwrap().contains(":s3cret@"));
        assert_eq!(value(&now, "ca.crt"), Some("new"));
    }
}
