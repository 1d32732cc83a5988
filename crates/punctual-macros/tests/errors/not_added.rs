//! A call is not run.

use punctual::task;

#[task]
async fn cleanup(days: u32) {
    let _ = days;
}

#[deny(unused_must_use)]
fn main() {
    cleanup(30);
}
