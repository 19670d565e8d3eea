//! The examples of `docs/names.md` do what they say.

use heddle_core::name::{Dtab, Global, Lookup, MAX_DEPTH, Namer, Path, bind};

const PAGE: &str = include_str!("../../../docs/names.md");

/// Binds whatever is written below `/#/static`.
struct Static;

impl Namer for Static {
    fn lookup(&self, path: &Path) -> Lookup {
        let known = Path::parse("/#/static").expect("it is one");
        if path.starts_with(&known) && path.len() > known.len() {
            return Lookup::bound(path, known.len() + 1);
        }
        Global.lookup(path)
    }
}

#[test]
fn every_example_binds_as_the_page_says() {
    let mut dtab = None;
    let mut checked = 0;
    for block in PAGE.split("```").skip(1).step_by(2) {
        let (language, text) = block
            .split_once('\n')
            .expect("a block begins with its language");
        match language {
            "dtab" => {
                dtab = Some(Dtab::parse(text).unwrap_or_else(|error| panic!("{error} in\n{text}")))
            }
            "binds" => {
                let dtab = dtab.as_ref().expect("a dtab stands before what it binds");
                for line in text.lines() {
                    let (path, expected) =
                        line.split_once("=>").expect("a path and what it becomes");
                    let path = Path::parse(path.trim()).expect("a path");
                    let bound = bind(dtab, &Static, &path, MAX_DEPTH).expect("no example fails");
                    assert_eq!(bound.to_string(), expected.trim(), "{path}");
                    checked += 1;
                }
            }
            other => panic!("a block of `{other}` is not checked"),
        }
    }
    assert!(checked >= 15, "only {checked} examples were found");
}
