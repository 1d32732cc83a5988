//! A task moves between threads, unless it is local.

#![allow(unused)]

use std::rc::Rc;

use punctual::task;

async fn pause() {}

#[task]
async fn count() {
    let counter = Rc::new(1);
    pause().await;
    drop(counter);
}

fn main() {}
