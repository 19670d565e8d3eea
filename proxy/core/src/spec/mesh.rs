//! The control plane's own file.
//!
//! Pure.

use super::codes;
use super::defaults::loopback;
use super::fields::{Fields, set};
use super::format;
use super::proxy::folder_of;
use super::shape::{Checker, Shape};
use super::table::mesh::{API, CONTROL_PLANE_FILE, FOLDER, SOURCES, XDS};
use super::yaml::{self, Node, Place, Value};
use super::{Loading, Source};
use crate::config::{ControlPlane, ControlPlaneConfig};
use crate::finding::Finding;
use std::path::{Path, PathBuf};

/// The folder beside a proxy's file that keeps its last good state.
const SNAPSHOT: &str = "heddle-state";
/// Where the API listens, beside istiod's monitoring.
const API_PORT: u16 = 15014;
/// Where xDS listens, as istiod's plaintext does.
const XDS_PORT: u16 = 15010;

/// Reads a control plane's file.
///
/// The configuration is `None` when there is any error.
pub fn load(file: &Path, source: &dyn Source) -> (Option<ControlPlaneConfig>, Vec<Finding>) {
    let mut loading = Loading::new(source);
    let text = loading.text(file);
    let config = text.and_then(|text| loading.control_plane(file, &text));
    let sound = loading.report.errors() == 0;
    (config.filter(|_| sound), loading.report.into_findings())
}

/// Whether the first document of a file is a control plane's.
pub(super) fn is_control_plane(node: &Node) -> bool {
    ["sources", "xds", "api"]
        .iter()
        .any(|key| node.get(key).is_some())
}

impl Loading<'_> {
    /// Checks and decodes a control plane's file, which the report has entered.
    pub(super) fn control_plane(&mut self, file: &Path, text: &str) -> Option<ControlPlaneConfig> {
        let before = self.report.errors();
        let documents = yaml::parse(text, &mut self.report);
        let Some(root) = documents.first() else {
            if self.report.errors() == before {
                self.report.add(
                    &codes::EMPTY_FILE,
                    Place::START,
                    "the control plane's file holds nothing",
                    "without a source there is nothing to serve",
                    "write `sources: {folder: {dir: ./mesh}}`",
                );
            }
            return None;
        };
        let mut checker = Checker {
            source: text,
            report: &mut self.report,
        };
        checker.check(root, &Shape::Object(&CONTROL_PLANE_FILE));
        decode(Fields::new(root, &CONTROL_PLANE_FILE), &folder_of(file))
    }
}

fn decode(root: Fields<'_>, folder: &Path) -> Option<ControlPlaneConfig> {
    let sources = root.child("sources", &SOURCES)?;
    let dir = sources.child("folder", &FOLDER)?.text("dir")?;
    let mut config = ControlPlaneConfig {
        api: loopback(API_PORT),
        xds: loopback(XDS_PORT),
        outbound: loopback(super::defaults::OUTBOUND_PORT),
        folder: folder.join(dir),
    };
    let api = root.child("api", &API);
    set(
        &mut config.api,
        api.and_then(|api| api.parse("listen", format::address)),
    );
    if let Some(xds) = root.child("xds", &XDS) {
        set(&mut config.xds, xds.parse("listen", format::address));
        set(&mut config.outbound, xds.parse("outbound", format::address));
    }
    Some(config)
}

/// What a proxy's file says about its control plane.
pub(super) fn of_proxy(fields: Fields<'_>, folder: &Path) -> Option<ControlPlane> {
    let address = fields.get("address")?;
    let addresses: Vec<String> = match &address.value {
        Value::List(items) => items
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect(),
        _ => address.text().map(str::to_owned).into_iter().collect(),
    };
    let snapshot: PathBuf = fields.text("snapshot").unwrap_or(SNAPSHOT).into();
    (!addresses.is_empty()).then(|| ControlPlane {
        addresses,
        snapshot: folder.join(snapshot),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Memory;
    use super::*;

    fn read(text: &str) -> (Option<ControlPlaneConfig>, Vec<String>) {
        let (config, findings) = load(
            Path::new("etc/cp.yaml"),
            &Memory::default().with("etc/cp.yaml", text),
        );
        let told = findings
            .iter()
            .map(|f| format!("{} {}:{}", f.code, f.line, f.column));
        (config, told.collect())
    }

    #[test]
    fn the_file_of_the_design_is_read() {
        let (config, told) = read(
            "api: {listen: '127.0.0.1:1'}\nxds: {listen: '127.0.0.1:2', outbound: '127.0.0.1:3'}\nsources: {folder: {dir: ./mesh}}\n",
        );
        assert_eq!(told, [""; 0]);
        let config = config.unwrap();
        assert_eq!(
            (config.api.port(), config.xds.port(), config.outbound.port()),
            (1, 2, 3)
        );
        assert_eq!(config.folder, Path::new("etc/./mesh"));
        let (config, _) = read("sources: {folder: {dir: mesh}}");
        let config = config.unwrap();
        assert_eq!(
            (config.api.port(), config.xds.port(), config.outbound.port()),
            (15014, 15010, 4140)
        );
    }

    #[test]
    fn mistakes_are_told_and_nothing_is_served() {
        let table: &[(&str, &[&str])] = &[
            ("", &["HED108 1:1"]),
            ("sources: {}", &["HED203 1:10"]),
            (
                "xds: {listen: nowhere}\nsources: {folder: {dir: m}}",
                &["HED207 1:15"],
            ),
            ("sorces: {}", &["HED201 1:1", "HED203 1:1"]),
        ];
        for (text, expected) in table {
            let (config, told) = read(text);
            assert_eq!(
                (config, told.iter().map(String::as_str).collect::<Vec<_>>()),
                (None, expected.to_vec()),
                "{text}"
            );
        }
    }
}
