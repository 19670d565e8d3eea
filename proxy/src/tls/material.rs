//! Certificates and keys out of PEM files, and what is wrong with them.

use super::names::Names;
use super::provider;
use heddle_core::config::KeyPair;
use heddle_core::spec::{Flaw, Material};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

/// From when on a certificate that ends is worth a warning: two weeks are enough to renew by hand, and less
/// than the third of its life at which automatic renewal begins.
const WARN_BEFORE: i64 = 14 * DAY;
const DAY: i64 = 86_400;

/// A key pair ready for use.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) names: Names,
    /// The end of the leaf, in seconds since 1970.
    pub(super) not_after: i64,
}

/// What is wrong with certificates and keys, for the checker.
pub(crate) fn inspect(material: &Material<'_>) -> Vec<Flaw> {
    let unusable = |of_key, what| Flaw {
        of_key,
        unusable: true,
        what,
    };
    let chain = match material {
        Material::KeyPair { cert, key } => match pair(cert, key) {
            Ok(_) => certificates(cert),
            Err((of_key, what)) => return vec![unusable(of_key, what)],
        },
        Material::Authorities(pem) => match roots(pem) {
            Ok(_) => certificates(pem),
            Err(what) => return vec![unusable(false, what)],
        },
    };
    let now = now();
    let chain = chain.unwrap_or_default();
    let outside = chain.iter().filter_map(|certificate| {
        let what = lapse(validity(certificate)?, now)?;
        Some(Flaw {
            of_key: false,
            unusable: false,
            what,
        })
    });
    outside.collect()
}

/// Why a certificate of this time is, or soon will be, worth nothing.
fn lapse((not_before, not_after): (i64, i64), now: i64) -> Option<String> {
    if now >= not_after {
        return Some(format!(
            "the certificate expired {}",
            days(now - not_after, "ago")
        ));
    }
    if now < not_before {
        return Some(format!(
            "the certificate begins to be valid only in {}",
            days(not_before - now, "").trim_end()
        ));
    }
    (not_after - now < WARN_BEFORE).then(|| {
        format!(
            "the certificate expires in {}",
            days(not_after - now, "").trim_end()
        )
    })
}

fn days(seconds: i64, suffix: &str) -> String {
    match seconds / DAY {
        0 => format!("less than a day {suffix}"),
        1 => format!("1 day {suffix}"),
        n => format!("{n} days {suffix}"),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Loads what was configured.
pub(super) fn load(pair: &KeyPair) -> Result<Loaded, String> {
    self::pair(&pair.cert.pem, &pair.key.pem)
        .map_err(|(_, what)| format!("{}: {what}", pair.cert.path.display()))
}

fn pair(cert: &[u8], key: &[u8]) -> Result<Loaded, (bool, String)> {
    let chain = certificates(cert).map_err(|what| (false, what))?;
    let leaf = chain
        .first()
        .ok_or_else(|| (false, NO_CERTIFICATE.to_owned()))?;
    let (_, not_after) =
        validity(leaf).ok_or_else(|| (false, "the certificate is not X.509".to_owned()))?;
    let names = Names::of(leaf);
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let what = match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                "it holds no private key, or an encrypted one".to_owned()
            }
            error => format!("it is not PEM: {error}"),
        };
        (true, what)
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => {
                "the key is not that of the certificate".to_owned()
            }
            error => format!("the key cannot be used: {error}"),
        };
        (true, what)
    })?;
    Ok(Loaded {
        key: Arc::new(key),
        names,
        not_after,
    })
}

const NO_CERTIFICATE: &str = "it holds no certificate";

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("it is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err(NO_CERTIFICATE.to_owned());
    }
    Ok(chain)
}

/// The authorities of a PEM file.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        let added = store.add(certificate);
        added.map_err(|error| {
            format!("it holds a certificate that cannot be an authority: {error}")
        })?;
    }
    Ok(store)
}

fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_its_time_or_soon_will_be_is_told() {
        let table = [
            ((0, 100 * DAY), 50 * DAY, None),
            ((0, 100 * DAY), 87 * DAY, Some("expires in 13 days")),
            (
                (0, 100 * DAY),
                100 * DAY - 5,
                Some("expires in less than a day"),
            ),
            ((0, 100 * DAY), 101 * DAY, Some("expired 1 day ago")),
            ((DAY, 100 * DAY), 0, Some("only in 1 day")),
        ];
        for (validity, now, expected) in table {
            let told = lapse(validity, now);
            match expected {
                None => assert_eq!(told, None),
                Some(part) => assert!(told.as_ref().is_some_and(|t| t.contains(part)), "{told:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_without_a_panic() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        for text in [
            "",
            "x",
            begin,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let bytes = text.as_bytes();
            for material in [
                Material::Authorities(bytes),
                Material::KeyPair {
                    cert: bytes,
                    key: bytes,
                },
            ] {
                let flaws = inspect(&material);
                assert!(
                    flaws.iter().any(|flaw| flaw.unusable),
                    "{text:?}: {flaws:?}"
                );
            }
        }
    }
}
