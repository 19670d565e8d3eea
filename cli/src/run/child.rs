//! The program, in a process group of its own, and the signals that it gets.

use heddle_proxy::resources::with_inherited_limit;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell says when a program is not there.
const NOT_FOUND: u8 = 127;
/// What a shell says when it is there, and cannot be run.
const NOT_RUNNABLE: u8 = 126;

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    group: Option<Pid>,
    name: String,
}

impl Program {
    /// Starts it. Its process group is its own, so that Ctrl-C in a terminal comes to Heddle first,
    /// which drains before it passes the signal on.
    ///
    /// # Errors
    /// The exit status that a shell would have, and why.
    pub(super) fn start(
        words: &[OsString],
        variables: &[(&str, Option<String>)],
    ) -> Result<Self, (u8, String)> {
        let (program, arguments) = words
            .split_first()
            .expect("clap asks for at least one word");
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).kill_on_drop(true);
        if io::stdin().is_terminal() {
            // A background group that reads the terminal would be stopped.
            command.stdin(Stdio::null());
        }
        for (variable, value) in variables {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        // The program inherits the setting and decides for itself.
        crate::huge_pages(true);
        let spawned = with_inherited_limit(|| command.spawn());
        crate::huge_pages(false);
        let child = spawned.map_err(|error| refused(&name, &error))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            group: id.and_then(Pid::from_raw),
            child,
            name,
        })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it has ended; may be dropped and called again.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        match self.child.wait().await {
            Ok(status) => status,
            Err(error) => {
                eprintln!("heddle run: cannot wait for {}: {error}", self.name);
                ExitStatus::from_raw(i32::from(NOT_RUNNABLE) << 8)
            }
        }
    }

    /// Sends a signal to it and to what it has started in its group.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended in this moment, which `ended` tells.
            kill_process_group(group, signal).ok();
        }
    }
}

fn refused(name: &str, error: &io::Error) -> (u8, String) {
    match error.kind() {
        io::ErrorKind::NotFound => (
            NOT_FOUND,
            format!("{name} is not there: {error}. Is it in PATH, and spelled right?"),
        ),
        io::ErrorKind::PermissionDenied => (
            NOT_RUNNABLE,
            format!("{name} may not be run: {error}. Is it executable (`chmod +x`)?"),
        ),
        _ => (NOT_RUNNABLE, format!("{name} cannot be run: {error}")),
    }
}

/// The exit status that a shell gives: the program's own, or 128 and the number of the signal that ended it.
pub(super) fn code(status: ExitStatus) -> u8 {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(NOT_RUNNABLE),
    };
    u8::try_from(code & 0xff).expect("eight bits are left")
}

/// How it ended, in words.
pub(super) fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("exited with {}", code(status)),
    }
}

/// Signals that Heddle gets.
#[derive(Debug)]
pub(super) struct Signals {
    ending: [(tokio::signal::unix::Signal, Signal); 2],
    passed: [(tokio::signal::unix::Signal, Signal); 4],
}

/// A signal that came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Came {
    /// The program is to end: drained first, then told.
    End(Signal),
    /// The program's own business.
    Pass(Signal),
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn listen() -> Result<Self, String> {
        let on = |kind, signal_| match signal(kind) {
            Ok(stream) => Ok((stream, signal_)),
            Err(error) => Err(format!("cannot wait for signals: {error}")),
        };
        Ok(Self {
            ending: [
                on(SignalKind::terminate(), Signal::TERM)?,
                on(SignalKind::interrupt(), Signal::INT)?,
            ],
            passed: [
                on(SignalKind::hangup(), Signal::HUP)?,
                on(SignalKind::quit(), Signal::QUIT)?,
                on(SignalKind::user_defined1(), Signal::USR1)?,
                on(SignalKind::user_defined2(), Signal::USR2)?,
            ],
        })
    }

    /// The next one; may be dropped and called again.
    pub(super) async fn next(&mut self) -> Came {
        let [terminate, interrupt] = &mut self.ending;
        let [hangup, quit, first, second] = &mut self.passed;
        tokio::select! {
            _ = terminate.0.recv() => Came::End(terminate.1),
            _ = interrupt.0.recv() => Came::End(interrupt.1),
            _ = hangup.0.recv() => Came::Pass(hangup.1),
            _ = quit.0.recv() => Came::Pass(quit.1),
            _ = first.0.recv() => Came::Pass(first.1),
            _ = second.0.recv() => Came::Pass(second.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_a_shell() {
        // Raw statuses of wait(2): the code in the second byte, the signal in the first.
        for (raw, expect) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), expect);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_run_has_the_status_of_a_shell() {
        for (program, expect) in [("/nowhere/at-all", 127), ("/etc/passwd", 126), ("/", 126)] {
            let (code, why) = Program::start(&[program.into()], &[]).unwrap_err();
            assert_eq!(code, expect, "{why}");
        }
    }
}
