//! Laws of the naming language and its neighbours, on random input.
//!
//! Every run prints its seed; `HEDDLE_SEED` repeats one, `HEDDLE_CASES` asks for more cases.

#[path = "laws/random.rs"]
mod random;

use heddle_core::context::{HopContext, parse_grpc_timeout, show_grpc_timeout, trace_id};
use heddle_core::detect::detect;
use heddle_core::identify::{consume_path, host_name};
use heddle_core::name::{
    BindError, Bound, Dtab, Explained, ExplainedKind, Global, Lookup, MAX_DEPTH, MAX_NESTING,
    NameTree, Namer, Path, PathPattern, Prefix, PrefixElement, Weighted, bind, explain, utility,
};
use heddle_core::random::Rng;
use random::each_case;
use std::time::Duration;

#[test]
fn what_is_printed_parses_to_the_same() {
    each_case("parse∘show", |source| {
        let path = source.path();
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(&path));
        let tree = source.tree(3, true);
        assert_eq!(
            NameTree::parse(&tree.to_string()).as_ref(),
            Ok(&tree),
            "{tree}"
        );
        let dtab = source.dtab(6);
        assert_eq!(Dtab::parse(&dtab.to_string()).as_ref(), Ok(&dtab), "{dtab}");
    });
}

#[test]
fn simplifying_twice_is_simplifying_once_and_keeps_the_meaning() {
    each_case("simplify", |source| {
        let tree = source.tree(4, false);
        let simple = tree.clone().simplified();
        assert_eq!(simple.clone().simplified(), simple, "{tree}");
        assert_eq!(simple.eval(), tree.eval(), "{tree}");
        assert!(is_simple(&simple), "{tree} became {simple}");
    });
}

/// No node with fewer than two children, no neg beside others, nothing after a failure.
fn is_simple<T>(tree: &NameTree<T>) -> bool {
    match tree {
        NameTree::Alt(trees) => {
            let open = &trees[..trees.len() - 1];
            trees.len() > 1
                && trees
                    .iter()
                    .all(|tree| is_simple(tree) && !matches!(tree, NameTree::Neg))
                && !open.iter().any(|tree| matches!(tree, NameTree::Fail))
        }
        NameTree::Union(branches) => {
            let empty =
                |branch: &Weighted<T>| matches!(branch.tree, NameTree::Neg | NameTree::Fail);
            branches.len() > 1
                && branches
                    .iter()
                    .all(|branch| is_simple(&branch.tree) && !empty(branch))
        }
        _ => true,
    }
}

#[test]
fn mapping_keeps_the_shape() {
    each_case("map", |source| {
        let tree = source.tree(3, false);
        assert_eq!(tree.map(&mut Path::clone), tree);
        let longer = tree.map(&mut |path: &Path| path.push(b"x"));
        assert_eq!(
            longer.map(&mut |path: &Path| path.take(path.len() - 1)),
            tree
        );
    });
}

#[test]
fn paths_are_sequences() {
    each_case("path", |source| {
        let (a, b, c) = (source.path(), source.path(), source.path());
        assert_eq!(a.concat(&b).concat(&c), a.concat(&b.concat(&c)));
        assert_eq!(a.concat(&Path::empty()), a);
        assert_eq!(Path::empty().concat(&a), a);
        let both = a.concat(&b);
        assert!(both.starts_with(&a));
        assert_eq!((both.take(a.len()), both.drop(a.len())), (a.clone(), b));
        assert_eq!(Path::from_elements(a.elements()), Some(a));
    });
}

#[test]
fn lookup_collects_every_match_from_the_latest_to_the_earliest() {
    each_case("lookup", |source| {
        let (base, local, path) = (source.dtab(5), source.dtab(5), source.path());
        let both = base.concat(&local);
        let all: Vec<_> = both.matches(&path).collect();
        let parts: Vec<_> = local.matches(&path).chain(base.matches(&path)).collect();
        assert_eq!(all, parts);
        let expected = match all.len() {
            0 => NameTree::Neg,
            1 => all[0].1.clone(),
            _ => NameTree::Alt(all.iter().map(|(_, tree)| tree.clone()).collect()),
        };
        assert_eq!(both.lookup(&path), expected);
        for (dentry, tree) in all {
            let rest = path.drop(dentry.prefix.elements().len());
            assert_eq!(tree, dentry.dst.map(&mut |leaf: &Path| leaf.concat(&rest)));
        }
    });
}

#[test]
fn tables_append_like_lists() {
    each_case("concat", |source| {
        let (a, b, c) = (source.dtab(4), source.dtab(4), source.dtab(4));
        assert_eq!(a.concat(&b).concat(&c), a.concat(&b.concat(&c)));
        assert_eq!(a.concat(&Dtab::empty()), a);
        assert_eq!(Dtab::empty().concat(&a), a);
    });
}

#[test]
fn a_prefix_matches_whole_elements_and_a_star_any_one() {
    each_case("prefix", |source| {
        let path = source.path();
        let exact = Prefix::from(&path);
        assert!(exact.matches(&path) && exact.matches(&path.push(b"more")));
        assert!(path.is_empty() || !exact.matches(&path.take(path.len() - 1)));
        let star = "/*".repeat(path.len());
        if let Ok(stars) = Prefix::parse(&star) {
            assert!(
                stars
                    .elements()
                    .iter()
                    .all(|element| *element == PrefixElement::Any)
            );
            assert!(stars.matches(&path));
        }
        if !path.is_empty() {
            let last = path.elements()[path.len() - 1].to_vec();
            let longer = path.take(path.len() - 1).push(&[&last[..], b"x"].concat());
            assert!(!exact.matches(&longer));
        }
    });
}

/// Binds `/#/b/<name>`, fails at `/#/f`, waits at `/#/p`.
struct Some3;

impl Namer for Some3 {
    fn lookup(&self, path: &Path) -> Lookup {
        match path.elements().first().map(|first| &**first) {
            Some(b"#") if path.len() > 2 => Lookup::bound(path, 3),
            Some(b"#") => match path.elements().get(1).map(|kind| &**kind) {
                Some(b"f") => Lookup::Failed("broken".to_owned()),
                Some(b"p") => Lookup::Pending,
                _ => Lookup::NEG,
            },
            _ => utility(path).unwrap_or(Lookup::NEG),
        }
    }
}

#[test]
fn binding_ends_and_is_simple() {
    each_case("bind", |source| {
        let (dtab, path) = (source.delegating(8), source.short_path());
        let depth = source.depth();
        let bound = bind(&dtab, &Some3, &path, depth);
        assert_eq!(
            bound,
            bind(&dtab, &Some3, &path, depth),
            "binding is a function"
        );
        if let Ok(tree) = bound {
            assert!(!has_alternatives(&tree), "{dtab} of {path} is {tree}");
            assert_eq!(tree.clone().simplified(), tree, "{dtab} of {path}");
        }
    });
}

fn has_alternatives<T>(tree: &NameTree<T>) -> bool {
    match tree {
        NameTree::Alt(_) => true,
        NameTree::Union(branches) => branches.iter().any(|branch| has_alternatives(&branch.tree)),
        _ => false,
    }
}

#[test]
fn an_explanation_tells_what_binding_does() {
    each_case("explain", |source| {
        let (dtab, path) = (source.delegating(5), source.short_path());
        let depth = source.depth();
        let steps = explain(&dtab, &Some3, &path, depth);
        if let Some(told) = outcome(&steps) {
            assert_eq!(
                bind(&dtab, &Some3, &path, depth),
                Ok(told),
                "{dtab} of {path}:\n{steps}"
            );
        }
        assert!(steps.to_json()["dentry"].is_null());
    });
}

/// What the explanation says binding comes to; `None` where something fails or waits, since alternatives after
/// that are shown and not taken.
fn outcome(step: &Explained) -> Option<NameTree<Bound>> {
    Some(match &step.kind {
        ExplainedKind::Leaf(bound) => NameTree::Leaf(bound.clone()),
        ExplainedKind::Delegate(next) => outcome(next)?,
        ExplainedKind::Neg => NameTree::Neg,
        ExplainedKind::Fail => NameTree::Fail,
        ExplainedKind::Empty => NameTree::Empty,
        ExplainedKind::Pending | ExplainedKind::Exception(_) => return None,
        ExplainedKind::Alt(steps) => {
            let outcomes = steps.iter().map(outcome).collect::<Option<Vec<_>>>()?;
            outcomes
                .into_iter()
                .find(|tree| *tree != NameTree::Neg)
                .unwrap_or(NameTree::Neg)
        }
        ExplainedKind::Union(branches) => {
            let branch = |(weight, step): &(f64, Explained)| {
                Some(Weighted {
                    weight: *weight,
                    tree: outcome(step)?,
                })
            };
            NameTree::Union(branches.iter().map(branch).collect::<Option<Vec<_>>>()?).simplified()
        }
    })
}

#[test]
fn a_limit_is_an_error_even_where_all_branches_are_neg() {
    let path = Path::parse("/a").unwrap();
    let deep_chain: String = (0..200)
        .map(|n| format!("/c{n} => /c{} | ~;", n + 1))
        .collect();
    let doubling: String = (0..99)
        .map(|n| format!("/d{n} => /d{0} | /d{0};", n + 1))
        .collect();
    let nested = format!(
        "/a => {}/a{} & /b",
        "(~ | ".repeat(MAX_NESTING),
        ")".repeat(MAX_NESTING)
    );
    let wide = format!("/a => {}", vec!["/a"; 20_000].join("&"));
    let growing = format!("/a => /a{}", "/x".repeat(20_000));
    let both = format!("{growing} ; /a/x => {}", vec!["/b"; 20_000].join("|"));
    let bombs = [
        "/a => /a".to_owned(),
        "/a => /a | /a | /a".to_owned(),
        "/a => /a & /a".to_owned(),
        "/a => /a/x | /a/y".to_owned(),
        format!("{deep_chain} /a => /c0"),
        format!("{doubling} /a => /d0"),
        nested,
        wide,
        growing,
        both,
        vec!["/a => /a"; 5_000].join(";"),
    ];
    for bomb in bombs {
        let dtab = Dtab::parse(&bomb).unwrap();
        let shown = &bomb[..bomb.len().min(60)];
        let bound = bind(&dtab, &Global, &path, MAX_DEPTH);
        assert!(
            matches!(
                bound,
                Err(BindError::TooDeep { .. } | BindError::TooLarge { .. })
            ),
            "{shown}: {bound:?}"
        );
        let steps = explain(&dtab, &Global, &path, MAX_DEPTH);
        assert!(steps.to_string().contains("failed:"), "{shown}");
        assert!(steps.to_json().is_object());
    }
}

/// Data-plane threads have 2 MiB of stack; half of it must do, even without optimisation.
const STACK: usize = 1 << 20;

#[test]
fn the_deepest_trees_fit_a_small_stack() {
    let chain: String = (0..99)
        .map(|n| format!("/c{n} => ~ | (/c{} & /$/inet/{n});", n + 1))
        .collect();
    let nested = |tree: &str| {
        format!(
            "{}{tree}{}",
            "(~ | ".repeat(MAX_NESTING),
            ")".repeat(MAX_NESTING)
        )
    };
    let steep: String = (0..99)
        .map(|n| format!("/c{n} => {};", nested(&format!("/c{}", n + 1))))
        .collect();
    let deep = move || {
        let path = Path::parse("/c0").unwrap();
        let dtab = Dtab::parse(&chain).unwrap();
        let bound = bind(&dtab, &Global, &path, MAX_DEPTH).unwrap();
        assert!(bound.to_string().contains("/$/inet/98"));
        assert_eq!(bound.clone().simplified(), bound);
        let steps = explain(&dtab, &Global, &path, MAX_DEPTH);
        assert!(
            steps.to_json().to_string().contains("/$/inet/98")
                && steps.to_string().contains("/$/inet/98")
        );
        let dtab = Dtab::parse(&steep).unwrap();
        assert!(matches!(
            bind(&dtab, &Global, &path, MAX_DEPTH),
            Err(BindError::TooLarge { .. })
        ));
        assert!(
            explain(&dtab, &Global, &path, MAX_DEPTH)
                .to_string()
                .contains("failed:")
        );
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(deep)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn nesting_beyond_the_limit_is_an_error_at_its_byte() {
    for depth in [MAX_NESTING, MAX_NESTING + 1, 100_000] {
        let text = format!("{}/a{}", "(".repeat(depth), ")".repeat(depth));
        match NameTree::parse(&text) {
            Ok(_) => assert!(depth <= MAX_NESTING),
            Err(error) => assert!(
                depth > MAX_NESTING && error.offset == MAX_NESTING,
                "{error}"
            ),
        }
    }
}

#[test]
fn no_text_makes_a_parser_panic() {
    each_case("parsers", |source| {
        let text = source.garbage();
        let errors = [
            Path::parse(&text).err(),
            Prefix::parse(&text).err(),
            NameTree::parse(&text).err(),
            Dtab::parse(&text).err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(text.is_char_boundary(error.offset), "{error} in {text:?}");
            assert!(!error.expected.is_empty() && error.to_string().contains("expected"));
        }
        if let Ok(dtab) = Dtab::parse(&text) {
            let (path, shown) = (source.path(), dtab.to_string());
            assert!(Dtab::parse(&shown).is_ok(), "{shown}");
            let _ = bind(&dtab, &Global, &path, MAX_DEPTH);
        }
        let _ = PathPattern::new(&text).rewrite(&source.path(), &text);
    });
}

#[test]
fn no_bytes_make_the_readers_of_headers_panic() {
    each_case("headers", |source| {
        let text = source.garbage();
        let bytes = text.as_bytes();
        let _ = (
            HopContext::parse(bytes),
            parse_grpc_timeout(bytes),
            trace_id(bytes),
            detect(bytes),
        );
        if let Some(name) = host_name(&text) {
            assert_eq!(
                host_name(&name).as_ref(),
                Some(&name),
                "a host's name is in its last form"
            );
        }
        let target = format!("/{text}");
        assert_eq!(consume_path(&target, 0), target);
        assert!(consume_path(&target, 1).starts_with('/'));
    });
}

#[test]
fn a_context_is_read_as_it_was_written() {
    each_case("context", |source| {
        let context = HopContext {
            deadline: source
                .one_in(2)
                .then(|| Duration::from_millis(source.rng.next_u64() >> 20)),
            retries: source.one_in(2).then(|| source.rng.next_u64() as u32),
            dtab: source.dtab(3),
        };
        match context.show() {
            Some(shown) => assert_eq!(HopContext::parse(shown.as_bytes()), Ok(context), "{shown}"),
            None => assert_eq!(context, HopContext::default()),
        }
    });
}

#[test]
fn a_grpc_timeout_only_shortens_and_by_little() {
    each_case("grpc-timeout", |source| {
        let shift = source.rng.below(64);
        let left = Duration::from_nanos(source.rng.next_u64() >> shift);
        let shown = show_grpc_timeout(left);
        assert!(shown.len() <= 9, "{shown}");
        let read = parse_grpc_timeout(shown.as_bytes()).unwrap();
        assert!(
            read <= left && left - read <= left / 100_000,
            "{left:?} became {read:?}"
        );
    });
}
