//! The services that are not written in Rust: their sources, written into the state folder and built there by their own
//! compilers, so that this program needs nothing of the repository.

use super::cast::{Role, Runtime};
use crate::{Failure, say};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

macro_rules! source {
    ($path:literal) => {
        ($path, include_str!(concat!("../../services/", $path)))
    };
}

const SOURCES: [(&str, &str); 17] = [
    source!("merchants.json"),
    source!("python/merchants.py"),
    source!("go/go.mod"),
    source!("go/event.go"),
    source!("go/failpoint.go"),
    source!("go/main.go"),
    source!("go/merchants.go"),
    source!("go/model.go"),
    source!("go/notifications.go"),
    source!("go/problem.go"),
    source!("node/feed.mjs"),
    source!("node/model.mjs"),
    source!("node/notifications.mjs"),
    source!("node/web.mjs"),
    source!("java/Feed.java"),
    source!("java/Json.java"),
    source!("java/Model.java"),
];
const REFUSAL: (&str, &str) = source!("java/Refusal.java");

/// The shops of the demo, where cards are tapped.
pub(crate) const SHOPS: &str = SOURCES[0].1;

/// The folder of the built services.
#[derive(Debug)]
pub(super) struct Sources(PathBuf);

impl Sources {
    /// Writes all sources below `state`, and builds those of the runtimes that play. Also gives those whose compiler
    /// refuses them, each with the reason for a person.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) async fn build(
        state: &Path,
        roles: &[Role],
    ) -> Result<(Self, Vec<(Runtime, String)>), Failure> {
        let folder = state.join("services");
        for (name, text) in SOURCES.into_iter().chain([REFUSAL]) {
            let file = folder.join(name);
            let written = fs::create_dir_all(file.parent().unwrap_or(&folder))
                .and_then(|()| fs::write(&file, text));
            written.map_err(|e| Failure::new(format!("cannot write {}: {e}", file.display())))?;
        }
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-o", "bank", "."])
            .current_dir(folder.join("go"));
        let mut javac = Command::new("javac");
        javac
            .args(["-d", "classes"])
            .args(["Feed.java", "Json.java", "Model.java", "Refusal.java"])
            .current_dir(folder.join("java"));
        let mut broken = Vec::new();
        for (runtime, compiler) in [(Runtime::Go, go), (Runtime::Java, javac)] {
            if !roles.iter().any(|role| role.runtime == runtime) {
                continue;
            }
            say(format_args!(
                "compiling what is written in {}",
                runtime.name()
            ));
            if let Err(why) = compile(compiler).await {
                let name = runtime.name();
                broken.push((
                    runtime,
                    format!("what is written in {name} is left out, it cannot be built:\n{why}"),
                ));
            }
        }
        Ok((Self(folder), broken))
    }

    /// Program and arguments of a role.
    pub(super) fn command(&self, role: Role, bank: &Path) -> (PathBuf, Vec<String>) {
        let text = |path: &str| self.0.join(path).display().to_string();
        let (program, arguments) = match role.runtime {
            Runtime::Rust => (
                bank.to_path_buf(),
                vec!["serve".to_owned(), role.service.to_owned()],
            ),
            Runtime::Python => ("python3".into(), vec![text("python/merchants.py")]),
            Runtime::Go => (self.0.join("go/bank"), vec![role.service.to_owned()]),
            Runtime::Node => {
                let script = format!("node/{}.mjs", role.service);
                // Young objects die young here; the default nursery of 16 MiB is most of what Node would use.
                let limits = ["--max-old-space-size=48", "--max-semi-space-size=2"];
                let mut arguments: Vec<String> = limits.map(str::to_owned).into();
                arguments.push(text(&script));
                ("node".into(), arguments)
            }
            Runtime::Java => {
                let limits = [
                    "-Xmx48m",
                    "-Xss512k",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-cp",
                ];
                let mut arguments: Vec<String> = limits.map(str::to_owned).into();
                arguments.extend([text("java/classes"), "Feed".to_owned()]);
                ("java".into(), arguments)
            }
        };
        (program, arguments)
    }

    /// The catalogue of shops, as a file.
    pub(super) fn shops(&self) -> PathBuf {
        self.0.join("merchants.json")
    }
}

/// What the compiler said, if it failed.
async fn compile(mut compiler: Command) -> Result<(), String> {
    let built = compiler.kill_on_drop(true).output().await;
    let built = built.map_err(|e| e.to_string())?;
    if built.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&built.stdout),
        String::from_utf8_lossy(&built.stderr),
    );
    Err(format!("{out}{err}"))
}
