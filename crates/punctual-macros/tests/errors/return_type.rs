//! What a task returns.

#![allow(unused)]

use punctual::task;

struct Report;

#[task]
async fn report() -> Report {
    Report
}

#[task]
fn count() -> u32 {
    3
}

#[task]
async fn option() -> Option<()> {
    None
}

#[task]
async fn fails() -> Result<Report, String> {
    Ok(Report)
}

fn main() {}
