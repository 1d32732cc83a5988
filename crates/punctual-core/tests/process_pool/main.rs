//! The process pool, with real processes: this program is its own worker, so it brings its own `main`.
//!
//! The first argument may give a copy of it another part to play, see `roles.rs`. What the pool costs:
//! `cargo test --release -p punctual-core --all-features --test process_pool -- --ignored costs`.

/// Names each case after its function.
#[cfg(unix)]
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}

#[cfg(unix)]
mod bench;
#[cfg(unix)]
mod costs;
#[cfg(unix)]
mod crashes;
#[cfg(unix)]
mod crossing;
#[cfg(unix)]
mod misuse;
#[cfg(unix)]
mod roles;
#[cfg(unix)]
mod signal;
#[cfg(unix)]
mod stopping;
#[cfg(unix)]
mod tasks;
#[cfg(unix)]
mod workers;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    use libtest_mimic::{Arguments, Trial, run};

    let role = std::env::args().nth(1);
    if let Some(role) = role.as_deref().and_then(|arg| arg.strip_prefix("role:")) {
        return roles::play(role);
    }
    punctual_core::executor::process_pool_worker(tasks::tasks);
    let test = |(name, case): (&str, fn())| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    };
    let groups = [
        crossing::CASES,
        crashes::CASES,
        workers::CASES,
        stopping::CASES,
        misuse::CASES,
    ];
    let tests = groups.concat().into_iter().map(test);
    let costs = test(("costs", costs::costs)).with_ignored_flag(true);
    run(&Arguments::from_args(), tests.chain([costs]).collect()).exit_code()
}

#[cfg(not(unix))]
fn main() {}
