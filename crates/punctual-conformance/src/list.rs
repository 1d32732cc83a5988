//! The list of all cases, and the macro that turns each into a test.

/// Turns every case of the suite into a test of the store that `$fresh`, a [`FreshStore`](crate::FreshStore), makes.
///
/// Put it into a module with the store's name: the tests are then `sqlite::claims_are_exclusive` and so on.
#[macro_export]
macro_rules! job_store_suite {
    ($fresh:expr) => {
        $crate::job_store_cases! { job_store_tests $fresh }
    };
}

/// The table: each file of cases, and what is in it.
#[doc(hidden)]
#[macro_export]
macro_rules! job_store_cases {
    ($then:ident $($arg:tt)*) => {
        $crate::$then! {
            [$($arg)*]
            ordering:
                the_earliest_comes_first
                ties_go_by_id
                microseconds_count
                paused_jobs_are_listed_last
                pages_of_jobs_go_on
                lists_can_be_narrowed;
            adding:
                a_taken_id_is_refused
                each_addition_is_answered
                replacing_keeps_the_pause
                replacing_with_the_same_trigger_moves_nothing
                replacing_with_another_trigger_begins_anew
                ids_are_kept_byte_for_byte
                definitions_come_back_whole
                what_never_runs_is_refused
                the_first_run_can_be_chosen
                missing_ids_are_missing
                removing_withdraws_what_waits
                all_jobs_can_be_removed;
            claims:
                claims_are_exclusive
                claims_are_exclusive_between_nodes
                a_claim_takes_what_it_names
                foreign_jobs_are_not_in_the_way
                slots_are_not_exceeded
                a_limit_leaves_more
                an_empty_claim_is_followed_by_a_wait
                the_stored_pause_holds_for_all
                a_change_wakes
                what_a_node_owns_can_be_asked;
            policies:
                late_occurrences_coalesce
                a_misfire_does_not_run
                a_last_misfire_removes_the_job
                without_coalescing_each_runs_in_turn
                instances_are_limited
                one_may_queue
                the_running_one_may_be_cancelled
                many_skipped_share_a_row
                the_last_finish_removes_the_job;
            pausing:
                a_paused_job_is_not_claimed
                resuming_leaves_one_row
                a_short_pause_leaves_no_trace
                a_pause_may_end_by_itself
                nothing_is_paused_after_the_end
                a_pause_leaves_running_runs_alone
                a_manual_run_waits_out_a_pause
                resuming_too_late_removes_the_job;
            changing:
                a_stale_change_is_refused
                an_edit_moves_nothing
                a_changed_trigger_starts_from_now
                the_next_run_can_be_set
                a_decided_moment_is_not_decided_again
                a_trigger_may_be_changed_back
                a_moved_job_is_claimed_elsewhere
                due_times_can_be_computed_anew
                a_run_outlives_its_job
                a_readded_id_gets_higher_fences;
            attempts:
                a_manual_run_leaves_the_schedule_alone
                a_manual_run_obeys_the_limit
                two_manual_runs_are_two
                a_retry_waits_its_time
                a_job_stays_for_its_retry
                runs_can_be_cancelled
                a_run_can_be_given_back
                what_is_given_back_in_vain_ends
                a_run_ends_once;
            leases:
                an_expired_lease_is_taken_over
                the_third_crash_is_the_last
                a_job_may_give_up_on_a_crash
                renewing_keeps_a_run
                what_was_taken_is_lost
                work_that_was_cut_off_is_run_again
                a_stale_fence_is_refused
                a_node_spares_itself
                a_run_without_a_job_stays_lost
                nodes_come_and_go;
            ledger:
                pages_of_runs_are_stable
                the_ledger_can_be_asked
                old_rows_are_forgotten
                rows_too_many_are_forgotten
                very_many_rows_are_forgotten
                rows_are_counted_by_state;
            records:
                documents_are_compared_and_set
                documents_are_listed_by_namespace
                one_of_many_writers_wins
                logs_go_on_from_a_position;
            lasting:
                a_restart_changes_nothing
                a_restart_goes_on_from_the_cursor
                a_crash_between_claim_and_finish_is_made_good
                fences_survive_a_restart
                nodes_see_each_other
                an_unreadable_job_is_kept_and_shown
                an_unreadable_job_goes_only_on_request
                runs_of_an_unreadable_job_end;
            races:
                nodes_share_the_work
                an_id_is_added_once
                no_claim_follows_a_pause
                instances_are_counted_once
                a_dead_owner_is_buried_once;
            moving:
                a_job_moves_with_its_state
                a_job_moves_once
                rows_move_once
                the_fence_floor_moves;
            scale:
                a_hundred_thousand_jobs;
            random:
                answers_are_those_of_the_memory_store;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! job_store_tests {
    ([$fresh:expr] $($file:ident: $($case:ident)*;)*) => {$($(
        #[test]
        fn $case() {
            $crate::run_case(stringify!($case), $fresh, $crate::cases::$file::$case);
        }
    )*)*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! job_store_names {
    ([] $($file:ident: $($case:ident)*;)*) => {
        &[$($((stringify!($file), stringify!($case)),)*)*]
    };
}

/// Every case: the file it is in, and its name.
pub const CASES: &[(&str, &str)] = job_store_cases! { job_store_names };

#[cfg(test)]
mod tests {
    use super::CASES;

    /// A case that nobody calls is no case.
    #[test]
    fn every_case_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cases");
        let mut written = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    written.push((stem.clone(), rest.split('(').next().unwrap().to_owned()));
                }
            }
        }
        let mut listed: Vec<_> = CASES
            .iter()
            .map(|&(file, case)| (file.to_owned(), case.to_owned()))
            .collect();
        written.sort();
        listed.sort();
        assert_eq!(written, listed);
    }
}
