//! Issued certificates as OpenSSL and rustls see them.
//! Must not depend on today's date, but where OpenSSL is told one.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, client::WebPkiServerVerifier, client::danger::ServerCertVerifier};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
const NAME: &str = "db-members.shop.svc.cluster.local";
const OTHER: &str = "*.db-members.shop.svc.cluster.local";

fn now() -> Timestamp {
    "2031-05-06T07:08:09.5Z".parse().unwrap()
}

fn after(days: u32) -> Timestamp {
    now() + DAY * days
}

fn authority() -> Authority {
    Authority::new("db in shop", DAY * 100, now()).unwrap()
}

fn server(authority: &Authority) -> Issued {
    let names = [NAME.to_owned(), OTHER.to_owned()];
    let addresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    authority
        .issue_server(&names, &addresses, DAY * 30, now())
        .unwrap()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("certificates-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Whether OpenSSL takes the leaf for the purpose, being strict.
fn openssl_verifies(roots: &str, leaf: &str, more: &[&str], at: Timestamp) -> bool {
    let folder = Folder::new();
    let (roots, leaf) = (folder.file("ca.crt", roots), folder.file("tls.crt", leaf));
    let at = at.as_second().to_string();
    let mut arguments = vec!["verify", "-x509_strict", "-attime", &at, "-CAfile", &roots];
    arguments.extend(more);
    arguments.push(&leaf);
    let (is_good, text) = openssl(&arguments);
    println!("{text}");
    is_good
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

fn unix(time: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().try_into().unwrap()))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn rustls_takes_server(roots_pem: &str, leaf: &str, name: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(roots_pem), provider())
        .build()
        .unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier
        .verify_server_cert(&leaf, &[], &name, &[], unix(at))
        .map(|_| ())
}

fn rustls_takes_client(roots_pem: &str, leaf: &str, at: Timestamp) -> Result<(), rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(roots_pem), provider())
        .build()
        .unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap();
    verifier.verify_client_cert(&leaf, &[], unix(at)).map(|_| ())
}

#[test]
fn servers_are_taken_for_servers_only_and_under_their_names() {
    let (authority, other) = (authority(), authority());
    let server = server(&authority);
    let (ca, leaf) = (authority.certificate_pem(), server.certificate_pem.as_str());
    for name in [
        NAME,
        "db-0.db-members.shop.svc.cluster.local",
        "10.0.0.7",
        "fd00::7",
    ] {
        assert_eq!(rustls_takes_server(ca, leaf, name, now()), Ok(()));
    }
    assert!(rustls_takes_server(ca, leaf, "other", now()).is_err());
    assert!(rustls_takes_server(ca, leaf, "10.0.0.8", now()).is_err());
    assert!(rustls_takes_server(other.certificate_pem(), leaf, NAME, now()).is_err());
    assert!(rustls_takes_client(ca, leaf, now()).is_err());

    assert!(openssl_verifies(
        ca,
        leaf,
        &["-purpose", "sslserver", "-verify_hostname", NAME],
        now()
    ));
    assert!(openssl_verifies(
        ca,
        leaf,
        &["-purpose", "sslserver", "-verify_ip", "10.0.0.7"],
        now()
    ));
    assert!(!openssl_verifies(
        ca,
        leaf,
        &["-purpose", "sslserver", "-verify_hostname", "other"],
        now()
    ));
    assert!(!openssl_verifies(ca, leaf, &["-purpose", "sslclient"], now()));
    assert!(!openssl_verifies(
        other.certificate_pem(),
        leaf,
        &["-purpose", "sslserver"],
        now()
    ));
    assert_eq!(names(leaf).unwrap(), [NAME, OTHER]);
    assert!(names(ca).unwrap().is_empty());
}

#[test]
fn clients_are_taken_for_clients_only() {
    let authority = authority();
    let client = authority
        .issue_client("controller.mysql.holdfast.dev", DAY, now())
        .unwrap();
    let (ca, leaf) = (authority.certificate_pem(), client.certificate_pem.as_str());
    assert_eq!(rustls_takes_client(ca, leaf, now()), Ok(()));
    assert!(rustls_takes_server(ca, leaf, "controller.mysql.holdfast.dev", now()).is_err());
    assert!(openssl_verifies(ca, leaf, &["-purpose", "sslclient"], now()));
    assert!(!openssl_verifies(ca, leaf, &["-purpose", "sslserver"], now()));
    assert_eq!(names(leaf).unwrap(), ["controller.mysql.holdfast.dev"]);
}

#[test]
fn keys_belong_to_their_certificates_and_are_small() {
    let authority = authority();
    let server = server(&authority);
    let leaf = CertificateDer::from_pem_slice(server.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).unwrap();
    assert!(rustls::sign::CertifiedKey::from_der(vec![leaf], key, &provider()).is_ok());

    let folder = Folder::new();
    let path = folder.file("tls.crt", &server.certificate_pem);
    let (_, text) = openssl(&["x509", "-noout", "-text", "-in", &path]);
    for line in [
        "ASN1 OID: prime256v1",
        "Signature Algorithm: ecdsa-with-SHA256",
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication",
        "Issuer: O = Holdfast, CN = db in shop authority",
        "Subject: O = Holdfast, CN = server",
    ] {
        let text = text.replace("O=", "O = ").replace("CN=", "CN = ");
        assert!(text.contains(line), "{line} in {text}");
    }
    let path = folder.file("ca.crt", authority.certificate_pem());
    let (_, text) = openssl(&["x509", "-noout", "-text", "-in", &path]);
    for line in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign"] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn an_authority_comes_back_from_its_pem() {
    let made = authority();
    let again = Authority::from_pem(made.certificate_pem(), &made.key_pem()).unwrap();
    assert_eq!(again.certificate_pem(), made.certificate_pem());
    assert_eq!(*again.key_pem(), *made.key_pem());
    assert_eq!(again.validity(), made.validity());
    let server = server(&again);
    assert_eq!(
        rustls_takes_server(made.certificate_pem(), &server.certificate_pem, NAME, now()),
        Ok(())
    );
    assert!(openssl_verifies(
        made.certificate_pem(),
        &server.certificate_pem,
        &["-purpose", "sslserver"],
        now()
    ));
    assert_eq!(
        is_issued_by(&server.certificate_pem, made.certificate_pem()),
        Ok(true)
    );
}

#[test]
fn what_is_no_authority_is_refused() {
    let (authority, other) = (authority(), authority());
    let error = |certificate: &str, key: &str| Authority::from_pem(certificate, key).err().unwrap();
    let (ca, key) = (authority.certificate_pem(), authority.key_pem());
    assert_eq!(error(ca, &other.key_pem()), Error::OtherKey);
    assert_eq!(error("", &key), Error::Missing);
    assert_eq!(error(ca, "nonsense"), Error::Key);
    assert_eq!(error(ca, ""), Error::Key);
    assert_eq!(error(&key, &key), Error::Missing);
    let server = server(&authority);
    assert_eq!(
        error(&server.certificate_pem, &server.key_pem),
        Error::NotAnAuthority
    );
    let cut = &ca[..ca.len() / 2];
    assert!(matches!(
        error(cut, &key),
        Error::Missing | Error::Certificate { .. }
    ));
    let broken = ca.replacen("MII", "AAA", 1);
    assert!(matches!(error(&broken, &key), Error::Certificate { .. }));
}

#[test]
fn certificates_live_as_long_as_they_were_given_and_no_longer_than_their_authority() {
    let authority = authority();
    let second = Timestamp::from_second(now().as_second()).unwrap();
    let expected = Validity {
        not_before: second - Duration::from_secs(300),
        not_after: second + DAY * 100,
    };
    assert_eq!(Validity::of(authority.certificate_pem()), Ok(expected));
    assert_eq!(authority.validity(), expected);

    let server = server(&authority);
    let validity = Validity::of(&server.certificate_pem).unwrap();
    assert_eq!(validity.not_before, expected.not_before);
    assert_eq!(validity.not_after, second + DAY * 30);
    let ca = authority.certificate_pem();
    for (at, is_good) in [
        (validity.not_before - Duration::from_secs(1), false),
        (validity.not_before, true),
        (validity.not_after, true),
        (validity.not_after + Duration::from_secs(1), false),
    ] {
        assert_eq!(
            rustls_takes_server(ca, &server.certificate_pem, NAME, at).is_ok(),
            is_good,
            "{at}"
        );
    }
    assert!(openssl_verifies(ca, &server.certificate_pem, &[], after(29)));
    assert!(!openssl_verifies(ca, &server.certificate_pem, &[], after(31)));

    let late = authority.issue_client("a.example", DAY * 30, after(90)).unwrap();
    assert_eq!(
        Validity::of(&late.certificate_pem).unwrap().not_after,
        expected.not_after
    );
    for moment in [after(100), after(500), now() - DAY] {
        let error = authority.issue_client("a.example", DAY, moment).err().unwrap();
        assert_eq!(error, Error::Expired(expected));
    }
}

#[test]
fn years_beyond_2049_and_impossible_times() {
    let far: Timestamp = "2060-01-01T00:00:00Z".parse().unwrap();
    let authority = Authority::new("a", DAY * 10, far).unwrap();
    assert_eq!(
        Validity::of(authority.certificate_pem()),
        Ok(authority.validity())
    );
    assert_eq!(
        Authority::new("a", Duration::MAX, now()).err().unwrap(),
        Error::Time
    );
    assert_eq!(
        Authority::new("a", DAY, Timestamp::MIN).err().unwrap(),
        Error::Time
    );
    assert_eq!(
        Authority::new("a", DAY, Timestamp::UNIX_EPOCH).err().unwrap(),
        Error::Time
    );
    let last = Timestamp::MAX - DAY * 2;
    assert!(Authority::new("a", DAY, last).is_ok());
}

#[test]
fn names_must_be_there_and_be_names() {
    let authority = authority();
    assert_eq!(
        authority.issue_server(&[], &[], DAY, now()).err().unwrap(),
        Error::NoName
    );
    let error = authority.issue_client("bücher", DAY, now()).err().unwrap();
    assert!(matches!(error, Error::Name { name, .. } if name == "bücher"));
    let long = "a-cluster-with-a-long-name.a-namespace-with-a-long-name.and-more-of-it";
    let authority = Authority::new(long, DAY, now()).unwrap();
    let server = authority
        .issue_server(&[long.to_owned()], &[], DAY, now())
        .unwrap();
    assert!(openssl_verifies(
        authority.certificate_pem(),
        &server.certificate_pem,
        &[],
        now()
    ));
}

#[test]
fn while_an_authority_is_replaced_both_are_trusted() {
    // Alike but for their keys.
    let (old, new) = (authority(), authority());
    let both = bundle(&[
        old.certificate_pem(),
        new.certificate_pem(),
        old.certificate_pem(),
    ])
    .unwrap();
    assert_eq!(
        both,
        format!("{}{}", old.certificate_pem(), new.certificate_pem())
    );
    assert_eq!(bundle(&[&both, &both]).unwrap(), both);
    for authority in [&old, &new] {
        let server = server(authority);
        assert_eq!(
            rustls_takes_server(&both, &server.certificate_pem, NAME, now()),
            Ok(())
        );
        assert!(openssl_verifies(
            &both,
            &server.certificate_pem,
            &["-purpose", "sslserver"],
            now()
        ));
        assert_eq!(is_issued_by(&server.certificate_pem, &both), Ok(true));
    }
    assert_eq!(
        is_issued_by(&server(&old).certificate_pem, new.certificate_pem()),
        Ok(false)
    );
    assert_eq!(bundle(&[]), Err(Error::Missing));
    assert_eq!(bundle(&["", "text"]), Err(Error::Missing));
    // Keys are not carried along.
    let with_key = format!("{}{}", old.key_pem().as_str(), old.certificate_pem());
    assert_eq!(bundle(&[&with_key]).unwrap(), old.certificate_pem());
}

#[test]
fn renewal_is_due_after_two_thirds_of_the_life() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let renewal_at = |second| renewal(at(1000), at(1900), at(second));
    assert_eq!(renewal_at(1000), Renewal::At(at(1600)));
    assert_eq!(renewal_at(1599), Renewal::At(at(1600)));
    for second in [1600, 1601, 1900, 5000] {
        assert_eq!(renewal_at(second), Renewal::Due);
    }
    // Not yet good: the clock was set back, or the certificate is another's.
    assert_eq!(renewal_at(999), Renewal::Due);
    assert_eq!(renewal(at(1900), at(1000), at(950)), Renewal::Due);
    assert_eq!(renewal(at(1000), at(1000), at(1000)), Renewal::Due);
    assert_eq!(
        renewal(Timestamp::MIN, Timestamp::MAX, Timestamp::MAX),
        Renewal::Due
    );
}

#[test]
fn errors_show_no_key() {
    let authority = authority();
    let key = authority.key_pem();
    let error = Authority::from_pem(&key, authority.certificate_pem())
        .err()
        .unwrap();
    let shown = format!("{error:?} {error}");
    assert!(
        !key.lines()
            .any(|line| !line.starts_with('-') && shown.contains(line))
    );
}
