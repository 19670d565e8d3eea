use super::*;

fn read(text: &str) -> (Vec<Node>, Vec<(String, usize, usize)>) {
    let mut report = Report::default();
    let nodes = parse(text, &mut report);
    let findings = report.into_findings();
    (
        nodes,
        findings
            .into_iter()
            .map(|f| (f.code.to_owned(), f.line, f.column))
            .collect(),
    )
}

fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) => format!("{:?}", &*scalar.text),
        Value::List(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let entries: Vec<_> = map
                .iter()
                .map(|(k, v)| format!("{}:{}", k.text, show(v)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

#[test]
fn documents_become_trees() {
    let rows = [
        ("a: 1\nb: [x, 'y']\n", r#"{a:"1",b:["x","y"]}"#),
        (r#"{"a": {"b": null}}"#, "{a:{b:null}}"),
        (
            "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2, e: 3}\n",
            r#"{a:{b:"1"},c:{b:"1"},d:{b:"2",e:"3"}}"#,
        ),
        (
            "a: &x {b: 1}\nd:\n  <<: [*x, {c: 2}]\n",
            r#"{a:{b:"1"},d:{b:"1",c:"2"}}"#,
        ),
        (
            "a: |\n  /svc => /x ;\n  /y => /z\n",
            r#"{a:"/svc => /x ;\n/y => /z\n"}"#,
        ),
        ("on: yes", r#"{on:"yes"}"#),
        ("", ""),
        ("# nothing\n---\n---\na: 1\n---\n~\n", r#"{a:"1"}"#),
        ("\u{feff}a: 1", r#"{a:"1"}"#),
    ];
    for (text, expected) in rows {
        let (nodes, findings) = read(text);
        assert_eq!(findings, [], "{text}");
        assert_eq!(
            nodes.iter().map(show).collect::<Vec<_>>().join(" "),
            expected,
            "{text}"
        );
    }
}

#[test]
fn mistakes_have_places() {
    let rows = [
        ("a: 1\nb: 2\na: 3\n", ("HED106", 3, 1)),
        ("a:\n\tb: 1\n", ("HED105", 2, 2)),
        ("a: [1, 2\nb: 3\n", ("HED104", 2, 2)),
        ("a: *nothing\n", ("HED104", 1, 4)),
        ("a: !secret x\n", ("HED110", 1, 12)),
        ("{[1]: 2}\n", ("HED110", 1, 2)),
        ("a: \"x\n", ("HED104", 1, 4)),
    ];
    for (text, (code, line, column)) in rows {
        let (_, findings) = read(text);
        assert_eq!(
            findings.first(),
            Some(&(code.to_owned(), line, column)),
            "{text:?}: {findings:?}"
        );
    }
}

#[test]
fn a_broken_document_does_not_hide_the_next() {
    let (nodes, findings) = read("a: [\n---\nb: 1\n---\nc: }\n");
    assert_eq!(nodes.iter().map(show).collect::<Vec<_>>(), [r#"{b:"1"}"#]);
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn bombs_are_refused_at_once() {
    let mut laughs = "a0: &a0 [l,l,l,l,l,l,l,l,l]\n".to_owned();
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..60 {
        let alias = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(","));
        chain += &format!("a{level}: &a{level} [{alias}]\n");
    }
    let deep = "[".repeat(100_000);
    let nested = format!("{}x{}", "&a [".repeat(40), "]".repeat(40));
    let wide = format!("[{}]", "[],".repeat(1_000_000));
    for (text, what) in [
        (laughs, "laughs"),
        (chain, "chain"),
        (deep, "deep"),
        (wide, "wide"),
    ] {
        let (_, findings) = read(&text);
        assert_eq!(findings.len(), 1, "{what}");
        assert_eq!(findings[0].0, "HED107", "{what}");
    }
    assert_eq!(read(&nested).1, []);
    assert_eq!(read("a: &a [*a]").1[0].0, "HED107");
}

#[test]
fn offsets_become_places() {
    let rows = [
        ("d: /svc => /x\n", 8, (1, 12)),
        ("d: '/svc => /x'\n", 8, (1, 13)),
        ("d: |\n  /svc => /x ;\n  /y => oops\n", 19, (3, 9)),
        ("d: |\n\n    /a => b\n", 7, (3, 11)),
        ("d: >-\n  /svc => /x ;\n  /y => oops\n", 19, (3, 9)),
        ("d: /svc =>\n   oops\n", 8, (2, 4)),
        ("d: /svc\n", 4, (1, 8)),
        ("d: ''\n", 0, (1, 4)),
    ];
    for (text, offset, (line, column)) in rows {
        let (nodes, _) = read(text);
        let node = nodes[0].get("d").unwrap();
        let place = place_within(text, node, offset);
        assert_eq!(
            place,
            Place { line, column },
            "{text:?} {offset} of {:?}",
            node.text()
        );
    }
}
