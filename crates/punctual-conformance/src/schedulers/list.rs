//! The list of all cases, and the macro that turns each into a test.

use super::SchedulerTrial;

/// Turns every case into a test of the schedulers that `$host`, a [`Host`](crate::schedulers::Host), makes, on stores that `$store`
/// opens: a function that returns a store and what is to be kept until it is gone, or `None` for the memory store.
///
/// Put it into a module with the kind's name, and one of the store's within.
#[macro_export]
macro_rules! scheduler_suite {
    ($host:expr, $store:expr) => {
        $crate::scheduler_cases! { scheduler_tests $host, $store }
    };
}

/// The table: each file of cases, and what is in it.
#[doc(hidden)]
#[macro_export]
macro_rules! scheduler_cases {
    ($then:ident $($arg:tt)*) => {
        $crate::$then! {
            [$($arg)*]
            lifecycle:
                it_starts_and_ends
                it_may_be_shut_down_twice_or_before_it_starts
                it_may_be_started_again
                it_may_start_paused
                it_may_be_paused_and_resumed
                jobs_may_be_added_before_the_start
                stores_and_executors_come_and_go;
            running:
                a_job_that_is_due_runs
                a_job_may_be_added_from_inside_a_job
                an_earlier_job_wakes_it_up
                a_job_that_runs_once_is_removed
                an_interval_goes_on
                what_is_too_late_is_missed
                instances_are_limited
                a_closure_runs
                a_paused_job_waits
                ten_thousand_due_jobs_run_at_once;
            reporting:
                the_events_of_a_run_are_in_order
                an_error_is_the_runs
                a_panic_is_the_runs
                a_slow_listener_delays_nobody
                a_listener_may_panic
                changes_of_jobs_are_told;
            ending:
                a_shutdown_waits_for_what_runs
                a_shutdown_may_cancel_what_runs
                a_job_may_shut_the_scheduler_down
                a_blocking_job_may_shut_the_scheduler_down
                a_run_that_takes_too_long_is_ended
                a_run_may_be_cancelled
                a_blocking_run_may_be_cancelled;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! scheduler_tests {
    ([$host:expr, $store:expr] $($file:ident: $($case:ident)*;)*) => {$($(
        #[test]
        fn $case() {
            let (host, store) = (&$host, &$store);
            let trial = $crate::schedulers::SchedulerTrial::new(host, store);
            $crate::schedulers::cases::$file::$case(&trial);
        }
    )*)*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! scheduler_functions {
    ([] $($file:ident: $($case:ident)*;)*) => {
        &[$($((stringify!($case), $crate::schedulers::cases::$file::$case),)*)*]
    };
}

/// A case, as a function.
pub type SchedulerCase = fn(&SchedulerTrial<'_>);

/// Every case: its name, and the case; for a harness that cannot use the macro.
pub const SCHEDULER_CASES: &[(&str, SchedulerCase)] = scheduler_cases! { scheduler_functions };
