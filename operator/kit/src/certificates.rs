//! Authorities and the certificates they issue, as PEM; when one is due to be replaced.
//! Must not read a clock, keep anything, or show a key to a log.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use zeroize::Zeroizing;

mod reading;
#[cfg(test)]
mod tests;

pub use reading::{Renewal, Validity, bundle, is_issued_by, names, renewal};

/// Clocks differ: a certificate is good a little before it was made.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
/// X.520 ends a common name there.
const COMMON_NAME_LIMIT_BYTES: usize = 64;
const ORGANISATION: &str = "Holdfast";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("failed to find a certificate in the text")]
    Missing,
    #[error("failed to read a certificate: {why}")]
    Certificate { why: String },
    /// Without the library's own words: they may quote the key.
    #[error("failed to read a private key")]
    Key,
    #[error("failed to use the authority: the key is another certificate's")]
    OtherKey,
    #[error("failed to use the authority: its certificate is not an authority's")]
    NotAnAuthority,
    #[error("failed to use the authority: it is good from {} to {}", .0.not_before, .0.not_after)]
    Expired(Validity),
    #[error("failed to take {name} for a DNS name")]
    Name {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("failed to issue a certificate without a name")]
    NoName,
    #[error("failed to express a time in a certificate")]
    Time,
    #[error("failed to make a key or a certificate")]
    Make(#[source] rcgen::Error),
}

/// An authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    validity: Validity,
}

/// A certificate and its key. The key is wiped when dropped.
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

impl Authority {
    /// A new key, self-signed. `name` is for people.
    pub fn new(name: &str, lifetime: Duration, now: Timestamp) -> Result<Self, Error> {
        let key = new_key()?;
        // Told apart from those it issues: OpenSSL takes a certificate with its issuer's name for an
        // authority of its own.
        let mut params = params(&crate::cut(&format!("{name} authority"), COMMON_NAME_LIMIT_BYTES));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let validity = Validity::new(now, lifetime)?;
        set_validity(&mut params, validity)?;
        let certificate = params.self_signed(&key).map_err(Error::Make)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate_pem: certificate.pem(),
            validity,
        })
    }

    /// The first certificate counts, and only that is kept.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key_pem).map_err(|_| Error::Key)?;
        let found = reading::first(certificate_pem)?;
        let certificate = reading::parse(&found)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(Error::OtherKey);
        }
        if !certificate.is_ca() {
            return Err(Error::NotAnAuthority);
        }
        let validity = Validity::of_parsed(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&found.as_slice().into(), key).map_err(Error::Make)?;
        Ok(Self {
            issuer,
            certificate_pem: reading::pem(&found),
            validity,
        })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// For servers only. Ends with the authority at the latest.
    pub fn issue_server(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        let names = names.iter().map(|name| dns(name));
        let addresses = addresses.iter().map(|address| Ok(SanType::IpAddress(*address)));
        let names = names.chain(addresses).collect::<Result<Vec<_>, _>>()?;
        self.issue(
            "server",
            names,
            ExtendedKeyUsagePurpose::ServerAuth,
            lifetime,
            now,
        )
    }

    /// For a client only, known by this DNS name. Ends with the authority at the latest.
    pub fn issue_client(&self, name: &str, lifetime: Duration, now: Timestamp) -> Result<Issued, Error> {
        let names = vec![dns(name)?];
        self.issue(
            "client",
            names,
            ExtendedKeyUsagePurpose::ClientAuth,
            lifetime,
            now,
        )
    }

    fn issue(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, Error> {
        if names.is_empty() {
            return Err(Error::NoName);
        }
        if now < self.validity.not_before || now >= self.validity.not_after {
            return Err(Error::Expired(self.validity));
        }
        let mut validity = Validity::new(now, lifetime)?;
        validity.not_after = validity.not_after.min(self.validity.not_after);
        // The names that count are the alternative ones.
        let mut params = params(common_name);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        // While one authority replaces another, both may have the same name.
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity)?;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::Make)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(Error::Make)
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, ORGANISATION);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

fn dns(name: &str) -> Result<SanType, Error> {
    let text = name.try_into().map_err(|source| Error::Name {
        name: name.to_owned(),
        source,
    })?;
    Ok(SanType::DnsName(text))
}

fn set_validity(params: &mut CertificateParams, validity: Validity) -> Result<(), Error> {
    // The library's own type of time, without its crate.
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |time: Timestamp| {
        let seconds = u64::try_from(time.as_second()).map_err(|_| Error::Time)?;
        Ok(epoch + Duration::from_secs(seconds))
    };
    params.not_before = since_epoch(validity.not_before)?;
    params.not_after = since_epoch(validity.not_after)?;
    Ok(())
}

impl Validity {
    fn new(now: Timestamp, lifetime: Duration) -> Result<Self, Error> {
        // Certificates know whole seconds.
        let now = Timestamp::from_second(now.as_second()).map_err(|_| Error::Time)?;
        Ok(Self {
            not_before: now.checked_sub(BACKDATED).map_err(|_| Error::Time)?,
            not_after: now.checked_add(lifetime).map_err(|_| Error::Time)?,
        })
    }
}
