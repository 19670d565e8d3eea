//! The last good state on disk: written whole or not at all, and believed only when it is whole.

use heddle_core::sticky;
use heddle_xds::Kept;
use heddle_xds::prost::Message as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The file within the folder.
const FILE: &str = "control-plane.state";
/// What it begins with; the last byte is the version of the format.
const MAGIC: &[u8; 8] = b"heddle\0\x01";
/// Far above what a proxy uses of a mesh.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads what was kept; nothing when nothing was. Blocking.
///
/// # Errors
/// When there is a file that cannot be read or is not whole.
pub(super) fn load(folder: &Path) -> io::Result<Kept> {
    let mut bytes = Vec::new();
    match File::open(folder.join(FILE)) {
        Ok(file) => file.take(BYTES_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(error),
    };
    let torn = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not whole, or of another version",
        )
    };
    let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(torn)?;
    let (hash, body) = rest.split_first_chunk::<8>().ok_or_else(torn)?;
    if u64::from_le_bytes(*hash) != sticky::hash(&[body]) {
        return Err(torn());
    }
    Kept::decode(body).map_err(|_| torn())
}

/// Keeps this instead of what was kept. Blocking.
///
/// # Errors
/// When the folder takes no file; what was kept stays.
pub(super) fn save(folder: &Path, kept: &Kept) -> io::Result<()> {
    let body = kept.encode_to_vec();
    fs::create_dir_all(folder)?;
    // Two proxies that hand over may write at once.
    let aside = folder.join(format!("{FILE}.{}", std::process::id()));
    let mut file = File::create(&aside)?;
    file.write_all(MAGIC)?;
    file.write_all(&sticky::hash(&[&body]).to_le_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&aside, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_xds::KeptResource;

    #[test]
    fn what_is_kept_is_whole_or_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        assert_eq!(load(&folder).unwrap(), Kept::default(), "nothing was kept");
        let kept = Kept {
            resources: vec![KeptResource {
                name: "a".into(),
                version: "1".into(),
                resource: None,
                used: 7,
            }],
        };
        save(&folder, &kept).unwrap();
        assert_eq!(load(&folder).unwrap(), kept);
        let whole = fs::read(folder.join(FILE)).unwrap();
        for length in 0..whole.len() {
            fs::write(folder.join(FILE), &whole[..length]).unwrap();
            assert!(load(&folder).is_err(), "{length} bytes of {}", whole.len());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(folder.join(FILE), &bytes).unwrap();
            assert!(load(&folder).is_err(), "byte {at} differs");
        }
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing is left aside"
        );
    }
}
