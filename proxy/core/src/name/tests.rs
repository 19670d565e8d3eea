//! Tables: what the language accepts, says and does.

use super::{
    BindError, Bound, Dtab, Found, Global, Lookup, MAX_DEPTH, NameTree, Namer, Path, PathPattern,
    Prefix, bind, bind_tree, explain, inet_address, utility,
};
use crate::status::Status;

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

#[test]
fn mistakes_are_told_with_their_place_and_a_hint() {
    let cases = [
        (
            "/a -> /b",
            3,
            "expected `=>`, found `-`",
            "`=>` in one piece",
        ),
        (
            "/a = > /b",
            3,
            "expected `=>`, found `=`",
            "`=>` in one piece",
        ),
        (
            "/a := /b",
            3,
            "expected `=>`, found `:`",
            "`=>` in one piece",
        ),
        (
            "svc => /b",
            0,
            "expected `/` of a prefix, found `s`",
            "a path begins with `/`",
        ),
        ("/a => b", 6, "found `b`", "a path begins with `/`"),
        ("/a//b => /c", 3, "found `/`", "write a single `/`"),
        ("/a => //b", 7, "found `/`", "write a single `/`"),
        ("/a => /b/", 9, "found the end", "does not end with `/`"),
        ("/a/ => /b", 3, "found ` `", "does not end with `/`"),
        ("/a => /b;; /c => /d", 9, "found `;`", "write a single `;`"),
        (
            "/a => /b\n/c => /d",
            9,
            "expected `;`, `|`, `&` or the end, found `/`",
            "separated by `;`",
        ),
        ("/a => /b/*", 9, "found `*`", "only on the left"),
        ("/a* => /b", 2, "found `*`", "only on the left"),
        ("/a => /b || /c", 10, "found `|`", "stand singly"),
        ("/a => -1 * /b & /c", 6, "found `-`", "no sign"),
        (
            "/a => 1.2.3 * /b",
            9,
            "expected a digit of the weight, found `.`",
            "",
        ),
        ("/a => . * /b", 6, "expected a weight", ""),
        (
            "/a => 2 /b",
            8,
            "expected `*` after a weight, found `/`",
            "",
        ),
        (
            "/a => (/b",
            9,
            "expected `)`, `|` or `&`, found the end",
            "",
        ),
        (
            "/a => /b\\x4",
            8,
            "expected `\\x` and two hexadecimal digits",
            "",
        ),
        ("/a => /bä", 8, "found `ä`", ""),
        (
            "/a =>",
            5,
            "expected a path, `(`, `!`, `~` or `$`, found the end",
            "",
        ),
    ];
    for (text, offset, says, hint) in cases {
        let error = Dtab::parse(text).expect_err(text);
        assert_eq!(error.offset, offset, "{text}: {error}");
        let shown = error.to_string();
        assert!(
            shown.contains(says) && shown.contains(hint),
            "{text}: {shown}"
        );
        assert_eq!(error.hint.is_none(), hint.is_empty(), "{text}: {shown}");
    }
}

#[test]
fn white_space_is_what_java_calls_so() {
    for space in [
        " ",
        "\t",
        "\r\n",
        "\u{b}",
        "\u{c}",
        "\u{1c}",
        "\u{1f}",
        "\u{2003}",
        "\u{2028}",
        " # note\n",
    ] {
        let text = format!("{space}/a{space}=>{space}/b{space};{space}");
        assert!(Dtab::parse(&text).is_ok(), "{space:?}");
    }
    for other in ["\u{a0}", "\u{85}", "\u{202f}", "\0"] {
        assert!(
            Dtab::parse(&format!("/a{other}=> /b")).is_err(),
            "{other:?}"
        );
    }
}

#[test]
fn long_elements_behave_as_short_ones() {
    for length in [1, 21, 22, 23, 300] {
        let element = vec![b'x'; length];
        let one = Path::from_elements([&element]).unwrap();
        assert_eq!(one.elements()[0].len(), length);
        assert_eq!(one, path(&format!("/{}", "x".repeat(length))));
        assert!(one < Path::from_elements([b"y"]).unwrap());
    }
    assert_eq!(Path::from_elements(["a", ""]), None);
    assert_eq!(
        Path::from_elements(std::iter::empty::<&str>()),
        Some(Path::empty())
    );
}

#[test]
fn utility_namers_rewrite_as_linkerds_do() {
    let cases = [
        ("hostportPfx/p/h:80/r", "/p/h/80/r"),
        ("hostportPfx/p/h:-a", "~"),
        ("hostportPfx/p/h:A", "~"),
        ("hostportPfx/p/a:b:80", "~"),
        ("hostportPfx/p/h:80:", "/p/h/80"),
        ("hostportPfx/p", "~"),
        ("porthostPfx/p/h:http/r", "/p/http/h/r"),
        ("http.anyMethod/GET/r", "/r"),
        ("http.anyMethod/Get/r", "~"),
        ("http.anyMethodPfx/p/PUT/r", "/p/r"),
        ("http.anyHost/a_b.c:1/r", "/r"),
        ("http.anyHostPfx/p/h", "/p"),
        ("http.anyHostPfx/p", "~"),
        ("http.subdomainOf/b.c/a.b.c:80/r", "/a/r"),
        ("http.subdomainOf/b.c/ab.c", "~"),
        ("http.subdomainOf/b.c", "~"),
        ("http.subdomainOfPfx/c/p/a.b.c/r", "/p/a.b/r"),
        ("http.domainToPath/a.b.c./r", "/c/b/a/r"),
        ("http.domainToPathPfx/p/a", "/p/a"),
        ("http.domainToPath", "~"),
    ];
    for (name, expected) in cases {
        let shown = match utility(&path(&format!("/$/io.buoyant.{name}"))) {
            Some(Lookup::Tree(NameTree::Leaf(Found::Path(path)))) => path.to_string(),
            Some(Lookup::Tree(NameTree::Neg)) => "~".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{name}");
    }
    for unknown in [
        "/$/x",
        "/$/inet",
        "/$/inet/host",
        "/$/io.buoyant.http.anyPort/1",
        "/$/io.buoyant.http.domainToPath/.a",
    ] {
        assert!(
            matches!(utility(&path(unknown)), Some(Lookup::Failed(_))),
            "{unknown}"
        );
    }
}

#[test]
fn bound_addresses_say_host_and_port() {
    let cases = [
        ("/$/inet/web/80", Some(Ok(("web", 80)))),
        ("/$/fixedinet/10.0.0.1/8080", Some(Ok(("10.0.0.1", 8080)))),
        ("/$/inet/80", Some(Ok(("localhost", 80)))),
        ("/$/io.buoyant.rinet/80/web", Some(Ok(("web", 80)))),
        ("/$/inet/web/0", Some(Err(()))),
        ("/$/inet/web/99999", Some(Err(()))),
        ("/$/io.buoyant.rinet/http/web", Some(Err(()))),
        ("/#/static/web", None),
    ];
    for (id, expected) in cases {
        let expected = expected.map(|found| found.map(|(host, port)| (host.to_owned(), port)));
        assert_eq!(
            inet_address(&path(id)).map(|found| found.map_err(drop)),
            expected,
            "{id}"
        );
    }
    let Some(Lookup::Tree(tree)) = utility(&path("/$/inet/1234/8080/rest")) else {
        panic!("it binds")
    };
    let expected = Found::Bound {
        id: path("/$/inet/1234/8080"),
        residual: path("/rest"),
    };
    assert_eq!(
        tree,
        NameTree::Leaf(expected),
        "a number before a port is a host"
    );
}

#[test]
fn patterns_capture_and_substitute() {
    let cases = [
        ("/a/{x}", "/a/b/c", "/s/{x}", "/s/b"),
        ("/{x}-{y}", "/a-b-c", "/{y}/{x}", "/c/a-b"),
        ("/{x}.com", "/foo.community", "/{x}", "/foo"),
        ("/*/b", "/a/b", "/s", "/s"),
        ("/a/{x}", "/a", "/s", "none"),
        ("/a.b", "/axb", "/s", "none"),
        ("/{x}", "/\\x00", "/s/{x}", "/s/\\x00"),
        ("/{x}", "/a", "s", "error"),
        ("/", "/a", "/s", "/s"),
    ];
    for (pattern, name, template, expected) in cases {
        let shown = match PathPattern::new(pattern).rewrite(&path(name), template) {
            None => "none".to_owned(),
            Some(Err(_)) => "error".to_owned(),
            Some(Ok(path)) => path.to_string(),
        };
        assert_eq!(shown, expected, "{pattern} on {name}");
    }
}

/// Knows `/#/up`, waits for `/#/slow`, fails at `/#/bad`.
struct Scripted;

impl Namer for Scripted {
    fn lookup(&self, path: &Path) -> Lookup {
        match path.to_string().as_str() {
            "/#/up" => Lookup::bound(path, 2),
            "/#/slow" => Lookup::Pending,
            "/#/bad" => Lookup::Failed("out of order".to_owned()),
            "/#/more" => Lookup::path(Path::parse("/#/up").unwrap()),
            _ => Lookup::NEG,
        }
    }
}

#[test]
fn alternatives_wait_and_unions_do_not() {
    let pending = || Err("pending".to_owned());
    let failed = || Err("cannot look up /#/bad: out of order".to_owned());
    let cases = [
        ("/#/none | /#/up", Ok("/#/up".to_owned())),
        ("/#/slow | /#/up", pending()),
        ("/#/bad | /#/up", failed()),
        ("/#/up | /#/bad", Ok("/#/up".to_owned())),
        ("! | /#/up", Ok("!".to_owned())),
        ("$ | /#/up", Ok("$".to_owned())),
        ("~ | ~", Ok("~".to_owned())),
        ("3*/#/slow & /#/up", Ok("/#/up".to_owned())),
        ("/#/bad & /#/up & /#/more", Ok("/#/up & /#/up".to_owned())),
        ("/#/slow & /#/bad", failed()),
        ("/#/slow & /#/slow", pending()),
        ("/#/slow & /#/none", Ok("~".to_owned())),
        ("! & /#/up", Ok("/#/up".to_owned())),
        ("! & !", Ok("~".to_owned())),
        ("$ & $", Ok("$ & $".to_owned())),
    ];
    for (tree, expected) in cases {
        let bound = bind_tree(
            &Dtab::empty(),
            &Scripted,
            &NameTree::parse(tree).unwrap(),
            MAX_DEPTH,
        );
        let shown = bound
            .map(|tree| tree.to_string())
            .map_err(|error| match error {
                BindError::Pending => "pending".to_owned(),
                other => other.to_string(),
            });
        assert_eq!(shown, expected, "{tree}");
    }
}

#[test]
fn the_nearest_union_gives_a_bound_name_its_weight() {
    let dtab = Dtab::parse("/s => 8*/x & 2*/y ; /x => /#/up ; /y => 3*/#/up & 7*(/#/none | /#/up)")
        .unwrap();
    let tree = bind(&dtab, &Scripted, &path("/s"), MAX_DEPTH).unwrap();
    let mut weights = Vec::new();
    tree.for_each_leaf(&mut |bound: &Bound| weights.push(bound.weight));
    assert_eq!(weights, [Some(8.0), Some(3.0), Some(7.0)]);
}

#[test]
fn a_union_is_as_ready_as_its_worst_branch() {
    let cases = [
        ("/open & /open", Some(Status::Open)),
        ("/open & /busy", Some(Status::Busy)),
        ("/open & ~", Some(Status::Closed)),
        ("/open & 0*~", Some(Status::Open)),
        ("0*~ & 0*!", None),
        ("~", None),
    ];
    for (tree, expected) in cases {
        let tree = NameTree::parse(tree).unwrap();
        let status = tree.status(&mut |leaf: &Path| match leaf.to_string().as_str() {
            "/open" => Status::Open,
            _ => Status::Busy,
        });
        assert_eq!(status, expected, "{tree}");
    }
}

#[test]
fn an_explanation_reads_from_top_to_bottom() {
    let dtab = Dtab::parse("/svc => /a | ! ; /svc/web => 9*/$/inet/1 & 1*/gone ; /a => ~").unwrap();
    let steps = explain(&dtab, &Global, &path("/svc/web"), MAX_DEPTH);
    let expected = "\
/svc/web   first of:
  | /svc/web   by /svc/web=>9.00*/$/inet/1 & /gone   split:
    & 9 * /$/inet/1   by /svc/web=>9.00*/$/inet/1 & /gone   bound: /$/inet/1
    & 1 * /gone   by /svc/web=>9.00*/$/inet/1 & /gone   neg: no such name
  | /a/web   by /svc=>/a | !
    ~   by /a=>~   neg: no such name
  | !   by /svc=>/a | !   fail: nothing after it is tried
";
    assert_eq!(steps.to_string(), expected);
}

#[test]
fn a_sole_neg_gives_way_to_the_namers_in_the_explanation_too() {
    let dtab = Dtab::parse("/$/inet/80 => ~").unwrap();
    let steps = explain(&dtab, &Global, &path("/$/inet/80"), MAX_DEPTH);
    assert_eq!(steps.to_json()["type"], "leaf");
}

#[test]
fn prefixes_print_as_they_are_written() {
    for text in ["/", "/a", "/*", "/a/*/b"] {
        assert_eq!(Prefix::parse(text).unwrap().to_string(), text);
    }
}
