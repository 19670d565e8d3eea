//! Where the `heddle` binary is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("e2e/ lies in the repository")
}

/// The `heddle` binary: `HEDDLE_BIN`, else built once with the profile `quick`.
///
/// # Panics
///
/// When `HEDDLE_BIN` names no file, or when the build fails; the message holds the compiler's output.
pub fn heddle() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("HEDDLE_BIN") {
        Some(given) => {
            let given = PathBuf::from(given);
            assert!(
                given.is_file(),
                "HEDDLE_BIN is {}, but there is no such file",
                given.display()
            );
            given
        }
        None => build(),
    })
}

fn build() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(repository())
        .args([
            "build",
            "--quiet",
            "--profile",
            "quick",
            "-p",
            "heddle",
            "--target-dir",
        ])
        .arg(&target)
        .output()
        .expect("cargo can be started: it runs this test");
    assert!(
        built.status.success(),
        "heddle does not build:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("quick").join("heddle")
}
