use super::*;
use heddle_core::random::{Rng, Xoshiro};

const SECOND: Nanos = 1_000_000_000;

fn cluster(name: &str, port: u16) -> String {
    format!(
        "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{endpoints: ['127.0.0.1:{port}']}}\n"
    )
}

fn look(files: &[(&str, &str)]) -> Look {
    files
        .iter()
        .map(|(file, text)| ((*file).to_owned(), Ok((*text).to_owned())))
        .collect()
}

/// Names and what they say in short.
fn counts(model: &Model) -> Vec<String> {
    let short = |sound: &Sound| {
        let port = sound
            .text
            .rsplit("127.0.0.1:")
            .next()
            .and_then(|rest| rest.split('\'').next());
        format!("{} {}", sound.id.name, port.unwrap_or("?"))
    };
    model.documents().map(short).collect()
}

#[test]
fn bad_documents_are_refused_one_by_one_and_the_last_good_form_stays() {
    let mut model = Model::new();
    let both = format!("{}---\n{}", cluster("a", 1), cluster("b", 2));
    assert!(model.take(&look(&[("m", &both)]), 0).changed);
    assert_eq!(counts(&model), ["a 1", "b 2"]);
    let table: &[(&str, &[&str], &[&str])] = &[
        // (text, what counts, what of it is kept)
        ("endpoints: null", &["a 1", "b 3"], &["a"]),
        ("endpoints: []", &["a 1", "b 3"], &["a"]),
        ("endpoints: [nonsense]", &["a 1", "b 3"], &["a"]),
        ("{}", &["a 1", "b 3"], &["a"]),
        ("endpoints: ['127.0.0.1:9']", &["a 9", "b 3"], &[]),
    ];
    for (spec, expected, kept) in table {
        let bad = format!(
            "apiVersion: heddle.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: a}}\nspec: {{{}}}\n---\n{}",
            spec.trim_matches(['{', '}']),
            cluster("b", 3)
        );
        model.take(&look(&[("m", &bad)]), 0);
        assert_eq!(counts(&model), *expected, "{spec}");
        let of: Vec<_> = model.kept().iter().map(|id| id.name.as_str()).collect();
        assert_eq!(of, *kept, "{spec}");
        assert_eq!(model.findings().is_empty(), kept.is_empty(), "{spec}");
    }
}

#[test]
fn a_file_that_nobody_can_read_loses_nothing() {
    let mut model = Model::new();
    let both = format!("{}---\n{}", cluster("a", 1), cluster("b", 2));
    model.take(&look(&[("m", &both)]), 0);
    let mut broken = look(&[]);
    broken.insert("m".into(), Err("permission denied".into()));
    let syntax = look(&[("m", "apiVersion: [")]);
    let mut folder = look(&[]);
    folder.insert("mesh".into(), Err("it cannot be listed".into()));
    let mut model = Model::new();
    let good = look(&[("mesh/m", &both)]);
    model.take(&good, 0);
    model.take(&folder, 5 * SECOND);
    assert!(
        !model.take(&folder, 9 * SECOND).changed,
        "not even a folder does"
    );

    let mut model = Model::new();
    model.take(&look(&[("m", &both)]), 0);
    for look in [broken, syntax] {
        assert!(!model.take(&look, 9 * SECOND).changed);
        assert_eq!(counts(&model), ["a 1", "b 2"]);
        assert_eq!(model.kept().len(), 2);
        assert!(model.findings()[0].is_error());
    }
    assert!(
        model
            .take(&look(&[("m", &cluster("a", 1))]), 9 * SECOND)
            .changed
    );
    assert_eq!(
        counts(&model),
        ["a 1"],
        "a document that is plainly gone goes"
    );
}

#[test]
fn empty_and_missing_files_count_after_a_second() {
    let text = cluster("a", 1);
    for void in [look(&[("m", " \n")]), look(&[])] {
        let mut model = Model::new();
        model.take(&look(&[("m", &text)]), 0);
        let taken = model.take(&void, 5 * SECOND);
        assert_eq!(
            taken,
            Taken {
                changed: false,
                again: Some(6 * SECOND)
            }
        );
        assert_eq!(counts(&model), ["a 1"]);
        assert!(
            !model.take(&look(&[("m", &text)]), 5 * SECOND + 1).changed,
            "it was being replaced"
        );
        model.take(&void, 7 * SECOND);
        let taken = model.take(&void, 8 * SECOND);
        assert_eq!(
            taken,
            Taken {
                changed: true,
                again: None
            }
        );
        assert_eq!(counts(&model), [""; 0]);
    }
}

#[test]
fn a_document_may_move_from_file_to_file() {
    let mut model = Model::new();
    model.take(&look(&[("m", &cluster("a", 1))]), 0);
    assert!(!model.take(&look(&[("n", &cluster("a", 1))]), 0).changed);
    assert_eq!(counts(&model), ["a 1"]);
    assert!(model.kept().is_empty());
}

#[test]
fn what_counts_never_contradicts_itself_and_mended_files_count_as_written() {
    for seed in 0..100 {
        let mut rng = Xoshiro::seeded(seed);
        let mut pick = |of: u64| rng.next_u64() % of;
        let mut model = Model::new();
        let files = ["m", "n", "o"];
        for step in 0..30 {
            let text = |pick: &mut dyn FnMut(u64) -> u64| match pick(5) {
                0 => String::new(),
                1 => "a: [".to_owned(),
                2 => format!(
                    "{}---\nkind: nonsense\n",
                    cluster(["a", "b"][pick(2) as usize], 1)
                ),
                _ => cluster(["a", "b", "c"][pick(3) as usize], pick(9) as u16 + 1),
            };
            let look: Look = files
                .iter()
                .filter_map(|file| match pick(6) {
                    0 => None,
                    1 => Some(((*file).to_owned(), Err("gone".to_owned()))),
                    _ => Some(((*file).to_owned(), Ok(text(&mut pick)))),
                })
                .collect();
            model.take(&look, step * SECOND / 3);
            let mut claims: Vec<_> = model.documents().filter_map(Sound::claim).collect();
            let all = claims.len();
            claims.dedup();
            assert_eq!(claims.len(), all, "seed {seed}");
        }
        let end = look(&[("m", &cluster("a", 7))]);
        model.take(&end, 100 * SECOND);
        model.take(&end, 102 * SECOND);
        assert_eq!(counts(&model), ["a 7"], "seed {seed}");
        assert!(
            model.kept().is_empty() && model.findings().is_empty(),
            "seed {seed}"
        );
    }
}
