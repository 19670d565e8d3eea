//! What a service is told by its environment.

use crate::Failure;
use crate::database::Location;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// After how long an approved card payment is captured, unless `BANK_SETTLE_AFTER` says otherwise.
const SETTLE_AFTER: Duration = Duration::from_secs(3);
/// After how long a silent replica of `queue` is taken for dead, unless `BANK_QUEUE_SESSION` says otherwise: long enough
/// that a machine's hiccup is no death.
const QUEUE_SESSION: Duration = Duration::from_secs(10);
/// Brokers take no shorter one that still has room for heartbeats; members are asked to prove themselves once a minute.
const QUEUE_SESSIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// The environment of a service, read once at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `PORT`: where to listen on loopback; 0 (the default) takes a free one, and the first line printed names it.
    pub port: u16,
    /// `BANK_STATE`: the folder of everything that is kept; default `bank-state`.
    pub state: PathBuf,
    /// `BANK_VERSION`: `v1` (default) or `v2`, told in the header `bank-version`.
    pub version: String,
    /// `BANK_DATABASE`: `sqlite:PATH` or `postgres://…`; unset: a SQLite file in the state folder.
    database: Option<String>,
    /// `BANK_KAFKA`: bootstrap list `host:port,host:port`.
    pub kafka: Option<String>,
    /// `BANK_QUEUE_SESSION`: seconds, may have a fraction, from 1 to 60.
    pub queue_session: Duration,
    /// `BANK_ETCD`: endpoints `host:port,host:port`; unset: the lock service's own store.
    pub etcd: Option<String>,
    /// `BANK_TOKEN_KEY`: hex, at least 32 bytes; signs the gateway's tokens.
    pub token_key: Option<String>,
    /// `BANK_SETTLE_AFTER`: seconds, may have a fraction.
    pub settle_after: Duration,
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// Names the variable that cannot be used, and why.
    pub fn from_environment() -> Result<Self, Failure> {
        Self::from_variables(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Reads settings from any source of variables.
    ///
    /// # Errors
    ///
    /// Names the variable that cannot be used, and why.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let port = get("PORT").unwrap_or_else(|| "0".to_owned());
        let port = port.parse().map_err(|_| {
            Failure::new(format!("PORT is `{port}`: give a number from 0 to 65535"))
        })?;
        let settle_after = match get("BANK_SETTLE_AFTER") {
            None => SETTLE_AFTER,
            Some(text) => seconds(&text).ok_or_else(|| {
                Failure::new(format!(
                    "BANK_SETTLE_AFTER is `{text}`: give seconds from 0 to 86400, like 3 or 0.5"
                ))
            })?,
        };
        let queue_session = match get("BANK_QUEUE_SESSION") {
            None => QUEUE_SESSION,
            Some(text) => seconds(&text)
                .filter(|session| QUEUE_SESSIONS.contains(session))
                .ok_or_else(|| {
                    Failure::new(format!(
                        "BANK_QUEUE_SESSION is `{text}`: give seconds from 1 to 60, like 10"
                    ))
                })?,
        };
        Ok(Self {
            port,
            state: get("BANK_STATE").map_or_else(|| PathBuf::from("bank-state"), PathBuf::from),
            version: get("BANK_VERSION").unwrap_or_else(|| "v1".to_owned()),
            database: get("BANK_DATABASE"),
            kafka: get("BANK_KAFKA"),
            queue_session,
            etcd: get("BANK_ETCD"),
            token_key: get("BANK_TOKEN_KEY"),
            settle_after,
        })
    }

    /// Where a service is to listen.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Where a service's tables are.
    ///
    /// # Errors
    ///
    /// `BANK_DATABASE` is neither `sqlite:PATH` nor a PostgreSQL URL.
    pub fn database(&self, service: &str) -> Result<Location, Failure> {
        match &self.database {
            None => Ok(Location::Sqlite(self.state.join(format!("{service}.db")))),
            Some(text) => text.parse().map_err(Failure::new),
        }
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<Settings, Failure> {
        Settings::from_variables(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn defaults_need_no_variable() {
        let settings = Settings::from_variables(|_| None).unwrap();
        assert_eq!(settings.port, 0);
        assert_eq!(settings.version, "v1");
        let Location::Sqlite(path) = settings.database("ledger").unwrap() else {
            panic!("SQLite is the default");
        };
        assert!(path.ends_with("ledger.db"));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in [
            ("PORT", "http"),
            ("PORT", "65536"),
            ("BANK_SETTLE_AFTER", "-1"),
            ("BANK_SETTLE_AFTER", "NaN"),
            ("BANK_QUEUE_SESSION", "0.9"),
            ("BANK_QUEUE_SESSION", "61"),
        ] {
            let failure = with(name, value).unwrap_err().to_string();
            assert!(
                failure.contains(name) && failure.contains(value),
                "{failure}"
            );
        }
        let settings = with("BANK_DATABASE", "mysql://x").unwrap();
        assert!(
            settings
                .database("ledger")
                .unwrap_err()
                .to_string()
                .contains("mysql://x")
        );
    }
}
