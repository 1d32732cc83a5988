//! Many jobs.

use std::collections::BTreeSet;

use crate::trial::{Trial, Verdict, job, started};

/// How many jobs.
const JOBS: usize = 100_000;

/// A hundred thousand jobs are added in batches, each is found, and the due ones are claimed in their order.
pub async fn a_hundred_thousand_jobs(trial: Trial) -> Verdict {
    for first in (0..JOBS).step_by(5000) {
        let specs = (first..first + 5000).map(|n| {
            // Every hundredth is due within the first ten seconds.
            let seconds = if n % 100 == 0 {
                1 + (n / 100 % 10) as u64
            } else {
                1000
            };
            trial.addition(job(format!("job-{n:06}")).every(seconds))
        });
        let added = trial
            .store
            .add_many(specs.collect())
            .await
            .expect("the store works");
        assert!(added.iter().all(Result::is_ok));
    }
    assert_eq!(trial.next_due().await, Some(trial.at(1)));
    assert!(trial.has("job-099999").await);
    trial.go_to(1);
    let mut claimed = BTreeSet::new();
    loop {
        let runs = started(&trial.claim_with(trial.request(30)).await);
        if runs.is_empty() {
            break;
        }
        assert!(runs.is_sorted_by_key(|run| run.job_id.clone()));
        for run in runs {
            trial.succeed(&run).await;
            assert!(claimed.insert(run.job_id), "each once");
        }
    }
    assert_eq!(claimed.len(), JOBS / 1000);
    assert_eq!(trial.next_due().await, Some(trial.at(2)));
    Ok(())
}
