use super::*;
use std::path::PathBuf;

/// How to write the files anew.
const BLESS: &str = "HEDDLE_BLESS=1 cargo test -p heddle-core schema";
const BEGIN: &str =
    "<!-- reference: made from the checker's tables; see proxy/core/src/spec/schema.rs -->\n";
const END: &str = "<!-- end of reference -->\n";

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn blessing() -> bool {
    std::env::var_os("HEDDLE_BLESS").is_some()
}

#[test]
fn schema_files_are_current() {
    for (file, schema) in [
        ("schemas/proxy.schema.json", proxy()),
        ("schemas/rules.schema.json", rules()),
        ("schemas/control-plane.schema.json", control_plane()),
    ] {
        let path = repository(file);
        if blessing() {
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let written: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(
            written == schema,
            "{file} differs from the checker's tables; to write it anew: {BLESS}"
        );
    }
}

#[test]
fn schema_reference_in_docs_is_current() {
    for (file, reference) in [
        ("docs/configuration.md", proxy_reference()),
        ("docs/rules.md", rules_reference()),
        ("docs/control-plane.md", control_plane_reference()),
    ] {
        let path = repository(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the file has a reference");
        let (_, after) = rest.split_once(END).expect("the reference ends");
        let current = format!("{before}{BEGIN}\n{reference}{END}{after}");
        if blessing() {
            std::fs::write(&path, &current).unwrap();
        } else {
            assert!(
                text == current,
                "the reference in {file} differs from the checker's tables; to write it anew: {BLESS}"
            );
        }
    }
}

#[test]
fn every_reference_in_a_schema_has_a_definition() {
    for schema in [proxy(), rules(), control_plane()] {
        let text = schema.to_string();
        for part in text.split("\"#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                schema["$defs"].get(name).is_some_and(Value::is_object),
                "{name}"
            );
        }
    }
}
