//! Whom a certificate is for.

use rustls::pki_types::CertificateDer;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The names of a certificate's subject (its subject alternative names; the common name names nobody,
/// RFC 9525 section 6.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// DNS names in lower case, `*.` first in wildcards.
    pub(crate) dns: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) uris: Vec<String>,
}

/// What a verified certificate says of the peer: the place where mesh identity comes in, for rules about
/// who may call. Only what a handshake has verified makes one; a header never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerIdentity(pub(crate) Names);

impl PeerIdentity {
    /// The name to know the peer by: a URI (such as a SPIFFE ID) before a DNS name.
    pub(crate) fn name(&self) -> Option<&str> {
        let names = self.0.uris.iter().chain(&self.0.dns);
        names.map(String::as_str).next()
    }
}

impl Names {
    /// The names of a certificate; what cannot be read names nobody.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut names = Self::default();
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return names;
        };
        let Ok(Some(alternatives)) = parsed.subject_alternative_name() else {
            return names;
        };
        for name in &alternatives.value.general_names {
            match name {
                // An embedded NUL or blank is a name for one reader and another for the next.
                GeneralName::DNSName(name) if is_clean(name) => {
                    names.dns.push(name.to_ascii_lowercase());
                }
                GeneralName::URI(uri) if is_clean(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        names
    }

    /// Whether the certificate is for this host: a name, or an address with or without brackets.
    pub(crate) fn cover(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let host = host.to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        // A wildcard stands for one whole label (RFC 9525 section 6.3).
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => name == host,
        })
    }
}

fn is_clean(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_covers_its_names_and_no_others() {
        let names = Names {
            dns: vec!["bank.example".into(), "*.api.example".into()],
            addresses: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            uris: Vec::new(),
        };
        let table = [
            ("bank.example", true),
            ("BANK.example.", true),
            ("x.bank.example", false),
            ("a.api.example", true),
            ("api.example", false),
            ("a.b.api.example", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("[::1]", true),
            ("", false),
        ];
        for (host, covered) in table {
            assert_eq!(names.cover(host), covered, "{host}");
        }
    }
}
