//! The live screen.

use super::figures::{self, Figures};
use super::table::{self, Look, Order, View};
use super::{nothing, read, remarks};
use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How often the thread that reads keys looks whether anybody still wants them.
const KEY_POLL: Duration = Duration::from_millis(100);
/// Keys that wait to be seen; more are typed by no person.
const KEYS: usize = 64;
/// Lines around the rows: the top line, the head, the line of keys.
const FRAME_LINES: usize = 3;

/// What is on the screen.
pub(super) struct Live {
    admin: String,
    view: View,
    order: Order,
    figures: Figures,
    last: Option<(Value, Instant)>,
    /// Why the last reading failed.
    broken: Option<String>,
    paused: bool,
    /// First row shown.
    scroll: usize,
}

impl Live {
    pub(super) fn new(admin: &str, view: View, order: Order) -> Self {
        Self {
            admin: admin.to_owned(),
            view,
            order,
            figures: Figures::default(),
            last: None,
            broken: None,
            paused: false,
            scroll: 0,
        }
    }

    fn take(&mut self, reading: Result<Value, String>) {
        match reading {
            Ok(now) => {
                let before = self.last.as_ref().map(|(before, _)| before);
                self.figures = figures::figures(&now, before);
                self.last = Some((now, Instant::now()));
                self.broken = None;
            }
            Err(reason) => self.broken = Some(reason),
        }
    }

    /// Does what a key says; false: quit.
    fn key(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        let columns = self.view.columns().len();
        let column = self.order.column;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return false,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Char('v') => {
                self.view = self.view.other();
                self.order = Order::by(usize::from(self.view == View::Services));
                self.scroll = 0;
            }
            KeyCode::Right | KeyCode::Char('>') => self.order = Order::by((column + 1) % columns),
            KeyCode::Left | KeyCode::Char('<') => {
                self.order = Order::by((column + columns - 1) % columns);
            }
            KeyCode::Char('r') => self.order.descending = !self.order.descending,
            KeyCode::Char('p') | KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = self.scroll.saturating_add(10),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
        true
    }

    fn top_line(&self) -> (String, Look) {
        let total: f64 = self.figures.services.iter().filter_map(|s| s.rate).sum();
        let (replicas, all) = (&self.figures.replicas, self.figures.replicas.len());
        let open = replicas.iter().filter(|r| r.status == "open").count();
        let what = format!(
            "heddle top {}  {total:.0} req/s  {open}/{all} replicas open  generation {}",
            self.admin, self.figures.generation
        );
        match (&self.broken, &self.last) {
            (Some(reason), Some((_, at))) => (
                format!("STALE for {} s: {reason}", at.elapsed().as_secs()),
                Look::Bad,
            ),
            (Some(reason), None) => (reason.clone(), Look::Bad),
            (None, None) => (format!("asking {} …", self.admin), Look::Plain),
            (None, Some(_)) if self.paused => (format!("PAUSED  {what}"), Look::Warn),
            (None, Some(_)) => (what, Look::Plain),
        }
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let width: usize = area.width.into();
        let (head, rows) = table::lines(&self.figures, self.view, self.order, width.max(20));
        let (top, look) = self.top_line();
        let mut lines = vec![
            Line::styled(top, style(look).add_modifier(Modifier::BOLD)),
            Line::styled(
                format!("{head:width$}"),
                Style::new().add_modifier(Modifier::REVERSED),
            ),
        ];
        let remarks = remarks(&self.figures);
        let room = usize::from(area.height).saturating_sub(FRAME_LINES + remarks.len());
        self.scroll = self.scroll.min(rows.len().saturating_sub(room));
        if rows.is_empty() && self.last.is_some() {
            lines.push(Line::raw(nothing(self.view)));
        }
        let shown = rows.into_iter().skip(self.scroll).take(room);
        lines.extend(shown.map(|(text, look)| Line::styled(text, style(look))));
        lines.extend(
            remarks
                .into_iter()
                .map(|remark| Line::styled(remark, style(Look::Warn))),
        );
        lines.truncate(usize::from(area.height).saturating_sub(1));
        lines.resize(usize::from(area.height).saturating_sub(1), Line::raw(""));
        lines.push(Line::styled(
            "Tab view  <- -> sort  r reverse  up/down scroll  p pause  q quit",
            Style::new().add_modifier(Modifier::DIM),
        ));
        frame.render_widget(Paragraph::new(lines), area);
    }
}

fn style(look: Look) -> Style {
    match look {
        Look::Plain => Style::new(),
        Look::Warn => Style::new().fg(Color::Yellow),
        Look::Bad => Style::new().fg(Color::Red),
    }
}

/// Runs until a key or a signal ends it. The terminal is as it was afterwards, also after a panic.
///
/// # Errors
/// When there is no proxy at the address to begin with, or the terminal cannot be used.
pub(super) async fn run(mut live: Live, interval: Duration) -> Result<(), String> {
    // Nobody there is told on the plain terminal; a proxy that goes away later is shown as stale.
    let first = read(&live.admin).await?;
    live.take(Ok(first));
    let terminal = |error: std::io::Error| format!("cannot use the terminal: {error}");
    let mut screen = ratatui::try_init().map_err(terminal)?;
    let result = show(&mut screen, live, interval).await.map_err(terminal);
    ratatui::restore();
    result
}

async fn show(
    screen: &mut ratatui::DefaultTerminal,
    mut live: Live,
    interval: Duration,
) -> std::io::Result<()> {
    let (sender, mut events) = mpsc::channel(KEYS);
    // Nobody waits for this thread: on a terminal that is gone it may never come back from reading.
    std::thread::spawn(move || keys(&sender));
    let (mut term, mut hup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    let mut int = signal(SignalKind::interrupt())?;
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let (readings, mut arrived) = mpsc::channel(1);
    let mut asking = false;
    loop {
        screen.draw(|frame| live.draw(frame))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Key(key)) if !live.key(key) => break,
                Some(_) => {}
                None => break,
            },
            // A proxy that hangs must not make the keys hang.
            _ = ticks.tick(), if !asking && !live.paused => {
                asking = true;
                let (admin, readings) = (live.admin.clone(), readings.clone());
                tokio::spawn(async move { drop(readings.send(read(&admin).await).await) });
            }
            Some(reading) = arrived.recv() => {
                asking = false;
                live.take(reading);
            }
            _ = term.recv() => break,
            _ = hup.recv() => break,
            _ = int.recv() => break,
        }
    }
    Ok(())
}

/// Reads the terminal until nobody wants to know.
fn keys(sender: &mpsc::Sender<Event>) {
    while !sender.is_closed() {
        match crossterm::event::poll(KEY_POLL) {
            Ok(false) => {}
            Ok(true) => {
                let Ok(event) = crossterm::event::read() else {
                    return;
                };
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
