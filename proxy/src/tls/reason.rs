//! Why a handshake failed: a word for the metric, and a sentence for people.

use rustls::{AlertDescription, CertificateError, Error};
use std::io;

/// The word for a failed handshake; `peer` is what the other side is called.
pub(super) fn word(error: &io::Error) -> &'static str {
    let Some(error) = tls_error(error) else {
        return "closed";
    };
    match error {
        Error::NoCertificatesPresented => "no-certificate",
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => alerted(*alert),
        Error::PeerIncompatible(_) => "incompatible",
        Error::NoApplicationProtocol => "no-common-protocol",
        Error::PeerMisbehaved(_) | Error::DecryptError => "misbehaved",
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerSentOversizedRecord => "garbage",
        _ => "failed",
    }
}

fn certificate(error: &CertificateError) -> &'static str {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => "certificate-expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "certificate-not-yet-valid",
        E::UnknownIssuer => "certificate-unknown-issuer",
        E::NotValidForName | E::NotValidForNameContext { .. } => "certificate-other-name",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "certificate-other-purpose",
        E::Revoked => "certificate-revoked",
        _ => "certificate-invalid",
    }
}

/// What the other side disliked.
fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate => "peer-refused-certificate",
        AlertDescription::CertificateRequired => "peer-wants-certificate",
        AlertDescription::NoApplicationProtocol => "no-common-protocol",
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => "incompatible",
        _ => "alert",
    }
}

/// The sentence.
pub(super) fn sentence(error: &io::Error) -> String {
    match tls_error(error) {
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the other side closed during the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
