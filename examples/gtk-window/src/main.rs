//! A window of GTK with jobs that tick: what runs when, how often it ran, and how that ended.
//!
//! Run with: `cargo run -p gtk-window`; with a number of seconds (`cargo run -p gtk-window -- 5`) the window closes by itself.
//! Needs GTK 4, on Debian: `apt install libgtk-4-dev`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use gtk::prelude::*;
use jiff::Timestamp;
use jiff::tz::TimeZone;
// GTK has an `EventKind` of its own.
use punctual::event::EventKind;
use punctual::prelude::*;
use punctual::scheduler::{self, BlockingHandle};
use punctual_glib::GlibScheduler;

const CLOSE: &str = "close this window";
const COLUMNS: [&str; 4] = ["Job", "Next run", "Runs", "Last result"];

fn main() -> Result<()> {
    gtk::init().context("GTK has no display")?;
    let main_loop = gtk::glib::MainLoop::new(None, false);

    let scheduler = GlibScheduler::build(Scheduler::builder())?;
    add_jobs(&scheduler)?;
    if let Some(seconds) = std::env::args().nth(1) {
        let seconds: u64 = seconds.parse().context("how many seconds?")?;
        let closing = scheduler.now() + Duration::from_secs(seconds);
        // Runs on another thread: it is the end of the run that is heard of here.
        let close = scheduler.add_local_blocking(|| ()).id(CLOSE);
        close.at(closing).wait()?;
    }

    let mut table = Table::new(&scheduler)?;
    let content = gtk::Box::builder();
    let content = content
        .orientation(gtk::Orientation::Vertical)
        .spacing(12)
        .margin_top(12)
        .margin_bottom(12)
        .margin_start(12)
        .margin_end(12)
        .build();
    content.append(&table.grid);
    content.append(&pause_button(&scheduler));
    let window = gtk::Window::builder()
        .title("Punctual in GTK")
        .default_width(560)
        .child(&content)
        .build();
    let quit = main_loop.clone();
    window.connect_close_request(move |_| {
        quit.quit();
        gtk::glib::Propagation::Proceed
    });
    window.present();

    let kinds = [
        EventKind::JobStarted,
        EventKind::JobExecuted,
        EventKind::JobError,
    ];
    scheduler.on_event(&kinds, move |event| {
        table.show(event);
        let is_close = event.job_id.as_ref().is_some_and(|id| id.as_str() == CLOSE);
        if is_close && event.kind == EventKind::JobExecuted {
            window.close();
        }
    });
    scheduler.start(StartMode::Running)?;
    main_loop.run();
    Ok(())
}

/// They run on threads of the default executor: the window does not freeze, however long they take.
fn add_jobs(scheduler: &Scheduler) -> Result<()> {
    let tick = |run: Run| {
        let late = run.started_at.map(|at| at.duration_since(run.scheduled_at));
        late.map(|late| format!("{:.1} ms late", late.as_secs_f64() * 1e3))
            .ok_or("not started")
    };
    let tick = scheduler.add_local_blocking(tick).id("tick");
    tick.every(Duration::from_secs(1)).wait()?;

    let slow = || std::thread::sleep(Duration::from_millis(1500));
    let slow = scheduler.add_local_blocking(slow).id("slow");
    slow.every(Duration::from_secs(4)).wait()?;

    let calls = AtomicU32::new(1);
    let moody = move || match calls.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => Err("every third time it fails"),
        _ => Ok("fine"),
    };
    let moody = scheduler.add_local_blocking(moody).id("moody");
    moody.cron("second=*/2").wait()?;

    let minute = scheduler.add_local_blocking(|| ()).id("on the minute");
    minute.crontab("* * * * *").wait()?;
    Ok(())
}

fn pause_button(scheduler: &Scheduler) -> gtk::Button {
    let button = gtk::Button::with_label("Pause");
    let scheduler = scheduler.blocking();
    button.connect_clicked(move |button| match toggled(&scheduler) {
        Ok(true) => button.set_label("Resume"),
        Ok(false) => button.set_label("Pause"),
        Err(error) => button.set_label(&error.to_string()),
    });
    button
}

/// Pauses the scheduler or resumes it; returns whether it is paused now.
fn toggled(scheduler: &BlockingHandle) -> Result<bool, scheduler::Error> {
    let paused = scheduler.is_paused()?;
    if paused {
        scheduler.resume()?;
    } else {
        scheduler.pause()?;
    }
    Ok(!paused)
}

/// A row for each job.
struct Table {
    scheduler: Scheduler,
    grid: gtk::Grid,
    rows: Vec<Row>,
}

struct Row {
    id: JobId,
    runs: u64,
    labels: [gtk::Label; 4],
}

impl Table {
    fn new(scheduler: &Scheduler) -> Result<Self> {
        let grid = gtk::Grid::builder();
        let grid = grid.column_spacing(24).row_spacing(8).vexpand(true).build();
        attach(&grid, 0, &COLUMNS.map(heading));
        let jobs = scheduler.blocking().get_jobs()?;
        let mut ids: Vec<_> = jobs.iter().map(|found| found.job.id().clone()).collect();
        ids.sort();
        let mut table = Self {
            scheduler: scheduler.clone(),
            grid,
            rows: Vec::new(),
        };
        for (row, id) in ids.into_iter().enumerate() {
            let labels = COLUMNS.map(|_| label(""));
            attach(&table.grid, row as i32 + 1, &labels);
            table.rows.push(Row {
                id,
                runs: 0,
                labels,
            });
            table.show_row(row, "");
        }
        Ok(table)
    }

    fn show(&mut self, event: &Event) {
        let (Some(id), Some(run)) = (&event.job_id, &event.run) else {
            return;
        };
        let Some(row) = self.rows.iter().position(|row| row.id == *id) else {
            return;
        };
        let said = run.error.as_ref().or(run.output.as_ref());
        let result = match said {
            Some(said) => format!("{}: {}", run.state(), said.trim().trim_matches('"')),
            None => run.state().to_string(),
        };
        self.rows[row].runs += u64::from(event.kind != EventKind::JobStarted);
        self.show_row(row, &result);
    }

    fn show_row(&self, row: usize, result: &str) {
        let Row { id, runs, labels } = &self.rows[row];
        // In memory this takes no time. A job store that may keep the window waiting is better asked by a job.
        let job = self.scheduler.blocking().get_job(id).ok().flatten();
        let next = job
            .and_then(|found| found.job.into_job())
            .and_then(|job| job.next_run_time());
        let next = next.map_or("never".to_owned(), clock_time);
        let cells = [id.as_str(), &next, &runs.to_string(), result];
        for (label, text) in labels.iter().zip(cells) {
            label.set_text(text);
        }
    }
}

fn attach(grid: &gtk::Grid, row: i32, labels: &[gtk::Label]) {
    for (column, label) in (0..).zip(labels) {
        grid.attach(label, column, row, 1, 1);
    }
}

fn heading(text: &str) -> gtk::Label {
    let label = label(text);
    label.add_css_class("heading");
    label
}

fn label(text: &str) -> gtk::Label {
    gtk::Label::builder().label(text).xalign(0.0).build()
}

fn clock_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}
