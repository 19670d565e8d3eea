//! Certificates of every kind, good and bad, made anew for each test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with an authority and what it issues.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// What is asked of a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Client,
    Expired,
    NotYet,
    /// A client's, three days before its end.
    EndsSoon,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder =
            TempDir::with_prefix("heddle-tls-").expect("the system has a temporary folder");
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(
            DnType::CommonName,
            format!("authority of {}", folder.path().display()),
        );
        let certificate = params.self_signed(&key).expect("a sound authority");
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("our folder");
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Issues `<name>.pem` and `<name>.key` for these subjects.
    pub(crate) fn issue(&self, name: &str, subjects: &[&str], kind: Kind) {
        let subjects: Vec<String> = subjects.iter().map(|s| (*s).to_owned()).collect();
        let (uris, names): (Vec<_>, Vec<_>) = subjects.into_iter().partition(|s| s.contains("://"));
        let mut params = CertificateParams::new(names).expect("sound names");
        for uri in uris {
            let uri = uri.try_into().expect("an ASCII URI");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        let purpose = match kind {
            Kind::Client | Kind::EndsSoon => ExtendedKeyUsagePurpose::ClientAuth,
            _ => ExtendedKeyUsagePurpose::ServerAuth,
        };
        params.extended_key_usages = vec![purpose];
        match kind {
            Kind::Expired => {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            }
            Kind::NotYet => {
                params.not_before = date_time_ymd(2090, 1, 1);
                params.not_after = date_time_ymd(2099, 1, 1);
            }
            Kind::EndsSoon => {
                let now = std::time::SystemTime::now();
                let end = now + std::time::Duration::from_secs(3 * 86_400 + 60);
                params.not_after = end.into();
            }
            _ => {}
        }
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a sound request");
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("our folder");
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("our folder");
    }

    /// `{cert: …, key: …}` of what was issued as `name`.
    pub(crate) fn pair(&self, name: &str) -> String {
        format!(
            "{{cert: {}, key: {}}}",
            self.file(&format!("{name}.pem")).display(),
            self.file(&format!("{name}.key")).display()
        )
    }
}
