//! Job stores on servers, whose drivers need tokio, under schedulers that have none: nobody has to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use punctual::{OpenOptions, open_store};
use punctual_conformance::schedulers::cases::{ending, lifecycle, reporting, running};
use punctual_conformance::schedulers::{SchedulerTrial, Store};
use punctual_conformance::server_url;

/// A store of its own on a server; `None` where that is not there.
fn open(server: &str) -> Store {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let url = server_url(server)?;
    let number = MADE.fetch_add(1, Ordering::SeqCst);
    let options = OpenOptions {
        prefix: format!("loops_{}_{number}_", std::process::id()),
        ..OpenOptions::default()
    };
    let address = url.parse().expect("it is an address");
    let store = async_io::block_on(open_store(&address, options));
    Some((store.expect("it opens"), Box::new(())))
}

fn check(host: &dyn punctual_conformance::schedulers::Host, server: &'static str) {
    if server_url(server).is_none() {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {server} server");
        return;
    }
    let store = move || open(server);
    let trial = SchedulerTrial::new(host, &store);
    lifecycle::it_may_be_started_again(&trial);
    running::a_job_that_is_due_runs(&trial);
    running::a_job_may_be_added_from_inside_a_job(&trial);
    running::an_earlier_job_wakes_it_up(&trial);
    reporting::the_events_of_a_run_are_in_order(&trial);
    ending::a_job_may_shut_the_scheduler_down(&trial);
}

macro_rules! servers {
    ($($kind:ident: $host:expr;)*) => { $(
        mod $kind {
            #[test]
            fn postgres() {
                super::check(&$host, "postgres");
            }

            #[test]
            fn mysql() {
                super::check(&$host, "mysql");
            }

            #[test]
            fn redis() {
                super::check(&$host, "redis");
            }

            #[test]
            fn mongodb() {
                super::check(&$host, "mongodb");
            }
        }
    )* };
}

servers! {
    background: crate::hosts::Background;
    tokio_current: crate::hosts::Tokio::current_thread();
    smol: crate::hosts::Smol;
    calloop: crate::hosts::Calloop;
}

/// A store stays usable after the runtime is gone in which it was opened.
#[test]
fn a_store_outlives_the_runtime_it_was_opened_in() {
    let Some(url) = server_url("redis") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = url.parse().unwrap();
    let options = OpenOptions {
        prefix: format!("loops_{}_outlives_", std::process::id()),
        ..OpenOptions::default()
    };
    let store = runtime.block_on(open_store(&address, options)).unwrap();
    drop(runtime);
    async_io::block_on(Arc::clone(&store).now()).expect("it answers");
}
