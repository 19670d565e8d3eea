//! TLS: ending it on listeners and beginning it towards endpoints, with rustls.
//!
//! What holds everywhere: TLS 1.2 with forward-secret AEAD suites or TLS 1.3, a hybrid post-quantum key
//! exchange first, no renegotiation and no compression (rustls has neither), no early data (nothing enables
//! it), and no way to leave a server's certificate unchecked.
//!
//! Files come with the configuration ([`heddle_core::config::TlsFile`]), so a changed file is a changed
//! configuration: it is checked as a whole ([`material::inspect`]) before anything of it applies.

mod accept;
mod material;
mod names;
mod originate;
mod reason;

pub(crate) use accept::{NotShaken, Secured, Termination, say_wants_tls, shake};
pub(crate) use material::inspect;
pub(crate) use originate::{Origination, Originations, Upstream};

use heddle_core::config::TlsVersion;
use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, OnceLock};

/// The cryptography of every connection: aws-lc-rs, with its suites and these key exchanges, best first.
/// X25519MLKEM768 guards recordings of today against quantum computers of tomorrow; peers that do not know
/// it choose X25519 in the same round trip.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let kx_groups = vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
        ];
        Arc::new(CryptoProvider {
            kx_groups,
            ..aws_lc_rs::default_provider()
        })
    };
    PROVIDER.get_or_init(make).clone()
}

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    match oldest {
        TlsVersion::V12 => &BOTH,
        TlsVersion::V13 => &BOTH[..1],
    }
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}
