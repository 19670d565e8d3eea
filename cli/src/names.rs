//! What `bind` and `explain` share: output formats, and reading a configuration.

use heddle_core::config::{Listener, ProxyConfig};
use heddle_core::spec;
use heddle_proxy::explain::{self, Offline};
use heddle_proxy::reload::FileSystem;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints one line to stderr, and fails.
pub(crate) fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("heddle: {message}");
    ExitCode::FAILURE
}

/// Reads a configuration. Its findings go to stderr, warnings included.
pub(crate) fn load(file: &Path) -> Result<ProxyConfig, String> {
    let loaded = spec::load(Some(file), &FileSystem);
    for finding in &loaded.findings {
        eprintln!("{finding}");
    }
    loaded.config.ok_or_else(|| {
        format!(
            "{} has errors, see above; `heddle check` explains them",
            file.display()
        )
    })
}

/// The listener of that name, or the one that is meant when none is named.
pub(crate) fn listener<'c>(
    config: &'c ProxyConfig,
    name: Option<&str>,
) -> Result<&'c Arc<Listener>, String> {
    explain::listener(config, name)
}

/// The names that a configuration knows by itself. Files that do not count are told on stderr.
pub(crate) fn offline(config: &ProxyConfig) -> Offline {
    let offline = Offline::new(config);
    for (name, reason) in offline.file_errors() {
        eprintln!("heddle: {name} does not count: {reason}");
    }
    offline
}
