//! Who is staged: `staging.json` in the state folder says which customers see which other versions, as
//! `{"cus-…": "/svc/feed => /svc/feed-v2"}`. Only the gateway says so to the mesh, and no customer can.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(500);
/// Largest file, in bytes.
const LIMIT: u64 = 1 << 20;

/// The staged customers. Clones share what was read.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    dtabs: HashMap<String, String>,
}

impl Staging {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Arc::default(),
        }
    }

    /// The local dtab of a customer, if one is staged.
    pub(super) fn of(&self, customer: &str) -> Option<String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            known.looked = Some(Instant::now());
            match read(&self.path) {
                Ok(dtabs) => known.dtabs = dtabs,
                // What was good stays: a mistake must not move anybody.
                Err(why) => {
                    tracing::warn!(file = %self.path.display(), why, "staging stays as it was")
                }
            }
        }
        known.dtabs.get(customer).cloned()
    }
}

fn read(path: &Path) -> Result<HashMap<String, String>, String> {
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(e) => return Err(e.to_string()),
        Ok(about) if about.len() > LIMIT => return Err(format!("it is larger than {LIMIT} bytes")),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let dtabs: HashMap<String, String> = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let unusable = dtabs
        .iter()
        .find(|(_, dtab)| http::HeaderValue::from_str(dtab).is_err());
    match unusable {
        Some((customer, _)) => Err(format!(
            "the dtab of {customer} cannot stand in a header: write it in one line"
        )),
        None => Ok(dtabs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_staged_by_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staging.json");
        assert_eq!(
            Staging::new(path.clone()).of("cus-1"),
            None,
            "without a file nobody is"
        );
        std::fs::write(&path, r#"{"cus-1": "/svc/feed => /svc/feed-v2"}"#).unwrap();
        let staging = Staging::new(path.clone());
        assert_eq!(
            staging.of("cus-1").as_deref(),
            Some("/svc/feed => /svc/feed-v2")
        );
        assert_eq!(staging.of("cus-2"), None);
    }

    #[test]
    fn a_mistake_moves_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staging.json");
        std::fs::write(&path, r#"{"cus-1": "/svc/feed => /svc/feed-v2"}"#).unwrap();
        let staging = Staging::new(path.clone());
        assert!(staging.of("cus-1").is_some());
        for bad in ["{", "[]", r#"{"cus-1": 7}"#, r#"{"cus-1": "a\nb"}"#] {
            std::fs::write(&path, bad).unwrap();
            staging.known.lock().unwrap().looked = None;
            assert!(staging.of("cus-1").is_some(), "{bad}");
        }
    }
}
