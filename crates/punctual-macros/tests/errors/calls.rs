//! Calls are checked by the compiler.

#![allow(unused)]

use punctual::task;

#[task]
async fn cleanup(days: u32, #[default = 10] limit: u32) {}

#[task]
async fn hidden(#[default = 10] call: u32) {}

fn main() {
    let _ = cleanup();
    let _ = cleanup("thirty");
    let _ = cleanup(30).limits(5);
    cleanup(30);
}
