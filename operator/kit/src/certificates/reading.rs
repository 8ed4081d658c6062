//! What is in certificates that were issued before.
//! Must not see a private key.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

use super::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// Of the first certificate.
    pub fn of(pem: &str) -> Result<Self, Error> {
        Self::of_parsed(&parse(&first(pem)?)?)
    }

    pub(super) fn of_parsed(certificate: &X509Certificate<'_>) -> Result<Self, Error> {
        let time = |seconds| Timestamp::from_second(seconds).map_err(|_| Error::Time);
        let validity = certificate.validity();
        Ok(Self {
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
        })
    }
}

/// When something that ends is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Due,
    At(Timestamp),
}

/// After two thirds of its life.
pub fn renewal(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Renewal {
    let life_seconds = not_after.as_second().saturating_sub(not_before.as_second());
    let due_second = not_before
        .as_second()
        .saturating_add(life_seconds.saturating_mul(2) / 3);
    match Timestamp::from_second(due_second) {
        // Within one's own time, whatever the clock is set to.
        Ok(due) if now < due && now >= not_before => Renewal::At(due),
        _ => Renewal::Due,
    }
}

/// All certificates of these texts, each once, in order of appearance: old and new authority while
/// one replaces the other.
pub fn bundle(pems: &[&str]) -> Result<String, Error> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for text in pems {
        for certificate in all(text)? {
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Missing);
    }
    Ok(found.iter().map(|certificate| pem(certificate)).collect())
}

/// The DNS names in the first certificate, to see whether it still fits.
pub fn names(pem: &str) -> Result<Vec<String>, Error> {
    let found = first(pem)?;
    let certificate = parse(&found)?;
    let names = certificate.subject_alternative_name().map_err(unreadable)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect())
}

/// Whether the first certificate names one of these authorities, and its key, as its issuer. The
/// signature is for those who meet the certificate elsewhere than among one's own.
pub fn is_issued_by(pem: &str, authorities_pem: &str) -> Result<bool, Error> {
    let found = first(pem)?;
    let certificate = parse(&found)?;
    let issuer_key = certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(identifier) => {
                identifier.key_identifier.as_ref().map(|key| key.0)
            }
            _ => None,
        });
    for authority in all(authorities_pem)? {
        let authority = parse(&authority)?;
        let key = authority
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
                _ => None,
            });
        if key.is_some() && key == issuer_key && authority.subject().as_raw() == certificate.issuer().as_raw()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// DER of the first certificate.
pub(super) fn first(pem: &str) -> Result<Vec<u8>, Error> {
    all(pem)?.into_iter().next().ok_or(Error::Missing)
}

/// DER of all certificates, each of which can be read.
fn all(pem: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    for block in Pem::iter_from_buffer(pem.as_bytes()) {
        let block = block.map_err(|error| Error::Certificate {
            why: error.to_string(),
        })?;
        if block.label == "CERTIFICATE" {
            parse(&block.contents)?;
            found.push(block.contents);
        }
    }
    Ok(found)
}

pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Error::Certificate {
            why: "something follows it".to_owned(),
        }),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::Certificate {
        why: error.to_string(),
    }
}

pub(super) fn pem(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}
