//! The guides in `docs/`, followed word by word: each `sh` block is run as it stands, in order, in one shell, and what it
//! prints is held against the `text` block after it, where `…` stands for anything.

use super::embedded::Small;
use super::world::{BANK, run};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Stands before the output of each block.
const MARK: &str = "--- block ";
/// A guide that waits for something that never comes is ended, in seconds.
const LIMIT: &str = "180";

#[derive(Debug, Default)]
struct Block {
    line: usize,
    script: String,
    prints: Option<String>,
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = guide.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let inside = lines.by_ref().take_while(|(_, line)| *line != "```");
        let text: String = inside.map(|(_, line)| format!("{line}\n")).collect();
        match kind {
            "sh" => blocks.push(Block {
                line: number + 1,
                script: text,
                prints: None,
            }),
            "text" => blocks.last_mut().expect("a block that prints it").prints = Some(text),
            other => panic!(
                "line {}: a block of `{other}` is neither run nor compared",
                number + 1
            ),
        }
    }
    assert!(!blocks.is_empty());
    blocks
}

/// Whether what was printed is what the guide shows.
fn same(shown: &[&str], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=printed.len()).any(|skip| same(rest, &printed[skip..])),
        ([line, rest @ ..], [first, others @ ..]) => fits(line, first) && same(rest, others),
        _ => false,
    }
}

fn fits(shown: &str, printed: &str) -> bool {
    match shown.split_once('…') {
        None => shown == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| fits(after, &rest[at..]))
        }),
    }
}

fn follow(name: &str) {
    run(async {
        let small = Small::start().await;
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(name);
        let blocks = blocks(&std::fs::read_to_string(&path).unwrap());
        let place = small.folder.path().join("guide");
        std::fs::create_dir(&place).unwrap();
        let mut script =
            "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
        for (number, block) in blocks.iter().enumerate() {
            script += &format!("echo '{MARK}{number}'\n{}", block.script);
        }
        let output = small.folder.path().join("output");
        let own = Path::new(BANK).parent().unwrap().to_str().unwrap();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", LIMIT, "bash", "-c", &script])
            .current_dir(&place)
            .env("PATH", format!("{own}:{}", std::env::var("PATH").unwrap()))
            .env("BANK_QUEUE", format!("http://{}", small.queue.address))
            .env_remove("http_proxy")
            .env("RUST_LOG", "off")
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::inherit());
        let status = tokio::task::spawn_blocking(move || command.status().unwrap())
            .await
            .unwrap();
        let printed = std::fs::read_to_string(&output).unwrap();
        for (number, block) in blocks.iter().enumerate() {
            let mark = format!("{MARK}{number}\n");
            let Some((_, after)) = printed.split_once(&mark) else {
                panic!(
                    "{name}: the block of line {} was not reached ({status}):\n{printed}",
                    block.line
                );
            };
            let this = after.split_once(MARK).map_or(after, |(this, _)| this);
            let (shown, this): (Vec<&str>, Vec<&str>) = (
                block.prints.as_deref().unwrap_or("").lines().collect(),
                this.lines().collect(),
            );
            assert!(
                same(&shown, &this),
                "{name}, line {}: it prints\n{}\nand not\n{}\n({status})",
                block.line,
                this.join("\n"),
                shown.join("\n")
            );
        }
        assert!(status.success(), "{name}: {status}\n{printed}");
    });
}

pub(crate) fn dead_letters() {
    follow("bank-dead-letters.md");
}

pub(crate) fn replay() {
    follow("bank-replay.md");
}
