//! Who each end must be: the cluster's authority on both sides, names and usages on top.
//! Must not issue certificates, or ask when they are due.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

use crate::CONTROLLER_NAME;

const AUTHORITY: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {name}")]
    Read {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to find a certificate or key in {name}")]
    Pem {
        name: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("failed to find a certificate in {name}")]
    Empty { name: &'static str },
    #[error("failed to use certificate, key or authority")]
    Unfit(#[source] rustls::Error),
    #[error("failed to use the authority for clients")]
    Authority(#[source] VerifierBuilderError),
    #[error("failed to take {name} for the name of a server")]
    Name {
        name: String,
        #[source]
        source: rustls::pki_types::InvalidDnsNameError,
    },
}

/// The agent's end, made from `ca.crt`, `tls.crt` and `tls.key` of a folder.
#[derive(Clone)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

impl ServerTls {
    /// Also for who wants to know what is wrong with the files.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        Files::read(folder)?.server()
    }
}

/// What is in the files, to see when it changes.
#[derive(PartialEq, Eq)]
pub(crate) struct Files {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Files {
    /// The files are small and in memory: Secrets are mounted from a tmpfs.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name| std::fs::read(folder.join(name)).map_err(|source| Error::Read { name, source });
        Ok(Self {
            authority: read(AUTHORITY)?,
            certificate: read(CERTIFICATE)?,
            key: Zeroizing::new(read(KEY)?),
        })
    }

    pub(crate) fn server(&self) -> Result<ServerTls, Error> {
        let provider = provider();
        let roots = Arc::new(roots(&self.authority)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(Error::Authority)?;
        let verifier = ControllerOnly {
            authority: verifier,
            name: controller_name()?,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Unfit)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(certificates(&self.certificate, CERTIFICATE)?, key(&self.key)?)
            .map_err(Error::Unfit)?;
        // Who comes back is asked for its certificate again.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(ServerTls(Arc::new(config)))
    }
}

/// The controller's end for one cluster. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
}

impl ClientTls {
    /// `authority_pem` may hold several certificates. `server_name` must be in the agent's certificate.
    pub fn new(
        authority_pem: &str,
        certificate_pem: &str,
        key_pem: &str,
        server_name: &str,
    ) -> Result<Self, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Unfit)?
            .with_root_certificates(roots(authority_pem.as_bytes())?)
            .with_client_auth_cert(
                certificates(certificate_pem.as_bytes(), CERTIFICATE)?,
                key(key_pem.as_bytes())?,
            )
            .map_err(Error::Unfit)?;
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            server_name: name(server_name)?,
        })
    }
}

/// Beside the authority's signature and the usage, the controller's name: servers' certificates come
/// from the same authority.
#[derive(Debug)]
struct ControllerOnly {
    authority: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

impl ClientCertVerifier for ControllerOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .authority
            .verify_client_cert(end_entity, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_name(&certificate, &self.name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authority
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authority
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}

/// Named, so that nothing depends on which provider the process took.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn controller_name() -> Result<ServerName<'static>, Error> {
    name(CONTROLLER_NAME)
}

fn name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|source| Error::Name {
        name: name.to_owned(),
        source,
    })
}

fn roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, AUTHORITY)? {
        roots.add(certificate).map_err(Error::Unfit)?;
    }
    Ok(roots)
}

fn certificates(pem: &[u8], name: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|source| Error::Pem { name, source })?;
    if found.is_empty() {
        return Err(Error::Empty { name });
    }
    Ok(found)
}

fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| Error::Pem { name: KEY, source })
}
