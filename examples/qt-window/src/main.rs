//! A window of Qt with jobs that tick: what runs when, how often it ran, and how that ended.
//!
//! Run with: `cargo run -p qt-window`; with a number of seconds (`cargo run -p qt-window -- 5`) the window closes by itself.
//! Needs Qt 6, on Debian: `apt install qt6-base-dev`.

#[expect(
    dead_code,
    unsafe_code,
    unreachable_pub,
    reason = "generated bindings to C++; the bridge says why they are safe to call"
)]
mod window;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use cxx::UniquePtr;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use punctual::prelude::*;
use punctual::scheduler::{self, BlockingHandle};
use punctual_qt::QtScheduler;

use crate::window::qt;

const CLOSE: &str = "close this window";

fn main() -> Result<()> {
    let _application = qt::make_application();
    let columns = ["Job", "Next run", "Runs", "Last result"];
    let window = Rc::new(RefCell::new(qt::make_window("Punctual in Qt", &columns)));

    let scheduler = QtScheduler::build(Scheduler::builder())?;
    add_jobs(&scheduler)?;
    if let Some(seconds) = std::env::args().nth(1) {
        let seconds: u64 = seconds.parse().context("how many seconds?")?;
        let closing = scheduler.now() + Duration::from_secs(seconds);
        // Runs on another thread: it is the end of the run that is heard of here.
        scheduler
            .add_local_blocking(|| ())
            .id(CLOSE)
            .at(closing)
            .wait()?;
    }

    let mut table = Table::new(&scheduler, Rc::clone(&window))?;
    let kinds = [
        EventKind::JobStarted,
        EventKind::JobExecuted,
        EventKind::JobError,
    ];
    scheduler.on_event(&kinds, move |event| {
        table.show(event);
        let is_close = event.job_id.as_ref().is_some_and(|id| id.as_str() == CLOSE);
        if is_close && event.kind == EventKind::JobExecuted {
            qt::quit();
        }
    });
    pause_and_resume(&scheduler, window.borrow_mut().pin_mut().button());
    scheduler.start(StartMode::Running)?;
    qt::exec();
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

fn pause_and_resume(scheduler: &Scheduler, mut button: Pin<&mut qt::QPushButton>) {
    qt::set_text(button.as_mut(), "Pause");
    let scheduler = scheduler.blocking();
    let toggle = move |button: Pin<&mut qt::QPushButton>, _| match toggled(&scheduler) {
        Ok(true) => qt::set_text(button, "Resume"),
        Ok(false) => qt::set_text(button, "Pause"),
        Err(error) => qt::set_text(button, &error.to_string()),
    };
    button.on_clicked(toggle).release();
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
    window: Rc<RefCell<UniquePtr<qt::Window>>>,
    /// The job of each row, and how often it ran.
    rows: Vec<(JobId, u64)>,
}

impl Table {
    fn new(scheduler: &Scheduler, window: Rc<RefCell<UniquePtr<qt::Window>>>) -> Result<Self> {
        let jobs = scheduler.blocking().get_jobs()?;
        let rows = jobs.iter().map(|found| (found.job.id().clone(), 0));
        let mut table = Self {
            scheduler: scheduler.clone(),
            window,
            rows: rows.collect(),
        };
        table.rows.sort();
        for row in 0..table.rows.len() {
            table.show_row(row, "");
        }
        Ok(table)
    }

    fn show(&mut self, event: &Event) {
        let (Some(id), Some(run)) = (&event.job_id, &event.run) else {
            return;
        };
        let Some(row) = self.rows.iter().position(|(job, _)| job == id) else {
            return;
        };
        let said = run.error.as_ref().or(run.output.as_ref());
        let result = match said {
            Some(said) => format!("{}: {}", run.state(), said.trim().trim_matches('"')),
            None => run.state().to_string(),
        };
        self.rows[row].1 += u64::from(event.kind != EventKind::JobStarted);
        self.show_row(row, &result);
    }

    fn show_row(&mut self, row: usize, result: &str) {
        let (id, runs) = &self.rows[row];
        // In memory this takes no time. A job store that may keep the window waiting is better asked by a job.
        let job = self.scheduler.blocking().get_job(id).ok().flatten();
        let next = job
            .and_then(|found| found.job.into_job())
            .and_then(|job| job.next_run_time());
        let next = next.map_or("never".to_owned(), clock_time);
        let cells = [id.as_str(), &next, &runs.to_string(), result];
        let mut window = self.window.borrow_mut();
        for (column, text) in (0..).zip(cells) {
            window.pin_mut().set_cell(row as i32, column, text);
        }
    }
}

fn clock_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}
