//! The engines under a service's tables: SQLite by default, PostgreSQL by a URL, one set of statements for both.

use std::path::PathBuf;
use std::str::FromStr;

/// Where tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A URL for libpq.
    Postgres(String),
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            Ok(Self::Sqlite(PathBuf::from(path)))
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err(format!(
                "BANK_DATABASE is `{text}`: give sqlite:PATH or postgres://USER@HOST/NAME"
            ))
        }
    }
}
